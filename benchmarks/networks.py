"""The networks that are measured: each is a list of layers, and everybody walks that list."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.workloads import CLASSES, IMAGE_SHAPE
from tinycnn.architecture import Architecture, Step, make_blocks
from tinycnn.layers import Conv, Flatten, Layer, Linear, MaxPool, ReLU, describe_layer, make_layer


@dataclass(frozen=True)
class Network:
    """A list of layers with a name.

    Attributes
    ----------
    name : str
        For command lines.
    title : str
        For people.
    layers : tuple of Layer
    """

    name: str
    title: str
    layers: tuple[Layer, ...]

    @property
    def description(self) -> tuple[dict[str, Any], ...]:
        """The layers as they travel in a task, ready for JSON."""
        return tuple(map(describe_layer, self.layers))


def blocks(channels: Sequence[int], kernel_size: int, padding: int | str = 0) -> Network:
    """Name the usual network: blocks of Conv, ReLU and MaxPool, then one Linear layer."""
    size = f"{kernel_size}x{kernel_size}"
    padded = f", padding {padding}" if padding else ""
    filters = f"{_listed(channels)} filters {size}{padded}"
    return Network(
        name="-".join(map(str, channels)) + f"f{size}" + f"-{padding}" * bool(padding),
        title=filters if len(channels) == 1 else f"{len(channels)} blocks, {filters}",
        layers=tuple(make_blocks(channels, CLASSES, kernel_size=kernel_size, padding=padding)),
    )


def two_convs_one_pool(filters: int, kernel_size: int) -> Network:
    """Name a network in which the first of two Conv layers has no pool behind it."""
    size = f"{kernel_size}x{kernel_size}"
    conv = Conv(filters, kernel_size)
    return Network(
        name=f"{filters}-{filters}f{size}-one-pool",
        title=f"two convs of {filters} filters {size}, then one pool",
        layers=(conv, ReLU(), conv, ReLU(), MaxPool(), Flatten(), Linear(CLASSES)),
    )


def architecture_of(description: Sequence[dict[str, Any]]) -> Architecture:
    """Rebuild the layers of a task, with names and shapes."""
    return Architecture(IMAGE_SHAPE, tuple(map(make_layer, description)))


def useful_flops(architecture: Architecture) -> int:
    """Count the flops per image that training cannot do without.

    Every conv output that something looks at must be computed; behind a pool, an odd last row or
    column takes no part. Of the four positions of a window only the winner has a gradient, so the
    weight gradient, and from the second layer on the input gradient, need a quarter of that. A
    Linear layer is counted three times: forward, weight gradient, input gradient.
    """
    steps = architecture.steps
    return sum(_flops(steps, i) for i in range(len(steps)))


def _flops(steps: Sequence[Step], i: int) -> int:
    layer, input_shape = steps[i].layer, steps[i].input_shape
    if isinstance(layer, Linear):
        return 3 * 2 * input_shape[0] * layer.units
    if not isinstance(layer, Conv):
        return 0
    R, S = layer.kernel
    K, positions, winners = steps[i].output_shape[0], *_positions(steps, i)
    n_gradients = 1 if i == 0 else 2
    return 2 * K * input_shape[0] * R * S * (positions + n_gradients * winners)


def _positions(steps: Sequence[Step], i: int) -> tuple[int, int]:
    """Count the outputs of a filter that are looked at, and those that get a gradient."""
    following = (step for step in steps[i + 1 :] if not isinstance(step.layer, ReLU))
    after = next(following)
    if isinstance(after.layer, MaxPool):
        _, P, Q = after.output_shape
        return 4 * P * Q, P * Q
    _, I, J = steps[i].output_shape
    return I * J, I * J


def _listed(numbers: Sequence[int]) -> str:
    *others, last = map(str, numbers)
    return f"{', '.join(others)} and {last}" if others else last
