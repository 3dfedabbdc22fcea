"""What a run was made with: packages, machine, revision and changes of this code, data."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from pipeline.runtime.errors import UserError
from pipeline.runtime.files import ROOT
from pipeline.runtime.text import mask_credentials

FILES = ("packages.txt", "git.json", "git.diff", "hardware.json", "sources.json", "data.json")


@dataclass(frozen=True)
class Provenance:
    """What the results of a run may depend on, beside its configuration."""

    packages: dict[str, str]  # name -> version; "python" is one of them
    git: dict[str, Any]  # revision, branch, dirty
    hardware: dict[str, str]
    sources: dict[str, str]  # file of this package -> SHA-256
    data: dict[str, list[list[str]]]  # split -> (id, SHA-256 of the image, of the mask) of each example


def packages() -> str:
    """`name==version` of every installed package, one a line, and Python's own version first."""
    installed = {
        f"{item.metadata['Name']}=={item.version}" for item in metadata.distributions() if item.metadata["Name"]
    }
    return "\n".join([f"# python {sys.version.split()[0]}", *sorted(installed, key=str.lower)]) + "\n"


def git_state() -> tuple[dict[str, object], bytes]:
    """({revision, branch, dirty}, the difference of the working tree to that revision) of this project's own code.

    The difference is what `git apply` takes. Where the code is no git checkout, or git is not installed, the revision
    is None and the difference empty.
    """
    revision = _git("rev-parse", "HEAD").decode().strip()
    if not revision or Path(os.fsdecode(_git("rev-parse", "--show-toplevel").rstrip(b"\n"))) != ROOT:
        return {"revision": None, "branch": None, "dirty": None}, b""
    as_patch = ("--binary", "--no-color", "--no-ext-diff")
    changes = _git("diff", "HEAD", *as_patch)
    untracked = _git("ls-files", "-z", "--others", "--exclude-standard", "--", "pipeline", "conf", "run.py")
    # `git diff --no-index` says the contents of files that git does not know yet; its status 1 means "they differ".
    for name in untracked.split(b"\0")[:-1]:
        changes += _git("diff", "--no-index", *as_patch, "/dev/null", os.fsdecode(name), accept=(0, 1))
    branch = _git("rev-parse", "--abbrev-ref", "HEAD").decode(errors="replace").strip()
    return {"revision": revision, "branch": branch, "dirty": bool(changes)}, changes


def write_environment(
    folder: Path, hardware: dict[str, str], sources: dict[str, str], data: Mapping[str, Any]
) -> Provenance:
    """Write every file of `FILES` into a folder, and return what they say."""
    folder.mkdir(parents=True, exist_ok=True)
    state, changes = git_state()
    (folder / "packages.txt").write_text(packages(), encoding="utf-8")
    # Only a changed line with a password in it is not applied as it was.
    masked = mask_credentials(changes.decode(errors="surrogateescape")).encode(errors="surrogateescape")
    (folder / "git.diff").write_bytes(masked)
    for name, content in (("git", state), ("hardware", hardware), ("sources", sources), ("data", data)):
        (folder / f"{name}.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return read_environment(folder)


def read_environment(folder: Path) -> Provenance:
    """What the files in a folder say; a file that is not there says nothing.

    Raises:
        UserError: a file is not what `write_environment` writes.
    """
    lines = _text(folder / "packages.txt").splitlines()
    versions = dict(line.split("==", 1) for line in lines if "==" in line)
    if lines and lines[0].startswith("# python "):
        versions["python"] = lines[0].removeprefix("# python ")
    data = {
        split: [[str(part) for part in row] for row in rows]
        for split, rows in _json(folder / "data.json", list).items()
    }
    return Provenance(
        versions,
        _json(folder / "git.json", object),
        _json(folder / "hardware.json", str),
        _json(folder / "sources.json", str),
        data,
    )


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""


def _json(path: Path, kind: type) -> dict[str, Any]:
    """A file's {text: value of a kind}; rows of `data.json` are lists of three."""
    try:
        found = json.loads(_text(path) or "{}")
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: is no JSON: {error}") from error
    if not isinstance(found, dict) or not all(isinstance(value, kind) for value in found.values()):
        raise UserError(f"{path}: is not what a run writes: a table of text to {kind.__name__} expected")
    if kind is list and not all(isinstance(row, list) and len(row) == 3 for rows in found.values() for row in rows):
        raise UserError(f"{path}: is not what a run writes: rows of id, image and mask expected")
    return found


def _git(*arguments: str, accept: tuple[int, ...] = (0,)) -> bytes:
    """What git prints, or nothing where it cannot say."""
    try:
        done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, check=False)
    except FileNotFoundError:
        return b""
    return done.stdout if done.returncode in accept else b""
