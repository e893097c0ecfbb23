"""Callbacks: what is told of every batch and epoch of a training, and can stop it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from tinycnn._checks import FloatArray, as_count, as_rate, shown
from tinycnn.network import CNN
from tinycnn.training.optim import Optimizer

MONITORS = ("validation_loss", "validation_accuracy", "train_loss")


class History:
    """What training recorded, one entry an epoch; plain lists of floats, ready to plot.

    Attributes
    ----------
    train_loss : list of float
        Mean over the epoch's images of the loss that each had when its batch came up; weighted and
        with smoothed labels where training is.
    validation_loss, validation_accuracy : list of float
        After the epoch; empty when there are no validation data.
    seconds : list of float
        Wall-clock time of the epoch's training, without validation and callbacks.
    """

    def __init__(self) -> None:
        self.train_loss: list[float] = []
        self.validation_loss: list[float] = []
        self.validation_accuracy: list[float] = []
        self.seconds: list[float] = []

    def __repr__(self) -> str:
        lists = ", ".join(f"{name}={values}" for name, values in vars(self).items())
        return f"History({lists})"


@dataclass
class TrainingState:
    """What a callback gets to see of a training.

    Attributes
    ----------
    net : CNN
        The network in training.
    optimizer : Optimizer
    rng : numpy.random.Generator
        All that is random in training is drawn from it.
    order : (n_train,)
        Indices of the images that train, in the order of the epoch.
    validation : (images, labels) or None
        What is measured after every epoch.
    callbacks : tuple of Callback
        All that are told.
    epochs : int
        How many there will be at most.
    batches_per_epoch : int
    arguments : mapping
        What else was given to ``fit`` and changes its result, by name.
    history : History
    epoch : int
        The epoch at hand, counted from 1. Before the first one, the number of epochs done already:
        0, unless training is resumed.
    stopping : bool
        Whether a callback has asked to stop.
    undone : bool
        Whether the network has its first parameters again, since training diverged or a callback
        refused to begin.
    """

    net: CNN
    optimizer: Optimizer
    rng: np.random.Generator
    order: npt.NDArray[np.int64]
    validation: tuple[npt.NDArray[Any], npt.NDArray[Any]] | None
    callbacks: tuple[Callback, ...]
    epochs: int
    batches_per_epoch: int
    arguments: Mapping[str, Any]
    history: History = field(default_factory=History)
    epoch: int = 0
    stopping: bool = False
    undone: bool = False

    @property
    def over(self) -> bool:
        """Whether no epoch follows: all are done, or a callback has asked to stop."""
        return self.stopping or self.epoch >= self.epochs


class Callback:
    """Base of all callbacks: override what you need, the rest does nothing.

    A callback whose behaviour depends on earlier epochs must override :meth:`state` and
    :meth:`set_state`, or a resumed fit forgets it.
    """

    def before_fit(self, state: TrainingState) -> None:
        """Called before any callback's :meth:`on_fit_begin`; may restore an earlier training."""

    def on_fit_begin(self, state: TrainingState) -> bool | None:
        """Called once before the first epoch. Return True if there is nothing left to train."""

    def on_batch_end(self, state: TrainingState) -> None:
        """Called after every update of the parameters."""

    def on_epoch_end(self, state: TrainingState) -> bool | None:
        """Called after every epoch, its history recorded. Return True to stop training."""

    def after_epoch(self, state: TrainingState) -> None:
        """Called after every epoch, once all callbacks have had their :meth:`on_epoch_end`."""

    def on_fit_end(self, state: TrainingState) -> None:
        """Called once at the end, however training ended: also after an exception."""

    def state(self) -> dict[str, npt.ArrayLike]:
        """Return what to remember, for :meth:`set_state`: arrays, numbers and strings by name."""
        return {}

    def set_state(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        """Restore a state, given as arrays, before the :meth:`on_fit_begin` of a resumed fit."""


class EarlyStopping(Callback):
    """Ends training when the network gets no better, and gives the best parameters back.

    An epoch is the best so far if what is monitored has improved by more than ``min_delta`` on the
    best epoch before. However training ends, by this callback or another, because all epochs are
    done or by an exception such as Ctrl-C, the network then has the parameters of the best whole
    epoch. Only where the loss was no longer finite, ``fit`` undoes the training altogether. The
    history keeps all epochs.

    Parameters
    ----------
    patience : int
        Training ends after so many epochs without a new best one; at least 1.
    min_delta : float
        Smaller improvements, and those of just this size, count as none.
    monitor : "validation_loss", "validation_accuracy" or "train_loss"
        Which list of :class:`History` to watch. The first two need validation data.

    Attributes
    ----------
    best_epoch : int
        Counted from 1; 0 before the first epoch.
    best_value : float
        What was monitored, in that epoch.

    Examples
    --------
    ::

        stopping = tinycnn.EarlyStopping(patience=5)
        tinycnn.fit(net, images, labels, epochs=200, validation_fraction=0.1, callbacks=[stopping])
        print(f"epoch {stopping.best_epoch} was the best: {stopping.best_value:.4f}")
    """

    def __init__(
        self, patience: int, min_delta: float = 0.0, monitor: str = "validation_loss"
    ) -> None:
        self.patience = as_count("patience", patience, 1)
        self.min_delta = as_rate("min_delta", min_delta)
        if not isinstance(monitor, str) or monitor not in MONITORS:
            raise ValueError(f"monitor: must be one of {', '.join(MONITORS)}, got {shown(monitor)}")
        self.monitor = monitor
        self._best_flat: FloatArray | None
        self._forget()

    def on_fit_begin(self, state: TrainingState) -> bool:
        """Check that there is something to watch; start anew unless training is resumed."""
        if state.validation is None and self.monitor != "train_loss":
            raise ValueError(
                f"EarlyStopping: there is no {self.monitor} without validation data; give fit "
                "validation_data=(images, labels) or validation_fraction=0.1, or watch the "
                "training loss: EarlyStopping(..., monitor='train_loss')"
            )
        if state.epoch == 0:
            self._forget()
        best = self._best_flat
        if best is not None and best.shape != state.net.flat.shape:
            self._forget()
            raise ValueError(
                f"EarlyStopping: the best parameters are {best.shape}, the network has "
                f"{state.net.flat.shape}"
            )
        return self._out_of_patience(state)

    def on_epoch_end(self, state: TrainingState) -> bool:
        """Keep the parameters if they are the best so far; stop if patience has run out."""
        value: float = getattr(state.history, self.monitor)[-1]
        if self._gain(value) > self.min_delta:
            self.best_epoch, self.best_value = state.epoch, value
            self._best_flat = state.net.flat.copy()
        return self._out_of_patience(state)

    def on_fit_end(self, state: TrainingState) -> None:
        """Give the best parameters back, unless training was undone."""
        if self._best_flat is not None and not state.undone:
            state.net.flat = self._best_flat
        self._best_flat = None

    def state(self) -> dict[str, npt.ArrayLike]:
        """Return what is watched, and the best epoch with its value and parameters."""
        remembered: dict[str, npt.ArrayLike] = {
            "monitor": self.monitor,
            "min_delta": self.min_delta,
            "best_epoch": self.best_epoch,
            "best_value": self.best_value,
        }
        if self._best_flat is not None:
            remembered["best_flat"] = self._best_flat
        return remembered

    def set_state(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        """Restore a state; patience may be another.

        Raises
        ------
        ValueError
            If something else was watched.
        """
        for name in ("monitor", "min_delta"):
            before, now = state[name].item(), getattr(self, name)
            if before != now:
                raise ValueError(
                    f"EarlyStopping: {name} was {shown(before)} before, now it is {now!r}"
                )
        best_epoch, best_value = int(state["best_epoch"]), float(state["best_value"])
        best_flat = state.get("best_flat")
        if best_flat is not None and not np.isfinite(best_flat).all():
            raise ValueError("EarlyStopping: the best parameters are not all finite numbers")
        self.best_epoch, self.best_value, self._best_flat = best_epoch, best_value, best_flat

    def _forget(self) -> None:
        self.best_epoch = 0
        self.best_value = -math.inf if self.monitor == "validation_accuracy" else math.inf
        self._best_flat = None

    def _gain(self, value: float) -> float:
        """By how much a value is better than the best one."""
        gain = self.best_value - value
        return -gain if self.monitor == "validation_accuracy" else gain

    def _out_of_patience(self, state: TrainingState) -> bool:
        return state.epoch - self.best_epoch >= self.patience
