"""An MLflow database in a file of this machine: whether it can be used now, and what to do if it cannot."""

import re
import sqlite3
import sys
import time
from pathlib import Path
from urllib.parse import quote

from alembic.script import ScriptDirectory
from alembic.util import CommandError
from mlflow.store.db.utils import _get_alembic_config

LOCK_PATIENCE = 10.0  # seconds for which a database that another process has locked is waited for
# The results of SQLite that people cause, and what to do. Its own words precede.
ADVICE = {
    sqlite3.SQLITE_READONLY: "make the file writable, or choose another tracking.uri",
    sqlite3.SQLITE_CANTOPEN: "check that the file, and the folder that it is in, can be read and written",
    sqlite3.SQLITE_NOTADB: "choose another file, or restore this one from a copy",
    sqlite3.SQLITE_CORRUPT: "the file is damaged; restore it from a copy",
    sqlite3.SQLITE_FULL: "the disk is full; make room",
}


_reported: set[Path] = set()  # databases that this process has waited for: it tries again and again while a run trains


class Locked(OSError):
    """Another process has locked the database for longer than `LOCK_PATIENCE`."""


def await_database(file: Path, writes: bool) -> None:
    """Wait while another process has an existing database locked, and check that it can be used.

    Args:
        writes: whether it will be written.

    Raises:
        Locked: it is locked for too long.
        OSError: it cannot be used, and what to do.
    """
    until = time.monotonic() + LOCK_PATIENCE
    while True:
        try:
            _try(file, writes)
            return
        except sqlite3.Error as error:
            code = error.sqlite_errorcode & 0xFF  # the rest says more exactly why
            if code != sqlite3.SQLITE_BUSY:
                advice = f"; {ADVICE[code]}" if code in ADVICE else ""
                raise OSError(f"{file}: {error}{advice}") from error
            if time.monotonic() > until:
                why = f"the database is locked by another process, for more than {LOCK_PATIENCE:.0f} s"
                raise Locked(f"{file}: {why}") from error
        if file not in _reported:
            _reported.add(file)
            print(f"note: {file} is locked by another process; waiting up to {LOCK_PATIENCE:.0f} s", file=sys.stderr)


def schema_advice(text: str, uri: str) -> str | None:
    """What to do about a database that another version of MLflow made; None if an error is not about that.

    Args:
        text: of MLflow's error.
        uri: the address, without credentials.
    """
    found = re.search(r"found version (\w+), but expected|Can't locate revision identified by '(\w+)'", text)
    if found is None:
        return None
    revision = found[1] or found[2]
    try:
        config = _get_alembic_config(db_url="")  # type: ignore[no-untyped-call]
        ScriptDirectory.from_config(config).get_revision(revision)
    except CommandError:
        return f"a newer MLflow made this database (schema {revision}); update MLflow: pip install --upgrade mlflow"
    return (
        f"an older MLflow made this database (schema {revision}); make a copy of it, then type: mlflow db upgrade {uri}"
    )


def _try(file: Path, writes: bool) -> None:
    """Begin to read or to write, and leave everything as it is.

    Raises:
        sqlite3.Error: that is impossible now.
    """
    if not file.exists() or file.stat().st_size == 0:
        return  # it is created later
    connection = sqlite3.connect(f"file:{quote(str(file))}?mode=rw", uri=True, timeout=2, isolation_level=None)
    try:
        connection.execute("BEGIN IMMEDIATE" if writes else "BEGIN")
        connection.execute("SELECT count(*) FROM sqlite_master").fetchall()
        if writes:  # on a read-only database a transaction can begin; the first change fails
            connection.execute("PRAGMA user_version = 1")
        connection.execute("ROLLBACK")
    finally:
        connection.close()
