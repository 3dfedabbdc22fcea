"""What a run was made with: package versions, the revision of this code and its uncommitted changes."""

import json
import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent


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


def write_environment(folder: Path, hardware: dict[str, str]) -> str | None:
    """Write packages.txt, git.json, git.diff and hardware.json; returns the revision of the code, if there is one."""
    folder.mkdir(parents=True, exist_ok=True)
    state, changes = git_state()
    (folder / "packages.txt").write_text(packages(), encoding="utf-8")
    (folder / "git.json").write_text(json.dumps(state, indent=2) + "\n")
    (folder / "git.diff").write_bytes(changes)
    (folder / "hardware.json").write_text(json.dumps(hardware, indent=2) + "\n")
    return None if state["revision"] is None else str(state["revision"])


def _git(*arguments: str, accept: tuple[int, ...] = (0,)) -> bytes:
    """What git prints, or nothing where it cannot say."""
    try:
        done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, check=False)
    except FileNotFoundError:
        return b""
    return done.stdout if done.returncode in accept else b""
