"""One run in MLflow: what it keeps, and how it ends."""

import math
from collections.abc import Iterator
from pathlib import Path

import mlflow
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlflow.entities import Run
from mlflow.utils.validation import _validate_metric_name

from pipeline.config import TrackingConfig
from pipeline.errors import RunFailed
from pipeline.tracking.record import TrackedRun, metric_names
from pipeline.tracking.store import Store, open_store


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    database = tmp_path_factory.mktemp("store") / "mlflow.db"
    return open_store(TrackingConfig(uri=f"sqlite:///{database}", experiment="x"))


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, store: Store) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    mlflow.set_tracking_uri(store.uri)
    yield
    assert mlflow.active_run() is None


def stored(store: Store, run: TrackedRun) -> Run:
    return mlflow.MlflowClient(store.uri).get_run(run.id)


def test_a_run_that_ends_well_is_finished(store: Store) -> None:
    with TrackedRun(store, "name", {"fingerprint": "f"}) as run:
        assert stored(store, run).info.status == "RUNNING"
        assert run.folder.is_dir() and run.folder == Path("mlruns/runs") / run.key
    found = stored(store, run)
    assert (found.info.status, found.info.run_name) == ("FINISHED", "name")
    assert found.data.tags["run_key"] == run.key and found.data.tags["fingerprint"] == "f"


@pytest.mark.parametrize(
    ("error", "status"),
    [(KeyboardInterrupt(), "KILLED"), (RunFailed("why"), "FAILED"), (ValueError("http://a:secret@h"), "FAILED")],
)
def test_a_run_that_an_exception_ends_says_so(store: Store, error: BaseException, status: str) -> None:
    with pytest.raises(type(error)), TrackedRun(store, "name", {}) as run:
        raise error
    found = stored(store, run)
    assert found.info.status == status
    expected = None if status == "KILLED" else f"{type(error).__name__}: {error}".replace("a:secret", "***")
    assert found.data.tags.get("failure") == expected


@pytest.mark.parametrize(("error", "status"), [(KeyboardInterrupt(), "KILLED"), (OSError(), "FAILED")])
def test_a_run_that_cannot_start_does_not_stay_running(
    store: Store, monkeypatch: pytest.MonkeyPatch, error: BaseException, status: str
) -> None:
    def broken(**_: object) -> None:
        raise error

    run = TrackedRun(store, "name", {})
    monkeypatch.setattr(mlflow, "start_run", broken)
    with pytest.raises(type(error)), run:
        raise AssertionError("not reached")
    assert stored(store, run).info.status == status


def test_parameters_of_any_length_and_number_with_credentials_masked(store: Store) -> None:
    values = {f"p{number}": number for number in range(250)} | {"long": "x" * 7000, "uri": "http://a:b@h", "none": None}
    with TrackedRun(store, "at http://a:b@h", {}) as run:
        run.params(values)
    assert stored(store, run).info.run_name == "at http://***@h"
    found = stored(store, run).data.params
    assert len(found) == 253 and found["p249"] == "249" and found["none"] == "None"
    assert found["long"] == "x" * 5997 + "..." and found["uri"] == "http://***@h"


def test_metrics_have_their_step_and_a_score_that_does_not_exist_is_left_out(store: Store) -> None:
    with TrackedRun(store, "name", {}) as run:
        run.metrics({"a": 1, "nan": math.nan, **{f"m{number}": number for number in range(1200)}}, step=3)
        run.metrics({"a": 2.5}, step=4)
    client = mlflow.MlflowClient(store.uri)
    assert [(metric.step, metric.value) for metric in client.get_metric_history(run.id, "a")] == [(3, 1.0), (4, 2.5)]
    found = stored(store, run).data.metrics
    assert "nan" not in found and found["m1199"] == 1199


def test_tags_files_and_data(store: Store, tmp_path: Path) -> None:
    (tmp_path / "folder/deep").mkdir(parents=True)
    (tmp_path / "folder/deep/file.txt").write_text("text")
    with TrackedRun(store, "name", {}) as run:
        run.tag(mlflow__note__content="http://a:b@h", weights_sha256="w")
        run.files(tmp_path / "folder", "place")
        run.dataset("train", "shapes-train", tmp_path / "folder", "0123456789abcdef" * 4)
    found = stored(store, run)
    assert found.data.tags["mlflow.note.content"] == "http://***@h" and found.data.tags["weights_sha256"] == "w"
    assert (Path(found.info.artifact_uri.removeprefix("file://")) / "place/deep/file.txt").read_text() == "text"
    (data,) = found.inputs.dataset_inputs
    assert (data.dataset.name, data.dataset.digest) == ("shapes-train", ("0123456789abcdef" * 4)[:36])
    assert data.tags[0].value == "train"


@pytest.mark.filterwarnings("error")
def test_naming_the_data_warns_of_nothing(store: Store, tmp_path: Path) -> None:
    with TrackedRun(store, "name", {}) as run:
        run.dataset("train", "x", tmp_path, "d")


def test_the_names_of_class_metrics() -> None:
    names = ["background", "potted plant", "a/b", "a?b", "a_b_3", "Büsche", "..", "x" * 300]
    assert metric_names("test/iou", names) == [
        "test/iou/background", "test/iou/potted plant", "test/iou/a_b", "test/iou/a_b_3", "test/iou/a_b_3_4",
        "test/iou/Büsche", "test/iou/_", "test/iou/" + "x" * 200,
    ]  # fmt: skip


@given(st.lists(st.text(alphabet=st.sampled_from("ab/._3 ?\n\0ü汉"), min_size=1, max_size=4), unique=True, max_size=12))
def test_every_class_has_a_metric_of_its_own_that_mlflow_accepts(names: list[str]) -> None:
    metrics = metric_names("test/iou", names)
    assert len(set(metrics)) == len(names)
    for metric in metrics:
        _validate_metric_name(metric)
