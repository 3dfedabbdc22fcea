"""Finding a run that was tracked before, and fetching the files that the side tools need."""

from pathlib import Path

import mlflow
import pytest
from omegaconf import OmegaConf

from pipeline.command_line import checked_config
from pipeline.errors import UserError
from pipeline.tracking.stored import fetch_run


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with mlruns/mlflow.db, in which one experiment is."""
    folder = tmp_path_factory.mktemp("store")
    (folder / "mlruns").mkdir()
    client = mlflow.MlflowClient(f"sqlite:///{folder}/mlruns/mlflow.db")
    client.create_experiment("x", artifact_location=(folder / "artifacts").as_uri())
    return folder


def make_run(place: Path, weights: bool = True, **tags: str) -> str:
    client = mlflow.MlflowClient(f"sqlite:///{place}/mlruns/mlflow.db")
    run = client.create_run(client.get_experiment_by_name("x").experiment_id, tags=tags)
    root = place / "artifacts" / run.info.run_id / "artifacts"
    (root / "config").mkdir(parents=True)
    config = OmegaConf.structured(checked_config(["model.depth=3", "threads=2", 'dataset.classes=[a,b,"Büsche"]']))
    (root / "config/config.yaml").write_text(OmegaConf.to_yaml(config), encoding="utf-8")
    if weights:
        (root / "checkpoints/best").mkdir(parents=True)
        (root / "checkpoints/best/weights.npz").write_bytes(b"weights")
    return str(run.info.run_id)


@pytest.fixture(autouse=True)
def inside(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)


def test_a_run_is_found_by_its_id_or_its_key_in_the_default_store(place: Path) -> None:
    id = make_run(place, run_key="abc", weights_sha256="f00")
    for name in (id, "abc"):
        stored = fetch_run(name, None)
        with stored.folder:
            assert (stored.id, stored.weights_sha256) == (id, "f00")
            assert stored.weights.read_bytes() == b"weights"
            assert stored.config.model.depth == 3 and stored.config.dataset.classes == ["a", "b", "Büsche"]
        assert not stored.weights.exists()


def test_a_store_is_named_by_its_address(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    id = make_run(place, weights_sha256="f00")
    monkeypatch.chdir(tmp_path)
    stored = fetch_run(id, f"sqlite:///{place}/mlruns/mlflow.db")
    stored.folder.cleanup()
    assert stored.id == id


@pytest.mark.parametrize("name", ["0123456789abcdef0123456789abcdef", "x'y", "x' or 'a' = 'a", "../..", " ", "%"])
def test_a_run_that_is_not_there(name: str) -> None:
    with pytest.raises(UserError, match=r"no run has this id or run_key at tracking\.uri=sqlite:///") as told:
        fetch_run(name, None)
    assert str(told.value).startswith(f"run={name}: ")


def test_a_run_without_weights_says_in_what_state_it_is(place: Path) -> None:
    id = make_run(place)
    with pytest.raises(UserError, match="has no evaluated weights; it is RUNNING, and only a FINISHED run has them"):
        fetch_run(id, None)


def test_a_missing_artifact_is_named(place: Path) -> None:
    id = make_run(place, weights=False, weights_sha256="f00")
    with pytest.raises(UserError, match=r"has no artifact checkpoints/best/weights\.npz"):
        fetch_run(id, None)


def test_without_a_database_none_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="there is no such database; start in the folder that holds mlruns/"):
        fetch_run("x", None)
    assert list(tmp_path.iterdir()) == []
