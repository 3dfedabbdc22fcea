"""Addresses, before anything connects to them."""

import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.engine import make_url

from pipeline.config.addresses import _for_optuna, _sqlite_uri, database_file, storage_address, tracking_uri
from pipeline.config.overrides import checked_config
from pipeline.runtime.errors import UserError


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_the_default_is_a_database_in_the_current_directory(tmp_path: Path) -> None:
    assert tracking_uri(None) == f"sqlite:///{tmp_path}/mlruns/mlflow.db"


def test_a_sqlite_address_becomes_absolute_with_its_options(tmp_path: Path) -> None:
    assert tracking_uri("sqlite:///runs.db?timeout=30") == f"sqlite:///{tmp_path}/runs.db?timeout=30"
    assert tracking_uri("sqlite:////somewhere/runs.db") == "sqlite:////somewhere/runs.db"
    assert tracking_uri("sqlite:///~/runs.db") == f"sqlite:///{Path.home()}/runs.db"


@pytest.mark.parametrize("uri", ["http://127.0.0.1:5000", "https://host/mlflow", "postgresql://u:p@host/db"])
def test_a_servers_address_stays_as_it_is(uri: str) -> None:
    assert tracking_uri(uri) == uri
    assert database_file(uri) is None


@pytest.mark.parametrize("uri", ["mlruns", "file:./mlruns", "ftp://u:secret@host", "C:/runs", "sqlite", ""])
def test_another_address_is_refused_and_valid_ones_named(uri: str) -> None:
    with pytest.raises(UserError, match="sqlite:///, postgresql:// or mysql:// expected") as raised:
        tracking_uri(uri)
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize(("key", "absolute"), [("tracking.uri", tracking_uri), ("sweep.storage", storage_address)])
@pytest.mark.parametrize(
    ("address", "fault"),
    [
        ("postgresql://ada:se'cret@host/db", "postgresql://***@host/db: .* percent-encode them: %27 for '$"),
        ("postgresql://ada:'se,cret'@host/db", "postgresql://***@host/db: .*: %27 for '$"),
        ('ftp://ada:se"cret@host', 'ftp://***@host: .*: %22 for "$'),
        ("mysql://ada:se' cret@host/db", "mysql://***@host/db: .*: %20 for a blank, %27 for '$"),
        ("mysql://host/db?password=se'-cret", "mysql://host/db[?]password=***: .*: %27 for '$"),
    ],
)
def test_credentials_that_could_not_be_masked_are_refused(
    key: str, absolute: Callable[[str], str], address: str, fault: str
) -> None:
    with pytest.raises(UserError, match="^" + f"{key}={fault}".replace("***", r"[*]{3}")) as raised:
        absolute(address)
    assert "cret" not in str(raised.value)


def test_quotation_marks_and_blanks_belong_to_addresses_without_credentials(tmp_path: Path) -> None:
    for address in (
        "http://host/it's a path",
        "postgresql://host/db?options=-c x=y",
        "postgresql://a:b%27%20c@host/db",
    ):
        assert tracking_uri(address) == address
    assert tracking_uri("sqlite:///it's @ home.db") == f"sqlite:///{tmp_path}/it's @ home.db"


@pytest.mark.parametrize(
    "uri", ["sqlite://", "sqlite:///", "sqlite:///:memory:", "sqlite:relative.db", "SQLite:///x.db"]
)
def test_a_database_without_a_file_is_refused(uri: str) -> None:
    with pytest.raises(UserError, match="sqlite:///<file> expected"):
        tracking_uri(uri)


@pytest.mark.parametrize("name", ["a b", "50%", "%41", "what?", "#1", "Büsche", "[x]", "{x}"])
def test_a_folder_may_be_called_anything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / name)
    uri = tracking_uri(None)
    assert database_file(uri) == tmp_path / name / "mlruns" / "mlflow.db"
    assert tracking_uri(uri) == uri
    study = storage_address(None)
    assert database_file(study) == tmp_path / name / "mlruns" / "optuna.db"
    assert storage_address(study) == study


@given(st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=20))
@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_sqlalchemy_opens_the_file_that_is_named(name: str) -> None:
    """Whatever the folder is called, and however often the address is made absolute."""
    file = Path("/nowhere") / name / "mlruns.db" if name not in (".", "..") else Path("/nowhere/mlruns.db")
    for absolute, address in ((tracking_uri, _sqlite_uri(file)), (storage_address, _for_optuna(_sqlite_uri(file)))):
        assert make_url(absolute(address)).database == str(file) == str(database_file(absolute(address)))


def test_another_address_of_a_study_is_refused_and_valid_ones_named() -> None:
    expected = (
        r"^sweep\.storage=redis://\*\*\*@host: sqlite:///<file>, journal:<file>, postgresql://… or mysql://… expected$"
    )
    with pytest.raises(UserError, match=expected):
        checked_config(["sweep.storage=redis://u:secret@host"])


@pytest.mark.parametrize(
    ("path", "fault"),
    [
        (
            "~nobody-at-all/x",
            "~nobody-at-all is not the home folder of a user of this machine; ./~nobody-at-all/x expected",
        ),
        ("a%00b", "a path without the character NUL expected"),
        ("a\0b", "a path without the character NUL expected"),
    ],
)
def test_a_path_that_cannot_be_one_is_refused(path: str, fault: str) -> None:
    for key, absolute in (("tracking.uri", tracking_uri), ("sweep.storage", storage_address)):
        with pytest.raises(UserError, match=f"^{key}=[^ ]*: {fault}"):
            absolute(f"sqlite:///{path}")
    if "%" not in path:
        with pytest.raises(UserError, match=f"^sweep.storage=[^ ]*: {fault}"):
            storage_address(f"journal:{path}")


def test_options_and_drivers_of_a_study_are_preserved(tmp_path: Path) -> None:
    assert storage_address("sqlite:///runs.db?timeout=30") == f"sqlite:///{tmp_path}/runs.db?timeout=30"
    assert storage_address("sqlite+pysqlite:///runs.db") == f"sqlite:///{tmp_path}/runs.db"
    assert storage_address("journal:a%20b?.log") == f"journal:{tmp_path}/a%20b?.log"


@pytest.mark.parametrize(("key", "absolute"), [("tracking.uri", tracking_uri), ("sweep.storage", storage_address)])
@pytest.mark.parametrize("name", ["a%20b", "what?"])
def test_an_address_to_another_folder_is_refused(
    tmp_path: Path, key: str, absolute: Callable[[str], str], name: str
) -> None:
    """A path that was typed as it is, though % and ? have a meaning in addresses; what the message says works."""
    (tmp_path / name).mkdir()
    with pytest.raises(UserError, match="have a meaning in addresses; type ") as raised:
        absolute(f"sqlite:///{tmp_path}/{name}/x.db")
    (advice,) = shlex.split(str(raised.value).rpartition("type ")[2])
    section, name_of_key = key.split(".")
    typed = getattr(getattr(checked_config([advice]), section), name_of_key)
    assert database_file(absolute(typed)) == tmp_path / name / "x.db"
