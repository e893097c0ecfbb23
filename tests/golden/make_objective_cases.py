"""Make ``objective_cases.npz``: weighted, smoothed and standardised training, as PyTorch does it.

For each case the file holds images, labels and parameters, the weights of images and classes, the
label smoothing, and from PyTorch in float64: the loss, the gradient of every parameter, and the
loss before each of ten full-batch steps of SGD with momentum and weight decay.

The loss is ``sum(w * loss) / sum(w)``, where w is the weight of an image times that of its class.
With class weights alone that is what PyTorch's ``weight=`` does, and PyTorch does it here; its
mixture of that with ``label_smoothing=`` is another one, so there the images' losses are averaged
one by one.

Run ``python tests/golden/make_objective_cases.py``; it needs PyTorch and tinycnn, and rewrites the
file beside it. How cases are drawn is said in ``make_network_cases.py``.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from make_network_cases import Network, descend, describe, draw, find, load
from torch.nn.functional import cross_entropy

from tinycnn.architecture import make_blocks

OUTPUT = Path(__file__).with_name("objective_cases.npz")

GREY = Network(9, (1, 9, 8), make_blocks((3,), 4))
HIDDEN = Network(8, (1, 9, 8), make_blocks((3,), 4, kernel_size=(3, 2), hidden=7, bias=False))
COLOUR = Network(
    7, (3, 14, 16), make_blocks((4, 5), 5, kernel_size=[(3, 3), (2, 4)], hidden=6, padding=[1, 0])
)


@dataclass(frozen=True)
class Objective:
    """What is asked of a network beyond its layers."""

    network: Network
    image_weights: bool = False
    class_weights: bool = False
    smoothing: float = 0.0
    standardized: bool = False
    bytes: bool = False


OBJECTIVES = {
    "image_weights": Objective(GREY, image_weights=True),
    "image_weights_hidden": Objective(HIDDEN, image_weights=True),
    "class_weights": Objective(GREY, class_weights=True),
    "class_weights_hidden": Objective(HIDDEN, class_weights=True),
    "smoothing": Objective(GREY, smoothing=0.1),
    "smoothing_hidden": Objective(HIDDEN, smoothing=0.7),
    "standardized": Objective(GREY, standardized=True),
    "standardized_bytes": Objective(COLOUR, standardized=True, bytes=True),
    "weights_and_smoothing": Objective(
        HIDDEN, image_weights=True, class_weights=True, smoothing=0.2
    ),
    "everything": Objective(
        COLOUR,
        image_weights=True,
        class_weights=True,
        smoothing=0.3,
        standardized=True,
        bytes=True,
    ),
}


def draw_case(objective: Objective, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Draw a network, and weights as levels: values are levels / 4, some of the images' 0."""
    drawn = draw(objective.network, rng)
    if objective.bytes:
        # Channels of different brightness and contrast.
        C = objective.network.image_shape[0]
        contrast, darkness = rng.integers(1, 4, (C, 1, 1)), rng.integers(0, 100, (C, 1, 1))
        drawn["images"] = ((drawn["images"] + 100) // contrast + darkness).clip(0, 255)
        drawn["images"] = drawn["images"].astype(np.uint8)
    N, n_classes = objective.network.n_images, objective.network.architecture.n_classes
    if objective.image_weights:
        drawn["image_weights"] = rng.permutation(np.arange(N) % 6).astype(np.int16)
    if objective.class_weights:
        drawn["class_weights"] = rng.integers(1, 17, n_classes).astype(np.int16)
    return drawn


def input_of(objective: Objective, images: np.ndarray, dtype: torch.dtype) -> torch.Tensor:
    """Return what the first layer sees."""
    x = torch.tensor(images).to(dtype) / (255 if objective.bytes else 128)
    if not objective.standardized:
        return x
    exact = torch.tensor(images).double() / (255 if objective.bytes else 128)
    mean = exact.mean((0, 2, 3), keepdim=True)
    if objective.bytes:  # to a whole byte, which a border of zeros then stands for
        mean = (mean * 255).round() / 255
    std = exact.std((0, 2, 3), correction=0, keepdim=True)
    return (x - mean.to(dtype)) / std.to(dtype)


def loss_of(
    objective: Objective, logits: torch.Tensor, drawn: dict[str, np.ndarray]
) -> torch.Tensor:
    """Return the loss of all images, by PyTorch's own arguments where it has them."""
    labels = torch.tensor(drawn["labels"])
    weights = torch.ones(len(labels), dtype=logits.dtype)
    if objective.class_weights:
        of_class = torch.tensor(drawn["class_weights"]).to(logits.dtype) / 4
        if not objective.image_weights and not objective.smoothing:
            return cross_entropy(logits, labels, weight=of_class)
        weights = of_class[labels]
    if objective.image_weights:
        weights = weights * torch.tensor(drawn["image_weights"]).to(logits.dtype) / 4
    elif not objective.class_weights:
        return cross_entropy(logits, labels, label_smoothing=objective.smoothing)
    losses = cross_entropy(logits, labels, reduction="none", label_smoothing=objective.smoothing)
    return (weights * losses).sum() / weights.sum()


def compute(
    objective: Objective, drawn: dict[str, np.ndarray], dtype: torch.dtype
) -> dict[str, np.ndarray]:
    """Run one forward and backward pass, then train; return loss, gradients and losses."""
    module = load(objective.network, drawn, dtype)
    x = input_of(objective, drawn["images"], dtype)
    return descend(module, lambda: loss_of(objective, module(x), drawn))


def main() -> None:
    """Make all cases and write the file."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    arrays = {}
    for index, (name, objective) in enumerate(OBJECTIVES.items()):
        case = describe(objective.network) | {
            "smoothing": np.array(objective.smoothing),
            "standardized": np.array(objective.standardized),
        }
        case |= find(index, partial(draw_case, objective), partial(compute, objective))
        arrays |= {f"{name}/{key}": values for key, values in case.items()}
    np.savez_compressed(OUTPUT, **arrays)
    print(f"{len(OBJECTIVES)} cases, {OUTPUT.stat().st_size / 1024:.0f} KiB")


if __name__ == "__main__":
    main()
