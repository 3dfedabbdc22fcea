"""The logged model: made of code and plain arrays, and complete for the copy of the package that it carries."""

import ast
import re
import sys
from importlib import metadata
from pathlib import Path

import mlflow
import numpy as np
import pytest

from pipeline.config import TrackingConfig
from pipeline.tracking.model import PACKAGE, REQUIREMENTS, log_model
from pipeline.tracking.record import TrackedRun
from pipeline.tracking.store import open_store


@pytest.fixture(scope="module")
def logged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a logged model; logging does not open its configuration and weights, which are placeholders."""
    place = tmp_path_factory.mktemp("model")
    (place / "config.yaml").write_text("seed: 0\n")
    (place / "weights.npz").write_bytes(b"weights")
    store = open_store(TrackingConfig(uri=f"sqlite:///{place}/mlflow.db", experiment="x"))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        with TrackedRun(store, "name", {}):
            example = np.zeros((1, 4, 6, 3), np.uint8)
            log_model(place / "config.yaml", place / "weights.npz", "f00", example)
    (found,) = mlflow.MlflowClient(store.uri).search_logged_models([store.experiment_id])
    assert found.name == "model"
    return Path(found.artifact_location.removeprefix("file://"))


def test_it_holds_code_and_plain_arrays_and_no_pickle(logged: Path) -> None:
    files = {path.relative_to(logged).as_posix() for path in logged.rglob("*") if path.is_file()}
    assert {"MLmodel", "served_model.py", "artifacts/config.yaml", "artifacts/weights.npz"} <= files
    assert (logged / "artifacts/weights_sha256.json").read_text() == '"f00"'
    assert not [name for name in files if name.endswith((".pkl", ".pickle", ".joblib", ".keras", ".h5"))]
    sources = {path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py")}
    assert {f"code/pipeline/{name}" for name in sources} <= files


def test_pictures_of_any_size_go_in_and_class_indices_come_out(logged: Path) -> None:
    signature = mlflow.models.get_model_info(str(logged)).signature
    (pixels,), (indices,) = signature.inputs.inputs, signature.outputs.inputs
    assert (pixels.type, pixels.shape) == (np.dtype(np.uint8), (-1, -1, -1, 3))
    assert (indices.type, indices.shape) == (np.dtype(np.uint8), (-1, -1, -1))


def test_its_requirements_are_exact_and_name_everything_that_the_code_imports(logged: Path) -> None:
    required = dict(line.split("==") for line in (logged / "requirements.txt").read_text().split())
    assert required == {name: metadata.version(name) for name in (*REQUIREMENTS, "mlflow")}
    imported = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                imported |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                imported.add(str(node.module).partition(".")[0])
    distributions = {"PIL": "pillow", "hydra": "hydra-core", "yaml": "omegaconf", "sqlalchemy": "mlflow"}
    outside = imported - set(sys.stdlib_module_names) - {"pipeline"}
    assert {re.sub("_", "-", distributions.get(name, name)) for name in outside} <= set(required)
