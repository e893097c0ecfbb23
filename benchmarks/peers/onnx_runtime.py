"""ONNX Runtime on the same network. Actions: predict (batch_size images a call), one_image."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from onnx import TensorProto, checker, helper, numpy_helper

from benchmarks.networks import architecture_of
from benchmarks.peers import Job, Prepared
from benchmarks.workloads import (
    CLASSES,
    IMAGE_SHAPE,
    Task,
    as_floats,
    initial_parameters,
    load_data,
)
from tinycnn.architecture import Architecture
from tinycnn.layers import Conv, Flatten, Layer, Linear, MaxPool, ReLU

OPSET = 17
IR_VERSION = 8  # what that opset came with; older runtimes refuse newer ones

# For each layer: the operator and its attributes. Parameters are inputs, weight before bias.
OPERATORS: dict[type[Layer], Callable[[Any], tuple[str, dict[str, Any]]]] = {
    Conv: lambda layer: ("Conv", {"pads": [*_column(layer.border, 0), *_column(layer.border, 1)]}),
    ReLU: lambda layer: ("Relu", {}),
    MaxPool: lambda layer: ("MaxPool", {"kernel_shape": [2, 2], "strides": [2, 2]}),
    Flatten: lambda layer: ("Flatten", {}),
    Linear: lambda layer: ("Gemm", {"transB": 1}),
}


def prepare(task: Task, folder: Path) -> Prepared:
    """Get ready for either action, which differ in how many images a call gets."""
    images = as_floats(load_data(folder, task.n_images)[0])
    session = make_session(architecture_of(task.layers), task.n_threads)

    def fresh(n: int) -> Job:
        outputs: list[Any] = []

        def run() -> None:
            for start in range(0, min(n, len(images)), task.batch_size):
                batch = images[start : min(n, start + task.batch_size)]
                outputs.append(session.run(None, {"images": batch})[0])

        return Job(run, lambda: {"probabilities": np.concatenate(outputs)})

    return Prepared(fresh, scale=1 / len(images) if task.action == "one_image" else 1.0)


def _column(border: Sequence[Sequence[int]], end: int) -> list[int]:
    """Return the zeros at the start (0) or the end (1) of rows and columns."""
    return [ends[end] for ends in border]


def make_session(architecture: Architecture, n_threads: int | None) -> onnxruntime.InferenceSession:
    """Load the network with all optimisations and a fixed number of threads."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = n_threads or 0
    options.inter_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    return onnxruntime.InferenceSession(
        make_model(architecture), options, providers=["CPUExecutionProvider"]
    )


def make_model(architecture: Architecture) -> bytes:
    """Write the network, from images to probabilities, as an ONNX model."""
    parameters = initial_parameters(architecture.parameter_shapes)
    nodes, x = [], "images"
    for step in architecture.steps:
        operator, attributes = OPERATORS[type(step.layer)](step.layer)
        inputs = [x, *step.parameter_shapes]
        nodes.append(helper.make_node(operator, inputs, [step.name], **attributes))
        x = step.name
    nodes.append(helper.make_node("Softmax", [x], ["probabilities"], axis=1))
    float32 = TensorProto.FLOAT
    graph = helper.make_graph(
        nodes,
        "cnn",
        [helper.make_tensor_value_info("images", float32, ["N", *IMAGE_SHAPE])],
        [helper.make_tensor_value_info("probabilities", float32, ["N", CLASSES])],
        [numpy_helper.from_array(value, name) for name, value in parameters.items()],
    )
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION
    )
    checker.check_model(model)
    serialised: bytes = model.SerializeToString()
    return serialised
