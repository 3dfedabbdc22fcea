"""Addresses, before anything connects to them."""

from pathlib import Path

import pytest

from pipeline.config.addresses import database_file, tracking_uri
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


@pytest.mark.parametrize(
    "uri", ["sqlite://", "sqlite:///", "sqlite:///:memory:", "sqlite:relative.db", "SQLite:///x.db"]
)
def test_a_database_without_a_file_is_refused(uri: str) -> None:
    with pytest.raises(UserError, match="sqlite:///<file> expected"):
        tracking_uri(uri)


@pytest.mark.parametrize("name", ["a b", "50%", "%41", "what?", "#1", "Büsche", "[x]"])
def test_a_folder_may_be_called_anything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / name)
    uri = tracking_uri(None)
    assert database_file(uri) == tmp_path / name / "mlruns" / "mlflow.db"
    assert tracking_uri(uri) == uri
