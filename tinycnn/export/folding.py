"""The scaling of the input, folded into the first layer that has weights.

A network sees ``(pixel * unit - mean) / std``. Where nothing but pooling, Flatten and Dropout
stands before the first Conv or Linear, its weights and bias can take that over, and the layer
reads pixels as they are stored. What pads it are then pixels too: those that become 0.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tinycnn.architecture import Architecture, Step
from tinycnn.layers import Conv, Dropout, Flatten, Linear, MaxPool
from tinycnn.network import CNN

# What gives the same whether pixels are scaled before or after it.
_COMMUTES_WITH_SCALING = (MaxPool, Flatten, Dropout)

StepParameters = dict[str, npt.NDArray[np.float64]]


class PixelScaling(NamedTuple):
    """How stored pixels become what the network was trained on.

    Attributes
    ----------
    scale : (C,)
        The network sees ``(pixel - zero) * scale``, channel by channel.
    zero : (C,)
        The pixel that becomes 0: what pads the first layer.
    """

    scale: npt.NDArray[np.float64]
    zero: npt.NDArray[np.float64]


def pixel_scaling(net: CNN, unit: float) -> PixelScaling:
    """Tell how pixels are scaled of which a stored 1 stands for the unit."""
    # Of a mean that was a whole number of bytes, the division makes one again but for rounding.
    zero = net.input_mean / unit
    whole = np.round(zero)
    return PixelScaling(
        unit / net.input_std, np.where(np.isclose(zero, whole, rtol=1e-12), whole, zero)
    )


def step_parameters(net: CNN, step: Step) -> StepParameters:
    """Return a step's parameters in float64 under the names that its layer knows."""
    return {
        part: values.astype(np.float64) for part, values in net.parameters.of(step.name).items()
    }


def carrier_index(architecture: Architecture) -> int | None:
    """Return the index of the step that can take the scaling over; None if there is none."""
    for i, step in enumerate(architecture.steps):
        if type(step.layer) in (Conv, Linear):
            return i
        if type(step.layer) not in _COMMUTES_WITH_SCALING:
            return None
    return None


def fold(parameters: StepParameters, scaling: PixelScaling, *, zero: bool = True) -> StepParameters:
    """Return the parameters of a Conv or Linear that reads pixels.

    Parameters
    ----------
    parameters : dict of str to array
        Weight (K, C, R, S) or (units, C * H * W) and perhaps bias, for scaled pixels.
    scaling : PixelScaling
    zero : bool
        False if the pixels that the layer reads have had ``scaling.zero`` subtracted.
    """
    weight = parameters["weight"]
    by_channel = weight.reshape(len(weight), len(scaling.scale), -1) * scaling.scale[:, None]
    folded = {**parameters, "weight": by_channel.reshape(weight.shape)}
    if zero and scaling.zero.any():
        shift = by_channel.sum(axis=2) @ scaling.zero
        folded["bias"] = parameters.get("bias", np.zeros(len(weight))) - shift
    return folded
