"""Finding runs and experiments in an MLflow store."""

import contextlib
import shlex
from collections.abc import Iterator, Sequence

import mlflow
from mlflow.entities import Run, ViewType
from mlflow.exceptions import MlflowException

from pipeline.config.addresses import database_file, tracking_uri
from pipeline.config.environment import TRACKING_URI
from pipeline.runtime.errors import UserError
from pipeline.runtime.text import mask_credentials, plain
from pipeline.tracking.registry import PREFIX, run_of_model
from pipeline.tracking.store import Store, Unreachable, answering, connect


def search_runs(
    client: mlflow.MlflowClient,
    experiments: Sequence[str],
    condition: str = "",
    *,
    order_by: Sequence[str] = (),
    deleted: bool = False,
) -> Iterator[Run]:
    """All runs of some experiments that meet a condition, page by page.

    Args:
        experiments: their ids.
        condition: in MLflow's language for searches.
        deleted: whether deleted runs are found, too.
    """
    view, token = ViewType.ALL if deleted else ViewType.ACTIVE_ONLY, None
    while True:
        page = client.search_runs(list(experiments), condition, view, order_by=list(order_by), page_token=token)
        yield from page
        token = page.token
        if not token:
            return


def run_with_key(client: mlflow.MlflowClient, key: str) -> Run | None:
    """The run with this run_key in any experiment, or None. A deleted one is found if no other has the key.

    Experiments are renamed, and runs may be moved to another one, so a run is never looked up by its experiment.
    """
    quoted = key.replace("'", "")
    found = list(search_runs(client, experiment_ids(client), f"tags.run_key = '{quoted}'", deleted=True))
    return next((run for run in found if run.info.lifecycle_stage == "active"), next(iter(found), None))


def experiment_ids(client: mlflow.MlflowClient) -> list[str]:
    """The ids of all experiments, deleted ones included."""
    found: list[str] = []
    token = None
    while True:
        page = client.search_experiments(view_type=ViewType.ALL, page_token=token)
        found += [str(experiment.experiment_id) for experiment in page]
        token = page.token
        if not token:
            return found


def deletion(client: mlflow.MlflowClient, run: Run) -> str | None:
    """That a run was deleted, alone or with its experiment, and the command that restores it; None if it was not."""
    if run.info.lifecycle_stage == "active":
        return None
    store = f"{TRACKING_URI}={shlex.quote(mask_credentials(client.tracking_uri))}"
    experiment = client.get_experiment(run.info.experiment_id)
    if experiment.lifecycle_stage != "active":
        command = f"experiments restore --experiment-id {experiment.experiment_id}"
        return f"was deleted with its experiment '{plain(experiment.name)}'; `{store} mlflow {command}` restores both"
    return f"was deleted; `{store} mlflow runs restore --run-id {run.info.run_id}` restores it"


def get_run(client: mlflow.MlflowClient, run_id: str) -> Run | None:
    """The run with this id; None if MLflow does not have it, or no longer."""
    try:
        return client.get_run(run_id)
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return None
        raise


def find_run(client: mlflow.MlflowClient, name: str, key: str = "run") -> Run:
    """The run with this id or run_key, in any experiment, or the run of a registered model.

    Args:
        name: also `models:/<name>@<alias>` or `models:/<name>/<version>`.
        key: what the command calls the run, for messages.

    Raises:
        UserError: no run has it.
    """
    if name.startswith(PREFIX):
        run_id = run_of_model(client, name, key)
        if (run := get_run(client, run_id)) is None:
            raise UserError(f"{key}={name}: was registered from run {plain(run_id)}, which MLflow no longer has")
        return run
    with contextlib.suppress(MlflowException):
        return client.get_run(name)
    found = run_with_key(client, name)
    if found is None:
        address = mask_credentials(client.tracking_uri)
        raise UserError(f"{key}={name}: no run has this id or run_key at tracking.uri={address}")
    return found


def runs_with_fingerprint(fingerprint: str, store: Store | None) -> list[Run] | None:
    """The runs of an experiment with a fingerprint, the newest first; None if the store does not answer."""
    if store is None:
        return None
    try:
        with answering(store.uri):
            client = mlflow.MlflowClient(store.uri)
            return list(search_runs(client, [store.experiment_id], f"tags.fingerprint = '{fingerprint}'"))
    except Unreachable:
        return None


def open_client(uri: str | None) -> mlflow.MlflowClient:
    """A client of a store that exists already.

    Raises:
        UserError: the store does not exist, or does not answer.
    """
    address = tracking_uri(uri)
    database = database_file(address)
    if database is not None and not database.is_file():
        raise UserError(
            f"tracking.uri={address}: this database does not exist; start in the folder that contains mlruns/, or give "
            "the address of the runs with tracking.uri=…"
        )
    with answering(address):
        return connect(address)


def open_experiment(name: str, uri: str | None) -> tuple[mlflow.MlflowClient, str | None]:
    """A client, and the id of the experiment with this name; None if there is no such experiment, or it was deleted.

    Raises:
        UserError: the store does not exist, or does not answer.
    """
    client = open_client(uri)
    with answering(client.tracking_uri):
        found = client.get_experiment_by_name(name)
    return client, None if found is None or found.lifecycle_stage != "active" else str(found.experiment_id)
