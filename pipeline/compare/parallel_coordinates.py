"""Parallel coordinates: the height of each run's value on the axis of each parameter, and on that of the score."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.compare.runs import LARGEST_NUMBER, ComparedRun
from pipeline.compare.table import MISSING, REPEATS
from pipeline.config.keys import short_names
from pipeline.runtime.text import short_value

SCORE = "val mean IoU"
MOST_TICKS = 9


@dataclass(frozen=True)
class Axis:
    """One axis. Heights are from 0 at the bottom to 1 at the top."""

    name: str
    heights: Sequence[float | None]  # of each run; None if it has no value
    ticks: Sequence[tuple[float, str]]  # height and label


def parallel_axes(runs: Sequence[ComparedRun], keys: Sequence[str]) -> list[Axis]:
    """An axis for each parameter, then one for the validation score, if any run has one."""
    short = short_names(keys)
    axes = [_parameter(short[key], [run.params.get(key, MISSING) for run in runs], key in REPEATS) for key in keys]
    scores = [run.val for run in runs]
    existing = [score for score in scores if score is not None]
    if not existing:
        return axes
    low, high = min(existing), max(existing)
    ticks = [low + (high - low) * step / 4 for step in range(5)] if high > low else [low]
    return [*axes, Axis(SCORE, _heights(scores), [(_height(tick, low, high), f"{tick:.3f}") for tick in ticks])]


def _parameter(name: str, texts: list[str], choices: bool) -> Axis:
    """Numbers are placed by value, on a logarithmic axis if they span a factor of 8 or more; texts at equal distances.

    Args:
        choices: place numbers like texts.
    """
    numbers: list[float | None] = []
    for text in texts:
        try:
            numbers.append(float(text))
        except ValueError:
            numbers.append(None)
    values = [number for number in numbers if number is not None and abs(number) < LARGEST_NUMBER]
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
    existing = [value for value in values if value is not None]
    return [None if value is None else _height(value, min(existing), max(existing)) for value in values]


def _height(value: float, low: float, high: float) -> float:
    return (value - low) / (high - low) if high > low else 0.5


def _apart(ticks: list[tuple[float, str]]) -> list[tuple[float, str]]:
    """The ticks whose labels do not overlap; the first and the last are always among them."""
    kept: list[tuple[float, str]] = []
    for tick in ticks:
        if not kept or tick[0] - kept[-1][0] >= 1 / (MOST_TICKS - 1):
            kept.append(tick)
        elif tick is ticks[-1]:
            kept[-1:] = [tick] if len(kept) > 1 else [kept[0], tick]
    return kept
