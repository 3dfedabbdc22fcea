"""A database file that is locked, read-only, damaged or of another version of MLflow: one line, and what to do."""

import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.config.schema import TrackingConfig
from pipeline.runtime.errors import UserError
from pipeline.tracking import database as module
from pipeline.tracking.database import Locked, await_database
from pipeline.tracking.store import Unreachable, open_if_it_answers, open_store


@pytest.fixture
def database(tracking: TrackingConfig, tmp_path: Path) -> Path:
    """A copy of an existing database."""
    source = Path(str(tracking.uri).removeprefix("sqlite:///"))
    (tmp_path / "mlflow.db").write_bytes(source.read_bytes())
    return tmp_path / "mlflow.db"


@pytest.fixture
def lock(database: Path) -> Iterator[sqlite3.Connection]:
    """Another process's connection, which has the database locked."""
    connection = sqlite3.connect(database, isolation_level=None, check_same_thread=False)
    connection.execute("BEGIN EXCLUSIVE")
    yield connection
    connection.close()


def test_a_locked_database_is_waited_for(
    database: Path, lock: sqlite3.Connection, capsys: pytest.CaptureFixture[str]
) -> None:
    threading.Timer(2.5, lock.close).start()
    began = time.monotonic()
    open_store(TrackingConfig(uri=f"sqlite:///{database}", experiment="x"))
    assert 1 < time.monotonic() - began < 60
    assert capsys.readouterr().err == f"note: {database} is locked by another process; waiting up to 10 s\n"


def test_a_run_begins_without_a_database_that_stays_locked(
    database: Path, lock: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOCK_PATIENCE", 0.1)
    tracking = TrackingConfig(uri=f"sqlite:///{database}", experiment="x")
    assert open_if_it_answers(tracking) is None
    with pytest.raises(Unreachable, match=rf"^tracking\.uri=.*: {database}: the database is locked by another process"):
        open_store(tracking)
    with pytest.raises(Locked):
        await_database(database, writes=False)


def test_a_database_that_cannot_be_written_is_refused(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is trained; it can be read."""
    connect = sqlite3.connect

    def read_only(address: str | Path, **more: object) -> sqlite3.Connection:
        return connect(str(address).replace("mode=rw", "mode=ro"), **more)

    monkeypatch.setattr(sqlite3, "connect", read_only)  # as for a file of someone else: whoever runs this may be root
    await_database(database, writes=False)
    with pytest.raises(UserError) as raised:
        open_store(TrackingConfig(uri=f"sqlite:///{database}", experiment="x"))
    advice = "make the file writable, or choose another tracking.uri"
    assert str(raised.value).endswith(f"{database}: attempt to write a readonly database; {advice}")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"no database at all" * 9, "file is not a database; choose another file"),
        (None, "unable to open database file"),
    ],
)
def test_what_is_no_database_is_refused(tmp_path: Path, content: bytes | None, reason: str) -> None:
    place = tmp_path / "x.db"
    if content is None:
        place.mkdir()
        (place / "file").touch()
    else:
        place.write_bytes(content)
    with pytest.raises(UserError, match=reason) as raised:
        open_store(TrackingConfig(uri=f"sqlite:///{place}", experiment="x"))
    assert len(raised.value.faults) == 1 and "\n" not in str(raised.value)


def test_a_damaged_database_is_refused(database: Path) -> None:
    content = bytearray(database.read_bytes())
    content[100:4096] = os.urandom(3996)  # the first page's table of contents
    database.write_bytes(content)
    with pytest.raises(
        UserError, match="database disk image is malformed; the file is damaged; restore it from a copy"
    ):
        open_store(TrackingConfig(uri=f"sqlite:///{database}", experiment="x"))


@pytest.mark.parametrize(
    ("revision", "advice"),
    [
        (
            "451aebb31d03",
            "an older MLflow made this database .schema 451aebb31d03.; make a copy of it, then type: mlflow db",
        ),
        ("ffffffffffff", "a newer MLflow made this database .schema ffffffffffff.; update MLflow: pip install"),
    ],
)
def test_a_database_of_another_mlflow_says_what_to_do(database: Path, revision: str, advice: str) -> None:
    with sqlite3.connect(database) as connection:
        connection.execute("UPDATE alembic_version SET version_num = ?", (revision,))
    with pytest.raises(UserError, match=rf"^tracking\.uri=sqlite:///{database}: {advice}"):
        open_store(TrackingConfig(uri=f"sqlite:///{database}", experiment="x"))
