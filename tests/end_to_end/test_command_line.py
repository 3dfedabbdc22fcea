"""`run.py` as a process: help, faults before the slow imports, `--cfg`, completion."""

import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from pipeline.config.help_text import help_text
from pipeline.config.overrides import checked_config
from pipeline.runtime.files import ROOT
from tests.configs import KEYS


def run(
    arguments: str, cwd: Path, environment: dict[str, str] | None = None, shell: str = ""
) -> subprocess.CompletedProcess[str]:
    """`python run.py <arguments>` in a folder of its own, with the slow imports forbidden."""
    for name in ("tensorflow", "mlflow", "keras"):
        (cwd / "forbidden" / name).mkdir(parents=True, exist_ok=True)
        (cwd / "forbidden" / name / "__init__.py").write_text(f"raise SystemExit('{name} was imported')\n")
    python_path = os.pathsep.join([str(cwd / "forbidden"), str(ROOT)])
    environment = {**os.environ, "PYTHONPATH": python_path, **(environment or {})}
    command = f"{shlex.quote(sys.executable)} {shlex.quote(str(ROOT / 'run.py'))} {arguments} {shell}"
    return subprocess.run(
        ["bash", "-c", command], cwd=cwd, env=environment, capture_output=True, text=True, timeout=60, check=False
    )


def test_help(tmp_path: Path) -> None:
    done = run("--help", tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    for key in KEYS:
        assert f"  {key}=" in done.stdout, key
    assert "schema" not in done.stdout
    assert "(batch, group or none)" in done.stdout
    assert "optimizer=    adam | adamw | sgd" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 120


@pytest.mark.parametrize("shows", ["-h", "--cfg job", "--info", "--hydra-help", "--version", "-sc install=bash"])
def test_a_reader_of_the_first_line_is_enough(tmp_path: Path, shows: str) -> None:
    done = run(shows, tmp_path, shell="| head -1; exit ${PIPESTATUS[0]}")
    assert (done.returncode, done.stderr, done.stdout.count("\n")) == (0, "", 1)


def test_help_shows_defaults_that_can_be_typed() -> None:
    """Every `key=value` of the help, typed together, is the default job."""
    shown = [
        line.split()[0]
        for line in help_text().splitlines()
        if line.partition("=")[1] and line.partition("=")[0].strip() in KEYS
    ]
    assert len(shown) == len(KEYS)
    assert checked_config(shown) == checked_config([])


@pytest.mark.parametrize(
    ("arguments", "faults"),
    [
        (
            "epochs=-3 model.dept=5 model.width=0",
            [
                "error: epochs=-3: at least 1 expected",
                "error: model.dept=5: unknown key 'model.dept' (did you mean 'model.depth'?)",
                "error: model.width=0: at least 1 expected",
            ],
        ),
        ("-m model.depth=2,30", ["error: model.depth=30: at least 1 and at most 8 expected"]),
        ("--config-name nothing", ["error: --config-name=nothing: not found in "]),
        ("seed=1,2", ["error: seed=1,2: several values are a sweep, python run.py -m 'seed=1,2' …; "]),
        (
            "-m seed=1,2 hydra.sweeper.n_trials=3",
            ["error: hydra.sweeper.n_trials=3: is for a search only; add sweep=optuna"],
        ),
        ("--cfg job sweep.sampler=random", ["error: sweep.sampler=random: is for a search only; add sweep=optuna"]),
        ("-m sweep=optuna seed=1,2 hydra.sweeper.n_trials=0", ["error: hydra.sweeper.n_trials=0: at least 1 expected"]),
        (
            "sweep=optuna epochs=0 tracking.uri=ftp://u:p@host sweep.storage=redis://host",
            [
                "error: sweep=optuna: is for a sweep, which needs -m: python run.py -m sweep=optuna …",
                "error: sweep.storage=redis://host: is for a sweep, which needs -m: python run.py -m sweep.storage=",
                "error: epochs=0: at least 1 expected",
                "error: tracking.uri=ftp://***@host: http://, https://, sqlite:///, postgresql:// or mysql:// expected",
                "error: sweep.storage=redis://host: sqlite:///<file>, journal:<file>, postgresql://… or mysql://…",
            ],
        ),
        (
            "sweep.max_minutes=10",
            [
                "error: sweep.max_minutes=10: is for a sweep, which needs -m: python run.py -m sweep.max_minutes=10 …; "
                "max_minutes is that of a run"
            ],
        ),
        (
            "-m seed=1,2 sweep.pruner=median sweep.storage=postgresql://me:secret@host/study",
            [
                "error: sweep.pruner=median: is for a search only; add sweep=optuna",
                "error: sweep.storage=postgresql://***@host/study: is for a search only; add sweep=optuna",
            ],
        ),
        ("sweep=optuna", ["error: sweep=optuna: is for a sweep, which needs -m: python run.py -m sweep=optuna …"]),
        (
            "dataset.classes=[a,$'B\\xfcsche'] dataset.root=ü tracking.uri=http://u:$'\\xff'@host",
            [
                "error: dataset.classes=[a,B\\udcfcsche]: is not UTF-8: a run stores its",
                "error: tracking.uri=http://***@host: is not UTF-8",
            ],
        ),
        ("-m seed=1,2 --cfg job", ["error: --multirun runs a sweep and --cfg, --info only show: one of them expected"]),
    ],
)
def test_configuration_errors(arguments: str, faults: list[str], tmp_path: Path) -> None:
    """Status 2 and nothing but clear lines, before the slow imports and before anything is written."""
    done = run(arguments, tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    assert len(lines) == len(faults)
    assert all(line.startswith(fault) for line, fault in zip(lines, faults, strict=True))
    assert [path.name for path in tmp_path.iterdir()] == ["forbidden"]


def test_the_slow_imports_are_really_forbidden(tmp_path: Path, voc_folder: Callable[..., Path]) -> None:
    """The negative control of the tests above: a run without faults imports them."""
    arguments = f"dataset=folder dataset.root={voc_folder()} 'dataset.classes=[background,cat,dog]' batch_size=1"
    assert "was imported" in run(arguments, tmp_path).stderr


def test_cfg_shows_the_composed_configuration(tmp_path: Path) -> None:
    done = run("model.depth=5 dataset=voc2012 --cfg job", tmp_path)
    assert done.returncode == 0
    assert done.stderr == ""
    shown = yaml.safe_load(done.stdout)
    assert shown["model"]["depth"] == 5
    assert shown["dataset"]["splits"] == {"train": "train", "val": None, "test": "val", "extra": None}
    assert set(shown) == {name.partition(".")[0] for name in KEYS}


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("model.de", ["model.depth="]),
        ("optimizer=ad", ["optimizer=adam", "optimizer=adamw"]),
        (
            "experiment=",
            [
                "experiment=classic",
                "experiment=few_images",
                "experiment=shapes_quick",
                "experiment=voc2012",
                "experiment=voc2012_sbd",
                "experiment=voc_small",
            ],
        ),
        ("epochs=-3 tracking.ur", ["tracking.uri="]),
        ("sche", ["schedule=", "schedule."]),
    ],
)
def test_completion(typed: str, offered: list[str], tmp_path: Path) -> None:
    line = f"python run.py {typed}"
    done = run("-sc query=bash", tmp_path, {"COMP_LINE": line, "COMP_POINT": str(len(line))})
    assert done.returncode == 0
    assert done.stderr == ""
    assert sorted(done.stdout.split()) == sorted(offered)


def test_an_unusable_mlruns_folder_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "mlruns").write_text("a file")
    done = run("epochs=1", tmp_path)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith("error: mlruns") and done.stderr.count("\n") == 1
    assert "cannot be read or written: " in done.stderr
