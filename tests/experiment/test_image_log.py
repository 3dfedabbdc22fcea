"""The images of a run: once for each step, whatever happens, and within the budget."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline.config.overrides import checked_config
from pipeline.config.schema import Config
from pipeline.data.voc import Example, find_examples
from pipeline.experiment.image_log import ImageLog
from pipeline.tracking.journal import Journal
from pipeline.tracking.records import Images
from pipeline.tracking.tracked_run import TrackedRun


@pytest.fixture
def config(tmp_path: Path, voc_writer: Callable[..., Path]) -> Config:
    root = voc_writer(tmp_path, train=1, val=3, test=1, size=(24, 32), classes=3)
    return checked_config(["dataset=folder", f"dataset.root={root}", "dataset.classes=[a,b,c]"])


@pytest.fixture
def examples(config: Config) -> list[Example]:
    splits, _ = find_examples(Path(str(config.dataset.root)), config.dataset, ["val"])
    return list(splits["val"])


@pytest.fixture
def run(tmp_path: Path, config: Config, monkeypatch: pytest.MonkeyPatch) -> Iterator[TrackedRun]:
    monkeypatch.chdir(tmp_path)
    run = TrackedRun.begin(config.tracking, "n", {}, "", [])
    yield run
    run.journal.close()


def log(images: ImageLog, examples: list[Example], step: int) -> None:
    collect = images.collecting(step, lambda example, prediction: None)
    for example in examples:
        collect(example, np.full((24, 32), step % 3, np.uint8))
    images.log(step)


def logged(journal: Journal) -> list[tuple[str, int]]:
    return [(record.split, record.step) for record in journal.of(Images)]


def budget(config: Config, megabytes: int | None) -> Config:
    return replace(config, evaluate=replace(config.evaluate, log_images=megabytes))


def test_a_step_is_logged_once_by_all_processes_together(
    run: TrackedRun, config: Config, examples: list[Example]
) -> None:
    for step in (1, 2, 2):  # the second was repeated after a crash
        log(ImageLog(run, config, "val", examples[:2]), examples, step)
    log(ImageLog(run, config, "test", examples[:1]), examples, 2)
    assert logged(run.journal) == [("val", 1), ("val", 2), ("test", 2)]
    files = [path.name for path in run.journal.outbox.path(run.journal.of(Images)[0].parcel).iterdir()]
    assert sorted({name.partition("+")[0] for name in files}) == sorted(f"val~{each.id}" for each in examples[:2])
    assert all(f"+timestamp+{run.journal.of(Images)[0].time}+" in name for name in files)


def test_what_exceeds_the_budget_is_left_out_and_said_once(
    run: TrackedRun, config: Config, examples: list[Example], capsys: pytest.CaptureFixture[str]
) -> None:
    one = budget(config, 1)
    log(ImageLog(run, one, "val", examples), examples, 1)
    run.journal.append(
        Images("gone", "val", 2, 10**6 - 2 * run.journal.of(Images)[0].size, [])
    )  # room for about one more
    for step in (3, 4, 5, 6):  # each in a process that resumes the run
        log(ImageLog(run, one, "val", examples), examples, step)
    steps = [step for _, step in logged(run.journal)]
    assert steps == list(range(1, len(steps) + 1)) and 2 <= len(steps) <= 4
    assert sum(record.size for record in run.journal.of(Images)) <= 10**6
    assert capsys.readouterr().out.count("evaluate.log_images=1: these megabytes are spent") == 1
    log(ImageLog(run, budget(config, 2), "val", examples), examples, 7)  # resumed with more
    assert logged(run.journal)[-1] == ("val", 7)


@pytest.mark.parametrize("megabytes", [None, 0])
def test_without_a_budget_nothing_is_logged_or_said(
    run: TrackedRun, config: Config, examples: list[Example], capsys: pytest.CaptureFixture[str], megabytes: int | None
) -> None:
    log(ImageLog(run, budget(config, megabytes), "val", examples), examples, 1)
    assert logged(run.journal) == [] and capsys.readouterr().out == ""
