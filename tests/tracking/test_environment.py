"""What a run was made with: packages, revision, and changes that can be applied again."""

import json
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from pipeline.tracking import environment
from pipeline.tracking.environment import git_state, packages, write_environment


def git(folder: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=Ada", "-c", "user.email=ada@example.org")
    return subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True, text=True).stdout


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with one commit, in the place of this project's."""
    root = tmp_path / "code"
    (root / "pipeline").mkdir(parents=True)
    git(root, "init", "-q", "-b", "main")
    (root / "run.py").write_bytes(b"one\r\ntwo\r\n")
    git(root, "add", ".")
    git(root, "commit", "-qm", "first")
    monkeypatch.setattr(environment, "ROOT", root)
    return root


def test_packages_are_those_installed() -> None:
    lines = packages().splitlines()
    assert lines[0] == f"# python {sys.version.split()[0]}"
    assert f"mlflow=={metadata.version('mlflow')}" in lines
    assert lines[1:] == sorted(set(lines[1:]), key=str.lower)


def test_a_clean_checkout_has_its_revision_and_no_difference(checkout: Path) -> None:
    revision = git(checkout, "rev-parse", "HEAD").strip()
    assert git_state() == ({"revision": revision, "branch": "main", "dirty": False}, b"")


def test_the_difference_makes_the_working_tree_again(checkout: Path, tmp_path: Path) -> None:
    """Line ends, bytes that are no UTF-8, names with blanks and accents, files that git does not know yet."""
    git(checkout, "config", "color.ui", "always")
    (checkout / "run.py").write_bytes(b"one\r\nb\xfcsche\r\n")
    (checkout / "pipeline/new f\u00fcr.py").write_text("new = 1\n")
    (checkout / "pipeline/picture.png").write_bytes(bytes(range(256)))
    (checkout / "notes.txt").write_text("no part of the code\n")
    state, changes = git_state()
    assert state["dirty"] is True
    git(tmp_path, "clone", "-q", str(checkout), "again")
    (tmp_path / "diff").write_bytes(changes)
    git(tmp_path / "again", "apply", str(tmp_path / "diff"))
    for name in ("run.py", "pipeline/new f\u00fcr.py", "pipeline/picture.png"):
        assert (tmp_path / "again" / name).read_bytes() == (checkout / name).read_bytes(), name
    assert not (tmp_path / "again/notes.txt").exists()


def test_code_inside_another_repository_has_no_revision_of_its_own(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environment, "ROOT", checkout / "pipeline")
    assert git_state() == ({"revision": None, "branch": None, "dirty": None}, b"")


def test_without_git_the_rest_is_written(checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert write_environment(tmp_path / "environment", {"cpu": "fast"}) is None
    written = {path.name: path.read_text() for path in (tmp_path / "environment").iterdir()}
    assert set(written) == {"packages.txt", "git.json", "git.diff", "hardware.json"}
    assert json.loads(written["git.json"])["revision"] is None and written["git.diff"] == ""
    assert json.loads(written["hardware.json"]) == {"cpu": "fast"}


def test_the_revision_is_returned(checkout: Path, tmp_path: Path) -> None:
    assert write_environment(tmp_path / "environment", {}) == git(checkout, "rev-parse", "HEAD").strip()
