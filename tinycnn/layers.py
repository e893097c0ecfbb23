"""The layers that a network is a list of.

:mod:`tinycnn.layer` says what a layer is; these are the kinds that come with tinycnn. One of
your own is a subclass of :class:`Layer`; ``docs/layers.md`` shows four.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tinycnn import functional
from tinycnn._checks import FloatArray, as_count, as_flag, as_number, as_pair, shown
from tinycnn.layer import (
    LAYERS,
    Arrays,
    DxAndGradients,
    Layer,
    OutAndCache,
    Random,
    Shape,
    UnknownLayerError,
    describe_layer,
    make_layer,
    register,
)

__all__ = [
    "LAYERS",
    "Conv",
    "Dropout",
    "Flatten",
    "Layer",
    "Linear",
    "MaxPool",
    "ReLU",
    "UnknownLayerError",
    "describe_layer",
    "make_layer",
    "register",
]

# Odd, and without a pattern in its bits: multiples of it are spread over all words.
_GOLDEN = np.uint64(0x9E3779B9)


@register
@dataclass(frozen=True, repr=False, eq=False)
class Conv(Layer):
    """Convolution with stride 1, as ``torch.nn.Conv2d``: (C, H, W) to (filters, I, J).

    Weights start normally distributed with variance 2 / fan-in where a ReLU follows, after He et
    al., "Delving Deep into Rectifiers", 2015, arXiv:1502.01852, else 1 / fan-in; the bias at 0.

    Parameters
    ----------
    filters : int
    kernel_size : int or (int, int)
        Rows and columns of the filters.
    padding : int, (int, int) or "same"
        Rows and columns of zeros on each side of every map. "same" keeps rows and columns as many
        as they are; an even kernel then has the odd row or column of zeros at the end.
    bias : bool
        Whether each filter has a number that is added to its output.
    """

    filters: int
    kernel_size: int | tuple[int, int] = 3
    padding: int | tuple[int, int] | str = 0
    bias: bool = True

    def __post_init__(self) -> None:
        _set(self, "filters", as_count("Conv: filters", self.filters, 1))
        _set(self, "kernel_size", as_pair("Conv: kernel_size", self.kernel_size, 1))
        _set(self, "bias", as_flag("Conv: bias", self.bias))
        if not (isinstance(self.padding, str) and self.padding == "same"):
            _set(self, "padding", functional.as_padding("Conv: padding", self.padding))

    @property
    def kernel(self) -> tuple[int, int]:
        """Rows and columns of the filters."""
        return as_pair("Conv: kernel_size", self.kernel_size, 1)

    @property
    def border(self) -> functional.Border:
        """Rows of zeros above and below, and columns of zeros to the left and right."""
        return functional.border_of(self.padding, self.kernel)

    def output_shape(self, input_shape: Shape) -> Shape:
        """Return (filters, I, J) of an input of (C, H, W)."""
        _, H, W = _as_maps(input_shape)
        (R, S), ((top, bottom), (left, right)) = self.kernel, self.border
        I, J = H + top + bottom - R + 1, W + left + right - S + 1
        if min(I, J) < 1:
            raise ValueError(
                f"its {R} x {S} kernel does not fit maps of {H} x {W}; use a smaller kernel, "
                "padding or larger images"
            )
        return self.filters, I, J

    def parameter_shapes(self, input_shape: Shape) -> dict[str, Shape]:
        """Return the shapes of weight (filters, C, R, S) and bias (filters,)."""
        return _weight_and_bias((self.filters, input_shape[0], *self.kernel), self.bias)

    def initial_parameters(
        self, input_shape: Shape, rng: np.random.Generator, feeds_relu: bool = False
    ) -> dict[str, Any]:
        """Draw the weight; see the class for its distribution."""
        return _drawn(self.parameter_shapes(input_shape), rng, feeds_relu)

    def forward(self, x: FloatArray, parameters: Arrays, rng: Random = None) -> OutAndCache:
        """See :func:`tinycnn.functional.conv2d_forward`."""
        return functional.conv2d_forward(x, **parameters, padding=self.padding)

    def backward(self, dout: FloatArray, cache: functional.Conv2dCache) -> DxAndGradients:
        """See :func:`tinycnn.functional.conv2d_backward`."""
        dx, *gradients = functional.conv2d_backward(dout, cache)
        assert dx is not None
        return dx, _named(gradients)

    def backward_parameters(self, dout: FloatArray, cache: functional.Conv2dCache) -> Arrays:
        """Leave dx out, which takes as long as the rest."""
        _, *gradients = functional.conv2d_backward(dout, cache, need_dx=False)
        return _named(gradients)


@register
@dataclass(frozen=True, repr=False, eq=False)
class ReLU(Layer):
    """``max(x, 0)``, as ``torch.nn.ReLU``: keeps the shape."""

    stops_half = True

    def forward(self, x: FloatArray, parameters: Arrays, rng: Random = None) -> OutAndCache:
        """See :func:`tinycnn.functional.relu_forward`."""
        return functional.relu_forward(x)

    def backward(self, dout: FloatArray, cache: FloatArray) -> DxAndGradients:
        """See :func:`tinycnn.functional.relu_backward`."""
        return functional.relu_backward(dout, cache), {}


@register
@dataclass(frozen=True, repr=False, eq=False)
class MaxPool(Layer):
    """The largest value of each 2x2 window, as ``torch.nn.MaxPool2d(2)``: halves rows and columns.

    An odd last row or column takes no part.
    """

    is_transparent = True

    def output_shape(self, input_shape: Shape) -> Shape:
        """Return (C, H // 2, W // 2) of an input of (C, H, W)."""
        C, H, W = _as_maps(input_shape)
        if min(H, W) < 2:
            raise ValueError(
                f"maps of {H} x {W} leave no 2x2 window to pool; use fewer layers, smaller "
                "kernels, padding or larger images"
            )
        return C, H // 2, W // 2

    def forward(self, x: FloatArray, parameters: Arrays, rng: Random = None) -> OutAndCache:
        """See :func:`tinycnn.functional.max_pool2d_forward`."""
        return functional.max_pool2d_forward(x)

    def backward(self, dout: FloatArray, cache: functional.MaxPool2dCache) -> DxAndGradients:
        """See :func:`tinycnn.functional.max_pool2d_backward`."""
        return functional.max_pool2d_backward(dout, cache), {}


class DropoutKey(NamedTuple):
    """What a :class:`Dropout` takes instead of a random generator, to drop the same once more.

    Attributes
    ----------
    number : int
        Random, in [0, 2**63).
    first : int
        The place of the first image in the order of images that share the number.
    """

    number: int
    first: int


@register
@dataclass(frozen=True, repr=False, eq=False)
class Dropout(Layer):
    """Zeroes values at random in training, as ``torch.nn.Dropout``; does nothing in prediction.

    What is kept is divided by 1 - rate, so that sums stay what they are on average.

    One random number is drawn from the generator. Whether a value is dropped is computed from it,
    from the image's place in the order and from the value's place in the image. So it does not
    matter how images are cut into parts, on how many threads they are computed, or on which path,
    and a training that is resumed drops what it would have dropped.

    Parameters
    ----------
    rate : float
        The share of values that is zeroed, in [0, 1).

    References
    ----------
    Srivastava et al., "Dropout: A Simple Way to Prevent Neural Networks from Overfitting", 2014.
    """

    rate: float = 0.5

    is_transparent = True

    def __post_init__(self) -> None:
        rate = as_number("Dropout: rate", self.rate)
        if not 0 <= rate < 1:
            raise ValueError(f"Dropout: rate: must be in [0, 1), got {shown(self.rate)}")
        _set(self, "rate", float(rate))

    def forward(
        self, x: FloatArray, parameters: Arrays, rng: Random | DropoutKey = None
    ) -> OutAndCache:
        """Multiply by a random mask of 0 and 1 / (1 - rate), if there is an rng or a key."""
        if rng is None:
            return x, None
        key = rng if isinstance(rng, DropoutKey) else DropoutKey(draw_number(rng), 0)
        kept = _random_words(key, x.shape) >> 1 >= int(self.rate * 2**31)
        mask = kept.astype(x.dtype) / x.dtype.type(1 - self.rate)
        return x * mask, mask

    def backward(self, dout: FloatArray, cache: FloatArray | None) -> DxAndGradients:
        """Multiply by the same mask."""
        return (dout if cache is None else dout * cache), {}


@register
@dataclass(frozen=True, repr=False, eq=False)
class Flatten(Layer):
    """Turns maps (C, H, W) into a vector (C * H * W,), as ``torch.nn.Flatten``."""

    is_transparent = True

    def output_shape(self, input_shape: Shape) -> Shape:
        """Return (F,), the product of all sizes."""
        return (math.prod(input_shape),)

    def forward(self, x: FloatArray, parameters: Arrays, rng: Random = None) -> OutAndCache:
        """Reshape, in the order channel, row, column."""
        return x.reshape(len(x), math.prod(x.shape[1:])), x.shape

    def backward(self, dout: FloatArray, cache: Shape) -> DxAndGradients:
        """Reshape back."""
        return dout.reshape(cache), {}


@register
@dataclass(frozen=True, repr=False, eq=False)
class Linear(Layer):
    """Fully connected layer, as ``torch.nn.Linear``: (F,) to (units,).

    Weights start as those of :class:`Conv`, the bias at 0.

    Parameters
    ----------
    units : int
    bias : bool
        Whether each unit has a number that is added to its output.
    """

    units: int
    bias: bool = True

    def __post_init__(self) -> None:
        _set(self, "units", as_count("Linear: units", self.units, 1))
        _set(self, "bias", as_flag("Linear: bias", self.bias))

    def output_shape(self, input_shape: Shape) -> Shape:
        """Return (units,) of an input of (F,)."""
        if len(input_shape) != 1:
            raise ValueError(
                f"it takes vectors, not maps of {_sizes(input_shape)}; put Flatten() before it"
            )
        return (self.units,)

    def parameter_shapes(self, input_shape: Shape) -> dict[str, Shape]:
        """Return the shapes of weight (units, F) and bias (units,)."""
        return _weight_and_bias((self.units, *input_shape), self.bias)

    def initial_parameters(
        self, input_shape: Shape, rng: np.random.Generator, feeds_relu: bool = False
    ) -> dict[str, Any]:
        """Draw the weight; see :class:`Conv` for its distribution."""
        return _drawn(self.parameter_shapes(input_shape), rng, feeds_relu)

    def forward(self, x: FloatArray, parameters: Arrays, rng: Random = None) -> OutAndCache:
        """See :func:`tinycnn.functional.linear_forward`."""
        return functional.linear_forward(x, **parameters)

    def backward(self, dout: FloatArray, cache: functional.LinearCache) -> DxAndGradients:
        """See :func:`tinycnn.functional.linear_backward`."""
        dx, *gradients = functional.linear_backward(dout, cache)
        return dx, _named(gradients)


def draw_number(rng: np.random.Generator) -> int:
    """Draw the number of a :class:`DropoutKey`."""
    return int(rng.integers(2**63))


def _random_words(key: DropoutKey, shape: Shape) -> npt.NDArray[np.uint32]:
    """Compute a word for each value of images (N, ...): as ``_fused/vec.h`` does, lane by lane.

    Each image has two words of its own, from which each of its values gets one. Words are mixed as
    in MurmurHash3's last step, by Appleby, with the second of the two added on the way.
    """
    places = key.first + np.arange(shape[0], dtype=np.uint64)
    low, high = (_mixed((key.number >> bits) + places * _GOLDEN, 0) for bits in (0, 32))
    units = np.arange(math.prod(shape[1:]), dtype=np.uint64) * _GOLDEN
    return _mixed(low[:, None] + units, high[:, None]).reshape(shape)


def _mixed(words: npt.NDArray[Any], added: Any) -> npt.NDArray[np.uint32]:
    z: Any = words.astype(np.uint32)
    z = (z ^ z >> 16) * np.uint32(0x85EBCA6B) + added
    z = (z ^ z >> 13) * np.uint32(0xC2B2AE35)
    mixed: npt.NDArray[np.uint32] = z ^ z >> 16
    return mixed


def _set(layer: Layer, name: str, value: Any) -> None:
    """Give a field its checked value while the frozen layer is made."""
    object.__setattr__(layer, name, value)


def _as_maps(shape: Shape) -> Shape:
    if len(shape) != 3:
        raise ValueError(
            f"it takes maps (C, H, W), not vectors of {_sizes(shape)}; put it before Flatten()"
        )
    return shape


def _sizes(shape: Shape) -> str:
    return " x ".join(map(str, shape))


def _weight_and_bias(weight_shape: Shape, bias: bool) -> dict[str, Shape]:
    return {"weight": weight_shape, **({"bias": weight_shape[:1]} if bias else {})}


def _drawn(
    shapes: Mapping[str, Shape], rng: np.random.Generator, feeds_relu: bool
) -> dict[str, Any]:
    """Draw the weight with variance 2 / fan-in if a ReLU follows, else 1 / fan-in."""
    shape = shapes["weight"]
    deviation = math.sqrt((2.0 if feeds_relu else 1.0) / math.prod(shape[1:]))
    weight = rng.normal(0.0, deviation, shape)
    return {name: weight if name == "weight" else 0.0 for name in shapes}


def _named(gradients: Sequence[FloatArray]) -> dict[str, FloatArray]:
    return dict(zip(("weight", "bias"), gradients, strict=False))
