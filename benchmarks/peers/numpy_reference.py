"""The same training, layer by layer, on the slow NumPy twins of tinycnn's kernels.

It runs on the first images only; the time of an epoch is scaled up from that.
"""

from pathlib import Path

import numpy as np
import numpy.typing as npt

from benchmarks.peers import Job, Prepared
from benchmarks.workloads import FloatArray, Network, Task, as_floats, initial_parameters, load_data
from tinycnn import _reference as layers

MEASURED_IMAGES = 1024

Parameters = dict[str, FloatArray]
Block = tuple[FloatArray, FloatArray, npt.NDArray[np.uint8]]  # input, conv output, winners


def prepare(task: Task, folder: Path) -> Prepared:
    """Get ready for a part of an epoch."""
    count = min(MEASURED_IMAGES, task.n_images)
    bytes_, labels = load_data(folder, count)
    images = as_floats(bytes_)

    def fresh() -> Job:
        parameters = initial_parameters(task.network)
        return Job(lambda: run_part(parameters, task.network, images, labels, task.batch_size))

    return Prepared(fresh, scale=task.n_images / count, facts={"measured_images": count})


def run_part(
    parameters: Parameters,
    network: Network,
    images: FloatArray,
    labels: npt.NDArray[np.int64],
    batch_size: int,
) -> None:
    """Update the parameters once for every batch."""
    for start in range(0, len(images), batch_size):
        batch = slice(start, start + batch_size)
        for name, gradient in gradients(parameters, network, images[batch], labels[batch]).items():
            parameters[name] -= np.float32(0.05) * gradient


def gradients(
    parameters: Parameters, network: Network, x: FloatArray, labels: npt.NDArray[np.int64]
) -> Parameters:
    """Compute the gradient of the mean cross-entropy of a batch."""
    blocks: list[Block] = []
    for i in range(len(network.channels)):
        x, block = _block_forward(parameters, f"conv{i + 1}", x)
        blocks.append(block)
    features = x.reshape(len(x), -1)
    logits = features @ parameters["fc.weight"].T + parameters["fc.bias"]
    dlogits = _mean_cross_entropy_backward(logits, labels)
    found = {"fc.weight": dlogits.T @ features, "fc.bias": dlogits.sum(axis=0)}
    dx = (dlogits @ parameters["fc.weight"]).reshape(x.shape)
    for i in reversed(range(len(blocks))):
        dx = _block_backward(parameters, f"conv{i + 1}", blocks[i], dx, found, need_dx=i > 0)
    return found


def _block_forward(parameters: Parameters, name: str, x: FloatArray) -> tuple[FloatArray, Block]:
    """Conv, ReLU, pool."""
    weight, bias = parameters[f"{name}.weight"], parameters[f"{name}.bias"]
    (N, _, H, W), (K, _, R, S) = x.shape, weight.shape
    conv = np.empty((N, K, H - R + 1, W - S + 1), np.float32)
    layers.conv2d_forward(x, weight, bias, conv)
    positive = np.empty_like(conv)
    layers.relu_forward(conv, positive)
    pooled = np.empty((N, K, conv.shape[2] // 2, conv.shape[3] // 2), np.float32)
    winner = np.empty(pooled.shape, np.uint8)
    layers.max_pool2d_forward(positive, pooled, winner)
    return pooled, (x, conv, winner)


def _block_backward(
    parameters: Parameters,
    name: str,
    block: Block,
    dout: FloatArray,
    found: Parameters,
    need_dx: bool,
) -> FloatArray:
    """Pool, ReLU, conv, backwards; enters the gradients and returns the one of the input."""
    x, conv, winner = block
    weight = parameters[f"{name}.weight"]
    dpositive, dconv = np.empty_like(conv), np.empty_like(conv)
    layers.max_pool2d_backward(dout, winner, dpositive)
    layers.relu_backward(dpositive, conv, dconv)
    found[f"{name}.weight"] = np.empty_like(weight)
    layers.conv2d_backward_weight(x, dconv, found[f"{name}.weight"])
    found[f"{name}.bias"] = np.empty_like(parameters[f"{name}.bias"])
    layers.conv2d_backward_bias(dconv, found[f"{name}.bias"])
    dx = np.empty_like(x)
    if need_dx:
        layers.conv2d_backward_input(weight, dconv, dx)
    return dx


def _mean_cross_entropy_backward(logits: FloatArray, labels: npt.NDArray[np.int64]) -> FloatArray:
    """Gradient of the mean softmax cross-entropy with respect to the logits."""
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    dlogits: FloatArray = powers / powers.sum(axis=1, keepdims=True)
    dlogits[np.arange(len(labels)), labels] -= 1
    dlogits /= np.float32(len(labels))
    return dlogits
