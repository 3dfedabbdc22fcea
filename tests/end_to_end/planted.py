"""What whoever can write to a tracking server may plant in a stored run, and what is said of it.

What is planted as code would make the file `owned`.
"""

import os
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

OWNED = "owned"
SECRET = "swordfish"
LAST = ("weights.npz", "optimizer.npz", "running.npz")


@dataclass
class Copy:
    """A copy of the finished run, still to be tampered with."""

    root: Path  # its artifacts
    id: str
    store: Path
    cwd: Path

    @property
    def config(self) -> Path:
        return self.root / "config/config.yaml"

    def sql(self, statement: str, *values: str) -> None:
        """What MLflow's own interface would refuse."""
        with sqlite3.connect(self.store) as database:
            database.execute(statement, values)
        database.close()

    def tag(self, key: str, value: str) -> None:
        self.sql("delete from tags where run_uuid = ? and key = ?", self.id, key)
        self.sql("insert into tags (run_uuid, key, value) values (?, ?, ?)", self.id, key, value)


Plant = Callable[[Copy], object]


class Payload:
    """What unpickling would run."""

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, (f"touch {OWNED}",)


# ---- the configuration


def values(**changes: Any) -> Plant:
    """Other values in the stored configuration; a dot in a key is written as two underscores."""

    def plant(copy: Copy) -> None:
        found = yaml.safe_load(copy.config.read_text(encoding="utf-8"))
        for key, value in changes.items():
            *sections, last = key.split("__") if not key.startswith("_") else [key]
            place = found
            for section in sections:
                place = place[section]
            place[last] = value
        copy.config.write_text(yaml.safe_dump(found, allow_unicode=True), encoding="utf-8")

    return plant


def line(text: str) -> Plant:
    """Another line in the place of the one that says where data lie."""

    def plant(copy: Copy) -> None:
        kept = copy.config.read_text(encoding="utf-8").splitlines()
        copy.config.write_text("\n".join([*(old for old in kept if not old.startswith("data_dir")), text]))

    return plant


def content(text: str) -> Plant:
    return lambda copy: copy.config.write_text(text)


def linked(what: str) -> Plant:
    """A link in the place of a file or folder, to one that has all that is expected."""

    def plant(copy: Copy) -> None:
        place = copy.root / what
        place.rename(copy.cwd / f"moved-{copy.id}")
        place.symlink_to(copy.cwd / f"moved-{copy.id}")

    return plant


def folder_in_its_place(copy: Copy) -> None:
    copy.config.unlink()
    copy.config.mkdir()
    (copy.config / "config.yaml").write_text("epochs: 1")


def of_size(name: str, size: int) -> Plant:
    return lambda copy: os.truncate(copy.root / name, size)


def address(uri: str) -> Plant:
    return lambda copy: copy.sql(
        "update runs set artifact_uri = ? where run_uuid = ?", uri.format(id=copy.id, cwd=copy.cwd), copy.id
    )


NOT_PLAIN = "is not a stored configuration: plain keys and values expected"
BOMB = "a: &a [x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{chr(ord(name) - 1)}'] * 9)}]\n" for name in "bcdefghi"
)
PLACE = "as the location of its artifacts, where MLflow does not store any"

# Read by all four commands, in the same way: `rerun=` is shown each, and the others those of `SHARED`.
CONFIG: dict[str, tuple[Plant, str]] = {
    "interpolation": (values(data_dir="${oc.env:SECRET}"), NOT_PLAIN),
    "interpolated key": (line("${oc.env:SECRET}: 3"), NOT_PLAIN),
    "escaped interpolation": (line(r'data_dir: "\x24\u007boc.env:SECRET}"'), NOT_PLAIN),
    "interpolation over two lines": (line('data_dir: "$\\\n  {oc.env:SECRET}"'), NOT_PLAIN),
    "missing value": (values(data_dir="???"), "data_dir has no value"),
    "hydra section": (line(f"hydra: {{run: {{dir: {OWNED}}}}}"), "hydra"),
    "defaults list": (line("defaults: [_self_]"), "defaults"),
    "target": (values(model___target_="os.system"), "_target_"),
    "target above": (values(_target_="os.system", _args_=[f"touch {OWNED}"]), "not in 'Config'"),
    "python tag": (content(f'!!python/object/apply:os.system ["touch {OWNED}"]'), NOT_PLAIN),
    "python tag in a value": (line(f'data_dir: !!python/object/apply:os.system ["touch {OWNED}"]'), NOT_PLAIN),
    "tag that its reader falls over": (line('data_dir: !!int ""'), NOT_PLAIN),
    "bomb of aliases": (content(BOMB), NOT_PLAIN),
    "deep": (content("[" * 100_000), NOT_PLAIN),
    "deep keys": (content("{a: " * 50_000), NOT_PLAIN),
    "list": (content("[1, 2]"), NOT_PLAIN),
    "no YAML": (content("a: [b"), "cannot be read as a stored configuration"),
    "number too long": (line(f"data_dir: {'9' * 5000}"), "cannot be read as a stored configuration"),
    "no text": (lambda copy: copy.config.write_bytes(b"\xff\xfe\x00"), "cannot be read as a stored configuration"),
    "100 MB": (of_size("config/config.yaml", 100 * 10**6), "has 100000000 bytes"),
    "slow to read": (of_size("config/config.yaml", 2 * 10**6), "cannot be read as a stored configuration"),
    "link": (linked("config/config.yaml"), "config/config.yaml is not a plain file"),
    "linked folder": (linked("config"), "config/config.yaml"),
    "linked run": (linked("."), "is not a plain file"),
    "folder": (folder_in_its_place, "config/config.yaml is not a plain file"),
    "pipe": (lambda copy: (copy.config.unlink(), os.mkfifo(copy.config)), "config/config.yaml"),
    "absent": (lambda copy: copy.config.unlink(), "has no artifact config/config.yaml"),
    "unknown key": (values(model__deepth=3), "deepth"),
    "out of range": (values(epochs=-1), "epochs=-1: at least 1 expected"),
    "threads without end": (values(threads=10**9), "threads=1000000000"),
    "escape sequence in a name": (
        values(dataset__classes=["a", "\x1b]0;x\x07\nerror: y", "c", "d", "e"], dataset__background=None),
        r"dataset.classes=['a', '\x1b]0;x\x07\nerror: y', 'c', 'd', 'e']: text without control characters expected",
    ),
    "artifacts on another host": (address("http://127.0.0.1:9/{id}/artifacts"), PLACE),
    "artifacts of another server": (address("mlflow-artifacts://127.0.0.1:9/1/{id}/artifacts"), PLACE),
    "artifacts of another host's user": (address(r"mlflow-artifacts://127.0.0.1:9\@/1/{id}/artifacts"), PLACE),
    "artifacts at no address": (address("http://[/{id}/artifacts"), PLACE),
    "artifacts elsewhere": (address("file://{cwd}"), PLACE),
    "artifacts above": (address("file://{cwd}/store/{id}/artifacts/../../.."), PLACE),
    "artifacts of a shared drive": (address("file://127.0.0.1:9/{id}/artifacts"), PLACE),
    "artifacts of a model": (address("models:/x/1"), PLACE),
    "artifacts by a transfer": (address("ftp://127.0.0.1:9/{id}/artifacts"), PLACE),
    "schema too long": (lambda copy: copy.tag("schema", "9" * 5000), "was made by a newer version"),
    "schema with an escape": (lambda copy: copy.tag("schema", "\x1b[2J"), r"(schema \x1b[2J, this one: "),
}  # fmt: skip
