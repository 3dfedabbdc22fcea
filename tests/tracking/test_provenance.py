"""What a run was made with: packages, revision, and a patch that can be applied again."""

import dataclasses
import json
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.runtime.errors import UserError
from pipeline.runtime.variables import deciding_variables
from pipeline.tracking import provenance
from pipeline.tracking.provenance import (
    FILES,
    Provenance,
    differences,
    git_state,
    masked_patch,
    packages,
    read_provenance,
    write_provenance,
)


def git(folder: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=Ada", "-c", "user.email=ada@example.org")
    return subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True, text=True).stdout


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with one commit, in place of this project's."""
    root = tmp_path / "code"
    (root / "pipeline").mkdir(parents=True)
    git(root, "init", "-q", "-b", "main")
    (root / "run.py").write_bytes(b"one\r\ntwo\r\n")
    git(root, "add", ".")
    git(root, "commit", "-qm", "first")
    monkeypatch.setattr(provenance, "ROOT", root)
    return root


def test_packages_are_those_installed() -> None:
    lines = packages().splitlines()
    assert lines[0] == f"# python {sys.version.split()[0]}"
    assert f"mlflow=={metadata.version('mlflow')}" in lines
    assert lines[1:] == sorted(set(lines[1:]), key=str.lower)


def test_a_clean_checkout_has_its_revision_and_no_patch(checkout: Path) -> None:
    revision = git(checkout, "rev-parse", "HEAD").strip()
    assert git_state() == ({"revision": revision, "branch": "main", "dirty": False}, b"")


def test_the_patch_restores_the_working_tree(checkout: Path, tmp_path: Path) -> None:
    """With its line ends, bytes that are not UTF-8, names with blanks and accents, and files that git does not know."""
    git(checkout, "config", "color.ui", "always")
    (checkout / "run.py").write_bytes(b"one\r\nb\xfcsche\r\n")
    (checkout / "pipeline/new f\u00fcr.py").write_text("new = 1\n")
    (checkout / "pipeline/image.png").write_bytes(bytes(range(256)))
    (checkout / "notes.txt").write_text("not a part of the code\n")
    state, changes = git_state()
    assert state["dirty"] is True
    git(tmp_path, "clone", "-q", str(checkout), "again")
    (tmp_path / "diff").write_bytes(changes)
    git(tmp_path / "again", "apply", str(tmp_path / "diff"))
    for name in ("run.py", "pipeline/new f\u00fcr.py", "pipeline/image.png"):
        assert (tmp_path / "again" / name).read_bytes() == (checkout / name).read_bytes(), name
    assert not (tmp_path / "again/notes.txt").exists()


def test_a_password_in_the_changes_is_masked(checkout: Path, tmp_path: Path) -> None:
    (checkout / "run.py").write_bytes(b"one\r\nhttp://ada:secret@host\r\nb\xfcsche\r\n")
    write_provenance(tmp_path / "environment", {}, {}, {})
    written = (tmp_path / "environment/git.diff").read_bytes()
    assert b"secret" not in written and b"+http://***@host\r\n+b\xfcsche\r\n" in written


def test_a_password_next_to_the_changes_is_masked(checkout: Path, tmp_path: Path) -> None:
    lines = b"one\nhttp://ada:secret@host\ntwo\n"
    (checkout / "run.py").write_bytes(lines)
    git(checkout, "commit", "-qam", "second")
    (checkout / "run.py").write_bytes(lines + b"three\n")
    write_provenance(tmp_path / "environment", {}, {}, {})
    written = (tmp_path / "environment/git.diff").read_bytes()
    assert b"secret" not in written and b" http://***@host\n two\n+three\n" in written


def test_binary_patches_are_not_masked() -> None:
    """Their base 85 has the characters of an option such as `?pwd=`."""
    binary = b"GIT binary patch\nliteral 9\nQcmX?pwd=abc+&-x\n\nliteral 0\nHcmV?token=x\n\n"
    text = b"diff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -1 +1 @@\n--- http://u:%s@h\n+/a?pwd=%s\n"
    assert masked_patch(binary + text % (b"secret", b"secret")) == binary + text.replace(b"u:%s", b"***") % b"***"


def test_code_inside_another_repository_has_no_revision(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provenance, "ROOT", checkout / "pipeline")
    assert git_state() == ({"revision": None, "branch": None, "dirty": None}, b"")


def test_a_checkout_of_another_user_has_its_revision(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    revision = git(checkout, "rev-parse", "HEAD").strip()
    (checkout / "run.py").write_bytes(b"one\r\n")
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")  # with which git tests itself
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    with pytest.raises(subprocess.CalledProcessError):
        git(checkout, "rev-parse", "HEAD")
    state, changes = git_state()
    assert state == {"revision": revision, "branch": "main", "dirty": True} and b"-two" in changes


def test_variables_that_differ_are_named(checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in deciding_variables():
        monkeypatch.delenv(name, raising=False)
    before = write_provenance(tmp_path / "before", {}, {}, {})
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "0")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    now = write_provenance(tmp_path / "now", {}, {}, {})
    named = "OMP_NUM_THREADS absent -> 1, TF_ENABLE_ONEDNN_OPTS default -> 0"
    assert differences(before, now) == [f"environment variables: {named}"]
    assert differences(before, before) == differences(now, now) == []


@pytest.mark.parametrize(("recorded", "lines"), [("default", 1), ("0", 0)])
def test_older_runs_recorded_onednn_among_the_hardware(recorded: str, lines: int, tmp_path: Path) -> None:
    (tmp_path / "hardware.json").write_text(json.dumps({"cpu": "fast", "onednn": recorded}))
    older = read_provenance(tmp_path)
    now = dataclasses.replace(older, hardware={"cpu": "fast"}, variables={"TF_ENABLE_ONEDNN_OPTS": "0"})
    assert len(differences(older, now)) == lines
    assert differences(dataclasses.replace(older, variables={}), now) == []  # still older: it recorded none


CONTENTS = {"train": [["a", "1" * 64, "2" * 64], ["Büsche", "3" * 64, "4" * 64]], "val": [["b", "5" * 64, "6" * 64]]}


def test_without_git_the_rest_is_written(checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    folder = tmp_path / "environment"
    written_provenance = write_provenance(folder, {"cpu": "fast"}, {"train.py": "f00"}, CONTENTS)
    written = {path.name: path.read_text(encoding="utf-8") for path in folder.iterdir()}
    assert written.keys() == set(FILES)
    assert json.loads(written["git.json"])["revision"] is None and written["git.diff"] == ""
    assert json.loads(written["hardware.json"]) == written_provenance.hardware == {"cpu": "fast"}
    assert json.loads(written["sources.json"]) == written_provenance.sources == {"train.py": "f00"}
    assert json.loads(written["data.json"]) == written_provenance.data == CONTENTS
    assert written_provenance.git == {"revision": None, "branch": None, "dirty": None}


def test_what_is_returned_is_what_is_read_again(checkout: Path, tmp_path: Path) -> None:
    folder = tmp_path / "environment"
    written_provenance = write_provenance(folder, {"cpu": "fast"}, {"train.py": "f00"}, CONTENTS)
    assert read_provenance(folder) == written_provenance
    assert written_provenance.git["revision"] == git(checkout, "rev-parse", "HEAD").strip()
    assert written_provenance.packages["mlflow"] == metadata.version("mlflow")
    assert written_provenance.packages["python"] == sys.version.split()[0]


def test_what_an_older_run_did_not_store_is_empty(tmp_path: Path) -> None:
    assert read_provenance(tmp_path) == Provenance(packages={}, git={}, hardware={}, sources={}, data={})
    (tmp_path / "packages.txt").write_text("numpy==2.4.6\nno version here\n")
    assert read_provenance(tmp_path).packages == {"numpy": "2.4.6"}


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("hardware.json", "{", "is not JSON"),
        ("git.json", "[" * 100000, "is not JSON"),
        ("hardware.json", "[]", "a table of text to str expected"),
        ("hardware.json", '{"cpu": 3}', "a table of text to str expected"),
        ("sources.json", '{"train.py": null}', "a table of text to str expected"),
        ("data.json", '{"train": "abc"}', "a table of text to list expected"),
        ("data.json", '{"train": ["abc"]}', "rows of id, image and mask expected"),
        ("data.json", '{"train": [["a", "b"]]}', "rows of id, image and mask expected"),
    ],
)
def test_a_file_that_no_run_wrote_is_refused(tmp_path: Path, name: str, content: str, reason: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(UserError, match=reason) as error:
        read_provenance(tmp_path)
    assert str(error.value).startswith(f"{tmp_path / name}: ") and len(error.value.faults) == 1


@given(
    st.dictionaries(
        st.sampled_from(FILES),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text("aü", max_size=3),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab", max_size=2), inner, max_size=3),
        ).map(json.dumps)
        | st.text("{[a\x00", max_size=8),
    )
)
def test_whatever_a_server_gives_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, files: dict[str, str]
) -> None:
    folder = tmp_path_factory.mktemp("environment")
    for name, content in files.items():
        (folder / name).write_text(content, encoding="utf-8")
    try:
        found = read_provenance(folder)
    except UserError:
        return
    assert all(
        isinstance(text, str) for table in (found.packages, found.hardware, found.sources) for text in table.values()
    )
    assert all(len(row) == 3 and isinstance(row[0], str) for rows in found.data.values() for row in rows)
