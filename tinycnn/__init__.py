"""tinycnn: a small convolutional network for images, every layer written by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tinycnn.layers import Conv, Dropout, Flatten, Layer, Linear, MaxPool, ReLU
from tinycnn.network import CNN
from tinycnn.training.augmentation import Augmentation
from tinycnn.training.callbacks import Callback, EarlyStopping, History
from tinycnn.training.contract import train
from tinycnn.training.fitting import evaluate, fit
from tinycnn.training.gradients import loss_and_gradient
from tinycnn.training.muon import Muon
from tinycnn.training.optim import SGD, Adam, AdamW, Optimizer
from tinycnn.training.schedules import OneCycle, cosine_decay, linear_decay
from tinycnn.training.split import stratified_split
from tinycnn.unusual import UnusualImagesWarning
from tinycnn.views import Views

if TYPE_CHECKING:
    from tinycnn.data import Dataset, load, load_digits
    from tinycnn.export.quantized import QuantizedCNN, quantize
    from tinycnn.files.checkpoint import Checkpoint
    from tinycnn.files.model import load_model, save_model

__version__ = "0.2.0"

__all__ = [
    "CNN",
    "SGD",
    "Adam",
    "AdamW",
    "Augmentation",
    "Callback",
    "Checkpoint",
    "Conv",
    "Dataset",
    "Dropout",
    "EarlyStopping",
    "Flatten",
    "History",
    "Layer",
    "Linear",
    "MaxPool",
    "Muon",
    "OneCycle",
    "Optimizer",
    "QuantizedCNN",
    "ReLU",
    "UnusualImagesWarning",
    "Views",
    "cosine_decay",
    "evaluate",
    "fit",
    "linear_decay",
    "load",
    "load_digits",
    "load_model",
    "loss_and_gradient",
    "quantize",
    "save_model",
    "stratified_split",
    "train",
]

# What works on files brings readers for zip, gzip and JSON along, and is imported when it is asked
# for: it would double the time that importing tinycnn takes.
_ON_DEMAND = {
    "Checkpoint": "tinycnn.files.checkpoint",
    "Dataset": "tinycnn.data",
    "QuantizedCNN": "tinycnn.export.quantized",
    "load": "tinycnn.data",
    "load_digits": "tinycnn.data",
    "load_model": "tinycnn.files.model",
    "quantize": "tinycnn.export.quantized",
    "save_model": "tinycnn.files.model",
}


def __getattr__(name: str) -> Any:
    if name not in _ON_DEMAND:
        raise AttributeError(f"module 'tinycnn' has no attribute {name!r}")
    import importlib

    value = getattr(importlib.import_module(_ON_DEMAND[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
