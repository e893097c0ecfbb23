"""What training can be told by name: optimisers, schedules, and "auto" for the rest.

Each function takes an argument of ``fit`` as people give it, and returns the object it stands for;
anything else is an error that names the argument, the value, the rule and the way out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal, TypeAlias

from tinycnn._checks import as_count, shown
from tinycnn.training.augmentation import Augmentation
from tinycnn.training.callbacks import Callback
from tinycnn.training.defaults import LEARNING_RATES, WEIGHT_DECAY, auto_shift
from tinycnn.training.optim import SGD, Adam, AdamW, Optimizer
from tinycnn.training.schedules import (
    OneCycle,
    Schedule,
    constant,
    cosine_decay,
    linear_decay,
)

OPTIMIZERS: dict[str, type[Optimizer]] = {"adamw": AdamW, "adam": Adam, "sgd": SGD}

SCHEDULES: dict[str, Schedule] = {
    "one_cycle": OneCycle(),
    "cosine": cosine_decay,
    "linear": linear_decay,
    "constant": constant,
}

Auto: TypeAlias = Literal["auto"]


def as_choice(name: str, value: Any, choices: Mapping[str, Any]) -> Any:
    """Return what a word stands for."""
    if not isinstance(value, str) or value not in choices:
        words = ", ".join(map(repr, choices))
        raise ValueError(f"{name}: must be one of {words}, got {shown(value)}")
    return choices[value]


def as_optimizer(value: str | Optimizer) -> Optimizer:
    """Return an optimiser as it is, or make the one of that name with the recipe's settings."""
    if isinstance(value, Optimizer):
        return value
    if isinstance(value, str):
        kind = as_choice("optimizer", value, OPTIMIZERS)
        settings = {"weight_decay": WEIGHT_DECAY} if kind is AdamW else {}
        optimizer: Optimizer = kind(LEARNING_RATES[value], **settings)
        return optimizer
    raise TypeError(
        f"optimizer: must be a name ({', '.join(map(repr, OPTIMIZERS))}) or an optimiser such as "
        f"tinycnn.Adam(lr=0.001), got {shown(value)}"
    )


def as_schedule(value: str | Schedule | None) -> Schedule:
    """Return a schedule as it is, or the one of that name; None stands for a constant rate."""
    if value is None:
        return constant
    if isinstance(value, str):
        schedule: Schedule = as_choice("schedule", value, SCHEDULES)
        return schedule
    if isinstance(value, type) or not callable(value):
        raise TypeError(
            f"schedule: must be a name ({', '.join(map(repr, SCHEDULES))}) or a function from the "
            f"share of training done to a factor of the learning rate, got {shown(value)}"
        )
    return value


def as_callbacks(value: Callback | Iterable[Callback] | None) -> tuple[Callback, ...]:
    """Return one callback or several as a tuple."""
    if value is None:
        return ()
    if isinstance(value, Callback):
        return (value,)
    if isinstance(value, type) or not isinstance(value, Iterable):
        raise TypeError(
            "callbacks: must be a callback, such as tinycnn.EarlyStopping(patience=5), or a list "
            f"of them, got {shown(value)}"
        )
    callbacks = tuple(value)
    for i, callback in enumerate(callbacks):
        if not isinstance(callback, Callback):
            raise TypeError(
                f"callbacks[{i}]: must be an instance of a subclass of tinycnn.Callback, "
                f"got {shown(callback)}"
            )
    return callbacks


def as_augmentation(
    value: Augmentation | Auto | None, image_shape: tuple[int, int, int]
) -> Augmentation | None:
    """Return an augmentation that fits the images (C, H, W), or None where images stay."""
    if isinstance(value, str) and value == "auto":
        value = Augmentation(auto_shift(image_shape))
    if value is None:
        return None
    if not isinstance(value, Augmentation):
        raise TypeError(
            "augmentation: must be 'auto', None or a tinycnn.Augmentation, such as "
            f"Augmentation(shift=1), got {shown(value)}"
        )
    value.check(image_shape)
    return value if value.shift or value.flip else None


def as_count_or_auto(name: str, value: int | str, automatic: int, minimum: int = 0) -> int:
    """Return a whole number, or the automatic one for "auto"."""
    if isinstance(value, str):
        if value != "auto":
            raise ValueError(f"{name}: must be 'auto' or a whole number, got {shown(value)}")
        return automatic
    return as_count(name, value, minimum)
