"""The trained network as an MLflow model that loads with `mlflow.pyfunc`."""

import functools
import json
import shutil
import tempfile
from importlib import metadata
from pathlib import Path

import mlflow
import numpy as np
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from pipeline.runtime.files import PACKAGE
from pipeline.tracking.serving import SIGNATURE

# What the copied package imports when a model predicts; without the names MLflow spends seconds on guessing them.
REQUIREMENTS = ("tensorflow", "keras", "numpy", "pillow", "omegaconf", "psutil")


def save_model(folder: Path, config: str, weights: Path, weights_sha256: str, example: np.ndarray) -> None:
    """Write a model with signature and input example into a new folder, as code and plain arrays, without pickle.

    Args:
        config: the run's configuration as YAML.
        weights: npz file of the evaluated weights.
        weights_sha256: their recorded hash.
        example: input example, (1, height, width, 3) uint8 RGB.
    """
    shutil.rmtree(folder, ignore_errors=True)  # the incomplete model of a killed process
    with tempfile.TemporaryDirectory() as private:
        stored, recorded = Path(private) / "config.yaml", Path(private) / "weights_sha256.json"
        constraints = Path(private) / "constraints.txt"
        constraints.write_text("".join(f"{line}\n" for line in pinned(REQUIREMENTS)))
        stored.write_text(config, encoding="utf-8")
        recorded.write_text(json.dumps(weights_sha256))
        mlflow.pyfunc.save_model(
            path=str(folder),
            python_model=str(PACKAGE / "tracking" / "pyfunc_model.py"),
            artifacts={"config": str(stored), "weights": str(weights), "weights_sha256": str(recorded)},
            code_paths=[str(PACKAGE)],
            signature=SIGNATURE,
            input_example=example,
            pip_requirements=[*(f"{name}=={metadata.version(name)}" for name in REQUIREMENTS), f"-c {constraints}"],
        )
    for cache in folder.rglob("__pycache__"):
        shutil.rmtree(cache, ignore_errors=True)


@functools.cache
def pinned(names: tuple[str, ...]) -> tuple[str, ...]:
    """`<package>==<version>` for packages, MLflow, and all that these need on this machine, as installed here.

    As constraints they bind what is installed for the model, and install nothing themselves.
    """
    waiting, versions = [*names, "mlflow"], dict[str, str]()
    while waiting:
        name = canonicalize_name(waiting.pop())
        if name in versions:
            continue
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:  # it is optional, or not for this platform
            continue
        requirements = map(Requirement, metadata.requires(name) or [])
        waiting += [need.name for need in requirements if need.marker is None or need.marker.evaluate({"extra": ""})]
    return tuple(f"{name}=={version}" for name, version in sorted(versions.items()))
