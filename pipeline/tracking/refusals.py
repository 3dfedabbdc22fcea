"""Files that a store which answers does not take: they wait in the run's outbox, and hold up nothing else."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

MOST_NAMED = 3  # files that a line names


class FilesRefused(Exception):
    """Some files of a parcel could not be stored; those that could are gone from it.

    Attributes:
        files: {name among the artifacts: why}
    """

    def __init__(self, files: dict[str, str]) -> None:
        super().__init__("; ".join(summary([Refusal(files)])))
        self.files = files


@dataclass(frozen=True)
class Refusal:
    """The files of one record that wait."""

    files: dict[str, str]  # name among the artifacts -> why
    instant: float = -math.inf  # of the last attempt, by `time.monotonic`; an earlier process made it: -inf


def summary(refusals: Iterable[Refusal]) -> list[str]:
    """`<files>: <why>` for each reason; at most `MOST_NAMED` files are named."""
    by_reason: dict[str, list[str]] = {}
    for refusal in refusals:
        for name, why in refusal.files.items():
            by_reason.setdefault(why, []).append(name)
    lines = []
    for why, names in by_reason.items():
        more = f" and {len(names) - MOST_NAMED} more files" if len(names) > MOST_NAMED else ""
        lines.append(f"{', '.join(names[:MOST_NAMED])}{more}: {why}")
    return lines
