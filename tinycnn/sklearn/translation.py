"""From an estimator's parameters, by scikit-learn's names, to what ``CNN`` and ``fit`` take."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from tinycnn._checks import as_count, as_flag, as_rate, shown
from tinycnn.architecture import make_blocks
from tinycnn.layers import Flatten, Layer, Linear
from tinycnn.training.augmentation import Augmentation
from tinycnn.training.callbacks import EarlyStopping
from tinycnn.training.choices import OPTIMIZERS, as_choice, as_count_or_auto
from tinycnn.training.defaults import (
    KERNEL_SIZE,
    LEARNING_RATES,
    PADDING,
    WEIGHT_DECAY,
    auto_channels,
    auto_shift,
)
from tinycnn.training.optim import SGD, AdamW, Optimizer
from tinycnn.training.weighting import ClassWeight

# What describes a network in place of ``layers``, with the values that say nothing.
BLOCKS = {"channels": "auto", "kernel_size": KERNEL_SIZE, "hidden": 0, "padding": PADDING}


def make_layers(
    image_shape: tuple[int, int, int], n_classes: int, layers: Any, **blocks: Any
) -> list[Layer]:
    """List the layers of a network.

    Parameters
    ----------
    image_shape : (C, H, W)
    n_classes : int
    layers : iterable of Layer, or None
        All but the last one, which gives the scores of the classes; a Flatten before that may be
        left out.
    **blocks
        The estimator's parameters of :data:`BLOCKS`, which count if there are no layers.

    Raises
    ------
    ValueError, TypeError
        If both are given, or something is no layer.
    """
    if layers is None:
        return _blocks(image_shape, n_classes, **blocks)
    for name, nothing in BLOCKS.items():
        if not _is_same(blocks[name], nothing):
            raise ValueError(f"{name}: give this or layers, not both; got {shown(blocks[name])}")
    if isinstance(layers, Layer | str) or not isinstance(layers, Iterable):
        raise TypeError(f"layers: must be a list of layers without the last, got {shown(layers)}")
    listed = list(layers)
    if not any(isinstance(layer, Flatten) for layer in listed):
        listed.append(Flatten())
    return [*listed, Linear(n_classes)]


def _blocks(
    image_shape: tuple[int, int, int], n_classes: int, channels: Any, **others: Any
) -> list[Layer]:
    """List the layers of blocks; how many and how large follows from the images, if asked."""
    if isinstance(channels, str):
        as_choice("channels", channels, {"auto": None})
        channels = auto_channels(image_shape, others["kernel_size"], others["padding"])
    return make_blocks(channels, n_classes, **others)


def _is_same(value: Any, other: Any) -> bool:
    return type(value) is type(other) and value == other


def make_optimizer(name: Any, learning_rate: Any, alpha: Any, momentum: Any) -> Optimizer:
    """Make the optimiser of a name; an automatic rate and alpha are those of ``fit``."""
    kind: Any = as_choice("optimizer", name, OPTIMIZERS)
    lr = _rate_or_auto("learning_rate_init", learning_rate, LEARNING_RATES[name])
    decay = _rate_or_auto("alpha", alpha, WEIGHT_DECAY if kind is AdamW else 0.0)
    optimizer: Optimizer = SGD(lr, momentum, decay) if kind is SGD else kind(lr, weight_decay=decay)
    return optimizer


def make_augmentation(shift: Any, flip: Any, image_shape: tuple[int, int, int]) -> Augmentation:
    """Make the augmentation that is asked for, or the one that fits the images (C, H, W)."""
    pixels = as_count_or_auto("shift", shift, auto_shift(image_shape))
    return Augmentation(pixels, as_flag("flip", flip))


def stopping_arguments(
    early_stopping: Any, validation_fraction: Any, n_iter_no_change: Any, tol: Any
) -> dict[str, Any]:
    """Return what ``fit`` is to be told of early stopping."""
    if not as_flag("early_stopping", early_stopping):
        return {}
    fraction = as_rate("validation_fraction", validation_fraction)
    if not 0 < fraction < 1:
        raise ValueError(f"validation_fraction: must be in (0, 1), got {validation_fraction}")
    patience = as_count("n_iter_no_change", n_iter_no_change, 1)
    stopping = EarlyStopping(patience, as_rate("tol", tol), "validation_accuracy")
    return {"validation_fraction": fraction, "callbacks": stopping}


def by_number(class_weight: Any, classes: npt.NDArray[Any]) -> ClassWeight | None:
    """Return class_weight with classes by number instead of by label."""
    if class_weight is None or isinstance(class_weight, str):
        return class_weight  # fit knows the only word there is
    if not isinstance(class_weight, Mapping):
        raise TypeError(
            "class_weight: must be a dict {label: weight}, 'balanced' or None, got "
            f"{shown(class_weight)}"
        )
    numbers = {label: i for i, label in enumerate(classes.tolist())}
    unknown = [label for label in class_weight if label not in numbers]
    # As scikit-learn's classifiers have it: a part of the images may lack a class, but where some
    # class has no weight, a name that nobody knows is rather a mistake.
    if unknown and not numbers.keys() <= class_weight.keys():
        raise ValueError(f"class_weight: {unknown[0]!r} is not among {list(numbers)}")
    return {numbers[label]: class_weight[label] for label in class_weight if label in numbers}


def draw_seed(random: np.random.RandomState) -> int:
    """Draw a seed for ``CNN`` or ``fit``."""
    return int(random.randint(np.iinfo(np.int32).max))


def _rate_or_auto(name: str, value: Any, automatic: float) -> float:
    """Return a finite number that is not negative, or the automatic one for "auto"."""
    if isinstance(value, str):
        if value != "auto":
            raise ValueError(f"{name}: must be 'auto' or a number, got {shown(value)}")
        return automatic
    return as_rate(name, value)
