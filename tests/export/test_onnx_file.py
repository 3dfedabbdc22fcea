"""ONNX files: the run's masks by onnxruntime, weights once, metadata that any program reads."""

import json
from pathlib import Path

import numpy as np
import pytest

from tests.export.networks import CLASSES, VIEWS, assert_probabilities, assert_same_masks, export_of, need, smooth_image

need("onnx", "tf2onnx", "onnxruntime")
import onnx  # noqa: E402
import onnxruntime  # noqa: E402
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

from pipeline.export.onnx_file import share_constants  # noqa: E402


def test_views_and_windows_give_the_runs_masks(tmp_path: Path) -> None:
    export = export_of("onnx", *VIEWS)
    export.write(tmp_path / "a.onnx", [])
    assert_same_masks(export, tmp_path / "a.onnx", differing=0.005)


@pytest.fixture(scope="module")
def probabilities(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("onnx") / "a.onnx"
    export_of("onnx", probabilities=True).write(path, [])
    return path


def test_probabilities_and_named_axes(probabilities: Path) -> None:
    session = onnxruntime.InferenceSession(probabilities)
    (image,), (output,) = session.get_inputs(), session.get_outputs()
    assert (image.name, image.shape) == ("images", ["batch", "height", "width", 3])
    assert (output.name, output.shape) == ("probabilities", ["batch", "height", "width", 3])
    assert_probabilities(session.run(None, {"images": smooth_image(9, 14)[np.newaxis]})[0])


def test_the_metadata_name_run_classes_and_hashes(probabilities: Path) -> None:
    found = onnxruntime.InferenceSession(probabilities).get_modelmeta().custom_metadata_map
    assert found["run_id"] == "a run" and found["weights_sha256"] == "abc"
    assert json.loads(found["classes"]) == CLASSES
    assert json.loads(found["colours"])[0].startswith("#") and len(json.loads(found["colours"])) == 3


def test_eight_bits_are_smaller_and_nearly_the_same(tmp_path: Path, probabilities: Path) -> None:
    export_of("onnx", probabilities=True, quantized=True).write(tmp_path / "int8.onnx", [])
    image = {"images": smooth_image(21, 37)[np.newaxis]}
    found, exact = (
        onnxruntime.InferenceSession(path).run(None, image)[0] for path in (tmp_path / "int8.onnx", probabilities)
    )
    assert_probabilities(found)
    assert 0 < np.abs(found - exact).max() < 0.1


def test_equal_constants_of_loops_are_stored_once() -> None:
    """Two branches, each with its copy of the same weights, and one with small ones."""
    weights, output = np.arange(100, dtype=np.float32), helper.make_tensor_value_info("y", TensorProto.FLOAT, [100])

    def branch(name: str, values: np.ndarray) -> onnx.GraphProto:
        node = helper.make_node("Add", [name, name], [f"{name}_twice"])
        result = helper.make_tensor_value_info(f"{name}_twice", TensorProto.FLOAT, [100])
        return helper.make_graph([node], name, [], [result], [numpy_helper.from_array(values, name)])

    choice = helper.make_node(
        "If", ["condition"], ["y"], then_branch=branch("a", weights), else_branch=branch("b", weights.copy())
    )
    condition = helper.make_tensor_value_info("condition", TensorProto.BOOL, [])
    model = helper.make_model(
        helper.make_graph([choice], "main", [condition], [output]), opset_imports=[helper.make_opsetid("", 18)]
    )
    share_constants(model.graph)
    onnx.checker.check_model(model)
    assert len(model.graph.initializer) == 1
    assert [len(attribute.g.initializer) for attribute in model.graph.node[0].attribute] == [0, 0]
    model.ir_version = 8
    session = onnxruntime.InferenceSession(model.SerializeToString())
    for condition_value in (True, False):
        np.testing.assert_array_equal(session.run(None, {"condition": np.array(condition_value)})[0], 2 * weights)
