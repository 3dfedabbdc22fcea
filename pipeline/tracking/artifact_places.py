"""Where a store says that artifacts are: places that are gone since its folder was moved."""

import shlex
from pathlib import Path
from urllib.parse import unquote, urlsplit

from pipeline.addresses import database_file

ARTIFACTS = "artifacts"  # the folder beside a local store's database, with one for each experiment


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
    database, folder = database_file(uri), local_folder(location)
    if database is None or folder is None:
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
