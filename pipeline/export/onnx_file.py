"""ONNX: written by tf2onnx, run by onnxruntime."""

import hashlib
import json
import logging
import tempfile
from collections.abc import Mapping
from pathlib import Path

import onnx
import onnxruntime
import tensorflow as tf
import tf2onnx
from onnxruntime.quantization import QuantType, quantize_dynamic

from pipeline.export.graph import INPUT, PROBABILITIES, Graph
from pipeline.export.verify import RunFile

OPSET = 18
LEAST_SHARED = 256  # bytes: smaller constants stay where they are


def write(graph: Graph, path: Path, metadata: Mapping[str, object], classes: int, quantize: bool) -> None:
    """Write a file with the metadata as `metadata_props`: texts as they are, all else as JSON.

    Args:
        classes: how many there are.
        quantize: store the weights of convolutions in 8 bits; the range of their inputs is measured in each image.
    """
    logging.getLogger("tf2onnx").setLevel(logging.ERROR)  # it reports each of its steps
    signature = [tf.TensorSpec((None, None, None, 3), tf.uint8, name=INPUT)]
    function = tf.function(graph, input_signature=signature, autograph=False)
    model, _ = tf2onnx.convert.from_function(function, input_signature=signature, opset=OPSET)
    share_constants(model.graph)
    if quantize:
        model = _quantized(model)
    _name_axes(model.graph, classes)
    onnx.helper.set_model_props(
        model, {key: value if isinstance(value, str) else json.dumps(value) for key, value in metadata.items()}
    )
    onnx.checker.check_model(model)
    onnx.save_model(model, path)


def open_file(path: Path, threads: int) -> RunFile:
    """A function that runs the file by onnxruntime, from (batch, height, width, 3) uint8 to its output."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda images: session.run(None, {INPUT: images})[0]


def share_constants(graph: onnx.GraphProto) -> None:
    """Store equal constants once, in the main graph, where the graphs of loops find them too.

    Each view of an image, and each loop within it, has a copy of all weights otherwise.
    """
    shared: dict[str, onnx.TensorProto] = {}
    _move_constants(graph, shared, {})
    graph.initializer.extend(shared.values())


def _move_constants(graph: onnx.GraphProto, shared: dict[str, onnx.TensorProto], outer: Mapping[str, str]) -> None:
    """Move the large constants of a graph and of those within it to `shared`, whose keys are their new names.

    Args:
        outer: new names of constants of the graphs around it.
    """
    names, outputs, small = dict(outer), {output.name for output in graph.output}, []
    for tensor in graph.initializer:
        constant = onnx.TensorProto()
        constant.CopyFrom(tensor)
        if tensor.ByteSize() < LEAST_SHARED or tensor.name in outputs:
            small.append(constant)
            continue
        constant.ClearField("name")
        digest = hashlib.sha256(constant.SerializeToString(deterministic=True)).hexdigest()
        constant.name = names[tensor.name] = f"constant_{digest[:32]}"
        shared[constant.name] = constant
    del graph.initializer[:]
    graph.initializer.extend(small)
    for node in graph.node:
        for place, name in enumerate(node.input):
            node.input[place] = names.get(name, name)
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                _move_constants(attribute.g, shared, names)


def _quantized(model: onnx.ModelProto) -> onnx.ModelProto:
    """Unsigned weights: onnxruntime has no convolution of signed ones."""
    with tempfile.TemporaryDirectory() as private:
        source, target = Path(private) / "float32.onnx", Path(private) / "int8.onnx"
        onnx.save_model(model, source)
        logging.disable(logging.WARNING)  # it advises a step that tf2onnx has done
        try:
            quantize_dynamic(source, target, weight_type=QuantType.QUInt8, extra_options={"EnableSubgraph": True})
        finally:
            logging.disable(logging.NOTSET)
        return onnx.load_model(target)


def _name_axes(graph: onnx.GraphProto, classes: int) -> None:
    """Give the axes of input and output names, which programs show: batch, height, width."""
    for value in (*graph.input, *graph.output):
        axes = value.type.tensor_type.shape.dim
        for axis, name in zip(axes, ("batch", "height", "width"), strict=False):
            axis.dim_param = name
        if value.name == PROBABILITIES:
            axes[3].dim_value = classes
