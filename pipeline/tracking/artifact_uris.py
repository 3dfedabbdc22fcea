"""Where a store says that artifacts are: which places are believed, and which are gone since its folder was moved."""

import re
import shlex
from pathlib import Path
from urllib.parse import unquote, urlsplit

from pipeline.config.addresses import database_file
from pipeline.runtime.errors import UserError
from pipeline.runtime.text import mask_credentials

ARTIFACTS = "artifacts"  # the folder beside a local store's database, with one for each experiment

# Where MLflow keeps artifacts. At http://… only the tracking server may: whoever makes an experiment can name any host,
# and the client would send it the password of the tracking server.
KEPT_IN = ("", "file", "mlflow-artifacts", "s3", "r2", "b2", "gs", "wasbs", "abfss", "hdfs", "viewfs", "dbfs", "sftp")


def in_its_own_place(id: str, location: str, uri: str) -> bool:
    """Whether artifacts are said to be where MLflow keeps those of a run or a model: `<somewhere>/<id>/artifacts`.

    Args:
        id: MLflow's of the run or the model.
        location: of its artifacts, as the store has it.
        uri: the store's absolute address.
    """
    try:
        place, server = urlsplit(location), urlsplit(uri)
    except ValueError:  # as `http://[`
        return False
    host = server.netloc.rpartition("@")[2]
    hosts = {"": "", "file": "", "mlflow-artifacts": host, "http": host, "https": host}
    return (
        re.fullmatch("[0-9A-Za-z_-]{1,64}", id) is not None
        and (place.scheme in KEPT_IN or place.scheme == server.scheme in ("http", "https"))
        # Together with what stands before an @: `evil\@host` is a user's name to some, and a host to others.
        and place.netloc in ("", hosts.get(place.scheme, place.netloc))
        and place.path.endswith(f"/{id}/artifacts")
    )


def believed(kind: str, id: str, location: str, uri: str) -> str:
    """The id of a run or a model, if its artifacts may be sent to where the store wants them.

    Raises:
        UserError: that is no place for them.
    """
    if in_its_own_place(id, location, uri):
        return id
    raise UserError(
        f"tracking.uri={mask_credentials(uri)}: says that the artifacts of {kind} {id} are in {location}, "
        "which is no place for them"
    )


def local_folder(location: str) -> Path | None:
    """The folder on this machine that a location names; None for any other place."""
    place = urlsplit(location)
    return Path(unquote(place.path)) if place.scheme in ("", "file") else None


def moved_away(location: str, uri: str) -> str | None:
    """Why a local store's experiment has its artifacts nowhere, and what to type; None where nothing says so.

    MLflow writes the whole path down when the experiment is made. After the folder of the project was moved or renamed
    it would make the old one again, and put there what is tracked from then on. A place that a person chose is not
    called as ours are, and may well be made with the first file in it.

    Args:
        location: of the experiment's artifacts, as MLflow has it.
        uri: the store's absolute address.
    """
    if (database := database_file(uri)) is None or (folder := local_folder(location)) is None:
        return None
    noted, now = folder.parent, database.parent / ARTIFACTS
    if noted.name != ARTIFACTS or noted == now or noted.is_dir():
        return None
    link = f"mkdir -p {_quoted(noted.parent)} {_quoted(now)} && ln -s {_quoted(now)} {_quoted(noted)}"
    return (
        f"MLflow has its artifacts in {noted}, which is not there; if it was moved and they are in {now} now, this "
        f"leads there: {link}"
    )


def _quoted(path: Path) -> str:
    return shlex.quote(str(path))
