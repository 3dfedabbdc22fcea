"""The trained network as an MLflow model that loads with `mlflow.pyfunc`."""

import json
import shutil
import tempfile
from importlib import metadata
from pathlib import Path

import mlflow
import numpy as np
from mlflow.models import ModelSignature
from mlflow.types import Schema, TensorSpec

from pipeline.runtime.files import PACKAGE

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
    pixels = np.dtype(np.uint8)
    signature = ModelSignature(
        inputs=Schema([TensorSpec(pixels, (-1, -1, -1, 3))]),
        outputs=Schema([TensorSpec(pixels, (-1, -1, -1))]),
    )
    shutil.rmtree(folder, ignore_errors=True)  # the incomplete model of a killed process
    with tempfile.TemporaryDirectory() as private:
        stored, recorded = Path(private) / "config.yaml", Path(private) / "weights_sha256.json"
        stored.write_text(config, encoding="utf-8")
        recorded.write_text(json.dumps(weights_sha256))
        mlflow.pyfunc.save_model(
            path=str(folder),
            python_model=str(PACKAGE / "tracking" / "pyfunc_model.py"),
            artifacts={"config": str(stored), "weights": str(weights), "weights_sha256": str(recorded)},
            code_paths=[str(PACKAGE)],
            signature=signature,
            input_example=example,
            pip_requirements=[f"{name}=={metadata.version(name)}" for name in REQUIREMENTS],
        )
    for cache in folder.rglob("__pycache__"):
        shutil.rmtree(cache, ignore_errors=True)
