"""The saved model: code and plain arrays, complete with a copy of the package."""

import re
import sys
from importlib import metadata
from pathlib import Path

import keras
import mlflow
import numpy as np
import pytest
import tensorflow as tf
from omegaconf import OmegaConf

from pipeline.config.overrides import checked_config
from pipeline.model.build import build_network
from pipeline.model.inference import predictor
from pipeline.model.weights import named_weights, weights_sha256
from pipeline.tracking.pyfunc import PACKAGE, REQUIREMENTS, save_model
from tests.imports import imports_of


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a saved model; saving does not open its weights, which are a placeholder."""
    place = tmp_path_factory.mktemp("model")
    (place / "weights.npz").write_bytes(b"weights")
    (place / "model").mkdir()
    (place / "model" / "half").write_text("of a process that was killed")
    example = np.zeros((1, 4, 6, 3), np.uint8)
    save_model(place / "model", "seed: 0\nname: Büsche\n", place / "weights.npz", "f00", example)
    assert {path.name for path in place.iterdir()} == {"weights.npz", "model"}
    return place / "model"


def test_it_holds_code_and_plain_arrays_and_no_pickle(saved: Path) -> None:
    files = {path.relative_to(saved).as_posix() for path in saved.rglob("*") if path.is_file()}
    assert {"MLmodel", "pyfunc_model.py", "artifacts/config.yaml", "artifacts/weights.npz"} <= files
    assert (saved / "artifacts/weights_sha256.json").read_text() == '"f00"'
    assert (saved / "artifacts/config.yaml").read_text(encoding="utf-8") == "seed: 0\nname: Büsche\n"
    assert (saved / "artifacts/weights.npz").read_bytes() == b"weights"
    assert not [name for name in files if name.endswith((".pyc", ".pkl", ".pickle", ".joblib", ".keras", ".h5"))]
    sources = {path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py")}
    assert {f"code/pipeline/{name}" for name in sources} <= files
    assert "half" not in files


def test_images_of_any_form_go_in_and_class_indices_come_out(saved: Path) -> None:
    signature = mlflow.models.get_model_info(str(saved)).signature
    (images,), (indices,) = signature.inputs.inputs, signature.outputs.inputs
    assert (images.name, images.type, images.shape) == ("image", np.dtype(object), (-1,))
    assert (indices.type, indices.shape) == (np.dtype(np.uint8), (-1, -1, -1))
    assert [spec.name for spec in signature.params.params] == ["probabilities", "scale"]


def test_everything_that_its_requirements_need_is_pinned(saved: Path) -> None:
    """By constraints: a package that is not needed on another machine is not installed there."""
    assert "-c constraints.txt" in (saved / "requirements.txt").read_text().splitlines()
    pins = dict(line.split("==") for line in (saved / "constraints.txt").read_text().split())
    assert pins == {name: metadata.version(name) for name in pins}
    assert {
        "tensorflow",
        "mlflow",
        "protobuf",
        "h5py",
        "starlette",
        "uvicorn",
        "pandas",
        "antlr4-python3-runtime",
    } <= set(pins)
    assert {"pytest", "ruff", "hydra-core"} & set(pins) == set()


def test_its_requirements_name_everything_that_it_imports(saved: Path) -> None:
    """Imports are followed from the file that MLflow runs, through the whole package; versions are exact."""
    lines = (saved / "requirements.txt").read_text().splitlines()
    required = dict(line.split("==") for line in lines if not line.startswith("-c "))
    assert required == {name: metadata.version(name) for name in (*REQUIREMENTS, "mlflow")}
    waiting, reached, imported = {"pipeline.tracking.pyfunc_model"}, set(), set()
    while waiting:
        module = waiting.pop()
        reached.add(module)
        for name, _ in imports_of(PACKAGE.parent / f"{module.replace('.', '/')}.py"):
            if name.partition(".")[0] != "pipeline":
                imported.add(name.partition(".")[0])
            elif name not in reached and (PACKAGE.parent / f"{name.replace('.', '/')}.py").is_file():
                waiting.add(name)
    assert {
        "pipeline.model.build",
        "pipeline.model.inference",
        "pipeline.model.unet",
        "pipeline.config.stored",
    } <= reached
    distributions = {"PIL": "pillow", "yaml": "omegaconf", "sqlalchemy": "mlflow"}
    outside = imported - set(sys.stdlib_module_names)
    assert {re.sub("_", "-", distributions.get(name, name)) for name in outside} == set(required)


def test_it_predicts_as_its_run_whatever_the_caller_set(tmp_path: Path) -> None:
    config = checked_config(["image_size=16", "model.depth=1", "model.width=4", "precision=mixed_bfloat16"])
    masks, policy_before = {}, keras.config.dtype_policy()
    example = np.random.default_rng(0).integers(0, 256, (1, 64, 48, 3), np.uint8)
    for policy in ("float32", config.precision):
        keras.config.set_dtype_policy(policy)
        network = build_network(config)
        masks[policy] = predictor(network, config)(example[0]).numpy()
    keras.config.set_dtype_policy("float32")
    arrays = named_weights(network)
    np.savez(tmp_path / "weights.npz", **arrays)
    stored = OmegaConf.to_yaml(OmegaConf.structured(config))
    save_model(tmp_path / "model", stored, tmp_path / "weights.npz", weights_sha256(arrays), example)
    keras.config.set_image_data_format("channels_first")
    keras.config.set_floatx("float16")
    tf.config.run_functions_eagerly(True)
    try:
        model = mlflow.pyfunc.load_model(str(tmp_path / "model"))
        found, several = model.predict(example)[0], model.predict(np.repeat(example, 2, axis=0))
        shares = model.predict(example, params={"probabilities": True, "scale": 0.5})
        callers = keras.config.image_data_format(), keras.config.floatx(), keras.config.dtype_policy().name
        assert callers == ("channels_first", "float16", "float32") and tf.config.functions_run_eagerly()
    finally:
        keras.config.set_image_data_format("channels_last")
        keras.config.set_floatx("float32")
        keras.config.set_dtype_policy(policy_before)
        tf.config.run_functions_eagerly(False)
    np.testing.assert_array_equal(found, masks["mixed_bfloat16"])
    np.testing.assert_array_equal(several, np.stack([found, found]))
    assert (shares.shape, shares.dtype) == ((1, 32, 24, len(config.dataset.classes)), np.float32)
    np.testing.assert_allclose(shares.sum(axis=-1), 1, atol=1e-6)
    assert (found != masks["float32"]).any()
