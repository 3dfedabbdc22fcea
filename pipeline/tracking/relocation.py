"""A project that was moved or copied together with its mlruns/: its database must not point into the original folder.

MLflow stores the absolute path of an experiment's artifacts in the database, and copies it to each of its runs and
models. Our default is `<folder of the database>/artifacts/<experiment>`, so a database whose paths name another folder
was moved or copied. Where the artifacts came along, the paths in this database are changed to them; the original, if it
still exists, has a database of its own. Otherwise nothing is written, and the message says what to do.
"""

import sqlite3
import sys
from pathlib import Path

from pipeline.config.addresses import database_file
from pipeline.tracking.artifact_uris import ARTIFACTS, local_folder

# Every column of MLflow's database in which the location of artifacts is stored.
COLUMNS = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)


def relocate(database: Path) -> None:
    """Change the locations of artifacts that came along with a database to where they are now.

    Raises:
        sqlite3.Error: the database cannot be read or written.
    """
    connection = sqlite3.connect(database, timeout=10, isolation_level=None)
    try:
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if "experiments" not in tables:  # MLflow has not created them yet
            return
        moved, with_runs = [], set()
        for number, location in connection.execute("SELECT experiment_id, artifact_location FROM experiments"):
            here = _place_here(location or "", database)
            if here is None:
                continue
            rows = connection.execute("SELECT run_uuid FROM runs WHERE experiment_id = ?", (number,))
            runs = [run_id for (run_id,) in rows]
            if _came_along(runs, location, here, database):
                moved.append((location, here))
                if runs:
                    with_runs.add(here.parent if (folder := local_folder(location)) is None else folder.parent)
        if not moved:
            return
        connection.execute("BEGIN IMMEDIATE")
        for old, here in moved:
            new = here.as_uri() if old.startswith("file:") else str(here)
            for table, column in COLUMNS:
                if table in tables:
                    connection.execute(
                        f"UPDATE {table} SET {column} = ? || substr({column}, ?) "
                        f"WHERE {column} = ? OR substr({column}, 1, ?) = ?",
                        (new, len(old) + 1, old, len(old) + 1, f"{old}/"),
                    )
        connection.execute("COMMIT")
    finally:
        connection.close()
    for recorded in sorted(with_runs):
        print(
            f"note: {database} names artifacts in {recorded}: it was moved or copied from there, and now names those "
            f"in {database.parent / ARTIFACTS}",
            file=sys.stderr,
        )


def misplaced(location: str, uri: str) -> str | None:
    """Why nothing may be written to an experiment's location, and what to do; None if it may.

    Args:
        location: of the experiment's artifacts, according to MLflow.
        uri: the store's absolute address.
    """
    database = database_file(uri)
    here = None if database is None else _place_here(location, database)
    folder = local_folder(location)
    if here is None or database is None or folder is None:
        return None
    if not folder.parent.is_dir():
        return (
            f"MLflow looks for its artifacts in {folder}, which does not exist, and they are not in {here} either; "
            "move them there, and type the command again"
        )
    if not (folder.parent.parent / database.name).is_file():
        return None  # a location that a person chose
    return (
        f"its artifacts are in {folder}, which belongs to {folder.parent.parent / database.name}; {database} is a copy "
        f"without them. Copy that folder to {here}, and type the command again"
    )


def _place_here(location: str, database: Path) -> Path | None:
    """Where the artifacts of an experiment would be next to a database; None if they are, or were never meant to be."""
    folder = local_folder(location)
    if folder is None or folder.parent.name != ARTIFACTS or folder.name in ("", ".."):
        return None
    expected = database.parent / ARTIFACTS
    if folder.parent == expected or folder.parent.resolve() == expected.resolve():
        return None
    return expected / folder.name


def _came_along(runs: list[str], location: str, here: Path, database: Path) -> bool:
    """Whether artifacts of an experiment's runs are next to this database; without runs, whether it is a copied one."""
    if runs:
        return any((here / run_id).is_dir() for run_id in runs)
    folder = local_folder(location)
    assert folder is not None
    original = folder.parent.parent
    return (original / database.name).is_file() or (
        not folder.parent.exists() and original.name == database.parent.name
    )
