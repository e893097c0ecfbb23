"""PyTorch: the few lines that make the same network there and load its parameters."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from tinycnn.architecture import Step
from tinycnn.export.translations import Translations
from tinycnn.inputs import BYTE_SCALE
from tinycnn.layers import Conv, Dropout, Flatten, Linear, MaxPool, ReLU
from tinycnn.network import CNN, require_network

PytorchTranslation: TypeAlias = Callable[[Step], str]

TRANSLATIONS: Translations[PytorchTranslation] = Translations(
    "PyTorch", "tinycnn.export.pytorch.TRANSLATIONS"
)
"""Functions of a step that return the expression of a module, such as ``nn.ReLU()``."""


@TRANSLATIONS.register(Conv)
def _conv(step: Step) -> str:
    layer = step.layer
    assert isinstance(layer, Conv)
    arguments = [f"{step.input_shape[0]}, {layer.filters}, {layer.kernel}"]
    if layer.border != ((0, 0), (0, 0)):
        arguments.append(f"padding={layer.padding!r}")
    return f"nn.Conv2d({', '.join(arguments + _without_bias(layer.bias))})"


@TRANSLATIONS.register(Linear)
def _linear(step: Step) -> str:
    assert isinstance(step.layer, Linear)
    arguments = [f"{step.input_shape[0]}, {step.layer.units}", *_without_bias(step.layer.bias)]
    return f"nn.Linear({', '.join(arguments)})"


@TRANSLATIONS.register(ReLU)
def _relu(step: Step) -> str:
    return "nn.ReLU()"


@TRANSLATIONS.register(MaxPool)
def _max_pool(step: Step) -> str:
    return "nn.MaxPool2d(2)"


@TRANSLATIONS.register(Flatten)
def _flatten(step: Step) -> str:
    return "nn.Flatten()"


@TRANSLATIONS.register(Dropout)
def _dropout(step: Step) -> str:
    """Keep it: it does nothing after ``eval()``, and is there for those who train on."""
    assert isinstance(step.layer, Dropout)
    return f"nn.Dropout({step.layer.rate})"


def pytorch_source(net: CNN, weights: str = "model.safetensors") -> str:
    """Write the Python source that makes the same network of PyTorch and predicts with it.

    It loads its parameters from the file of :func:`tinycnn.export.to_safetensors`, and defines
    ``network``, ``class_names`` and ``predict_proba(images)``, which takes bytes or floats as
    ``net.predict_proba`` does. The scaling of the input stands in it.

    Parameters
    ----------
    net : CNN
    weights : str
        Where the source is to find the safetensors file.

    Raises
    ------
    ValueError
        If a layer has no translation.
    """
    require_network(net)
    modules = "\n".join(
        f"            ({step.name!r}, {TRANSLATIONS.of(step)(step)}),"
        for step in net.architecture.steps
    )
    C, H, W = net.architecture.image_shape
    mean, std = net.input_mean.tolist(), net.input_std.tolist()
    double = ".double()" if net.flat.dtype.itemsize == 8 else ""
    return f'''"""A network trained with tinycnn. Needs: pip install torch safetensors"""

from collections import OrderedDict

import torch
from safetensors.torch import load_file
from torch import nn

class_names = {list(net.class_names)!r}

network = nn.Sequential(
    OrderedDict(
        [
{modules}
        ]
    )
){double}
network.load_state_dict(load_file({weights!r}))
network.eval()

dtype = next(network.parameters()).dtype
mean = torch.tensor({mean}, dtype=dtype)[:, None, None]
std = torch.tensor({std}, dtype=dtype)[:, None, None]


def predict_proba(images):
    """Return the probability of each class of images (N, {C}, {H}, {W}): bytes or floats."""
    unit = {BYTE_SCALE!r} if images.dtype == torch.uint8 else 1.0
    with torch.no_grad():
        return network((images.to(dtype) * unit - mean) / std).softmax(1)
'''


def _without_bias(bias: bool) -> list[str]:
    return [] if bias else ["bias=False"]
