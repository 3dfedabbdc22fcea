"""What is planted in a stored run is refused by every command that takes one: status 2, a line, nothing executed.

Each case is a copy of a finished run in a store of its own, with one thing planted.
"""

import os
import pickle
import re
import shutil
from pathlib import Path

import mlflow
import numpy as np
import pytest
import yaml

from tests.end_to_end.commands import RUN, Ended, Finished, lines, several
from tests.end_to_end.planted import CONFIG, OWNED, SECRET, Copy, Payload, Plant
from tests.end_to_end.planted_arrays import FITS_NOT, MADE_WITH, RESUME, WEIGHTS

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

    def command(self, tool: str, run_id: str) -> list[str]:
        uri = f"tracking.uri=sqlite:///{self.database}"
        if tool in ("rerun", "resume"):
            return [RUN, f"{tool}={run_id}", uri]
        more = ["input=VOC/JPEGImages/val_0.jpg", "output=predicted"] if tool == "predict" else []
        return [f"pipeline.{tool}", f"run={run_id}", uri, *more]


def with_code(copy: Copy) -> None:
    """Code in every place where a careless reader would run it."""
    code = f"import os; os.system('touch {OWNED}')\n"
    for name in ("model/code/pipeline/__init__.py", "model/pyfunc_model.py", "config/config.py", "sitecustomize.py"):
        (copy.root / name).parent.mkdir(parents=True, exist_ok=True)
        (copy.root / name).write_text(code)
    flavour = "flavors: {python_function: {loader_module: pyfunc_model, python_version: 3.11.7, code: code}}\n"
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
    experiments = [experiment.experiment_id for experiment in store.client.search_experiments()]
    assert len(store.client.search_runs(experiments)) == len(commands), "a refused run was run"
    return dict(zip([*CASES, *UNTOUCHED], done, strict=True))


@pytest.mark.parametrize(("tool", "name"), CASES)
def test_what_is_planted_is_refused_in_one_line(ended: dict[tuple[str, str], Ended], tool: str, name: str) -> None:
    said, reported = ended[tool, name], CASES[tool, name][1]
    faults = lines(said.stderr)
    assert said.status == 2, said.stderr
    assert reported in faults[0]
    assert all(fault.startswith("error: ") and fault.isprintable() and len(fault) < 2000 for fault in faults)
    assert len(faults) == 1 or reported == FITS_NOT  # a line for each array
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
