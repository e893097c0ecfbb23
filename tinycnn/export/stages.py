"""What is computed in one go: a layer together with the ReLU and the pooling behind it.

Exporters that write loops (C, in floats and in integers) walk stages instead of steps: Dropout and
Flatten vanish, ReLU and pooling are done while a value is at hand, and the scaling of the input is
in the first weights.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tinycnn.architecture import Step
from tinycnn.export.folding import PixelScaling, carrier_index, fold, step_parameters
from tinycnn.functional import Border
from tinycnn.layer import Shape
from tinycnn.layers import Conv, Dropout, Flatten, Layer, Linear, MaxPool, ReLU
from tinycnn.network import CNN

NO_BORDER: Border = ((0, 0), (0, 0))


@dataclass(frozen=True)
class Scale(Layer):
    """The input's scaling as a layer, where no weights can take it over."""

    scale: tuple[float, ...]
    zero: tuple[float, ...]


@dataclass(frozen=True)
class Stage:
    """A layer, and what is done with each of its values at once.

    Attributes
    ----------
    step : Step
        Its name and layer; the shapes are those before the pooling.
    parameters : dict of str to array
        Of the layer, float64; those of the first one take pixels as they are stored.
    relu, pool : bool
        Whether negative values become 0, and the largest of each 2x2 window is kept.
    pad : (C,)
        What stands around its input: 0, or the pixel that becomes 0.
    """

    step: Step
    parameters: dict[str, npt.NDArray[Any]]
    pad: npt.NDArray[np.float64]
    relu: bool = False
    pool: bool = False

    @property
    def name(self) -> str:
        """The step's name, such as ``conv1``."""
        return self.step.name

    @property
    def input_shape(self) -> Shape:
        """Shape of one image, without its border."""
        return self.step.input_shape

    @property
    def output_shape(self) -> Shape:
        """Shape of what it gives, after pooling."""
        if not self.pool:
            return self.step.output_shape
        K, I, J = self.step.output_shape
        return K, I // 2, J // 2

    @property
    def border(self) -> Border:
        """Rows and columns that it wants to see around its input."""
        layer = self.step.layer
        return layer.border if isinstance(layer, Conv) else NO_BORDER


def make_stages(net: CNN, scaling: PixelScaling) -> list[Stage]:
    """Group the steps of a network into stages that take pixels as they are stored."""
    carrier = carrier_index(net.architecture)
    stages: list[Stage] = []
    if carrier is None:
        stages.append(_scale_stage(net, scaling))
    for i, step in enumerate(net.architecture.steps):
        if type(step.layer) in (Dropout, Flatten):
            continue
        if stages and (joined := _joined(stages[-1], step.layer)):
            stages[-1] = joined
            continue
        parameters = step_parameters(net, step)
        in_pixels = carrier is not None and i <= carrier
        if i == carrier:
            parameters = fold(parameters, scaling)
        pad = scaling.zero if in_pixels else np.zeros(step.input_shape[0])
        stages.append(Stage(step, parameters, pad))
    return stages


def _scale_stage(net: CNN, scaling: PixelScaling) -> Stage:
    shape = net.architecture.image_shape
    layer = Scale(tuple(scaling.scale.tolist()), tuple(scaling.zero.tolist()))
    return Stage(Step("scale", layer, shape, shape, {}), {}, np.zeros(shape[0]))


def _joined(stage: Stage, layer: Layer) -> Stage | None:
    """Return the stage with a layer behind it taken in, None if that cannot be.

    The maximum of what is no longer negative is the maximum, no longer negative: their order does
    not matter.
    """
    head = type(stage.step.layer)
    if type(layer) is ReLU and head in (Conv, Linear):
        return dataclasses.replace(stage, relu=True)
    if type(layer) is MaxPool and head is Conv and not stage.pool:
        return dataclasses.replace(stage, pool=True)
    return None


def compute(stage: Stage, x: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Compute a stage of Conv, Linear or MaxPool in NumPy: exact for whole numbers below 2**53.

    Parameters
    ----------
    x : (N, *input_shape)

    Returns
    -------
    out : (N, *output_shape)
    """
    layer = stage.step.layer
    if isinstance(layer, MaxPool):
        return _pooled(x)
    weight, bias = stage.parameters["weight"], stage.parameters.get("bias", 0.0)
    if isinstance(layer, Linear):
        out = x.reshape(len(x), -1) @ weight.T.astype(np.float64) + bias
    else:
        out = _convolved(stage, x, weight.astype(np.float64)) + np.reshape(bias, (-1, 1, 1))
    if stage.pool:
        out = _pooled(out)
    return np.maximum(out, 0) if stage.relu else out


def _convolved(
    stage: Stage, x: npt.NDArray[np.float64], weight: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    (top, bottom), (left, right) = stage.border
    N, C, H, W = x.shape
    framed = np.empty((N, C, H + top + bottom, W + left + right))
    framed[...] = stage.pad[:, None, None]
    framed[:, :, top : top + H, left : left + W] = x
    windows = np.lib.stride_tricks.sliding_window_view(framed, weight.shape[2:], axis=(2, 3))
    out: npt.NDArray[np.float64] = np.tensordot(windows, weight, axes=([1, 4, 5], [1, 2, 3]))
    return out.transpose(0, 3, 1, 2)


def _pooled(x: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    N, C, H, W = x.shape
    P, Q = H // 2, W // 2
    pooled: npt.NDArray[np.float64] = (
        x[:, :, : 2 * P, : 2 * Q].reshape(N, C, P, 2, Q, 2).max(axis=(3, 5))
    )
    return pooled
