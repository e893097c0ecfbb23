"""Make ``network_cases.npz``: whole networks as PyTorch computes and trains them.

For each network the file holds its layers as JSON, images, labels and parameters, and from PyTorch,
in float64, for prediction (dropout does nothing): logits, mean cross-entropy, the gradient of every
parameter, and the loss before each of ten full-batch steps of SGD with momentum and weight decay.

Images and parameters are multiples of a power of two, so that float32 and float64 start from the
same values. Networks are drawn until float32 follows float64 closely: then no argmax and no ReLU
hangs on rounding, in any of the steps, and both can be held to the same numbers.

Run ``python tests/golden/make_network_cases.py``; it needs PyTorch and tinycnn, and rewrites the
file beside it.

Letters: N images of C x H x W; K filters of R x S; F features.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import nn
from torch_networks import as_torch

from tinycnn import Conv, Dropout, Flatten, Layer, Linear, MaxPool, ReLU
from tinycnn.architecture import Architecture, make_blocks
from tinycnn.layers import describe_layer

SEED = 7
OUTPUT = Path(__file__).with_name("network_cases.npz")
SGD = {"lr": 0.05, "momentum": 0.9, "weight_decay": 1e-4}
N_STEPS = 10
#: float32 must stay this close to float64, relative to the largest value of each array.
WELL_CONDITIONED = 1e-5


class Network(NamedTuple):
    """A network and the images that it is to learn."""

    n_images: int
    image_shape: tuple[int, int, int]
    layers: list[Layer]

    @property
    def architecture(self) -> Architecture:
        """The layers in their places."""
        return Architecture(self.image_shape, tuple(self.layers))


NETWORKS = {
    "one_block": Network(7, (1, 9, 8), make_blocks((3,), 4)),
    "one_block_no_bias": Network(7, (1, 9, 8), make_blocks((3,), 4, bias=False)),
    "one_block_colour": Network(5, (3, 7, 10), make_blocks((4,), 3, kernel_size=(2, 5))),
    "two_blocks": Network(6, (3, 14, 16), make_blocks((4, 6), 5)),
    "two_blocks_no_bias": Network(6, (3, 14, 16), make_blocks((4, 6), 5, bias=False)),
    "two_blocks_wide": Network(4, (3, 14, 16), make_blocks((4, 6), 5, kernel_size=(2, 4))),
    "two_blocks_mixed": Network(
        6, (3, 14, 16), make_blocks((5, 3), 5, kernel_size=[(5, 2), (1, 4)])
    ),
    "three_blocks": Network(
        3, (2, 31, 27), make_blocks((2, 3, 4), 3, kernel_size=[(3, 2), (3, 3), (2, 3)])
    ),
    "one_image": Network(1, (3, 8, 11), make_blocks((2,), 2, kernel_size=(3, 4))),
    "hidden": Network(7, (1, 9, 8), make_blocks((3,), 4, hidden=7)),
    "hidden_no_bias": Network(7, (1, 9, 8), make_blocks((3,), 4, hidden=64, bias=False)),
    "hidden_one_unit": Network(9, (3, 7, 10), make_blocks((4,), 3, kernel_size=(2, 5), hidden=1)),
    "hidden_twice": Network(7, (1, 9, 8), make_blocks((3,), 4, hidden=(12, 6))),
    "two_blocks_hidden": Network(
        6, (3, 14, 16), make_blocks((4, 6), 5, kernel_size=[(3, 3), (2, 4)], hidden=20)
    ),
    "padded": Network(5, (3, 8, 7), make_blocks((4, 5), 4, padding=1)),
    "padded_unevenly": Network(
        5, (2, 7, 6), make_blocks((4,), 4, kernel_size=(3, 5), padding=(0, 3))
    ),
    "padded_more_than_the_kernel": Network(5, (1, 5, 5), make_blocks((3,), 4, padding=4)),
    "same": Network(4, (3, 10, 12), make_blocks((4, 5), 3, kernel_size=5, padding="same")),
    "same_even": Network(
        5, (2, 8, 9), make_blocks((3, 4), 4, kernel_size=[(2, 4), (4, 3)], padding="same")
    ),
    "same_then_none": Network(5, (3, 9, 9), make_blocks((4, 4), 3, padding=["same", 0])),
    "conv_without_pool": Network(
        6, (3, 10, 9),
        [
            Conv(4, 3, 1), ReLU(), Conv(4), ReLU(), MaxPool(), Conv(5, 2), ReLU(), Flatten(),
            Linear(4),
        ],
    ),
    "pool_before_relu": Network(
        5, (1, 13, 12),
        [Conv(3, 3), MaxPool(), ReLU(), Conv(4, 2), MaxPool(), Flatten(), Linear(7), Linear(3)],
    ),
    "dropout": Network(
        6, (1, 10, 10),
        [
            Conv(4), ReLU(), MaxPool(), Dropout(0.25), Flatten(), Linear(9), ReLU(), Dropout(0.5),
            Linear(3),
        ],
    ),
    "mixed_biases": Network(
        6, (2, 9, 9),
        [Conv(4, bias=False), ReLU(), Conv(3, 2), MaxPool(), Flatten(), Linear(4, bias=False)],
    ),
    "linear_only": Network(9, (3, 4, 5), [Flatten(), Linear(6), ReLU(), Linear(3)]),
}  # fmt: skip


def draw(network: Network, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Draw images, labels and parameters as levels: values are images / 128, parameters / 256."""
    shape = (network.n_images, *network.image_shape)
    drawn = {
        "images": rng.integers(-100, 156, size=shape).astype(np.int16),
        "labels": rng.integers(0, network.architecture.n_classes, size=shape[0]).astype(np.int64),
    }
    for name, parameter_shape in network.architecture.parameter_shapes.items():
        fan_in = np.prod(parameter_shape[1:]) if len(parameter_shape) > 1 else 16
        levels = rng.normal(size=parameter_shape) * 256 * np.sqrt(2 / fan_in)
        drawn[f"parameters/{name}"] = np.rint(levels).astype(np.int16)
    return drawn


def load(network: Network, drawn: dict[str, np.ndarray], dtype: torch.dtype) -> nn.Sequential:
    """Build the network with the drawn parameters."""
    module = as_torch(network.image_shape, network.layers).to(dtype).eval()
    module.load_state_dict(
        {
            name: torch.tensor(drawn[f"parameters/{name}"]).to(dtype) / 256
            for name in module.state_dict()
        }
    )
    return module


def compute(
    network: Network, drawn: dict[str, np.ndarray], dtype: torch.dtype
) -> dict[str, np.ndarray]:
    """Run one forward and backward pass, then train; return logits, loss, gradients, losses."""
    module = load(network, drawn, dtype)
    images = torch.tensor(drawn["images"]).to(dtype) / 128
    labels = torch.tensor(drawn["labels"])
    logits = module(images).detach().numpy()
    return {"logits": logits} | descend(
        module, lambda: nn.functional.cross_entropy(module(images), labels)
    )


def descend(module: nn.Module, loss_of_all: Callable[[], torch.Tensor]) -> dict[str, np.ndarray]:
    """Return loss and gradients, then train on all images at once; return the losses too."""
    loss = loss_of_all()
    loss.backward()
    results = {"loss": loss.detach().numpy()}
    for name, parameter in module.named_parameters():
        results[f"gradients/{name}"] = parameter.grad.numpy().copy()
    optimiser = torch.optim.SGD(module.parameters(), **SGD)
    losses = []
    for _ in range(N_STEPS):
        optimiser.zero_grad()
        loss = loss_of_all()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    return results | {"losses": np.array(losses)}


def is_close(single: dict[str, np.ndarray], double: dict[str, np.ndarray]) -> bool:
    """Tell whether float32 results are those of float64 but for rounding."""
    return all(
        np.abs(single[name] - double[name]).max() <= WELL_CONDITIONED * np.abs(double[name]).max()
        for name in double
    )


def find(
    index: int,
    draw: Callable[[np.random.Generator], dict[str, np.ndarray]],
    compute: Callable[[dict[str, np.ndarray], torch.dtype], dict[str, np.ndarray]],
) -> dict[str, np.ndarray]:
    """Draw until a network is well conditioned and learns; return all there is to store of it.

    ``draw`` takes a generator of random numbers, ``compute`` what was drawn and a dtype.
    """
    for attempt in range(1000):
        drawn = draw(np.random.default_rng((SEED, index, attempt)))
        double = compute(drawn, torch.float64)
        single = compute(drawn, torch.float32)
        all_gradients = all(np.any(double[name]) for name in double if name != "loss")
        if (
            all_gradients
            and double["losses"][-1] < double["losses"][0]
            and is_close(single, double)
        ):
            return pack(drawn | double)
    raise RuntimeError("no well-conditioned network found: loosen what is asked of it")


def pack(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Put all parameters into one array, and all gradients, in the order of ``CNN.flat``."""
    groups: dict[str, list[np.ndarray]] = {}
    for key, values in arrays.items():
        groups.setdefault(key.split("/")[0], []).append(values)
    return {
        group: np.concatenate([values.ravel() for values in parts])
        if group in ("parameters", "gradients")
        else parts[0]
        for group, parts in groups.items()
    }


def describe(network: Network) -> dict[str, np.ndarray]:
    """Turn a network into arrays: its layers, and what PyTorch calls its parameters."""
    state = as_torch(network.image_shape, network.layers).state_dict()
    return {
        "state_dict": np.array(json.dumps([(name, p.shape) for name, p in state.items()])),
        "image_shape": np.array(network.image_shape),
        "layers": np.array(json.dumps([describe_layer(layer) for layer in network.layers])),
    }


def main() -> None:
    """Make all networks and write the file."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    arrays = {
        f"{name}/{key}": values
        for index, (name, network) in enumerate(NETWORKS.items())
        for key, values in (
            describe(network) | find(index, partial(draw, network), partial(compute, network))
        ).items()
    }
    np.savez_compressed(OUTPUT, **arrays)
    print(f"{len(NETWORKS)} networks, {OUTPUT.stat().st_size / 1024:.0f} KiB")


if __name__ == "__main__":
    main()
