"""MLflow's model registry: the run of a registered model, and the model of a run, which is registered.

`models:/<name>@<alias>` and `models:/<name>/<version>` stand for the run that the version was registered from: what is
loaded, with all its checks, is that run's. A version is one run for ever; an alias moves.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

import mlflow
from mlflow.entities import LoggedModelStatus
from mlflow.entities.model_registry import RegisteredModel
from mlflow.exceptions import MlflowException

from pipeline.runtime.errors import UserError
from pipeline.runtime.text import enumerated, mask_credentials, nearest, plain
from pipeline.tracking.store import answering

PREFIX = "models:/"
ADDRESS = re.compile(r"models:/(?P<name>[^/:]+?)(?:/(?P<version>\d{1,9})|@(?P<alias>[^/@]+))")
MODEL = "model"  # the name of a run's logged model
MOST_NAMES = 1000  # registered models that are looked at for the nearest name


@dataclass(frozen=True)
class Registration:
    """A run's model in the registry."""

    name: str
    version: str
    new: bool  # whether this registration made the version
    alias: str | None
    before: str | None  # the version that the alias pointed to before; None without an alias, or for a new one

    @property
    def address(self) -> str:
        """What loads it: by its alias or, without one, by its version."""
        return f"{PREFIX}{self.name}@{self.alias}" if self.alias else f"{PREFIX}{self.name}/{self.version}"


def run_of_model(client: mlflow.MlflowClient, address: str, key: str) -> str:
    """MLflow's id of the run that a registered model comes from.

    Args:
        address: `models:/<name>@<alias>` or `models:/<name>/<version>`.
        key: what the command calls the run, for messages.

    Raises:
        UserError: there is no such model, alias or version, or it does not come from a run.
    """
    label, parts = f"{key}={address}", ADDRESS.fullmatch(address)
    if parts is None:
        raise UserError(f"{label}: {PREFIX}<name>@<alias> or {PREFIX}<name>/<version> expected, the version a number")
    model = _registered_model(client, parts["name"], label)
    version = parts["version"]
    if parts["alias"] is not None:
        aliases: Mapping[str, str] = model.aliases
        if parts["alias"] not in aliases:
            known = enumerated(sorted(aliases)) or "none"
            raise UserError(
                f"{label}: '{model.name}' has no alias '{parts['alias']}'{nearest(parts['alias'], sorted(aliases))}; "
                f"its aliases: {known}"
            )
        version = str(aliases[parts["alias"]])
    try:
        run_id = client.get_model_version(model.name, version).run_id
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        numbers = sorted(int(found.version) for found in _versions(client, model.name))
        known = enumerated(map(str, numbers)) or "none"
        raise UserError(f"{label}: '{model.name}' has no version {version}; its versions: {known}") from error
    if not run_id:
        raise UserError(f"{label}: version {version} of '{model.name}' was not registered from a run")
    return str(run_id)


def register(client: mlflow.MlflowClient, run_id: str, name: str, alias: str | None) -> Registration:
    """Register the model of a run under a name, once: a second call makes no second version. The alias moves to it.

    Raises:
        UserError: the run has not finished, or has no complete model in MLflow; or MLflow refuses the name or alias.
    """
    with answering(client.tracking_uri):
        source, model_id = _model_of(client, run_id)
        try:
            client.create_registered_model(name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        before = client.get_registered_model(name).aliases.get(alias)
        of_run = client.search_model_versions(f"run_id = '{run_id}'")
        version = next((str(found.version) for found in of_run if found.name == name), None)
        new = version is None
        if version is None:
            version = str(client.create_model_version(name, source, run_id=run_id, model_id=model_id).version)
        if alias is not None:
            client.set_registered_model_alias(name, alias, version)
    return Registration(name, version, new, alias, None if before is None else str(before))


def _model_of(client: mlflow.MlflowClient, run_id: str) -> tuple[str, str]:
    """Where the model that a finished run logged is, and its id.

    A model is an output of its run before its files are in MLflow, which registers it all the same; nothing could load
    it then.

    Raises:
        UserError: it has none that is complete, or has not finished.
    """
    run = client.get_run(run_id)
    finished = run.info.status == "FINISHED"
    for output in run.outputs.model_outputs if finished and run.outputs else []:
        model = client.get_logged_model(output.model_id)
        if model.name == MODEL and model.status == LoggedModelStatus.READY:
            return model.artifact_location, model.model_id
    raise UserError(
        f"run={run_id}: has no model to register in MLflow: it has not finished, was pruned, or `python -m "
        "pipeline.sync` has still to send the model"
    )


def _registered_model(client: mlflow.MlflowClient, name: str, label: str) -> RegisteredModel:
    """The registered model with this name.

    Raises:
        UserError: there is none.
    """
    try:
        return client.get_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        names = sorted(str(model.name) for model in client.search_registered_models(max_results=MOST_NAMES))
        known = f"; registered: {plain(enumerated(names))}" if names else "; no model is registered there"
        address = mask_credentials(client.tracking_uri)
        raise UserError(
            f"{label}: no model is registered as '{name}' at tracking.uri={address}{nearest(name, names)}{known}"
        ) from error


def _versions(client: mlflow.MlflowClient, name: str) -> list[mlflow.entities.model_registry.ModelVersion]:
    """All versions of a registered model, whose name may have quotes."""
    quote = '"' if "'" in name else "'"
    return list(client.search_model_versions(f"name = {quote}{name.replace(quote, '')}{quote}"))
