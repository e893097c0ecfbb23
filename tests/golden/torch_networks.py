"""From a list of tinycnn's layers to the PyTorch network that computes the same: one walk over it.

Modules have the names of the steps, so that a ``state_dict`` has the names of a network's
parameters: ``conv1.weight``, ``linear1.bias``, ``residual1.main.conv1.weight``.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn

from tinycnn import Layer
from tinycnn.architecture import make_steps

Shape = tuple[int, ...]


class Function(nn.Module):
    """A function without parameters, as a module."""

    def __init__(self, function: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Call the function."""
        return self.function(x)


class Residual(nn.Module):
    """The sum of two networks of the same input."""

    def __init__(self, main: nn.Module, shortcut: nn.Module) -> None:
        super().__init__()
        self.main, self.shortcut = main, shortcut

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Add what the two make of x."""
        return self.main(x) + self.shortcut(x)


#: How a layer of each kind, on an input of a shape, is called in PyTorch.
MODULES: dict[str, Callable[[Any, Shape], nn.Module]] = {
    "conv": lambda layer, shape: nn.Conv2d(
        shape[0], layer.filters, layer.kernel_size, padding=layer.padding, bias=layer.bias
    ),
    "relu": lambda layer, shape: nn.ReLU(),
    "maxpool": lambda layer, shape: nn.MaxPool2d(2),
    "dropout": lambda layer, shape: nn.Dropout(layer.rate),
    "flatten": lambda layer, shape: nn.Flatten(),
    "linear": lambda layer, shape: nn.Linear(shape[0], layer.units, bias=layer.bias),
    # Layers of one's own, of tests/own_layers.py.
    "avgpool": lambda layer, shape: nn.AvgPool2d(2),
    "globalavgpool": lambda layer, shape: nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()),
    "leakyrelu": lambda layer, shape: nn.LeakyReLU(layer.slope),
    "batchnorm": lambda layer, shape: (nn.BatchNorm2d if len(shape) == 3 else nn.BatchNorm1d)(
        shape[0]
    ),
    "tanh": lambda layer, shape: nn.Tanh(),
    "sigmoid": lambda layer, shape: nn.Sigmoid(),
    "gelu": lambda layer, shape: nn.GELU(),
    "scale": lambda layer, shape: Function(lambda x: x * layer.factor),
    "subsample": lambda layer, shape: Function(lambda x: x[:, :, :: layer.step, :: layer.step]),
    "dropout2d": lambda layer, shape: nn.Dropout2d(layer.rate),
    "depthwise": lambda layer, shape: nn.Conv2d(
        shape[0],
        shape[0],
        layer.kernel_size,
        padding=layer.kernel_size // 2,
        groups=shape[0],
        bias=False,
    ),
    "windowmaxpool": lambda layer, shape: nn.MaxPool2d(
        layer.size, layer.stride, ceil_mode=layer.ceil
    ),
    "windowavgpool": lambda layer, shape: nn.AvgPool2d(
        layer.size, layer.stride, ceil_mode=layer.ceil
    ),
    "residual": lambda layer, shape: Residual(
        as_torch(shape, layer.main), as_torch(shape, layer.shortcut)
    ),
}


def as_torch(input_shape: Shape, layers: Iterable[Layer]) -> nn.Sequential:
    """Build the network of a list of layers, on an input (C, H, W)."""
    modules = (
        (step.name, MODULES[step.layer.kind](step.layer, step.input_shape))
        for step in make_steps(input_shape, layers)
    )
    return nn.Sequential(OrderedDict(modules))
