"""What a run was made with, besides its configuration: packages, machine, revision and changes of this code, data.

It is stored with the run as the artifact folder `environment/`, and compared with that of a run that repeats it.
"""

import functools
import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

from pipeline.runtime.errors import UserError
from pipeline.runtime.files import ROOT
from pipeline.runtime.text import mask_credentials, plain
from pipeline.runtime.variables import ONEDNN, deciding_variables
from pipeline.tracking.stored_run import StoredRun

FOLDER = "environment"  # among the artifacts
FILES = ("packages.txt", "git.json", "git.diff", "hardware.json", "variables.json", "sources.json", "data.json")
MOST_NAMED = 5  # packages, files or images that a line names
LONGEST_NAMED = 300  # characters of each


@dataclass(frozen=True)
class Provenance:
    """What the results of a run may depend on, besides its configuration."""

    packages: dict[str, str]  # name -> version; "python" is one of them
    git: dict[str, Any]  # revision, branch, dirty
    hardware: dict[str, str]
    sources: dict[str, str]  # file of this package -> SHA-256
    data: dict[str, list[list[str]]]  # split -> (id, SHA-256 of the image, of the mask) of each example
    variables: dict[str, str] = field(default_factory=dict)  # of the environment: `pipeline.runtime.variables`


@functools.cache  # what is installed while this process runs, it does not import
def packages() -> str:
    """`name==version` of every installed package, one a line, after Python's own version."""
    described = [item.metadata for item in metadata.distributions()]  # parsed anew each time it is asked for
    installed = {f"{item['Name']}=={item['Version']}" for item in described if item["Name"]}
    return "\n".join([f"# python {sys.version.split()[0]}", *sorted(installed, key=str.lower)]) + "\n"


def git_state() -> tuple[dict[str, object], bytes]:
    """({revision, branch, dirty}, the changes of the working tree since that revision) of this project's own code.

    The changes are a patch for `git apply`. If the code is not a git checkout, or git is not installed, the revision is
    None and the patch is empty. It may belong to another user, as a folder of a container often does.
    """
    revision = _git("rev-parse", "HEAD").decode().strip()
    if not revision or Path(os.fsdecode(_git("rev-parse", "--show-toplevel").rstrip(b"\n"))) != ROOT:
        return {"revision": None, "branch": None, "dirty": None}, b""
    as_patch = ("--binary", "--no-color", "--no-ext-diff")
    changes = _git("diff", "HEAD", *as_patch)
    untracked = _git("ls-files", "-z", "--others", "--exclude-standard", "--", "pipeline", "conf", "run.py")
    # `git diff --no-index` gives the contents of files that git does not know yet; its status 1 means "they differ".
    for name in untracked.split(b"\0")[:-1]:
        changes += _git("diff", "--no-index", *as_patch, "/dev/null", os.fsdecode(name), accept=(0, 1))
    branch = _git("rev-parse", "--abbrev-ref", "HEAD").decode(errors="replace").strip()
    return {"revision": revision, "branch": branch, "dirty": bool(changes)}, changes


def masked_patch(changes: bytes) -> bytes:
    """The patch without passwords: what is changed next to one has to be restored by hand.

    Lines of text are masked, context included, since the tracking server may be read by people who do not have the
    code. The lines of a binary patch, which start with a letter, stay as they are.
    """
    return re.sub(rb"^[ +-].*", _masked_line, changes, flags=re.MULTILINE)


def _masked_line(line: re.Match[bytes]) -> bytes:
    return mask_credentials(line[0].decode(errors="surrogateescape")).encode(errors="surrogateescape")


def write_provenance(
    folder: Path, hardware: dict[str, str], sources: dict[str, str], data: Mapping[str, Any]
) -> Provenance:
    """Write every file of `FILES` into a folder, and return what they contain.

    Args:
        hardware, sources, data: see `Provenance`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    state, changes = git_state()
    variables = deciding_variables()
    (folder / "packages.txt").write_text(packages(), encoding="utf-8")
    (folder / "git.diff").write_bytes(masked_patch(changes))
    tables = {"git": state, "hardware": hardware, "variables": variables, "sources": sources, "data": data}
    for name, content in tables.items():
        (folder / f"{name}.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return read_provenance(folder)


def read_provenance(folder: Path) -> Provenance:
    """What the files in a folder contain; a missing file counts as empty.

    Raises:
        UserError: a file is not one that `write_provenance` wrote.
    """
    lines = _text(folder / "packages.txt").splitlines()
    versions = dict(line.split("==", 1) for line in lines if "==" in line)
    if lines and lines[0].startswith("# python "):
        versions["python"] = lines[0].removeprefix("# python ")
    data = {
        split: [[str(part) for part in row] for row in rows]
        for split, rows in _json(folder / "data.json", list).items()
    }
    hardware, variables = _json(folder / "hardware.json", str), _json(folder / "variables.json", str)
    if (switched := hardware.pop("onednn", None)) is not None:  # earlier versions recorded this variable only, there
        variables[ONEDNN] = switched
    return Provenance(
        packages=versions,
        git=_json(folder / "git.json", object),
        hardware=hardware,
        sources=_json(folder / "sources.json", str),
        data=data,
        variables=variables,
    )


def fetch_provenance(stored: StoredRun) -> Provenance:
    """The provenance of a run in MLflow. Its files are then below the run's private folder.

    Raises:
        UserError: a file is not one that `write_provenance` wrote.
    """
    for name in FILES:
        if stored.has(f"{FOLDER}/{name}"):
            stored.fetch(f"{FOLDER}/{name}")
    stored.path(FOLDER).mkdir(exist_ok=True)
    return read_provenance(stored.path(FOLDER))


def train_images(stored: StoredRun) -> frozenset[str]:
    """SHA-256 of each image that a run was trained on; empty for a run of an older version, which did not record them.

    Raises:
        UserError: the file is not one that `write_provenance` wrote.
    """
    name = f"{FOLDER}/data.json"
    if not stored.has(name):
        return frozenset()
    stored.fetch(name)
    return frozenset(str(row[1]) for row in _json(stored.path(name), list).get("train", []))


def differences(original: Provenance, now: Provenance) -> list[str]:
    """A line for each part that is not what it was: data, sources, packages, hardware, environment variables."""
    lines = []
    if original.data:  # runs of older versions do not name their images
        lines += [line for split in now.data if (line := _data(split, original.data.get(split, []), now.data[split]))]
    if original.sources:
        lines += _table("sources", original.sources, now.sources, values=False)
    lines += _table("packages", original.packages, now.packages)
    lines += _table("hardware", original.hardware, now.hardware)
    lines += _table("environment variables", original.variables, now.variables)
    if lines and original.git.get("revision") != now.git.get("revision"):
        lines.append(f"revision: {_revision(original)} -> {_revision(now)}")
    return lines


def _data(split: str, before: list[list[str]], now: list[list[str]]) -> str:
    """The differences between the images of a split; empty if there are none."""
    if before == now:
        return ""
    then, here = {row[0]: row[1:] for row in before}, {row[0]: row[1:] for row in now}
    parts = []
    for what, column in (("image", 0), ("mask", 1)):
        changed = [
            image_id for image_id in here if image_id in then and then[image_id][column] != here[image_id][column]
        ]
        if changed:
            parts.append(f"another {what} {_named(changed)}")
    for word, image_ids in (("removed", then.keys() - here.keys()), ("new", here.keys() - then.keys())):
        if image_ids:
            parts.append(f"{word} {_named(sorted(image_ids))}")
    return f"data, {split} split: {'; '.join(parts) or 'another order'}"


def _table(what: str, before: Mapping[str, str], now: Mapping[str, str], values: bool = True) -> list[str]:
    """`packages: numpy 2.3.1 -> 2.4.6` for the entries of two tables that differ; nothing if there was no table before.

    Args:
        values: False if the values are hashes, which are not shown: `sources: train.py changed`.
    """
    names = sorted(name for name in before.keys() | now.keys() if before.get(name) != now.get(name))
    if not names or not before:
        return []
    if values:
        changes = [f"{name} {before.get(name, 'absent')} -> {now.get(name, 'absent')}" for name in names]
    else:
        in_both = before.keys() & now.keys()
        changes = [f"{name} {'changed' if name in in_both else 'new' if name in now else 'removed'}" for name in names]
    return [f"{what}: {_named(changes)}"]


def _named(names: list[str]) -> str:
    """The first of some names, which may come from a server, and how many more there are."""
    shown = [plain(name[:LONGEST_NAMED]) for name in names[:MOST_NAMED]]
    return ", ".join(shown) + (f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else "")


def _revision(provenance: Provenance) -> str:
    revision = provenance.git.get("revision")
    return (
        f"{plain(str(revision)[:12])}{' with changes' if provenance.git.get('dirty') else ''}" if revision else "none"
    )


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""


def _json(path: Path, kind: type) -> dict[str, Any]:
    """A file's {text: value of a kind}; the values in `data.json` are lists of rows of three."""
    try:
        found = json.loads(_text(path) or "{}")
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: is not JSON: {error}") from error
    if not isinstance(found, dict) or not all(isinstance(value, kind) for value in found.values()):
        raise UserError(f"{path}: is not what a run writes: a table of text to {kind.__name__} expected")
    if kind is list and not all(isinstance(row, list) and len(row) == 3 for rows in found.values() for row in rows):
        raise UserError(f"{path}: is not what a run writes: rows of id, image and mask expected")
    return found


def _git(*arguments: str, accept: tuple[int, ...] = (0,)) -> bytes:
    """What git prints; empty if git is missing or fails.

    Args:
        accept: exit statuses that are not failures.
    """
    # By itself, git reads no checkout of another user, whose settings could run programs. This process runs the code of
    # this one already.
    command = ["git", "-c", f"safe.directory={ROOT}", *arguments]
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, check=False)
    except (FileNotFoundError, PermissionError):
        return b""
    return done.stdout if done.returncode in accept else b""
