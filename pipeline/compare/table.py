"""Runs as a table: the parameters in which they differ, their order, means over seeds and folds; the table as CSV."""

import csv
import io
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from pipeline.compare.runs import BEST_EPOCH, PARAMETERS, TEST, TEST_SCORES, ComparedRun
from pipeline.config.fingerprint import changes_nothing
from pipeline.config.keys import leaves, short_names
from pipeline.config.schema import Config
from pipeline.runtime.text import short_value

SEED, FOLD = "seed", "dataset.fold"
REPEATS = {SEED: "seeds", FOLD: "folds"}  # runs that differ in these alone repeat the same experiment
MOST_IN_HEADING = 8  # parameters
UNRESOLVED = ("auto", "[]")  # a value that a run replaces by another one when it begins
MISSING = "-"  # the cell of a missing value
SCHEMA_ORDER = {name: place for place, (name, _, _) in enumerate(leaves(Config))}


def varying(runs: Sequence[ComparedRun]) -> list[str]:
    """The parameters in which runs differ, in the order of the schema, with fold and seed last.

    Keys that change neither weights nor scores (`tracking.…`) are left out. So are those that only say where data and
    initial weights are stored, unless the runs used different ones. Of a trial that failed before its run began, the
    values count that were asked for: nothing resolved the others.
    """
    begun = [run for run in runs if run.data is not None]
    shown = set[str]()
    if len({run.data for run in begun}) > 1:
        shown |= {"dataset.root"}
    if len({run.initial for run in begun}) > 1:
        shown |= {"init_from", "model.encoder_weights"}
    keys = {key for run in runs for key in run.params if key in shown or not changes_nothing(key)}

    def values(key: str) -> set[str | None]:
        every = ((run.params.get(key), run.data is not None) for run in runs)
        return {value for value, has_begun in every if has_begun or value not in UNRESOLVED}

    found = [key for key in keys if len(values(key)) > 1]
    return sorted(found, key=lambda key: (key in REPEATS, key == SEED, SCHEMA_ORDER.get(key, len(SCHEMA_ORDER)), key))


def heading(run: ComparedRun, keys: Sequence[str]) -> str:
    """The values of the varying parameters, as in `width 8, seed 1`; the run's name if no parameter varies."""
    short = short_names(keys)
    parts = [f"{short[key]} {_cut(short_value(run.params.get(key, MISSING)))}" for key in keys[:MOST_IN_HEADING]]
    if len(keys) > MOST_IN_HEADING:
        parts.append(f"and {len(keys) - MOST_IN_HEADING} more")
    return ", ".join(parts) or _cut(run.name, 80)


def _cut(text: str, most: int = 40) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def headings(runs: Sequence[ComparedRun], keys: Sequence[str]) -> list[str]:
    """`heading` of each run; equal ones are followed by the start of the run's id."""
    texts = [heading(run, keys) for run in runs]
    count = Counter(texts)
    return [text if count[text] == 1 else f"{text} ({run.run_id[:6]})" for run, text in zip(runs, texts, strict=True)]


def ranked(runs: Iterable[ComparedRun]) -> list[ComparedRun]:
    """Finished runs by validation mean IoU, the best first; then the others, those with a score first.

    Runs with equal scores are in the order in which they were started, so that the ranking is always the same.
    """

    def place(run: ComparedRun) -> tuple[bool, bool, float, int, str]:
        return not run.finished, run.val is None, -(run.val or 0.0), run.started, run.run_id

    return sorted(runs, key=place)


def best_of(runs: Iterable[ComparedRun]) -> ComparedRun | None:
    """The finished run with the highest validation mean IoU; test scores decide nothing."""
    return next((run for run in ranked(runs) if run.finished and run.val is not None), None)


@dataclass(frozen=True)
class Replicates:
    """Runs that differ in nothing but their seed or their fold."""

    params: Mapping[str, str]  # the varying ones, without seed and fold
    run_ids: tuple[str, ...]
    val: tuple[float, float] | None  # mean and standard deviation; None if fewer than two runs have a score
    test: tuple[float, float] | None


def replicates(runs: Sequence[ComparedRun], keys: Sequence[str]) -> list[Replicates]:
    """Means over the finished runs that differ only in seed or fold, the best first; empty if no two do.

    Of several runs with the same seed and fold, such as a run and its reruns, the one that started last counts.
    """
    groups: dict[tuple[str | None, ...], list[ComparedRun]] = {}
    others = [key for key in keys if key not in REPEATS]
    for run in ranked(run for run in runs if run.finished):
        groups.setdefault(tuple(run.params.get(key) for key in others), []).append(run)
    found = [
        Replicates(
            {key: members[0].params.get(key, MISSING) for key in others},
            tuple(run.run_id for run in members),
            mean_and_deviation([run.val for run in members]),
            mean_and_deviation([run.score(TEST) for run in members]),
        )
        for members in map(_last_of_each, groups.values())
        if len(members) > 1
    ]
    return sorted(found, key=lambda group: -(group.val[0] if group.val else 0.0))


def _last_of_each(runs: Sequence[ComparedRun]) -> list[ComparedRun]:
    """Of each seed and fold the run that started last, in the order of the runs."""
    last: dict[tuple[str | None, ...], ComparedRun] = {}
    for run in sorted(runs, key=lambda run: (run.started, run.run_id)):
        last[tuple(run.params.get(key) for key in REPEATS)] = run
    run_ids = {run.run_id for run in last.values()}
    return [run for run in runs if run.run_id in run_ids]


def repeated(keys: Sequence[str]) -> str:
    """What replicates are counted in, by the varying keys: `seeds`, `folds` or `seeds and folds`."""
    return " and ".join(words for key, words in REPEATS.items() if key in keys)


def mean_and_deviation(values: Iterable[float | None]) -> tuple[float, float] | None:
    """Mean and sample standard deviation (n - 1) of the values that are not None; None for fewer than two."""
    existing = [value for value in values if value is not None]
    return (statistics.fmean(existing), statistics.stdev(existing)) if len(existing) > 1 else None


def csv_table(runs: Sequence[ComparedRun], keys: Sequence[str]) -> str:
    """The runs as CSV, a line each below the headings; numbers in full, missing values as empty cells."""
    file = io.StringIO()
    table = csv.writer(file, lineterminator="\n")
    scores = {"best_val_mean_iou": "", "best_epoch": BEST_EPOCH, "test_mean_iou": TEST, "parameters": PARAMETERS}
    further = {metric.replace("/", "_"): metric for metric in TEST_SCORES.values()}
    table.writerow(["run_id", "name", "status", "pruned", *keys, *scores, "minutes", *further])
    for run in runs:
        values = [run.val, *(run.score(metric) for metric in scores.values() if metric)]
        minutes = None if run.seconds is None else run.seconds / 60
        values += [minutes, *(run.score(metric) for metric in further.values())]
        cells = ["" if value is None else f"{value!r}" for value in values]
        params = [run.params.get(key, "") for key in keys]
        table.writerow([run.run_id, run.name, run.status, str(run.pruned).lower(), *params, *cells])
    return file.getvalue()


def format_score(value: float | None, digits: int = 4) -> str:
    """A score with a fixed number of decimals; `-` for None."""
    return MISSING if value is None else f"{value:.{digits}f}"
