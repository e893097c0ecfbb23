"""One training of the command line: fit, keep what Ctrl-C leaves, save."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy.typing as npt

import tinycnn
from tinycnn.cli.options import Files, Training
from tinycnn.cli.provenance import Provenance
from tinycnn.cli.sources import TrainingData
from tinycnn.files.checkpoint import Checkpoint
from tinycnn.files.model import save_model
from tinycnn.network import CNN
from tinycnn.training.callbacks import Callback, EarlyStopping, TrainingState
from tinycnn.training.defaults import VALIDATION_FRACTION
from tinycnn.training.fitting import fit


class Trained(NamedTuple):
    """How far a training came.

    Attributes
    ----------
    epochs : int
        Epochs done.
    best_epoch : int
        Which of them was kept.
    seconds : float
        How long it took.
    history : mapping of str to list of float
        Loss and accuracy of every epoch.
    """

    epochs: int
    best_epoch: int
    seconds: float
    history: Mapping[str, list[float]] = {}


class _KeepLastEpoch(Callback):
    """Gives the parameters of the last whole epoch back, as if it were the best."""

    def __init__(self) -> None:
        self.best_epoch = 0
        self._flat: npt.NDArray[Any] | None = None

    def on_epoch_end(self, state: TrainingState) -> None:
        self.best_epoch, self._flat = state.epoch, state.net.flat.copy()

    def on_fit_end(self, state: TrainingState) -> None:
        if self._flat is not None and not state.undone:
            state.net.flat = self._flat


class _CountEpochs(Callback):
    """Notes how many epochs there are to be, how many were, and how they went."""

    def __init__(self) -> None:
        self.planned = self.done = 0
        self.history: dict[str, list[float]] = {}

    def on_fit_begin(self, state: TrainingState) -> None:
        self.planned, self.done = state.epochs, state.epoch
        self.history = {
            name: values for name, values in vars(state.history).items() if name != "seconds"
        }

    def on_epoch_end(self, state: TrainingState) -> None:
        self.done = state.epoch


@dataclass
class Run:
    """A network, what it learns from and how, and where it is saved.

    Attributes
    ----------
    net : CNN
    source : TrainingData
    options : Training
    files : Files
    provenance : Provenance
        What the model file remembers of the images.
    """

    net: CNN
    source: TrainingData
    options: Training
    files: Files
    provenance: Provenance

    def train(self, display: Callback | None) -> Trained:
        """Train, showing progress by a callback.

        Raises
        ------
        KeyboardInterrupt
            After Ctrl-C, once the network of the best or last whole epoch is saved.
        FloatingPointError
            If training diverged; nothing is saved then.
        """
        options, files = self.options, self.files
        keep = _KeepLastEpoch() if options.patience is None else EarlyStopping(options.patience)
        count = _CountEpochs()
        callbacks: list[Callback] = [keep, count]
        if display is not None:
            callbacks.insert(0, display)
        if files.checkpoint is not None:
            callbacks.append(Checkpoint(files.checkpoint, resume=files.resume))
        start = time.perf_counter()
        try:
            self._fit(callbacks)
        except FloatingPointError as error:
            raise FloatingPointError(
                f"training diverged and nothing was saved; try a lower --lr than {options.lr:g} "
                f"({error})"
            ) from error
        except KeyboardInterrupt:
            seconds = time.perf_counter() - start
            trained = Trained(count.done, keep.best_epoch, seconds, count.history)
            raise KeyboardInterrupt(self._keep(trained, count.planned)) from None
        seconds = time.perf_counter() - start
        return Trained(count.done, keep.best_epoch or count.done, seconds, count.history)

    def save(self, trained: Trained, **result: Any) -> None:
        """Write the model with its notes."""
        notes = {
            "version": tinycnn.__version__,
            "data": self.source.name,
            "read_by": self.source.read_by,
            "training": self.options.as_notes(),
            "epochs": trained.epochs,
            "best_epoch": trained.best_epoch,
            "history": {
                name: [float(f"{value:.6g}") for value in values]
                for name, values in trained.history.items()
                if values
            },
            **self.provenance.as_notes(),
            **result,
        }
        save_model(self.net, self.files.output, notes)

    def _fit(self, callbacks: list[Callback]) -> None:
        net, train_set, options = self.net, self.source.train, self.options
        fit(
            net,
            train_set.images,
            train_set.labels,
            epochs=options.epochs,  # type: ignore[arg-type]
            batch_size=options.batch_size,  # type: ignore[arg-type]
            optimizer=options.make_optimizer(),
            augmentation=options.make_augmentation(net.architecture.image_shape),
            class_weight=options.class_weight,
            label_smoothing=options.label_smoothing,
            callbacks=callbacks,
            seed=options.seed,
            n_threads=options.threads,
            verbose=False,
            **self._validation(),
        )

    def _validation(self) -> dict[str, Any]:
        """Say to fit what validates: a part of the data, or some of the training images."""
        validation = self.source.validation
        if validation is not None:
            return {"validation_data": (validation.images, validation.labels)}
        return {
            "validation_fraction": 0.0 if self.options.patience is None else VALIDATION_FRACTION
        }

    def _keep(self, trained: Trained, planned: int) -> str:
        """Save what an interrupted training has reached, and say so."""
        if trained.best_epoch == 0:
            return "no epoch was finished, nothing was saved"
        self.save(trained)
        go_on = "; to go on, add --resume" if self.files.checkpoint else ""
        return (
            f"the model as of epoch {trained.best_epoch} of {planned} is saved to "
            f"{self.files.output}{go_on}"
        )
