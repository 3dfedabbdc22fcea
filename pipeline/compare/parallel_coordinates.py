"""Parallel coordinates: where each run's value stands on the axis of each parameter, and on that of the score."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.compare.runs import MOST, ComparedRun
from pipeline.compare.table import NONE, SEED
from pipeline.config.keys import short_names
from pipeline.runtime.text import short_value

SCORE = "val mean IoU"
MOST_TICKS = 9


@dataclass(frozen=True)
class Axis:
    """One axis, from 0 at its foot to 1."""

    name: str
    heights: Sequence[float | None]  # of each run; None where it has no value
    ticks: Sequence[tuple[float, str]]


def parallel_axes(runs: Sequence[ComparedRun], keys: Sequence[str]) -> list[Axis]:
    """An axis for each parameter, then one for the validation score; runs in the given order."""
    short = short_names(keys)
    axes = [_parameter(short[key], [run.params.get(key, NONE) for run in runs], key == SEED) for key in keys]
    scores = [run.val for run in runs]
    there = [score for score in scores if score is not None]
    if not there:
        return axes
    low, high = min(there), max(there)
    ticks = [low + (high - low) * step / 4 for step in range(5)] if high > low else [low]
    return [*axes, Axis(SCORE, _heights(scores), [(_height(tick, low, high), f"{tick:.3f}") for tick in ticks])]


def _parameter(name: str, texts: list[str], choices: bool) -> Axis:
    """Numbers stand where their value is, by decades where they span more than one; texts at equal distances."""
    numbers: list[float | None] = []
    for text in texts:
        try:
            numbers.append(float(text))
        except ValueError:
            numbers.append(None)
    values = [number for number in numbers if number is not None and abs(number) < MOST]
    if choices or len(values) < len(texts):
        order = sorted(set(texts), key=_by_number)
        heights = {text: place / max(1, len(order) - 1) if len(order) > 1 else 0.5 for place, text in enumerate(order)}
        shown = [(heights[text], text) for text in order]
        return Axis(name, [heights[text] for text in texts], shown[:: math.ceil(len(shown) / MOST_TICKS)])
    if min(values) > 0 and max(values) / min(values) >= 8:
        name, values = f"{name} (log)", [math.log(value) for value in values]
    heights_of = _heights(values)
    labels = dict(zip(heights_of, texts, strict=True))
    ticks = sorted((height, short_value(text)) for height, text in labels.items() if height is not None)
    return Axis(name, heights_of, _apart(ticks))


def _by_number(text: str) -> tuple[bool, float, str]:
    try:
        return False, float(text), text
    except ValueError:
        return True, 0.0, text


def _heights(values: Sequence[float | None]) -> list[float | None]:
    there = [value for value in values if value is not None]
    return [None if value is None else _height(value, min(there), max(there)) for value in values]


def _height(value: float, low: float, high: float) -> float:
    return (value - low) / (high - low) if high > low else 0.5


def _apart(ticks: list[tuple[float, str]]) -> list[tuple[float, str]]:
    """The ticks that do not stand on another's label; the first and the last always."""
    kept: list[tuple[float, str]] = []
    for tick in ticks:
        if not kept or tick[0] - kept[-1][0] >= 1 / (MOST_TICKS - 1):
            kept.append(tick)
        elif tick is ticks[-1]:
            kept[-1:] = [tick] if len(kept) > 1 else [kept[0], tick]
    return kept
