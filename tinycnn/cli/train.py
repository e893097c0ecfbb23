"""``tinycnn train``: train, save, test, and say what to do next."""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy.typing as npt

from tinycnn.cli.options import Files, Training, file_options, reading_options, training_options
from tinycnn.cli.sources import read_source
from tinycnn.cli.streams import say
from tinycnn.data import Dataset
from tinycnn.evaluation import assess
from tinycnn.files.checkpoint import Checkpoint
from tinycnn.files.model import save_model
from tinycnn.network import CNN
from tinycnn.training.callbacks import Callback, EarlyStopping, TrainingState
from tinycnn.training.defaults import VALIDATION_FRACTION
from tinycnn.training.fitting import fit


def run_train(arguments: argparse.Namespace) -> int:
    """Train, save, test, and say what to do next."""
    options, files = training_options(arguments), file_options(arguments)
    source = read_source(arguments.data, reading_options(arguments))
    train_set, test_set = source.train, source.test
    net = options.make_network(train_set.images.shape[1:], train_set.class_names)
    net.standardize(train_set.images)
    say(
        f"training on {len(train_set.images)} images of {source.name}, "
        f"{len(test_set.images)} held out for the test"
    )
    say(f"{net}: {net.flat.size} parameters")
    start = time.perf_counter()
    _fit_or_keep(net, train_set, options, files, verbose=not arguments.quiet)
    seconds = time.perf_counter() - start
    save_model(net, files.output)
    result = assess(net, test_set.images, test_set.labels)
    say(f"test accuracy {result.accuracy:.2%} after {seconds:.1f} s of training")
    say(f"model saved to {files.output}")
    data_argument = f" {arguments.data}" if arguments.data else ""
    say(f"next, try:  tinycnn evaluate {files.output}{data_argument}")
    return 0


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


def _fit_or_keep(
    net: CNN, train_set: Dataset, options: Training, files: Files, *, verbose: bool
) -> None:
    """Train; on Ctrl-C save the network of the best or last whole epoch before going down."""
    patience = options.patience
    keep = _KeepLastEpoch() if patience is None else EarlyStopping(patience)
    callbacks: list[Callback] = [keep]
    if files.checkpoint is not None:
        callbacks.append(Checkpoint(files.checkpoint, resume=files.resume))
    try:
        fit(
            net,
            train_set.images,
            train_set.labels,
            epochs=options.epochs,
            batch_size=options.batch_size,
            optimizer=options.make_optimizer(),
            augmentation=options.make_augmentation(net.architecture.image_shape),
            class_weight=options.class_weight,
            label_smoothing=options.label_smoothing,
            validation_fraction=0.0 if patience is None else VALIDATION_FRACTION,
            callbacks=callbacks,
            seed=options.seed,
            n_threads=options.threads,
            verbose=verbose,
        )
    except KeyboardInterrupt:
        if keep.best_epoch == 0:
            raise KeyboardInterrupt("no epoch was finished, nothing was saved") from None
        save_model(net, files.output)
        raise KeyboardInterrupt(
            f"the model as of epoch {keep.best_epoch} is saved to {files.output}"
            + ("; to go on, add --resume" if files.checkpoint else "")
        ) from None
    if patience is not None:
        say(f"epoch {keep.best_epoch} was the best")
