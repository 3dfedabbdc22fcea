"""What a run was made with: package versions, the revision of this code and its uncommitted changes."""

import json
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


def git_state() -> tuple[dict[str, object], str]:
    """({revision, branch, dirty}, the difference of the working tree to that revision) of this project's own code.

    Where the code is no git checkout, or git is not installed, the revision is None and the difference empty.
    """
    revision = _git("rev-parse", "HEAD")
    if revision is None or Path(_git("rev-parse", "--show-toplevel") or "") != ROOT:
        return {"revision": None, "branch": None, "dirty": None}, ""
    changes = _git("diff", "HEAD", "--binary") or ""
    untracked = (
        _git("ls-files", "--others", "--exclude-standard", "--", "pipeline", "conf", "run.py") or ""
    ).splitlines()
    # `git diff --no-index` says the contents of files that git does not know yet; its status 1 means "they differ".
    for name in untracked:
        changes += _git("diff", "--no-index", "--binary", "/dev/null", name, accept=(0, 1)) or ""
    state: dict[str, object] = {
        "revision": revision,
        "branch": _git("rev-parse", "--abbrev-ref", "HEAD"),
        "dirty": bool(changes),
    }
    return state, changes


def write_environment(folder: Path, hardware: dict[str, str]) -> str | None:
    """Write packages.txt, git.json, git.diff and hardware.json; returns the revision of the code, if there is one."""
    folder.mkdir(parents=True, exist_ok=True)
    state, changes = git_state()
    (folder / "packages.txt").write_text(packages())
    (folder / "git.json").write_text(json.dumps(state, indent=2) + "\n")
    (folder / "git.diff").write_text(changes)
    (folder / "hardware.json").write_text(json.dumps(hardware, indent=2) + "\n")
    return None if state["revision"] is None else str(state["revision"])


def _git(*arguments: str, accept: tuple[int, ...] = (0,)) -> str | None:
    """What git prints, or None where it cannot say."""
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=ROOT, capture_output=True, text=True, errors="replace", check=False
        )
    except FileNotFoundError:
        return None
    text = done.stdout if arguments[0] == "diff" else done.stdout.strip()
    return text if done.returncode in accept else None
