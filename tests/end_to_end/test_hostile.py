"""What is planted in a stored run is refused by every command that takes one: status 2, a line, nothing executed.

Each case is a copy of a finished run in a store of its own, with one thing planted. What is planted as code would make
the file `owned`.
"""

import hashlib
import json
import os
import pickle
import re
import shutil
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pytest
import yaml

from pipeline.weights import weights_sha256
from tests.end_to_end.commands import RUN, Ended, Finished, lines, several

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
PLACE = "says that its artifacts are in"

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
        values(dataset__classes=["a", "\x1b]0;x\x07\nerror: y", "c", "d", "e"]),
        r"dataset.classes=['a', '\x1b]0;x\x07\nerror: y', 'c', 'd', 'e']: text without control characters expected",
    ),
    "artifacts on another host": (address("http://127.0.0.1:9/{id}/artifacts"), PLACE),
    "artifacts of another server": (address("mlflow-artifacts://127.0.0.1:9/1/{id}/artifacts"), PLACE),
    "artifacts elsewhere": (address("file://{cwd}"), PLACE),
    "artifacts above": (address("file://{cwd}/store/{id}/artifacts/../../.."), PLACE),
    "artifacts of a shared drive": (address("file://127.0.0.1:9/{id}/artifacts"), PLACE),
    "artifacts of a model": (address("models:/x/1"), PLACE),
    "artifacts by a transfer": (address("ftp://127.0.0.1:9/{id}/artifacts"), PLACE),
    "schema too long": (lambda copy: copy.tag("schema", "9" * 5000), "was made by a newer version"),
    "schema with an escape": (lambda copy: copy.tag("schema", "\x1b[2J"), r"(schema \x1b[2J, this one: "),
}  # fmt: skip


# ---- weights, for the commands that predict


def arrays(name: str, change: Callable[[dict[str, np.ndarray]], object], sign: bool = True) -> Plant:
    """Other arrays in one of the run's files, with the hash that belongs to them."""

    def plant(copy: Copy) -> None:
        with np.load(copy.root / name) as file:
            found = dict(file)
        change(found)
        np.savez(copy.root / name, **found)
        if sign:
            signed(copy)
            if name == "checkpoints/best/weights.npz":
                copy.tag("weights_sha256", weights_sha256(found))

    return plant


def file(name: str, bytes_of: Callable[[bytes], bytes]) -> Plant:
    """Another content of one of the run's files, with the hash that belongs to it in the state beside it."""

    def plant(copy: Copy) -> None:
        (copy.root / name).write_bytes(bytes_of((copy.root / name).read_bytes()))
        signed(copy)

    return plant


def signed(copy: Copy, **changes: Any) -> None:
    """Give the states the hashes of the files beside them and of themselves, as an attacker would."""
    for place, names in (("best", LAST[:1]), ("last", LAST)):
        path = copy.root / "checkpoints" / place / "state.json"
        state = json.loads(path.read_text())
        del state["state_sha256"]
        state["sha256"] = {name: hashlib.sha256((path.parent / name).read_bytes()).hexdigest() for name in names}
        if place == "last":
            for key, value in changes.items():
                section, _, inner = key.rpartition("__")
                (state[section] if section else state)[inner] = value
        state["state_sha256"] = hashlib.sha256(json.dumps(state, sort_keys=True).encode()).hexdigest()
        path.write_text(json.dumps(state))


def compressed(_: bytes) -> bytes:
    """A file of a megabyte that is a gigabyte when it is read."""
    import io

    held = io.BytesIO()
    np.savez_compressed(held, **{"logits/bias": np.zeros(2**24, np.float64)})
    return held.getvalue()


FITS_NOT = " the network has"
BIAS = "logits/bias"
BEST = "checkpoints/best/weights.npz"


def faulty_arrays(name: str) -> dict[str, tuple[Plant, str]]:
    """What can be wrong in a file of weights."""
    key = BIAS
    return {
        "pickle": (arrays(name, lambda found: found.update({key: np.array([Payload()], object)})), "as named arrays"),
        "whole pickle": (file(name, lambda _: pickle.dumps(Payload())), "cannot be read as named arrays"),
        "compressed": (file(name, compressed), "it is compressed"),
        "another name": (arrays(name, lambda found: found.update(x=found.pop(key))), FITS_NOT),
        "one more": (arrays(name, lambda found: found.update(x=np.zeros(1))), FITS_NOT),
        "another shape": (arrays(name, lambda found: found.update({key: np.zeros(77, np.float32)})), FITS_NOT),
        "another type": (arrays(name, lambda found: found.update({key: found[key].astype("S4")})), FITS_NOT),
    }  # fmt: skip


WEIGHTS: dict[str, tuple[Plant, str]] = {
    **faulty_arrays(BEST),
    "another hash": (arrays(BEST, lambda found: found[BIAS].__iadd__(1), sign=False), "weights_sha256 is "),
    "hash with an escape": (lambda copy: copy.tag("weights_sha256", "\x1b[2J\n"), r"the run recorded \x1b[2J\n"),
    "linked": (linked(BEST), "is not a plain file"),
    "absent": (lambda copy: (copy.root / BEST).unlink(), f"has no artifact {BEST}"),
    "network of another size": (values(model__width=5), FITS_NOT),
}


# ---- checkpoints, for `resume=`


def state(**changes: Any) -> Plant:
    """Other values in the state of the last checkpoint, correctly signed."""
    return lambda copy: signed(copy, **changes)


def best_of_another_epoch(copy: Copy) -> None:
    with np.load(copy.root / BEST) as found:
        np.savez(copy.root / BEST, **{name: values + 1 for name, values in found.items()})
    signed(copy)


RESUME: dict[str, tuple[Plant, str]] = {
    **{
        name: case
        for name, case in faulty_arrays("checkpoints/last/weights.npz").items()
        # To be found these take a network, and so seconds: one is enough.
        if name not in ("one more", "another shape", "another type")
    },
    "another optimizer": (
        arrays("checkpoints/last/optimizer.npz", lambda found: found.pop(next(iter(found)))), FITS_NOT,
    ),
    "pickle in the optimizer": (
        arrays("checkpoints/last/optimizer.npz", lambda found: found.update(x=np.array([Payload()], object))),
        "as named arrays",
    ),
    "unsigned": (arrays("checkpoints/last/weights.npz", lambda found: found[BIAS].__iadd__(1), False), "is damaged"),
    "best weights of another epoch": (best_of_another_epoch, "checkpoints/best does not have the weights of epoch"),
    "best weights of another network": (
        lambda copy: (
            arrays(BEST, lambda found: found.pop(BIAS))(copy),
            signed(copy, best__weights_sha256=weights_sha256(dict(np.load(copy.root / BEST)))),
        ),
        "has the weights of another network",
    ),
    "no state": (lambda copy: (copy.root / "checkpoints/last/state.json").write_text("{"), "state.json: is damaged"),
    "deep state": (lambda copy: (copy.root / "checkpoints/last/state.json").write_text("[" * 10**5), "is damaged"),
    "state of 100 MB": (of_size("checkpoints/last/state.json", 10**8), "has 100000000 bytes"),
    "step is a word": (state(step="many"), "is no training state"),
    "step is nothing": (state(step=None), "is no training state"),
    "step is a list": (state(step=[1]), "is no training state"),
    "step is infinite": (state(step=float("inf")), "is no training state"),
    "step below zero": (state(step=-4, epoch=-2), "does not lie in epoch"),
    "step beyond the epoch": (state(step=10**12), "does not lie in epoch"),
    "epoch beyond the end": (state(step=198, epoch=99), "99 epochs are closed, but the run has 2"),
    "epochs of other lengths": (state(step=6, steps_per_epoch=3), "epochs of 3 steps, but this run has 2"),
    "epochs of no steps": (state(step=0, epoch=0, steps_per_epoch=0), "is no training state"),
    "seconds of nothing": (state(seconds=float("nan")), "nan seconds"),
    "no best": (state(best=None), "only then, one is the best so far"),
    "best is a number": (state(best=3), "is no training state"),
    "best of another epoch": (state(best__epoch=3), "epoch 3 cannot be the best of 2"),
    "best that is no score": (state(best__mean_iou=7.0), "a mean IoU between 0 and 1"),
    "matrix of other classes": (state(best__confusion_matrix=[[1]]), "a confusion matrix of 5 classes expected"),
    "ragged matrix": (state(best__confusion_matrix=[[1, 2], [3]]), "is no training state"),
    "matrix without end": (state(best__confusion_matrix=[[10**30] * 5] * 5), "is no training state"),
    "key that is a path": (lambda copy: copy.tag("run_key", "../../elsewhere"), "has no run_key of this program"),
    "host with an escape": (
        lambda copy: (
            copy.tag("host", "\x1b[2J"), copy.tag("boot", "x"), copy.tag("pid", "1"), copy.tag("started", "1"),
            shutil.rmtree(copy.root / "checkpoints/last"),
        ),
        r"resume it on \x1b[2J, process 1",
    ),
    "host without a name": (
        lambda copy: (
            copy.tag("host", ""), copy.tag("boot", ""), copy.tag("pid", "1"), copy.tag("started", "nan"),
            shutil.rmtree(copy.root / "checkpoints/last"),
        ),
        "its checkpoints were not uploaded",
    ),
    "other data": (lambda copy: copy.tag("data_digest", "\x1b[2J"), r"(digest \x1b[2J, now "),
}  # fmt: skip


# ---- what it was made with, for `rerun=` and `resume=`


def environment_file(name: str, text: str) -> Plant:
    return lambda copy: (copy.root / "environment" / name).write_text(text)


MADE_WITH: dict[str, tuple[Plant, str]] = {
    "no JSON": (environment_file("git.json", "{"), "git.json: is no JSON"),
    "deep JSON": (environment_file("hardware.json", "[" * 10**5), "hardware.json: is no JSON"),
    "list": (environment_file("sources.json", "[]"), "sources.json: is not what a run writes"),
    "numbers": (environment_file("hardware.json", '{"cpu": 3}'), "hardware.json: is not what a run writes"),
    "rows": (environment_file("data.json", '{"train": [["a"]]}'), "data.json: is not what a run writes: rows of id"),
    "link": (linked("environment/git.json"), "environment/git.json is not a plain file"),
    "100 MB": (of_size("environment/git.diff", 10**8), "has 100000000 bytes"),
}

TOOLS = ("rerun", "resume", "predict", "evaluate")
SHARED = (
    "interpolation", "python tag", "bomb of aliases", "100 MB", "linked run", "artifacts on another host",
    "escape sequence in a name", "schema with an escape", "pickle", "another hash", "no JSON",
)  # fmt: skip
CASES: dict[tuple[str, str], tuple[Plant, str]] = {
    (tool, f"{kind}: {name}"): case
    for kind, cases, tools in (
        ("configuration", CONFIG, TOOLS),
        ("weights", WEIGHTS, TOOLS[2:]),
        ("checkpoint", RESUME, TOOLS[1:2]),
        ("environment", MADE_WITH, TOOLS[:2]),
    )
    for name, case in cases.items()
    for tool in tools
    if tool == tools[0] or name in SHARED
}
UNTOUCHED = [(tool, "untouched") for tool in TOOLS[1:]]


class Store:
    """A store of its own for copies of a run."""

    def __init__(self, cwd: Path, finished: Finished) -> None:
        self.cwd, self.finished, self.database = cwd, finished, cwd / "mlflow.db"
        self.client = mlflow.MlflowClient(f"sqlite:///{self.database}")
        self.experiment = self.client.create_experiment("x", artifact_location=(cwd / "store").as_uri())
        (cwd / "VOC").symlink_to(finished.cwd / "VOC")

    def copy(self, status: str) -> Copy:
        tags = {key: self.finished.run.data.tags[key] for key in ("weights_sha256", "data_digest", "schema")}
        run = self.client.create_run(self.experiment, tags={**tags, "run_key": os.urandom(16).hex()})
        self.client.set_terminated(run.info.run_id, status)
        root = self.cwd / "store" / run.info.run_id / "artifacts"
        for name in ("config", "environment", "checkpoints"):
            shutil.copytree(self.finished.artifact(name), root / name)
        return Copy(root, run.info.run_id, self.database, self.cwd)

    def command(self, tool: str, id: str) -> list[str]:
        uri = f"tracking.uri=sqlite:///{self.database}"
        if tool in ("rerun", "resume"):
            return [RUN, f"{tool}={id}", uri]
        more = ["input=VOC/JPEGImages/val_0.jpg", "output=predicted"] if tool == "predict" else []
        return [f"pipeline.{tool}", f"run={id}", uri, *more]


def with_code(copy: Copy) -> None:
    """Code in every place where a careless reader would run it."""
    code = f"import os; os.system('touch {OWNED}')\n"
    for name in ("model/code/pipeline/__init__.py", "model/served_model.py", "config/config.py", "sitecustomize.py"):
        (copy.root / name).parent.mkdir(parents=True, exist_ok=True)
        (copy.root / name).write_text(code)
    flavour = "flavors: {python_function: {loader_module: served_model, python_version: 3.11.7, code: code}}\n"
    (copy.root / "model/MLmodel").write_text(flavour)
    (copy.root / "model/python_model.pkl").write_bytes(pickle.dumps(Payload()))
    (copy.root / "config/hydra.yaml").write_text(f'!!python/object/apply:os.system ["touch {OWNED}"]')
    (copy.root / "config/overrides.yaml").write_text("- +model._target_=os.system\n")
    (copy.root / "checkpoints/best/other.npz").write_bytes(pickle.dumps(Payload()))


@pytest.fixture(scope="module")
def ended(finished: Finished, tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], Ended]:
    """What each command says of each copy, one after the other in one process."""
    cwd = tmp_path_factory.mktemp("hostile")
    store = Store(cwd, finished)
    commands = []
    for tool, name in [*CASES, *UNTOUCHED]:
        copy = store.copy("KILLED" if tool == "resume" else "FINISHED")
        plant = CASES[tool, name][0] if (tool, name) in CASES else with_code
        plant(copy)
        commands.append(store.command(tool, copy.id))
    done = several(commands, cwd, SECRET=SECRET)
    assert not list(cwd.rglob(OWNED)), "planted code was executed"
    assert len(store.client.search_runs([store.experiment])) == len(commands), "a refused run was run"
    return dict(zip([*CASES, *UNTOUCHED], done, strict=True))


@pytest.mark.parametrize(("tool", "name"), CASES)
def test_what_is_planted_is_refused_in_one_line(ended: dict[tuple[str, str], Ended], tool: str, name: str) -> None:
    said, told = ended[tool, name], CASES[tool, name][1]
    faults = lines(said.stderr)
    assert said.status == 2, said.stderr
    assert told in faults[0]
    assert all(fault.startswith("error: ") and fault.isprintable() and len(fault) < 2000 for fault in faults)
    assert len(faults) == 1 or told == FITS_NOT  # a line for each array
    assert not re.search(r"(?m)^epoch ", said.stdout) and SECRET not in said.stdout + said.stderr


@pytest.mark.parametrize(("tool", "name"), UNTOUCHED)
def test_code_beside_what_is_read_is_never_looked_at(
    ended: dict[tuple[str, str], Ended], finished: Finished, tool: str, name: str
) -> None:
    """The negative control of this file, too: these copies differ from the run in nothing that is read."""
    said = ended[tool, name]
    assert (said.status, said.stderr) == (0, "")
    score = finished.run.data.metrics["best/val_mean_iou" if tool == "resume" else "test/mean_iou"]
    assert f"{score:.4f}" in said.stdout or tool == "predict"


def test_what_is_planted_would_run_if_it_were_read_carelessly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    np.savez("x.npz", x=np.array([Payload()], object))
    np.load("x.npz", allow_pickle=True)["x"]
    assert (tmp_path / OWNED).exists()
    (tmp_path / OWNED).unlink()
    yaml.unsafe_load(f'!!python/object/apply:os.system ["touch {OWNED}"]')
    assert (tmp_path / OWNED).exists()
