"""A list of layers in its place: the name of each, and the shapes from the image to the logits."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from tinycnn._checks import as_count, is_row, shown
from tinycnn.layer import Shape
from tinycnn.layers import Conv, Dropout, Flatten, Layer, Linear, MaxPool, ReLU, draw_number

# Classes have names, one by one. ImageNet-21k, the largest set in common use, has 21,841.
MAX_CLASSES = 65_536

# What looks at each layer together with those behind it takes seconds for more.
MAX_LAYERS = 4_096


class Step(NamedTuple):
    """A layer in its place.

    Attributes
    ----------
    name : str
        The layer's kind and its number among those of the kind: ``conv1``, ``relu1``, ``conv2``.
    layer : Layer
    input_shape, output_shape : tuple of int
        Of one image, before and after the layer.
    parameter_shapes : dict of str to tuple of int
        Shape of each parameter under its full name, such as ``conv1.weight``.
    """

    name: str
    layer: Layer
    input_shape: Shape
    output_shape: Shape
    parameter_shapes: dict[str, Shape]


@dataclass(frozen=True)
class Architecture:
    """What a network is made of, apart from the values of its parameters.

    Parameters
    ----------
    image_shape : (C, H, W)
        Channels, rows and columns of every image.
    layers : sequence of Layer
        From the image to the logits; the last one gives a value for each class.

    Attributes
    ----------
    steps : tuple of Step
        The layers with their names and shapes.
    parameter_shapes : dict of str to tuple of int
        Name and shape of each parameter, in the order of the flat vector.

    Raises
    ------
    ValueError
        If a layer cannot take what the one before it gives; the message names it.
    TypeError
        If something in the list is no layer, or a size is no number.
    """

    image_shape: tuple[int, int, int]
    layers: tuple[Layer, ...]
    steps: tuple[Step, ...] = field(init=False, repr=False, compare=False)
    parameter_shapes: dict[str, Shape] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        image_shape, layers = _checked_image_shape(self.image_shape), _checked_layers(self.layers)
        steps = make_steps(image_shape, layers)
        shapes = {name: shape for step in steps for name, shape in step.parameter_shapes.items()}
        for name, value in (
            ("image_shape", image_shape),
            ("layers", layers),
            ("steps", steps),
            ("parameter_shapes", shapes),
        ):
            object.__setattr__(self, name, value)
        if len(self.steps[-1].output_shape) != 1:
            raise ValueError(
                f"layers: the last one must give one value for each class, {self.steps[-1].name} "
                f"gives {self.steps[-1].output_shape}; end with Flatten(), Linear(n_classes)"
            )
        if self.n_classes > MAX_CLASSES:
            raise ValueError(f"n_classes: at most {MAX_CLASSES:,}, got {self.n_classes:,}")

    @property
    def n_parameters(self) -> int:
        """Number of trainable values."""
        return sum(math.prod(shape) for shape in self.parameter_shapes.values())

    @property
    def n_classes(self) -> int:
        """Number of logits."""
        return self.steps[-1].output_shape[0]

    @property
    def n_features(self) -> int:
        """Number of values that the last layer sees of an image."""
        return math.prod(self.steps[-1].input_shape)

    def draw_dropouts(self, rng: np.random.Generator | None) -> dict[str, int]:
        """Draw a number for each Dropout, by name: what its keys are made of; none without rng."""
        if rng is None:
            return {}
        dropouts = [step.name for step in self.steps if isinstance(step.layer, Dropout)]
        return {name: draw_number(rng) for name in dropouts}

    def feeds_relu(self, index: int) -> bool:
        """Tell whether a ReLU or its like follows a layer, at once or behind pooling."""
        following = (layer for layer in self.layers[index + 1 :] if not layer.is_transparent)
        return next((layer.stops_half for layer in following), False)


# What the usual network is where nothing is said.
BLOCK_DEFAULTS = {"kernel_size": 3, "hidden": (), "padding": 0, "bias": True}


def make_blocks(
    channels: Sequence[int],
    n_classes: int,
    *,
    kernel_size: Any = 3,
    hidden: int | Sequence[int] = (),
    padding: Any = 0,
    bias: bool = True,
) -> list[Layer]:
    """List the layers of the usual network: blocks of Conv, ReLU and MaxPool, then Linear layers.

    Parameters
    ----------
    channels : sequence of int
        Filters of each block.
    n_classes : int
        Units of the last Linear layer.
    kernel_size, padding
        As for :class:`tinycnn.layers.Conv`, for all blocks; or a list with one for each block.
    hidden : int or sequence of int
        Units of each Linear layer before the last one, each with a ReLU; 0 or () for none.
    bias : bool
        Of all Conv and Linear layers.
    """
    widths = _checked_channels(channels)
    kernels = _one_a_block("kernel_size", kernel_size, len(widths))
    paddings = _one_a_block("padding", padding, len(widths))
    layers: list[Layer] = []
    for K, kernel, border in zip(widths, kernels, paddings, strict=True):
        layers += [Conv(K, kernel, border, bias), ReLU(), MaxPool()]
    layers.append(Flatten())
    for units in _hidden_units(hidden):
        layers += [Linear(units, bias), ReLU()]
    return [*layers, Linear(as_count("n_classes", n_classes, 1), bias)]


def layers_or_blocks(
    layers: Sequence[Layer] | None, n_classes: int | None, **blocks: Any
) -> Sequence[Layer]:
    """Return the layers that are given, or the usual network's where none are.

    Parameters
    ----------
    layers : sequence of Layer, optional
    n_classes : int, optional
    **blocks
        The other arguments of :func:`make_blocks`, `channels` None where they are not given.

    Raises
    ------
    TypeError
        If neither is given, or both are.
    """
    channels = blocks["channels"]
    if layers is None:
        if channels is None or n_classes is None:
            raise TypeError(
                "CNN: needs layers=[...], or channels=(8, 16) and n_classes=10, say; got "
                f"channels={shown(channels)}, n_classes={shown(n_classes)}"
            )
        return make_blocks(n_classes=n_classes, **blocks)
    for name, value in blocks.items():
        default = BLOCK_DEFAULTS.get(name)
        if type(value) is not type(default) or value != default:
            raise TypeError(f"CNN: give layers or {name}, not both; got {name}={shown(value)}")
    return layers


def make_steps(input_shape: Shape, layers: Iterable[Layer], prefix: str = "") -> tuple[Step, ...]:
    """Put layers in their places, one behind the other.

    Parameters
    ----------
    input_shape : tuple of int
        Of one image, as the first layer gets it.
    layers : iterable of Layer
    prefix : str
        What the names of all steps begin with, in a layer that holds layers of its own.

    Raises
    ------
    ValueError
        If a layer cannot take what the one before it gives; the message names it.
    """
    steps: list[Step] = []
    counts: dict[str, int] = {}
    for layer in layers:
        number = counts[layer.kind] = counts.get(layer.kind, 0) + 1
        # So that the first Pool2 and the 21st Pool have different names.
        kind = f"{layer.kind}_" if layer.kind[-1].isdigit() else layer.kind
        shape = steps[-1].output_shape if steps else input_shape
        steps.append(_make_step(f"{prefix}{kind}{number}", layer, shape))
    return tuple(steps)


def _make_step(name: str, layer: Layer, input_shape: Shape) -> Step:
    try:
        output_shape = tuple(layer.output_shape(input_shape))
        parameters = layer.parameter_shapes(input_shape)
    except ValueError as error:
        raise ValueError(f"layers: {name}: {error}") from error
    shapes = {f"{name}.{part}": shape for part, shape in parameters.items()}
    return Step(name, layer, input_shape, output_shape, shapes)


def _checked_image_shape(image_shape: Any) -> tuple[int, int, int]:
    if not is_row(image_shape) or len(image_shape) != 3:
        raise ValueError(
            f"image_shape: must be (channels, rows, columns), got {shown(image_shape)}"
        )
    C, H, W = (as_count("image_shape", size, 1) for size in image_shape)
    return C, H, W


def _checked_layers(layers: Any) -> tuple[Layer, ...]:
    if isinstance(layers, Layer) or not isinstance(layers, Iterable):
        raise TypeError(f"layers: must be a list of layers, got {shown(layers)}")
    checked = tuple(layers)
    for i, layer in enumerate(checked):
        if not isinstance(layer, Layer):
            raise TypeError(
                f"layers[{i}]: must be a layer, such as Conv(8) or ReLU() of tinycnn.layers, "
                f"got {shown(layer)}"
            )
    if not checked:
        raise ValueError("layers: needs at least one layer, got none")
    if len(checked) > MAX_LAYERS:
        raise ValueError(f"layers: at most {MAX_LAYERS:,}, got {len(checked):,}")
    return checked


def _checked_channels(channels: Any) -> list[int]:
    if not is_row(channels) or len(channels) == 0:
        raise ValueError(
            "channels: must be a sequence of at least one whole number, such as (8, 16), got "
            f"{shown(channels)}"
        )
    return [as_count("channels", K, 1) for K in channels]


def _hidden_units(hidden: Any) -> list[int]:
    """Bring every spelling of hidden to a list of units."""
    if is_row(hidden):
        return [as_count("hidden", units, 1) for units in hidden]
    units = as_count("hidden", hidden, 0)
    return [units] if units else []


def _one_a_block(name: str, value: Any, n_blocks: int) -> list[Any]:
    """Return a list of one entry a block as it is, and anything else repeated."""
    entries = value if isinstance(value, list) else [value] * n_blocks
    if len(entries) != n_blocks:
        raise ValueError(
            f"{name}: a list needs one entry for each of {n_blocks} blocks, got {shown(value)}"
        )
    return [tuple(entry) if isinstance(entry, list) else entry for entry in entries]
