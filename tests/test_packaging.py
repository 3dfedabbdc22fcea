"""MLproject, python_env.yaml and Dockerfile: they name files, commands and versions of this project."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from pipeline.runtime.files import ROOT

PROJECT = yaml.safe_load((ROOT / "MLproject").read_text())
DOCKERFILE = (ROOT / "Dockerfile").read_text()
IGNORED = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]


@pytest.mark.parametrize(
    ("entry", "values", "arguments"),
    [
        ("main", {}, []),
        ("main", {"overrides": "seed=1 'dataset.classes=[a,\"b c\"]'"}, ["seed=1", 'dataset.classes=[a,"b c"]']),
        ("main", {"overrides": "a=$(touch x) b=`touch y`"}, ["a=$(touch", "x)", "b=`touch", "y`"]),
        ("sweep", {"overrides": "seed=1,2"}, ["-m", "seed=1,2"]),
        ("evaluate", {"run": "models:/a@b", "overrides": "split=val"}, ["run=models:/a@b", "split=val"]),
    ],
)
def test_overrides_are_split_as_a_shell_does(
    tmp_path: Path, entry: str, values: dict[str, str], arguments: list[str]
) -> None:
    """With programs that print their arguments in place of the project's; MLflow quotes values in this way."""
    for name in ("run.py", "pipeline/evaluate.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("import sys\nprint(sys.argv[1:])\n")
    found = PROJECT["entry_points"][entry]
    defaults = {name: parameter.get("default") for name, parameter in found["parameters"].items()}
    line = found["command"].format(**{name: shlex.quote(value) for name, value in (defaults | values).items()})
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {**os.environ, "PATH": path, "PYTHONPATH": ""}
    done = subprocess.run(
        ["bash", "-c", line], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == str(arguments)
    assert {file.name for file in tmp_path.iterdir()} <= {"run.py", "pipeline"}


def test_the_environment_is_that_of_the_project() -> None:
    environment = yaml.safe_load((ROOT / PROJECT["python_env"]).read_text())
    assert environment["dependencies"] == ["-c constraints.txt", "-e ."]
    image = re.search(r"^FROM python:(\d+\.\d+)-slim$", DOCKERFILE, re.MULTILINE)
    assert image is not None and image[1] == environment["python"]
    assert f'requires-python = ">={image[1]},<' in (ROOT / "pyproject.toml").read_text()


def test_the_image_gets_what_it_copies_and_nothing_else() -> None:
    copied = {name for line in re.findall(r"^COPY (.+) \S+$", DOCKERFILE, re.MULTILINE) for name in line.split()}
    assert copied == {line.removeprefix("!") for line in IGNORED if line.startswith("!")}
    assert IGNORED[0] == "*"
    assert [name for name in copied if not (ROOT / name).exists()] == []


def test_the_container_is_not_root_and_keeps_data_and_runs() -> None:
    instructions = dict(re.findall(r"^(USER|WORKDIR|VOLUME|ENTRYPOINT) (.+)$", DOCKERFILE, re.MULTILINE))
    assert instructions == {
        "USER": "1000:1000",
        "WORKDIR": "/app",
        "VOLUME": '["/app/data", "/app/mlruns"]',
        "ENTRYPOINT": '["python"]',
    }
