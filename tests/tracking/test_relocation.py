"""A project that was moved or copied with its mlruns/: what is written and read is in its own folder."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import mlflow
import pytest

from pipeline.config.schema import TrackingConfig
from pipeline.runtime.errors import UserError
from pipeline.tracking.search import open_client
from pipeline.tracking.store import open_store
from pipeline.tracking.stored_run import open_run

DEFAULT = TrackingConfig(uri=None, experiment="x")


def log_file(content: str, experiment: str = "x") -> str:
    """A run with one file and a model in the default store of the current directory; its id."""
    store = open_store(TrackingConfig(uri=None, experiment=experiment))
    client = mlflow.MlflowClient(store.uri)
    run_id = client.create_run(store.experiment_id, tags={"schema": "1"}).info.run_id
    Path("file").write_text(content)
    client.log_artifact(run_id, "file", "p")
    client.create_logged_model(store.experiment_id, "model", source_run_id=run_id)
    return str(run_id)


def read(run_id: str) -> str:
    stored = open_run(run_id, None)
    with stored.folder:
        return stored.fetch("p/file").read_text()


def contents(folder: Path) -> dict[str, bytes | None]:
    return {str(path): path.read_bytes() if path.is_file() else None for path in sorted(folder.rglob("*"))}


@pytest.fixture
def project(tmp_path: Path, tracking: TrackingConfig, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current directory: a project with an empty database."""
    (tmp_path / "old one/mlruns").mkdir(parents=True)
    shutil.copy(str(tracking.uri).removeprefix("sqlite:///"), tmp_path / "old one/mlruns")
    monkeypatch.chdir(tmp_path / "old one")
    return tmp_path / "old one"


@pytest.fixture
def to(project: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[Path, Path], object]], Path]:
    """to(how): the project in a new folder, which becomes the current one."""

    def to(how: Callable[[Path, Path], object]) -> Path:
        new = project.with_name("new ö")
        how(project, new)
        monkeypatch.chdir(new)
        return new

    return to


@pytest.mark.parametrize("how", [os.rename, shutil.copytree])
def test_a_moved_or_copied_project_reads_and_writes_its_own_files(
    project: Path, to: Callable[..., Path], how: Callable[[Path, Path], object], capsys: pytest.CaptureFixture[str]
) -> None:
    """Whether a command reads or writes first, and whether the original is still there."""
    run_id = log_file("before")
    new = to(how)
    before = contents(project)
    (new / "mlruns/artifacts/x" / run_id / "artifacts/p/file").write_text("in the copy")
    assert read(run_id) == "in the copy"
    note = f"note: {new}/mlruns/mlflow.db names artifacts in {project}/mlruns/artifacts: it was moved or copied"
    assert capsys.readouterr().err.startswith(note)
    second = log_file("after")
    assert read(second) == "after" and (new / "mlruns/artifacts/x" / second / "artifacts/p/file").is_file()
    client = open_client(None)
    models = client.search_logged_models([client.get_run(run_id).info.experiment_id])
    assert {model.artifact_location.startswith((new / "mlruns/artifacts/x").as_uri()) for model in models} == {True}
    assert len(models) == 2
    assert contents(project) == before
    assert capsys.readouterr().err == ""


def test_a_copied_database_without_its_artifacts_is_not_written(project: Path, to: Callable[..., Path]) -> None:
    """Since the artifacts of its runs are the original's; other experiments are."""
    run_id = log_file("original")
    new = to(lambda old, new: shutil.copytree(old, new, ignore=shutil.ignore_patterns("artifacts")))
    before = contents(project)
    with pytest.raises(UserError) as raised:
        open_store(DEFAULT)
    assert str(raised.value.faults[0]).startswith(f"tracking.experiment=x: its artifacts are in {project}/mlruns/art")
    assert f"Copy that folder to {new}/mlruns/artifacts/x" in raised.value.faults[0]
    assert raised.value.faults[1] == "tracking.experiment=x: or choose another name, which starts a new experiment"
    assert read(run_id) == "original"
    assert read(log_file("mine", "another")) == "mine"
    assert contents(project) == before
    shutil.copytree(project / "mlruns/artifacts", new / "mlruns/artifacts", dirs_exist_ok=True)
    assert read(log_file("now")) == "now"


def test_a_moved_database_without_its_artifacts_is_not_written(project: Path, to: Callable[..., Path]) -> None:
    log_file("lost")
    shutil.rmtree("mlruns/artifacts")
    new = to(os.rename)
    with pytest.raises(UserError, match=f"which does not exist, and they are not in {new}/mlruns/artifacts/x either"):
        open_store(DEFAULT)
    assert not project.exists()


def test_an_experiment_without_runs_moves_along(project: Path, to: Callable[..., Path]) -> None:
    open_store(DEFAULT)
    new = to(os.rename)
    run_id = log_file("first")
    assert (new / "mlruns/artifacts/x" / run_id).is_dir() and not project.exists()


def test_a_location_that_a_person_chose_stays(project: Path, to: Callable[..., Path], tmp_path: Path) -> None:
    """Even one that looks like ours, and a link to the same folder."""
    chosen = tmp_path / "disk/artifacts"
    chosen.mkdir(parents=True)
    client = mlflow.MlflowClient(open_store(DEFAULT).uri)
    client.create_experiment("chosen", artifact_location=(chosen / "chosen").as_uri())
    client.create_experiment("later", artifact_location=(tmp_path / "disk/to be made").as_uri())
    run_id = log_file("chosen", "chosen")
    to(os.rename)
    project.symlink_to(Path.cwd())
    for name in ("chosen", "later", "Default"):
        assert open_store(TrackingConfig(uri=None, experiment=name))
    assert (chosen / "chosen" / run_id).is_dir() and read(run_id) == "chosen"
    location = open_client(None).get_experiment_by_name("x").artifact_location
    assert location.endswith("old%20one/mlruns/artifacts/x")
