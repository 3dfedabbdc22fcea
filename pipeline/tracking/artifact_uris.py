"""Locations of artifacts, as a store gives them, and which of them are trusted."""

import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

from pipeline.runtime.errors import UserError
from pipeline.runtime.text import mask_credentials

ARTIFACTS = "artifacts"  # the folder next to a local store's database, with one for each experiment

# Schemes of the storages in which MLflow stores artifacts. http:// is trusted for the tracking server alone: whoever
# creates an experiment can name any host, and the client would send it the password of the tracking server.
SCHEMES = ("", "file", "mlflow-artifacts", "s3", "r2", "b2", "gs", "wasbs", "abfss", "hdfs", "viewfs", "dbfs", "sftp")


def is_trusted(owner_id: str, location: str, uri: str) -> bool:
    """Whether artifacts are where MLflow stores those of a run or a model: `<somewhere>/<its id>/artifacts`.

    Args:
        owner_id: MLflow's id of the run or the model.
        location: of its artifacts, according to the store.
        uri: the store's absolute address.
    """
    try:
        place, server = urlsplit(location), urlsplit(uri)
    except ValueError:  # as for `http://[`
        return False
    host = server.netloc.rpartition("@")[2]
    hosts = {"": "", "file": "", "mlflow-artifacts": host, "http": host, "https": host}
    return (
        re.fullmatch("[0-9A-Za-z_-]{1,64}", owner_id) is not None
        and (place.scheme in SCHEMES or place.scheme == server.scheme in ("http", "https"))
        # Compared together with what precedes an @: some clients read `evil\@host` as a user's name, others as a host.
        and place.netloc in ("", hosts.get(place.scheme, place.netloc))
        and place.path.endswith(f"/{owner_id}/artifacts")
    )


def checked_location(kind: str, owner_id: str, location: str, uri: str) -> str:
    """The id of a run or a model, if its artifacts may be sent to their location.

    Args:
        kind: "run" or "model", for the message.
        owner_id, location, uri: see `is_trusted`.

    Raises:
        UserError: the location is not trusted.
    """
    if is_trusted(owner_id, location, uri):
        return owner_id
    raise UserError(
        f"tracking.uri={mask_credentials(uri)}: gives {location} as the location of the artifacts of {kind} "
        f"{owner_id}, where MLflow does not store any; nothing is sent there"
    )


def local_folder(location: str) -> Path | None:
    """The folder on this machine that a location names; None for any other location."""
    place = urlsplit(location)
    if place.scheme == "":  # a path as it is, in which % and # mean nothing
        return Path(location)
    return Path(unquote(place.path)) if place.scheme == "file" else None
