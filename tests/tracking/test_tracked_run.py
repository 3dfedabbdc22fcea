"""One run as the program uses it: what it stores, in its journal and in MLflow, and how it ends."""

import errno
import json
import math
import os
from collections.abc import Callable
from pathlib import Path

import mlflow
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlflow.entities import Run
from mlflow.utils.validation import _validate_metric_name

from pipeline.config.schema import SCHEMA_VERSION, TrackingConfig
from pipeline.runtime.errors import RunFailed
from pipeline.runtime.process import Process
from pipeline.runtime.signals import Interrupted
from pipeline.tracking import tracked_run
from pipeline.tracking.journal import Journal, read_journal
from pipeline.tracking.records import Begin, status_of
from pipeline.tracking.run_ref import RunRef
from pipeline.tracking.store import open_store
from pipeline.tracking.tracked_run import TrackedRun, metric_names
from tests.tracking.journals import kinds

CONFIG = "seed: 0\ntracking:\n  uri: http://ada:secret@host\n"


@pytest.fixture(scope="module")
def tracking(tmp_path_factory: pytest.TempPathFactory) -> TrackingConfig:
    """An address whose database exists already."""
    config = TrackingConfig(uri=f"sqlite:///{tmp_path_factory.mktemp('store')}/mlflow.db", experiment="x")
    open_store(config)
    return config


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def begin(tracking: TrackingConfig) -> Callable[..., TrackedRun]:
    """begin(name="name", tags={}) makes a run."""
    return lambda name="name", tags=None: TrackedRun.begin(tracking, name, tags or {}, CONFIG, ["seed=0"])


def stored(tracking: TrackingConfig, run: TrackedRun) -> Run:
    return mlflow.MlflowClient(tracking.uri).get_run(run.name)


# ---- beginning and ending


def test_the_journal_begins_with_the_configuration(begin: Callable[..., TrackedRun]) -> None:
    run = begin("at http://ada:secret@host", {"fingerprint": "f"})
    (first,) = read_journal(run.folder)
    assert isinstance(first, Begin) and first.config == CONFIG.replace("ada:secret", "***")
    assert first.tags == {"schema": str(SCHEMA_VERSION), "fingerprint": "f"}
    assert (first.overrides, first.experiment, first.name) == (["seed=0"], "x", "at http://***@host")
    assert run.folder == Path("mlruns/runs") / run.key and run.name == run.key and run.store is None
    assert "secret" not in run.journal.path.read_text()
    run.journal.close()


def test_a_name_is_no_longer_than_any_store_allows(begin: Callable[..., TrackedRun]) -> None:
    run = begin("x" * 300)
    assert run.journal.begin.name == "x" * 250
    run.journal.close()


def test_a_run_that_ends_well_is_finished(begin: Callable[..., TrackedRun], tracking: TrackingConfig) -> None:
    with begin(tags={"fingerprint": "f"}) as run:
        assert stored(tracking, run).info.status == "RUNNING" and run.store is not None
        assert RunRef(run.folder).in_use
        assert Process.read(stored(tracking, run).data.tags) in (None, Process.this())  # as soon as it is sent
    found = stored(tracking, run)
    assert (found.info.status, found.info.run_name) == ("FINISHED", "name")
    assert found.data.tags["run_key"] == run.key != run.name and found.data.tags["fingerprint"] == "f"
    assert Process.read(found.data.tags) == Process.this()
    assert not RunRef(run.folder).in_use and not (run.folder / "outbox").exists()


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (KeyboardInterrupt(), "KILLED"),
        (Interrupted(), "KILLED"),
        (RunFailed("why"), "FAILED"),
        (ValueError("http://a:secret@h"), "FAILED"),
    ],
)
def test_an_exception_is_recorded_as_the_end_of_the_run(
    begin: Callable[..., TrackedRun],
    tracking: TrackingConfig,
    capsys: pytest.CaptureFixture[str],
    error: BaseException,
    status: str,
) -> None:
    with pytest.raises(type(error)), begin() as run:
        raise error
    found = stored(tracking, run)
    assert found.info.status == status == status_of(read_journal(run.folder))
    expected = None if status == "KILLED" else f"{type(error).__name__}: {error}".replace("a:secret", "***")
    assert found.data.tags.get("failure") == expected
    message = f"run {run.name} is KILLED; resume={run.name} continues it\n" if status == "KILLED" else ""
    assert capsys.readouterr().err == message


def test_a_run_whose_artifacts_are_refused_continues(
    tracking: TrackingConfig, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    mlflow.MlflowClient(tracking.uri).create_experiment("elsewhere", artifact_location="http://127.0.0.1:9/evil")
    monkeypatch.setattr(tracked_run, "SERVER_TIMEOUT", 0)
    with TrackedRun.begin(TrackingConfig(uri=tracking.uri, experiment="elsewhere"), "name", {}, CONFIG, []) as run:
        run.log_metrics({"a": 1.0}, step=1)
    assert status_of(read_journal(run.folder)) == "FINISHED" and run.name == run.key
    refused, unsent = capsys.readouterr().err.splitlines()
    assert "nothing is sent there; the run continues" in refused and "python -m pipeline.sync sends it" in unsent


@pytest.mark.parametrize(("error", "status"), [(Interrupted(), "KILLED"), (OSError(), "FAILED")])
def test_a_run_interrupted_at_its_start_is_not_running(
    begin: Callable[..., TrackedRun],
    tracking: TrackingConfig,
    monkeypatch: pytest.MonkeyPatch,
    error: BaseException,
    status: str,
) -> None:
    """While it waits for MLflow, which may take seconds."""

    def broken(_: float) -> None:
        raise error

    run = begin()
    monkeypatch.setattr(run._sender, "wait_for_run", broken)
    with pytest.raises(type(error)), run:
        raise AssertionError("not reached")
    assert stored(tracking, run).info.status == status == status_of(read_journal(run.folder))
    assert not RunRef(run.folder).in_use


def test_a_resumed_run_is_the_same_run_in_mlflow(begin: Callable[..., TrackedRun], tracking: TrackingConfig) -> None:
    with pytest.raises(RunFailed), begin() as run:
        run.log_metrics({"a": 1.0}, step=1)
        raise RunFailed("why")
    again = TrackedRun(Journal(run.folder), tracking)
    assert again.name == run.name
    with again:
        again.log_metrics({"a": 5.0, "b": 2.0}, step=1)  # "a" was logged before, and stays as it was
        again.log_metrics({"a": 3.0}, step=2)
    found = stored(tracking, again)
    assert found.info.status == "FINISHED" and "failure" not in found.data.tags
    history = mlflow.MlflowClient(tracking.uri).get_metric_history(run.name, "a")
    assert [(metric.step, metric.value) for metric in history] == [(1, 1.0), (2, 3.0)]
    logged = kinds(read_journal(run.folder))
    assert logged.count("begin") == 1 and logged.count("process") == 2


def test_without_a_server_a_run_is_the_same_but_for_warnings(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tracked_run, "SERVER_TIMEOUT", 0.0)
    config = TrackingConfig(uri="http://ada:secret@127.0.0.1:9", experiment="x")
    with TrackedRun.begin(config, "name", {}, CONFIG, []) as run:
        run.log_metrics({"a": 1.0}, step=1)
        assert run.name == run.key and run.store is None
    assert status_of(read_journal(run.folder)) == "FINISHED"
    assert run.journal.history()["a"] == {1: 1.0}
    warnings = capsys.readouterr().err
    assert warnings.count("the run continues, and what it logs is stored in") == 1
    assert f"a part of run {run.key} is not in MLflow yet: python -m pipeline.sync sends it" in warnings
    assert "secret" not in warnings + run.journal.path.read_text()


def test_a_full_disk_at_the_end_hides_no_other_error(
    begin: Callable[..., TrackedRun], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(_journal: Journal, _record: object) -> None:
        raise RunFailed("journal.jsonl: cannot be written: No space left on device")

    for error in (ValueError("why"), None):
        with monkeypatch.context() as patch, pytest.raises(type(error) if error else RunFailed), begin() as run:
            patch.setattr(Journal, "append", full)
            if error is not None:
                raise error
        assert status_of(read_journal(run.folder)) == "RUNNING"  # the next start on this machine marks it
        assert not RunRef(run.folder).in_use
        assert ("error: journal.jsonl: cannot be written" in capsys.readouterr().err) == (error is not None)


def test_a_full_disk_is_recorded_in_the_reserved_room(
    begin: Callable[..., TrackedRun], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write = Journal._write

    def full(journal: Journal, line: bytes, end: int) -> None:
        if (journal.folder / "reserve").exists():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write(journal, line, end)

    with pytest.raises(RunFailed, match="No space left"), begin() as run:
        assert (run.folder / "reserve").stat().st_blocks * 512 >= 65536
        monkeypatch.setattr(Journal, "_write", full)
        run.log_metrics({"a": 1.0}, step=1)
    assert status_of(read_journal(run.folder)) == "FAILED"
    assert capsys.readouterr().err == ""


# ---- what it stores


def test_parameters_may_have_any_length_and_number(begin: Callable[..., TrackedRun], tracking: TrackingConfig) -> None:
    """Credentials in them are masked."""
    values = {f"p{number}": number for number in range(250)} | {"long": "x" * 7000, "uri": "http://a:b@h", "none": None}
    with begin("at http://a:b@h") as run:
        run.log_params(values)
    assert stored(tracking, run).info.run_name == "at http://***@h"
    found = stored(tracking, run).data.params
    assert len(found) == 253 and found["p249"] == "249" and found["none"] == "None"
    assert found["long"] == "x" * 5997 + "..." and found["uri"] == "http://***@h"


def test_metrics_have_their_step_and_nan_is_left_out(
    begin: Callable[..., TrackedRun], tracking: TrackingConfig
) -> None:
    with begin() as run:
        run.log_metrics({"a": 1, "nan": math.nan, **{f"m{number}": number for number in range(1200)}}, step=3)
        run.log_metrics({"a": 2.5}, step=4)
        run.log_metrics({"nan": math.nan}, step=4)
    client = mlflow.MlflowClient(tracking.uri)
    assert [(metric.step, metric.value) for metric in client.get_metric_history(run.name, "a")] == [(3, 1.0), (4, 2.5)]
    found = stored(tracking, run).data.metrics
    assert "nan" not in found and found["m1199"] == 1199


def test_tags_files_and_data(begin: Callable[..., TrackedRun], tracking: TrackingConfig, tmp_path: Path) -> None:
    for name in ("moved", "copied"):
        (tmp_path / name / "deep").mkdir(parents=True)
        (tmp_path / name / "deep/file.txt").write_text(name)
    with begin() as run:
        run.set_tags({"mlflow.note.content": "http://a:b@h", "weights_sha256": "w"})
        run.move_artifacts(tmp_path / "moved", "place")
        run.log_artifacts(tmp_path / "copied", "place/two")
        run.log_dataset("train", "shapes-train", tmp_path / "copied", "0123456789abcdef" * 4)
    found = stored(tracking, run)
    assert found.data.tags["mlflow.note.content"] == "http://***@h" and found.data.tags["weights_sha256"] == "w"
    artifacts = Path(found.info.artifact_uri.removeprefix("file://"))
    assert (artifacts / "place/deep/file.txt").read_text() == "moved" and not (tmp_path / "moved").exists()
    assert (
        (artifacts / "place/two/deep/file.txt").read_text()
        == "copied"
        == (tmp_path / "copied/deep/file.txt").read_text()
    )
    (data,) = found.inputs.dataset_inputs
    assert (data.dataset.name, data.dataset.digest) == ("shapes-train", ("0123456789abcdef" * 4)[:36])
    assert data.tags[0].value == "train"
    assert json.loads(data.dataset.source)["uri"] == str(tmp_path / "copied")


@pytest.mark.filterwarnings("error")
def test_logging_the_data_prints_no_warning(
    begin: Callable[..., TrackedRun], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with begin() as run:
        run.log_dataset("train", "x", tmp_path, "d")
    assert capsys.readouterr().err == ""  # nor does the thread that sends


def test_the_names_of_class_metrics() -> None:
    names = ["background", "potted plant", "a/b", "a?b", "a_b_3", "Büsche", "..", "x" * 300]
    assert metric_names("test/iou", names) == [
        "test/iou/background", "test/iou/potted plant", "test/iou/a_b", "test/iou/a_b_3", "test/iou/a_b_3_4",
        "test/iou/Büsche", "test/iou/_", "test/iou/" + "x" * 200,
    ]  # fmt: skip


@given(st.lists(st.text(alphabet=st.sampled_from("ab/._3 ?\n\0ü汉"), min_size=1, max_size=4), unique=True, max_size=12))
def test_every_class_has_its_own_metric_for_mlflow(names: list[str]) -> None:
    metrics = metric_names("test/iou", names)
    assert len(set(metrics)) == len(names)
    for metric in metrics:
        _validate_metric_name(metric)
