"""Layers that tinycnn does not have, written as a user writes them.

The first four stand in ``docs/layers.md`` too; the others are what the known networks need besides.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from tinycnn.architecture import make_steps
from tinycnn.layered import backward_steps, forward_steps
from tinycnn.layers import Dropout, Layer, register


@register
@dataclass(frozen=True)
class AvgPool(Layer):
    """The mean of each 2x2 window; an odd last row or column takes no part."""

    is_transparent = True

    def output_shape(self, input_shape):
        C, H, W = input_shape
        return C, H // 2, W // 2

    def forward(self, x, parameters, rng=None):
        P, Q = x.shape[2] // 2, x.shape[3] // 2
        corners = [x[:, :, i : 2 * P : 2, j : 2 * Q : 2] for i in (0, 1) for j in (0, 1)]
        return sum(corners) / 4, x.shape

    def backward(self, dout, cache):
        dx = np.zeros(cache, dout.dtype)
        P, Q = dout.shape[2:]
        dx[:, :, : 2 * P, : 2 * Q] = dout.repeat(2, axis=2).repeat(2, axis=3) / 4
        return dx, {}


@register
@dataclass(frozen=True)
class GlobalAvgPool(Layer):
    """The mean of each map: (C, H, W) to (C,)."""

    def output_shape(self, input_shape):
        C, _, _ = input_shape
        return (C,)

    def forward(self, x, parameters, rng=None):
        return x.mean(axis=(2, 3)), x.shape

    def backward(self, dout, cache):
        _, _, H, W = cache
        return np.broadcast_to(dout[:, :, None, None] / (H * W), cache), {}


@register
@dataclass(frozen=True)
class LeakyReLU(Layer):
    """``x`` where it is positive, else ``slope * x``."""

    slope: float = 0.01

    stops_half = True

    def forward(self, x, parameters, rng=None):
        steepness = np.where(x > 0, x.dtype.type(1), x.dtype.type(self.slope))
        return x * steepness, steepness

    def backward(self, dout, cache):
        return dout * cache, {}


@register
@dataclass(frozen=True)
class BatchNorm(Layer):
    """Brings each channel to mean 0 and variance 1, by the batch's own moments in training."""

    def parameter_shapes(self, input_shape):
        return dict.fromkeys(("weight", "bias", "running_mean", "running_var"), input_shape[:1])

    def initial_parameters(self, input_shape, rng, feeds_relu=False):
        return {"weight": 1, "bias": 0, "running_mean": 0, "running_var": 1}

    def forward(self, x, parameters, rng=None):
        weight, bias, mean, var = (values[:, None] for values in parameters.values())
        maps = x.reshape(*x.shape[:2], -1)  # (N, C, H * W)
        if rng is not None:  # training: what prediction will use follows the batches
            mean += 0.1 * (maps.mean((0, 2))[:, None] - mean)
            var += 0.1 * (maps.var((0, 2), ddof=1)[:, None] - var)
            mean, var = maps.mean((0, 2))[:, None], maps.var((0, 2))[:, None]
        normal = (maps - mean) / np.sqrt(var + 1e-5)
        return (normal * weight + bias).reshape(x.shape), (normal, weight, var, rng is not None)

    def backward(self, dout, cache):
        normal, weight, var, training = cache
        dmaps = dout.reshape(normal.shape)
        dweight, dbias = (dmaps * normal).sum((0, 2)), dmaps.sum((0, 2))
        if training:  # mean and variance depend on x
            dmaps = dmaps - (dbias[:, None] + normal * dweight[:, None]) * dbias.size / dout.size
        dx = (dmaps * weight / np.sqrt(var + 1e-5)).reshape(dout.shape)
        return dx, {"weight": dweight, "bias": dbias, "running_mean": 0, "running_var": 0}


@register
@dataclass(frozen=True)
class Tanh(Layer):
    """The hyperbolic tangent."""

    def forward(self, x, parameters, rng=None):
        out = np.tanh(x)
        return out, out

    def backward(self, dout, cache):
        return dout * (1 - cache * cache), {}


@register
@dataclass(frozen=True)
class Sigmoid(Layer):
    """``1 / (1 + exp(-x))``."""

    def forward(self, x, parameters, rng=None):
        out = (1 + np.tanh(x / 2)) / 2
        return out, out

    def backward(self, dout, cache):
        return dout * cache * (1 - cache), {}


@register
@dataclass(frozen=True)
class GELU(Layer):
    """x times the probability that a standard normal number is below x."""

    def forward(self, x, parameters, rng=None):
        below = (1 + np.vectorize(math.erf, [x.dtype])(x / 2**0.5)) / 2
        return x * below, (x, below)

    def backward(self, dout, cache):
        x, below = cache
        return dout * (below + x * np.exp(-x * x / 2) / (2 * math.pi) ** 0.5), {}


@register
@dataclass(frozen=True)
class Scale(Layer):
    """``factor * x``."""

    factor: float

    def forward(self, x, parameters, rng=None):
        return x * self.factor, None

    def backward(self, dout, cache):
        return dout * self.factor, {}


@register
@dataclass(frozen=True)
class Subsample(Layer):
    """Every so manieth row and column: behind a Conv, what a stride does."""

    step: int = 2

    def output_shape(self, input_shape):
        C, H, W = input_shape
        return C, -(-H // self.step), -(-W // self.step)

    def forward(self, x, parameters, rng=None):
        return x[:, :, :: self.step, :: self.step], x.shape

    def backward(self, dout, cache):
        dx = np.zeros(cache, dout.dtype)
        dx[:, :, :: self.step, :: self.step] = dout
        return dx, {}


@register
@dataclass(frozen=True)
class Dropout2d(Dropout):
    """Dropout of whole maps."""

    def forward(self, x, parameters, rng=None):
        if rng is None:
            return x, None
        _, mask = super().forward(x[:, :, :1, :1], parameters, rng)
        return x * mask, mask


@register
@dataclass(frozen=True)
class Depthwise(Layer):
    """One square filter of odd size for each channel, with padding that keeps the size."""

    kernel_size: int = 3

    def parameter_shapes(self, input_shape):
        return {"weight": (input_shape[0], 1, self.kernel_size, self.kernel_size)}

    def initial_parameters(self, input_shape, rng, feeds_relu=False):
        shape = self.parameter_shapes(input_shape)["weight"]
        return {"weight": rng.normal(0, 1 / self.kernel_size, shape)}

    def taps(self, x):
        """Pair the place of each tap with a view of all that it sees."""
        R, (I, J) = self.kernel_size, (size - self.kernel_size + 1 for size in x.shape[2:])
        return [((r, s), x[:, :, r : r + I, s : s + J]) for r in range(R) for s in range(R)]

    def forward(self, x, parameters, rng=None):
        weight, border = parameters["weight"], (self.kernel_size // 2,) * 2
        x = np.pad(x, ((0, 0), (0, 0), border, border))
        return sum(seen * weight[:, :, r, s, None] for (r, s), seen in self.taps(x)), (x, weight)

    def backward(self, dout, cache):
        x, weight = cache
        dx, dweight, border = np.zeros_like(x), np.empty_like(weight), self.kernel_size // 2
        for ((r, s), seen), (_, dseen) in zip(self.taps(x), self.taps(dx), strict=True):
            dweight[:, 0, r, s] = (seen * dout).sum((0, 2, 3))
            dseen += dout * weight[:, :, r, s, None]
        H, W = dout.shape[2:]
        return dx[:, :, border : border + H, border : border + W], {"weight": dweight}


@dataclass(frozen=True)
class Windows(Layer):
    """What pools of square windows of any size and stride share.

    With ceil, windows that begin inside and end outside count as well.
    """

    size: int = 3
    stride: int = 2
    ceil: bool = False

    def output_shape(self, input_shape):
        C, H, W = input_shape
        spare = self.stride - 1 if self.ceil else 0
        P, Q = ((side - self.size + spare) // self.stride + 1 for side in (H, W))
        return C, P, Q

    def padded(self, x, value):
        """Put values below and to the right, so that all windows are whole."""
        _, P, Q = self.output_shape(x.shape[1:])
        rows, columns = ((n - 1) * self.stride + self.size for n in (P, Q))
        border = [(0, max(0, rows - x.shape[2])), (0, max(0, columns - x.shape[3]))]
        return np.pad(x, [(0, 0), (0, 0), *border], constant_values=value)

    def taps(self, x, shape):
        """Return a view of each place in all windows of padded maps."""
        P, Q = shape[2:]
        rows, columns = ((n - 1) * self.stride + 1 for n in (P, Q))
        return [
            x[:, :, r : r + rows : self.stride, s : s + columns : self.stride]
            for r in range(self.size)
            for s in range(self.size)
        ]


@register
@dataclass(frozen=True)
class WindowMaxPool(Windows):
    """The largest value of each window."""

    def forward(self, x, parameters, rng=None):
        shape = (len(x), *self.output_shape(x.shape[1:]))
        seen = np.stack(self.taps(self.padded(x, -np.inf), shape))
        return seen.max(0), (seen.argmax(0), x)

    def backward(self, dout, cache):
        winner, x = cache
        dx = np.zeros_like(self.padded(x, 0))
        for place, dseen in enumerate(self.taps(dx, dout.shape)):
            dseen += np.where(winner == place, dout, 0)
        return dx[:, :, : x.shape[2], : x.shape[3]], {}


@register
@dataclass(frozen=True)
class WindowAvgPool(Windows):
    """The mean of what each window has of the maps."""

    def forward(self, x, parameters, rng=None):
        shape = (len(x), *self.output_shape(x.shape[1:]))
        counts = sum(self.taps(self.padded(np.ones_like(x[:1, :1]), 0), shape))
        return sum(self.taps(self.padded(x, 0), shape)) / counts, (counts, x)

    def backward(self, dout, cache):
        counts, x = cache
        dx = np.zeros_like(self.padded(x, 0))
        for dseen in self.taps(dx, dout.shape):
            dseen += dout / counts
        return dx[:, :, : x.shape[2], : x.shape[3]], {}


@register
@dataclass(frozen=True)
class Residual(Layer):
    """The sum of what two lists of layers make of the same input; an empty list changes nothing."""

    main: tuple[Layer, ...]
    shortcut: tuple[Layer, ...] = ()

    def branches(self, input_shape):
        """Return the steps of both lists."""
        both = (("main.", self.main), ("shortcut.", self.shortcut))
        return [make_steps(input_shape, layers, prefix) for prefix, layers in both]

    def output_shape(self, input_shape):
        main, _ = self.branches(input_shape)
        return main[-1].output_shape

    def parameter_shapes(self, input_shape):
        steps = sum(self.branches(input_shape), ())
        return {name: shape for step in steps for name, shape in step.parameter_shapes.items()}

    def initial_parameters(self, input_shape, rng, feeds_relu=False):
        steps = sum(self.branches(input_shape), ())
        starts = [
            (step.name, step.layer.initial_parameters(step.input_shape, rng)) for step in steps
        ]
        return {f"{name}.{part}": value for name, own in starts for part, value in own.items()}

    def forward(self, x, parameters, rng=None):
        branches = self.branches(x.shape[1:])
        passes = [forward_steps(steps, x, parameters, rng) for steps in branches]
        return sum(out for out, _ in passes), (branches, [caches for _, caches in passes])

    def backward(self, dout, cache):
        passes = [backward_steps(steps, dout, caches) for steps, caches in zip(*cache, strict=True)]
        return sum(dx for dx, _ in passes), {**passes[0][1], **passes[1][1]}
