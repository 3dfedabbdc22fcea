"""What is in the fingerprint of a run, and what is not."""

import dataclasses
import hashlib
import shutil
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from pipeline.config import fingerprint as module
from pipeline.config.fingerprint import changes_nothing, fingerprint, sources, sources_sha256
from pipeline.config.keys import leaves
from pipeline.config.overrides import checked_config
from pipeline.config.schema import Config

# How runs are recorded, where data and initial weights lie, and how classes look.
OUTSIDE = {"data_dir", "cache_mb", "dataset.root", "dataset.colours", "init_from", "model.encoder_weights"}
OUTSIDE |= {"evaluate.log_images"}
OUTSIDE |= {name for name, _, _ in leaves(Config) if name.startswith(("tracking.", "checkpoint.", "sweep."))}


@pytest.fixture(scope="module")
def config() -> Config:
    return checked_config([])


def changed(config: Config, key: str, value: Any) -> Config:
    tree = OmegaConf.structured(config)
    OmegaConf.update(tree, key, value)
    result = OmegaConf.to_object(tree)
    assert isinstance(result, Config)
    return result


def another(value: Any) -> Any:
    """Some value of the same type."""
    if value is None:
        return 1
    if isinstance(value, bool):
        return not value
    if isinstance(value, list):
        return value[::-1] if value != value[::-1] else value * 2
    return value + (1 if isinstance(value, int | float) else "x")


@pytest.mark.parametrize("key", [name for name, _, _ in leaves(Config)])
def test_every_key_counts_except_recording_and_places(config: Config, key: str) -> None:
    value = {name: value for name, _, value in leaves(config)}[key]
    value = [0.0] if key == "dataset.intensity" else value
    numbers = ("dataset.folds", "dataset.fold", "dataset.limit")
    texts = key.startswith(("tracking.", "data", "checkpoint.upload")) and key not in numbers
    new: Any = "x" if texts and not isinstance(value, list | float) else another(value)
    other = changed(config, key, ["x"] if key == "dataset.colours" else new)
    assert (fingerprint(other, "d", None) == fingerprint(config, "d", None)) == (key in OUTSIDE) == changes_nothing(key)


def test_it_depends_on_data_and_initial_weights(config: Config) -> None:
    assert (
        fingerprint(config, "d", None)
        == fingerprint(dataclasses.replace(config), "d", None)
        != fingerprint(config, "e", None)
    )
    assert fingerprint(config, "d", "f00") != fingerprint(config, "d", "f01")
    assert len(fingerprint(config, "d", None)) == 64


@pytest.fixture
def copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the package, which takes its place for a test."""
    shutil.copytree(module.PACKAGE, tmp_path / "pipeline", ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(module, "PACKAGE", tmp_path / "pipeline")
    return tmp_path / "pipeline"


@pytest.mark.parametrize(
    "name",
    [
        "train/fit.py",
        "train/epochs.py",
        "train/state.py",
        "train/checkpoint.py",
        "model/weights.py",
        "model/unet.py",
        "data/augment.py",
        "evaluate/evaluator.py",
        "runtime/seeds.py",
        "config/schema.py",
    ],
)
def test_a_byte_of_a_source_that_trains_or_scores_counts(config: Config, copy: Path, name: str) -> None:
    before = fingerprint(config, "d", None)
    assert sources_sha256() == sources_sha256()
    (copy / name).write_bytes((copy / name).read_bytes() + b"#")
    assert fingerprint(config, "d", None) != before


def test_a_new_or_renamed_source_counts(copy: Path) -> None:
    before = sources_sha256()
    (copy / "data/new.py").write_text("")
    new = sources_sha256()
    (copy / "data/new.py").rename(copy / "data/newer.py")
    assert len({before, new, sources_sha256()}) == 3


@pytest.mark.parametrize(
    "name",
    [
        "tracking/journal.py",
        "runtime/console.py",
        "compare/table.py",
        "sweep/sweep.py",
        "experiment/rerun.py",
        "predict/__main__.py",
    ],
)
def test_a_source_that_only_displays_or_sends_does_not(copy: Path, name: str) -> None:
    before = sources_sha256()
    (copy / name).write_bytes((copy / name).read_bytes() + b"#")
    assert sources_sha256() == before


def test_sources_have_the_hash_of_their_content(copy: Path) -> None:
    (copy / "data/new.py").write_bytes(b"x = 1\n")
    found = sources()
    assert found["data/new.py"] == hashlib.sha256(b"x = 1\n").hexdigest()
    assert {"train/fit.py", "model/unet.py"} <= found.keys() and not {
        "runtime/text.py",
        "tracking/store.py",
    } & found.keys()


def test_every_deciding_name_exists() -> None:
    assert all((module.PACKAGE / name).exists() for name in module.DECIDING)
