"""MLflow's registry: a run's model is registered once, an alias moves, and both stand for the run."""

import re
from pathlib import Path

import mlflow
import pytest
from mlflow.entities import LoggedModelOutput, LoggedModelStatus

from pipeline.runtime.errors import UserError
from pipeline.tracking.registry import register
from pipeline.tracking.stored_run import open_run, run_id_of


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> mlflow.MlflowClient:
    """A client of a store with one experiment, in a folder of its own."""
    folder = tmp_path_factory.mktemp("store")
    client = mlflow.MlflowClient(f"sqlite:///{folder}/mlflow.db")
    client.create_experiment("x", artifact_location=(folder / "artifacts").as_uri())
    return client


def make_run(
    client: mlflow.MlflowClient,
    place: Path,
    model: bool = True,
    uploaded: LoggedModelStatus = LoggedModelStatus.READY,
    status: str = "FINISHED",
) -> str:
    """A run with a model and another output; of an upload that is PENDING or failed there are no files."""
    experiment = client.get_experiment_by_name("x").experiment_id
    run_id = str(client.create_run(experiment).info.run_id)
    for name in ("exported", "model") if model else ():
        logged = client.create_logged_model(experiment, name, source_run_id=run_id)
        client.log_outputs(run_id, [LoggedModelOutput(logged.model_id, step=0)])
        folder = place / run_id / name
        folder.mkdir(parents=True)
        (folder / "MLmodel").write_text("flavors: {}\n")
        if uploaded == LoggedModelStatus.READY:
            client.log_model_artifacts(logged.model_id, str(folder))
        if uploaded != LoggedModelStatus.PENDING:
            client.finalize_logged_model(logged.model_id, uploaded)
    if status != "RUNNING":
        client.set_terminated(run_id, status)
    return run_id


def opened(client: mlflow.MlflowClient, name: str) -> str:
    stored = open_run(name, client.tracking_uri)
    with stored.folder:
        return stored.run_id


def test_a_run_is_registered_once_and_the_alias_moves(client: mlflow.MlflowClient, tmp_path: Path) -> None:
    first, second = make_run(client, tmp_path), make_run(client, tmp_path)
    results = [register(client, run_id, "it's", "live") for run_id in (first, first, second, first)]
    assert [(done.version, done.new, done.before) for done in results] == [
        ("1", True, None), ("1", False, "1"), ("2", True, "1"), ("1", False, "2"),
    ]  # fmt: skip
    assert {done.address for done in results} == {"models:/it's@live"}
    assert opened(client, "models:/it's@live") == opened(client, "models:/it's/1") == first
    assert run_id_of("models:/it's/2", client.tracking_uri, "resume") == second
    source = Path(client.get_model_version("it's", "1").source)  # …/<model id>/artifacts
    assert client.get_logged_model(source.parent.name).name == "model"


def test_without_an_alias_the_version_is_its_address(client: mlflow.MlflowClient, tmp_path: Path) -> None:
    run_id = make_run(client, tmp_path)
    done = register(client, run_id, "plain", None)
    assert (done.address, done.before) == ("models:/plain/1", None)
    assert client.get_registered_model("plain").aliases == {}
    assert opened(client, done.address) == run_id


def test_a_run_without_a_model_is_refused(client: mlflow.MlflowClient, tmp_path: Path) -> None:
    run_id = make_run(client, tmp_path, model=False)
    with pytest.raises(UserError, match=f"^run={run_id}: has no model to register in MLflow: .*pipeline.sync"):
        register(client, run_id, "none", "live")
    with pytest.raises(mlflow.MlflowException, match="not found"):
        client.get_registered_model("none")


@pytest.mark.parametrize(
    ("uploaded", "status"),
    [
        (LoggedModelStatus.PENDING, "FINISHED"),
        (LoggedModelStatus.FAILED, "FINISHED"),
        (LoggedModelStatus.READY, "RUNNING"),
        (LoggedModelStatus.READY, "KILLED"),
    ],
)
def test_a_model_that_is_not_complete_is_refused(
    client: mlflow.MlflowClient, tmp_path: Path, uploaded: LoggedModelStatus, status: str
) -> None:
    """As long as its files are not stored, or its run has not finished; the alias stays where it was."""
    name = f"{uploaded} {status}"
    before = make_run(client, tmp_path)
    register(client, before, name, "production")
    run_id = make_run(client, tmp_path, uploaded=uploaded, status=status)
    with pytest.raises(UserError, match=f"^run={run_id}: has no model to register in MLflow: it has not finished, "):
        register(client, run_id, name, "production")
    assert opened(client, f"models:/{name}@production") == before
    assert [str(found.version) for found in client.search_model_versions(f"name = '{name}'")] == ["1"]


@pytest.fixture(scope="module")
def streets(client: mlflow.MlflowClient, tmp_path_factory: pytest.TempPathFactory) -> mlflow.MlflowClient:
    """The store with `streets`: version 1, `production`; version 2 of no run; version 3 of a run that was deleted."""
    place = tmp_path_factory.mktemp("streets")
    kept, gone = make_run(client, place), make_run(client, place)
    register(client, kept, "streets", "production")
    client.create_model_version("streets", (place / kept).as_uri())
    register(client, gone, "streets", "candidate")
    client.delete_run(gone)
    return client


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("street@production", r"no model is registered as 'street' at .* \(did you mean 'streets'\?\); registered: .*"),
        (
            "streets@produktion",
            r"has no alias 'produktion' \(did you mean 'production'\?\); .*: candidate, production$",
        ),
        ("streets/9", "'streets' has no version 9; its versions: 1, 2, 3$"),
        ("streets/2", "version 2 of 'streets' was not registered from a run"),
        ("streets/3", "was deleted; "),
        ("streets/latest", "models:/<name>@<alias> or models:/<name>/<version> expected, the version a number"),
        ("streets", "models:/<name>@<alias> or models:/<name>/<version> expected"),
        ("", "models:/<name>@<alias> or models:/<name>/<version> expected"),
        ("../streets@production", "models:/<name>@<alias> or models:/<name>/<version> expected"),
    ],
)
def test_an_address_of_nothing_is_answered_with_the_nearest(
    streets: mlflow.MlflowClient, address: str, message: str
) -> None:
    with pytest.raises(UserError) as refused:
        open_run(f"models:/{address}", streets.tracking_uri, "rerun")
    (fault,) = refused.value.faults
    assert fault.startswith(f"rerun=models:/{address}: ")
    assert re.search(message, fault), fault
