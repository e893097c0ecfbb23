"""Networks and images that the tests of all exporters share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

import tinycnn
from tinycnn import Conv, Dropout, Flatten, Layer, Linear, MaxPool, ReLU

IMAGES = 24

# A name, the shape of an image and either the layers or the arguments of the usual network. Odd
# sizes, rows other than columns, and every order in which layers may stand.
CASES: dict[str, tuple[tuple[int, int, int], Sequence[Layer] | dict[str, Any]]] = {
    "one block": ((1, 12, 11), {"channels": (5,)}),
    "padded block": ((1, 11, 12), {"channels": (4,), "padding": "same"}),
    "colour": ((3, 9, 12), {"channels": (6, 7), "padding": 1, "hidden": 9}),
    "even kernel, same": ((2, 9, 10), {"channels": (3,), "kernel_size": (4, 2), "padding": "same"}),
    "hidden layers": ((1, 10, 10), {"channels": (4,), "hidden": (12, 7)}),
    "two paddings": (
        (1, 13, 10),
        {"channels": (3, 5), "kernel_size": (3, 5), "padding": [(2, 3), 2]},
    ),
    "no bias": ((3, 8, 8), {"channels": (8,), "padding": 1, "bias": False}),
    "convs without pool": (
        (1, 9, 9),
        [Conv(4), ReLU(), Conv(6, padding="same"), ReLU(), MaxPool(), Flatten(), Linear(4)],
    ),
    "pool before ReLU": (
        (1, 10, 9),
        [Conv(5, padding=1), MaxPool(), ReLU(), Conv(3), MaxPool(), ReLU(), Flatten(), Linear(4)],
    ),
    "no ReLU": ((1, 8, 8), [Conv(3), Conv(4, (1, 2)), MaxPool(), Flatten(), Linear(6), Linear(4)]),
    "conv without pool at the end": (
        (1, 7, 7),
        [Conv(5), ReLU(), Dropout(0.3), Flatten(), Linear(4)],
    ),
    "conv gives the logits": ((1, 4, 4), [Conv(3, 3), ReLU(), Conv(4, 2), Flatten()]),
    "linear alone": ((2, 5, 6), [Flatten(), Linear(4)]),
    "linear layers": ((1, 6, 6), [Flatten(), Linear(9), ReLU(), Dropout(0.5), Linear(4)]),
    "pooled image": ((3, 9, 8), [MaxPool(), Conv(4, padding=1), ReLU(), Flatten(), Linear(4)]),
    "pooled twice": ((1, 12, 12), [Conv(4), ReLU(), MaxPool(), MaxPool(), Flatten(), Linear(4)]),
}


@dataclass(frozen=True)
class AvgPool(Layer):
    """A layer of one's own: the mean of each 2x2 window."""

    def output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        C, H, W = input_shape
        return C, H // 2, W // 2

    def forward(self, x: Any, parameters: Any, rng: Any = None) -> tuple[Any, Any]:
        P, Q = x.shape[2] // 2, x.shape[3] // 2
        corners = [x[:, :, i : 2 * P : 2, j : 2 * Q : 2] for i in (0, 1) for j in (0, 1)]
        return sum(corners) / 4, x.shape


AVERAGED = ((1, 8, 8), [Conv(4, padding=1), ReLU(), AvgPool(), Flatten(), Linear(4)])
AVERAGED_FIRST = ((1, 8, 8), [AvgPool(), Conv(4, padding=1), ReLU(), Flatten(), Linear(4)])


def make_net(case: str | tuple[Any, Any], scaled: bool = True, **arguments: Any) -> tinycnn.CNN:
    """Make the network of a case with biases that are not 0, input scaled by whole bytes."""
    image_shape, description = CASES[case] if isinstance(case, str) else case
    if isinstance(description, dict):
        arguments = {"n_classes": 4, **description, **arguments}
        net = tinycnn.CNN(image_shape, **arguments)
    else:
        net = tinycnn.CNN(image_shape, description, **arguments)
    rng = np.random.default_rng(len(net.flat))
    for name, values in net.parameters.items():
        if name.endswith(".bias"):
            values[...] = rng.normal(0, 0.2, values.shape)
    if scaled:
        C = image_shape[0]
        net.set_scaling(np.array([70, 101, 13])[:C] / 255, np.array([0.3, 0.2, 0.41])[:C])
    return net


def make_images(net: tinycnn.CNN, n: int = IMAGES, seed: int = 3) -> np.ndarray:
    """Make bytes: noise, and all black and all white."""
    shape = (n, *net.architecture.image_shape)
    images = np.random.default_rng(seed).integers(0, 256, shape, np.uint8)
    images[0], images[1] = 0, 255
    return images


def worst_difference(
    predict_proba: Callable[[np.ndarray], np.ndarray], net: tinycnn.CNN, images: np.ndarray
) -> float:
    """Compare probabilities with the network's; classes must agree where two are not as likely."""
    expected, actual = net.predict_proba(images), predict_proba(images)
    two_best = np.sort(expected, axis=1)[:, -2:]
    clear = two_best[:, 1] - two_best[:, 0] > 1e-5
    assert (expected.argmax(axis=1) == actual.argmax(axis=1))[clear].all()
    assert clear.mean() > 0.9
    return float(np.abs(expected - actual).max())
