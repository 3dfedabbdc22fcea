"""Contenders that do the same work in turn, each in a process of its own that stays warm: medians and ratios."""

import contextlib
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from pipeline.runtime.kernels import VALUES, resolve
from pipeline.runtime.variables import ONEDNN
from tests.end_to_end.commands import ROOT, environment

CONTENDERS = "tests.benchmarks.contenders"


@dataclass(frozen=True)
class Contender:
    """A module of `contenders`, its arguments, and the interpreter it needs."""

    name: str
    module: str
    settings: dict[str, Any]
    python: str = sys.executable
    kernels: str = "auto"  # of TensorFlow, which a contender imports first of all; tensorflow: its own choice
    variables: dict[str, str] = field(default_factory=dict)  # of its environment


class Process:
    """A contender that is ready."""

    def __init__(self, contender: Contender) -> None:
        self.name = contender.name
        # A pipe that nobody reads would stop it when full.
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115
        self._process = subprocess.Popen(
            [contender.python, "-m", f"{CONTENDERS}.{contender.module}"],
            cwd=ROOT, text=True,
            env=environment(TF_CPP_MIN_LOG_LEVEL="3", **_switched(contender.kernels), **contender.variables),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors,
        )  # fmt: skip
        self._send(json.dumps(contender.settings))
        self._answer()

    def rate(self) -> float:
        """Units in a second of one repeat."""
        self._send("")
        units, seconds = self._answer()
        return units / seconds

    def memory(self) -> float:
        """MiB that are its own now: what it mapped from files is the operating system's to take back. Linux only."""
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        return int(re.search(r"RssAnon:\s*(\d+)", status)[1]) / 1024  # type: ignore[index]

    def close(self) -> None:
        """End it."""
        self._process.communicate()
        self._errors.close()

    def _send(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            try:
                return json.loads(line)
            except json.JSONDecodeError:
                continue  # what a library prints
        self._errors.seek(0)
        raise RuntimeError(f"{self.name} ended:\n{self._errors.read()[-3000:]}")


def _switched(kernels: str) -> dict[str, str]:
    resolved = resolve(kernels)
    return {ONEDNN: VALUES[resolved]} if resolved in VALUES else {}


def contest(contenders: Sequence[Contender], repeats: int) -> dict[str, list[float]]:
    """Units in a second of each contender in each round; in every round each of them works once.

    Raises:
        RuntimeError: one ended early, with the end of what it said.
    """
    with contextlib.ExitStack() as ends:
        processes = [ends.enter_context(contextlib.closing(Process(contender))) for contender in contenders]
        rates: dict[str, list[float]] = {process.name: [] for process in processes}
        for _ in range(repeats):
            for process in processes:
                rates[process.name].append(process.rate())
    return rates


def table(title: str, unit: str, rates: dict[str, list[float]]) -> list[str]:
    """Median, range and, against the first contender, the median of the ratios of each round, in Markdown."""
    ours = next(iter(rates.values()))
    lines = [f"### {title}", "", f"| | {unit}, median (least to most) | first / this |", "| --- | --- | --- |"]
    for name, values in rates.items():
        ratio = median(one / other for one, other in zip(ours, values, strict=True))
        spread = f"{_figure(median(values))} ({_figure(min(values))} to {_figure(max(values))})"
        lines.append(f"| {name} | {spread} | {ratio:.2f} |")
    return [*lines, ""]


def _figure(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
