"""Opening a run in MLflow, and fetching its known files into a private folder."""

import os
from pathlib import Path

import mlflow
import pytest
from omegaconf import OmegaConf

from pipeline.config.overrides import checked_config
from pipeline.config.schema import SCHEMA_VERSION
from pipeline.runtime.errors import UserError
from pipeline.tracking import stored_run as module
from pipeline.tracking.stored_run import StoredRun, fetch_weights, open_run, open_runs

CONFIG = 'dataset.classes=[a,b,"Büsche"]'


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with mlruns/mlflow.db, which contains one experiment."""
    folder = tmp_path_factory.mktemp("store")
    (folder / "mlruns").mkdir()
    client = mlflow.MlflowClient(f"sqlite:///{folder}/mlruns/mlflow.db")
    client.create_experiment("x", artifact_location=(folder / "artifacts").as_uri())
    return folder


def client_of(place: Path) -> mlflow.MlflowClient:
    return mlflow.MlflowClient(f"sqlite:///{place}/mlruns/mlflow.db")


def make_run(place: Path, weights: bool = True, **tags: str) -> str:
    client = client_of(place)
    run = client.create_run(client.get_experiment_by_name("x").experiment_id, tags=tags)
    root = artifacts(place, run.info.run_id)
    (root / "config").mkdir(parents=True)
    config = OmegaConf.structured(checked_config(["model.depth=3", "threads=2", CONFIG]))
    (root / "config/config.yaml").write_text(OmegaConf.to_yaml(config), encoding="utf-8")
    if weights:
        (root / "checkpoints/best").mkdir(parents=True)
        (root / "checkpoints/best/weights.npz").write_bytes(b"weights")
    return str(run.info.run_id)


def artifacts(place: Path, run_id: str) -> Path:
    return place / "artifacts" / run_id / "artifacts"


@pytest.fixture(autouse=True)
def inside(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)


def opened(run_id: str) -> StoredRun:
    """A run whose private folder is removed with the test's objects."""
    return open_run(run_id, None)


# ---- finding it


def test_a_run_is_opened_by_its_id_or_its_key(place: Path) -> None:
    run_id = make_run(place, run_key="abc", weights_sha256="f00")
    for name in (run_id, "abc"):
        stored = open_run(name, None)
        with stored.folder:
            assert stored.run_id == run_id and stored.tags["run_key"] == "abc"
            weights, recorded = fetch_weights(stored)
            assert (weights.read_bytes(), recorded) == (b"weights", "f00")
            config = stored.config()
            assert config.model.depth == 3 and config.dataset.classes == ["a", "b", "Büsche"]
        assert not weights.exists()


def test_a_store_is_given_by_its_address(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_id = make_run(place)
    monkeypatch.chdir(tmp_path)
    assert open_run(run_id, f"sqlite:///{place}/mlruns/mlflow.db").run_id == run_id


def test_several_runs_are_opened_in_their_order_and_each_is_named_once(place: Path) -> None:
    first, second = make_run(place, run_key="one"), make_run(place)
    assert [run.run_id for run in open_runs(f"{second},one", None)] == [second, first]
    with pytest.raises(UserError, match=f"run={first},one: names run {first} twice; each run once expected"):
        open_runs(f"{first},one", None)
    with pytest.raises(UserError, match=f"run={first},,{second}: run ids with one comma between them expected"):
        open_runs(f"{first},,{second}", None)


@pytest.mark.parametrize("name", ["0123456789abcdef0123456789abcdef", "x'y", "x' or 'a' = 'a", "../..", " ", "%"])
def test_a_run_that_does_not_exist_is_refused(name: str) -> None:
    with pytest.raises(UserError, match=r"no run has this id or run_key at tracking\.uri=sqlite:///") as raised:
        open_run(name, None, "rerun")
    assert str(raised.value).startswith(f"rerun={name}: ")


def test_the_message_for_a_deleted_run_says_how_to_restore_it(place: Path) -> None:
    run_id = make_run(place)
    client_of(place).delete_run(run_id)
    with pytest.raises(
        UserError, match=rf"^resume={run_id}: was deleted; `MLFLOW.*db mlflow runs restore --run-id {run_id}` restores"
    ):
        open_run(run_id, None, "resume")
    client_of(place).restore_run(run_id)
    assert open_run(run_id, None).run_id == run_id


@pytest.mark.parametrize("schema", [str(SCHEMA_VERSION + 1), "99", "two", "-1", ""])
def test_a_run_of_a_newer_version_is_refused(place: Path, schema: str) -> None:
    run_id = make_run(place, schema=schema)
    with pytest.raises(
        UserError, match=rf"newer version of this program \(schema {schema}, this one: {SCHEMA_VERSION}"
    ):
        open_run(run_id, None)


def test_a_run_of_this_version_or_of_none_is_accepted(place: Path) -> None:
    assert open_run(make_run(place, schema=str(SCHEMA_VERSION)), None)
    assert open_run(make_run(place), None)


def test_a_missing_database_is_not_created(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="this database does not exist; start in the folder that contains mlruns/"):
        open_run("x", None)
    assert list(tmp_path.iterdir()) == []


def test_the_history_has_every_metric_by_step(place: Path) -> None:
    run_id = make_run(place)
    for step, value in ((1, 0.5), (2, 0.25)):
        client_of(place).log_metric(run_id, "val/loss", value, step=step)
    client_of(place).log_metric(run_id, "best/epoch", 2.0, step=2)
    assert opened(run_id).history() == {"val/loss": {1: 0.5, 2: 0.25}, "best/epoch": {2: 2.0}}
    assert opened(make_run(place)).history() == {}


# ---- its files


def test_the_message_for_missing_weights_gives_the_status(place: Path) -> None:
    with pytest.raises(UserError, match="has no evaluated weights; it is RUNNING, and only a FINISHED run has them"):
        fetch_weights(opened(make_run(place)))


@pytest.mark.parametrize(
    ("tag", "reason"), [("is_sweep", "it is a sweep, .* name one of them"), ("pruned", "was pruned")]
)
def test_the_message_for_missing_weights_gives_the_reason(place: Path, tag: str, reason: str) -> None:
    make_run(place, run_key="abc", **{tag: "true"})
    with pytest.raises(UserError, match=f"init_from=abc: has no evaluated weights; .*{reason}"):
        fetch_weights(open_run("abc", None, "init_from"))


def test_a_missing_artifact_is_named(place: Path) -> None:
    stored = opened(make_run(place, weights=False, weights_sha256="f00"))
    with pytest.raises(UserError, match=r"has no artifact checkpoints/best/weights\.npz"):
        fetch_weights(stored)
    assert not stored.has("checkpoints/best/weights.npz") and stored.has("config/config.yaml")


def test_the_location_of_missing_artifacts_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    (old / "mlruns").mkdir(parents=True)
    client = client_of(old)
    for name, place in (("x", "mlruns/artifacts/x"), ("own", "own")):
        client.create_experiment(name, artifact_location=(old / place).as_uri())
    run_id, own = (
        client.create_run(client.get_experiment_by_name(name).experiment_id).info.run_id for name in ("x", "own")
    )
    old.rename(new)
    monkeypatch.chdir(new)
    with pytest.raises(UserError, match=f"{own}: has no artifact config/c.*: the folder {old}/own/{own}/artifacts d"):
        opened(own).fetch("config/config.yaml")
    with pytest.raises(UserError) as raised:
        opened(run_id).fetch("config/config.yaml")
    assert str(raised.value) == (
        f"run={run_id}: has no artifact config/config.yaml: MLflow looks for its artifacts in {old}/mlruns/artifacts/x"
        f", which does not exist, and they are not in {new}/mlruns/artifacts/x either; move them there, and type the "
        "command again"
    )
    config = new / f"mlruns/artifacts/x/{run_id}/artifacts/config"
    config.mkdir(parents=True)
    (config / "config.yaml").write_text("here")
    assert opened(run_id).fetch("config/config.yaml").read_text() == "here"


def test_a_file_is_fetched_once_into_a_private_folder(place: Path) -> None:
    run_id = make_run(place, weights_sha256="f00")
    stored = opened(run_id)
    path = stored.fetch("checkpoints/best/weights.npz")
    (artifacts(place, run_id) / "checkpoints/best/weights.npz").write_bytes(b"changed since")
    assert stored.fetch("checkpoints/best/weights.npz") == path == stored.path("checkpoints/best/weights.npz")
    assert path.read_bytes() == b"weights"
    assert Path(stored.folder.name).stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("linked", ["checkpoints/best/weights.npz", "checkpoints/best", "checkpoints"])
def test_a_link_in_place_of_a_file_or_folder_is_refused(place: Path, tmp_path: Path, linked: str) -> None:
    run_id = make_run(place, weights_sha256="f00")
    real, moved = artifacts(place, run_id) / linked, tmp_path / "moved"
    real.rename(moved)
    os.symlink(moved, real)
    stored = opened(run_id)
    # A link that leaves the run's artifacts may be refused by MLflow already.
    with pytest.raises(UserError, match=r"weights\.npz( is not a plain file|: .*outside the artifact directory)"):
        fetch_weights(stored)
    assert not stored.path("checkpoints/best/weights.npz").exists()


def test_a_folder_in_place_of_a_file_is_refused(place: Path) -> None:
    run_id = make_run(place, weights=False, weights_sha256="f00")
    (artifacts(place, run_id) / "checkpoints/best/weights.npz").mkdir(parents=True)
    (artifacts(place, run_id) / "checkpoints/best/weights.npz/x").write_text("x")
    with pytest.raises(UserError, match="is not a plain file"):
        fetch_weights(opened(run_id))


@pytest.mark.parametrize(
    ("limit", "artifact"), [("LARGEST_ARRAYS", "checkpoints/best/weights.npz"), ("LARGEST_TEXT", "config/config.yaml")]
)
def test_a_file_that_is_too_large_is_not_fetched(
    place: Path, monkeypatch: pytest.MonkeyPatch, limit: str, artifact: str
) -> None:
    run_id = make_run(place)
    size = (artifacts(place, run_id) / artifact).stat().st_size
    stored = opened(run_id)
    monkeypatch.setattr(module, limit, size - 1)
    monkeypatch.setattr(stored.client, "download_artifacts", lambda *_: pytest.fail("it was fetched"))
    with pytest.raises(UserError, match=rf"artifact {artifact} has {size} bytes; at most {size - 1} expected"):
        stored.fetch(artifact)


def test_a_file_that_is_larger_than_listed_is_refused(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_id = make_run(place)
    stored = opened(run_id)
    original = stored.client.list_artifacts

    def small(*arguments: str) -> list[object]:
        listed = original(*arguments)
        for entry in listed:
            entry._bytes = 1
        return listed

    monkeypatch.setattr(module, "LARGEST_ARRAYS", 3)
    monkeypatch.setattr(stored.client, "list_artifacts", small)
    with pytest.raises(UserError, match="is larger than the 3 bytes expected"):
        stored.fetch("checkpoints/best/weights.npz")


def test_a_path_outside_the_private_folder_is_refused(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The path that the client of a hostile store returns is checked, too."""
    (tmp_path / "elsewhere").write_bytes(b"not yours")
    stored = opened(make_run(place))
    monkeypatch.setattr(stored.client, "download_artifacts", lambda *_: str(tmp_path / "elsewhere"))
    with pytest.raises(UserError, match="is not a plain file"):
        stored.fetch("checkpoints/best/weights.npz")
    assert (tmp_path / "elsewhere").exists()


def test_a_configuration_with_code_or_resolvers_is_refused(place: Path) -> None:
    for line in ("_target_: os.system", "hydra: {run: {dir: /tmp}}", "data_dir: ${oc.env:HOME}"):
        run_id = make_run(place)
        path = artifacts(place, run_id) / "config/config.yaml"
        others = [old for old in path.read_text(encoding="utf-8").splitlines() if not old.startswith("data_dir")]
        path.write_text("\n".join([*others, line]), encoding="utf-8")
        with pytest.raises(UserError):
            opened(run_id).config()
