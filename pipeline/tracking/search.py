"""Finding runs and experiments in an MLflow store."""

import contextlib
from collections.abc import Iterator, Sequence

import mlflow
from mlflow.entities import Run, ViewType
from mlflow.exceptions import MlflowException

from pipeline.config.addresses import database_file, tracking_uri
from pipeline.runtime.errors import UserError
from pipeline.runtime.text import mask_credentials
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


def run_with_key(
    client: mlflow.MlflowClient, experiments: Sequence[str], key: str, deleted: bool = False
) -> Run | None:
    """The run with this run_key in some experiments, or None.

    Args:
        deleted: whether a deleted run is found, too.
    """
    quoted = key.replace("'", "")
    return next(search_runs(client, experiments, f"tags.run_key = '{quoted}'", deleted=deleted), None)


def get_run(client: mlflow.MlflowClient, run_id: str) -> Run | None:
    """The run with this id; None if MLflow does not have it, or no longer."""
    try:
        return client.get_run(run_id)
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return None
        raise


def find_run(client: mlflow.MlflowClient, name: str, key: str = "run") -> Run:
    """The run with this id or run_key, in any experiment.

    Args:
        key: what the command calls the run, for messages.

    Raises:
        UserError: no run has it.
    """
    with contextlib.suppress(MlflowException):
        return client.get_run(name)
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    found = run_with_key(client, experiments, name)
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
