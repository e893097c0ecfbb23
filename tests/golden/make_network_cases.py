"""Make ``network_cases.npz``: whole networks as PyTorch computes and trains them.

For each network the file holds images, labels and parameters, and from PyTorch, in float64 and in
float32: logits, mean cross-entropy, the gradient of every parameter, and the loss before each of
ten full-batch steps of SGD with momentum and weight decay.

Images and parameters are multiples of a power of two, so that both dtypes start from the same
values. Networks are drawn until float32 follows float64 closely: then no argmax and no ReLU hangs
on rounding, in any of the steps.

Run ``python tests/golden/make_network_cases.py``; it needs PyTorch and rewrites the file beside it.

Letters: N images of C x H x W; K filters of R x S; F features.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import nn

SEED = 7
OUTPUT = Path(__file__).with_name("network_cases.npz")
SGD = {"lr": 0.05, "momentum": 0.9, "weight_decay": 1e-4}
N_STEPS = 10
#: float32 must stay this close to float64, relative to the largest value of each array.
WELL_CONDITIONED = 1e-5


@dataclass(frozen=True)
class Architecture:
    """What a network is made of; ``kernels`` holds one (R, S) per block."""

    n_images: int
    image_shape: tuple[int, int, int]
    channels: tuple[int, ...]
    kernels: tuple[tuple[int, int], ...]
    n_classes: int
    bias: bool
    hidden: int = 0


ARCHITECTURES = {
    "one_block": Architecture(7, (1, 9, 8), (3,), ((3, 3),), 4, True),
    "one_block_no_bias": Architecture(7, (1, 9, 8), (3,), ((3, 3),), 4, False),
    "one_block_colour": Architecture(5, (3, 7, 10), (4,), ((2, 5),), 3, True),
    "two_blocks": Architecture(6, (3, 20, 18), (4, 6), ((3, 3), (3, 3)), 5, True),
    "two_blocks_no_bias": Architecture(6, (3, 20, 18), (4, 6), ((3, 3), (3, 3)), 5, False),
    "two_blocks_wide": Architecture(4, (3, 20, 18), (4, 6), ((2, 4), (2, 4)), 5, True),
    "two_blocks_mixed": Architecture(6, (3, 20, 18), (5, 3), ((5, 2), (1, 4)), 5, True),
    "three_blocks": Architecture(3, (2, 31, 27), (2, 3, 4), ((3, 2), (3, 3), (2, 3)), 3, True),
    "one_image": Architecture(1, (3, 8, 11), (2,), ((3, 4),), 2, True),
    "hidden": Architecture(7, (1, 9, 8), (3,), ((3, 3),), 4, True, hidden=7),
    "hidden_no_bias": Architecture(7, (1, 9, 8), (3,), ((3, 3),), 4, False, hidden=64),
    "hidden_one_unit": Architecture(9, (3, 7, 10), (4,), ((2, 5),), 3, True, hidden=1),
    "two_blocks_hidden": Architecture(6, (3, 20, 18), (4, 6), ((3, 3), (2, 4)), 5, True, hidden=64),
    "two_blocks_hidden_no_bias": Architecture(
        6, (1, 20, 18), (4, 3), ((5, 2), (1, 4)), 5, False, hidden=7
    ),
}


def build(architecture: Architecture) -> nn.Sequential:
    """Build the network, with the names that its state dict is known by."""
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    c, h, w = architecture.image_shape
    for i, (k, (r, s)) in enumerate(
        zip(architecture.channels, architecture.kernels, strict=True), start=1
    ):
        layers[f"conv{i}"] = nn.Conv2d(c, k, (r, s), bias=architecture.bias)
        layers[f"relu{i}"] = nn.ReLU()
        layers[f"pool{i}"] = nn.MaxPool2d(2)
        c, h, w = k, (h - r + 1) // 2, (w - s + 1) // 2
    layers["flatten"] = nn.Flatten()
    n_features = c * h * w
    if architecture.hidden:
        layers["hidden"] = nn.Linear(n_features, architecture.hidden, bias=architecture.bias)
        layers["relu"] = nn.ReLU()
        n_features = architecture.hidden
    layers["fc"] = nn.Linear(n_features, architecture.n_classes, bias=architecture.bias)
    return nn.Sequential(layers)


def draw(architecture: Architecture, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Draw images, labels and parameters as levels: values are images / 128, parameters / 256."""
    shape = (architecture.n_images, *architecture.image_shape)
    drawn = {
        "images": rng.integers(-100, 156, size=shape).astype(np.int16),
        "labels": rng.integers(0, architecture.n_classes, size=shape[0]).astype(np.int64),
    }
    for name, parameter in build(architecture).state_dict().items():
        fan_in = parameter[0].numel() if parameter.ndim > 1 else 16
        levels = rng.normal(size=parameter.shape) * 256 * np.sqrt(2 / fan_in)
        drawn[f"parameters/{name}"] = np.rint(levels).astype(np.int16)
    return drawn


def load(
    architecture: Architecture, drawn: dict[str, np.ndarray], dtype: torch.dtype
) -> nn.Sequential:
    """Build the network with the drawn parameters."""
    network = build(architecture).to(dtype)
    network.load_state_dict(
        {
            name: torch.tensor(drawn[f"parameters/{name}"]).to(dtype) / 256
            for name in network.state_dict()
        }
    )
    return network


def compute(
    architecture: Architecture, drawn: dict[str, np.ndarray], dtype: torch.dtype
) -> dict[str, np.ndarray]:
    """Run one forward and backward pass, then train; return logits, loss, gradients, losses."""
    network = load(architecture, drawn, dtype)
    images = torch.tensor(drawn["images"]).to(dtype) / 128
    labels = torch.tensor(drawn["labels"])
    logits = network(images).detach().numpy()
    return {"logits": logits} | descend(
        network, lambda: nn.functional.cross_entropy(network(images), labels)
    )


def descend(network: nn.Module, loss_of_all: Callable[[], torch.Tensor]) -> dict[str, np.ndarray]:
    """Return loss and gradients, then train on all images at once; return the losses too."""
    loss = loss_of_all()
    loss.backward()
    results = {"loss": loss.detach().numpy()}
    for name, parameter in network.named_parameters():
        results[f"gradients/{name}"] = parameter.grad.numpy().copy()
    optimiser = torch.optim.SGD(network.parameters(), **SGD)
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
    """Draw until a network is well conditioned and learns; return all there is to store of it."""
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
            return (
                drawn
                | {f"float64/{name}": values for name, values in double.items()}
                | {f"float32/{name}": values for name, values in single.items()}
            )
    raise RuntimeError("no well-conditioned network found: loosen what is asked of it")


def describe(architecture: Architecture) -> dict[str, np.ndarray]:
    """Turn an architecture into arrays."""
    return {
        "image_shape": np.array(architecture.image_shape),
        "channels": np.array(architecture.channels),
        "kernels": np.array(architecture.kernels),
        "n_classes": np.array(architecture.n_classes),
        "bias": np.array(architecture.bias),
        "hidden": np.array(architecture.hidden),
    }


def main() -> None:
    """Make all networks and write the file."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    arrays = {
        f"{name}/{key}": values
        for index, (name, architecture) in enumerate(ARCHITECTURES.items())
        for key, values in (
            describe(architecture)
            | find(index, partial(draw, architecture), partial(compute, architecture))
        ).items()
    }
    np.savez_compressed(OUTPUT, **arrays)
    print(f"{len(ARCHITECTURES)} networks, {OUTPUT.stat().st_size / 1024:.0f} KiB")


if __name__ == "__main__":
    main()
