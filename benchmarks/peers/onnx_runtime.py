"""ONNX Runtime on the same network. Actions: predict (batch_size images a call), one_image."""

import functools
from pathlib import Path

import numpy as np
import onnxruntime
from onnx import TensorProto, checker, helper, numpy_helper

from benchmarks.peers import Job, Prepared
from benchmarks.workloads import (
    CLASSES,
    SIDE,
    FloatArray,
    Network,
    Task,
    as_floats,
    initial_parameters,
    load_data,
)

OPSET = 17
IR_VERSION = 8  # what that opset came with; older runtimes refuse newer ones


def prepare(task: Task, folder: Path) -> Prepared:
    """Get ready for either action, which differ in how many images a call gets."""
    images = as_floats(load_data(folder, task.n_images)[0])
    session = make_session(task.network, task.n_threads)

    def run() -> None:
        for start in range(0, len(images), task.batch_size):
            session.run(None, {"images": images[start : start + task.batch_size]})

    scale = 1 / len(images) if task.action == "one_image" else 1.0
    check = functools.partial(_mean_confidence, session, images)
    return Prepared(lambda: Job(run, check), scale=scale)


def make_session(network: Network, n_threads: int | None) -> onnxruntime.InferenceSession:
    """Load the network with all optimisations and a fixed number of threads."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = n_threads or 0
    options.inter_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    return onnxruntime.InferenceSession(
        make_model(network), options, providers=["CPUExecutionProvider"]
    )


def make_model(network: Network) -> bytes:
    """Write the network, from images to probabilities, as an ONNX model."""
    parameters = initial_parameters(network)
    nodes, x = [], "images"
    for i in range(1, len(network.channels) + 1):
        conv = [x, f"conv{i}.weight", f"conv{i}.bias"]
        nodes.append(helper.make_node("Conv", conv, [f"conv{i}"]))
        nodes.append(helper.make_node("Relu", [f"conv{i}"], [f"relu{i}"]))
        x = f"pool{i}"
        nodes.append(
            helper.make_node("MaxPool", [f"relu{i}"], [x], kernel_shape=[2, 2], strides=[2, 2])
        )
    nodes.append(helper.make_node("Flatten", [x], ["features"]))
    gemm = ["features", "fc.weight", "fc.bias"]
    nodes.append(helper.make_node("Gemm", gemm, ["logits"], transB=1))
    nodes.append(helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1))
    float32 = TensorProto.FLOAT
    graph = helper.make_graph(
        nodes,
        "cnn",
        [helper.make_tensor_value_info("images", float32, ["N", 1, SIDE, SIDE])],
        [helper.make_tensor_value_info("probabilities", float32, ["N", CLASSES])],
        [numpy_helper.from_array(value, name) for name, value in parameters.items()],
    )
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION
    )
    checker.check_model(model)
    serialised: bytes = model.SerializeToString()
    return serialised


def _mean_confidence(session: onnxruntime.InferenceSession, images: FloatArray) -> float:
    """Return the mean probability of the likeliest class."""
    (probabilities,) = session.run(None, {"images": images})
    return float(np.max(probabilities, axis=1).mean())
