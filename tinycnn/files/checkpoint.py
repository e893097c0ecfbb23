"""Checkpoints: a training that is under way as one file, to go on from.

A checkpoint is a model file, which ``load_model`` reads, with more in it: under ``checkpoint``, as
JSON, how far training has come and what it was called with; and as arrays the order of the images,
the history and the states of the optimiser and of the callbacks.
"""

from __future__ import annotations

import copy
import math
import os
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tinycnn._checks import FloatArray, as_count, as_flag, as_path, shown
from tinycnn.files.archive import open_archive, read_array, write_archive
from tinycnn.files.model import as_metadata, describe, model_entries, read_metadata, read_model
from tinycnn.files.writing import require_writable
from tinycnn.network import CNN
from tinycnn.training.callbacks import Callback, History, TrainingState
from tinycnn.training.schedules import constant

FORMAT_VERSION = 2  # 1 was written before networks were lists of layers
METADATA_KEY = "checkpoint"

# What a checkpoint may claim: arrays in a group, and bytes of one, or eight for each parameter.
MOST_MEMBERS = 64
LEAST_LIMIT = 2**16

# Of a larger array, about so many bytes are looked at, spread over all of it.
CHECKSUM_BYTES = 2**20

# A schedule is told from others by its values at so many shares of training.
SCHEDULE_SAMPLES = 64


class Checkpoint(Callback):
    """Writes a file from which training can be resumed, however it was interrupted.

    It is written at the end of epochs, once all callbacks have seen it, and replaced in one step:
    a process that is killed at any moment leaves the last complete one. ``tinycnn.load_model``
    reads the network from it, as it was after that epoch.

    Parameters
    ----------
    path : path-like
        Usually ends in ``.npz``; taken as it is. What is there is overwritten.
    every : int
        Write after so many epochs, and after the last.
    resume : bool
        Whether ``fit`` goes on from the file, if there is one: epochs are counted from the start
        of the training that wrote it, and the result is that of one without a break, bit for bit
        on one machine. Network and optimiser get the state that the file holds; all other
        arguments of ``fit`` must be what they were, but for ``n_threads``, ``verbose``, callbacks
        that have no state, and, where the schedule is constant, ``epochs``. Without a file,
        training starts anew.

    Raises
    ------
    OSError
        If the folder does not exist or cannot be written to, before training begins.
    ValueError
        If the file to resume from is no checkpoint, is damaged, or comes from a training with
        other arguments, which the message names; network and optimiser are unchanged then.

    Examples
    --------
    Run again after it was interrupted, this goes on where it stopped::

        tinycnn.fit(net, images, labels, epochs=50,
                    callbacks=tinycnn.Checkpoint("run.npz", resume=True))
    """

    def __init__(self, path: str | os.PathLike[str], every: int = 1, resume: bool = False) -> None:
        self.path = as_path("Checkpoint: path", path)
        self.every = as_count("Checkpoint: every", every, 1)
        self.resume = as_flag("Checkpoint: resume", resume)
        self._arguments: dict[str, str] = {}

    def before_fit(self, state: TrainingState) -> None:
        """Note what training was called with; restore what the file holds, if asked to."""
        folder = self.path.parent
        if not folder.is_dir():
            raise FileNotFoundError(f"Checkpoint: there is no folder {folder}; make it first")
        require_writable(self.path)
        self._arguments = _described(state.arguments)
        if self.resume and self.path.exists():
            _restore(state, self.path)

    def after_epoch(self, state: TrainingState) -> None:
        """Write the file, if it is time."""
        if state.epoch % self.every == 0 or state.over:
            write_archive(self.path, _entries(state, self._arguments))


def _restore(state: TrainingState, path: Path) -> None:
    """Bring a training that is about to begin, of the same arguments, to where one was written.

    The state is changed in place, with its network, optimiser and callbacks, once all is checked.
    """
    contents = _read(path, state.net.flat.size, len(state.order))
    _require_same_arguments(path, contents, state)
    _require_epochs(path, contents, state)
    _require_order(path, contents.order, state)
    _require_history(path, contents)
    _require_same_callbacks(path, contents, state)
    _restore_objects(path, contents, state)
    state.net.flat = contents.net.flat
    state.order[...] = contents.order
    if state.arguments["validation_fraction"]:
        state.validation = _held_out(state)
    vars(state.history).update(contents.history)
    state.epoch = contents.epoch


class _Contents(NamedTuple):
    """What a checkpoint holds."""

    net: CNN
    epoch: int
    epochs: int
    arguments: dict[str, str]
    random_state: dict[str, Any]
    order: npt.NDArray[Any]
    history: dict[str, list[float]]
    optimizer: dict[str, npt.NDArray[Any]]
    callbacks: list[tuple[str, dict[str, npt.NDArray[Any]]]]  # class and state


def _entries(state: TrainingState, arguments: dict[str, str]) -> dict[str, npt.ArrayLike]:
    """Put all of a training into arrays with names."""
    stateful = _stateful(state)
    metadata = {
        "epoch": state.epoch,
        "epochs": state.epochs,
        "arguments": arguments,
        "random_state": state.rng.bit_generator.state,
        "callbacks": [type(callback).__name__ for callback in stateful],
    }
    groups: dict[str, Mapping[str, npt.ArrayLike]] = {
        "history": vars(state.history),
        "optimizer": state.optimizer.state(),
        **{f"callback{i}": callback.state() for i, callback in enumerate(stateful)},
    }
    n_images = len(state.arguments["images"])
    return {
        **model_entries(state.net),
        METADATA_KEY: as_metadata(metadata, FORMAT_VERSION),
        "order": state.order.astype(np.min_scalar_type(n_images)),
        **{f"{group}/{name}": array for group in groups for name, array in groups[group].items()},
    }


def _read(path: Path, n_parameters: int, n_images: int) -> _Contents:
    """Read what :func:`_entries` has written, and nothing else that the file may hold."""
    with open_archive(path) as archive:
        members = (name for name in archive.namelist() if name.endswith(".npy"))
        keys = [name.removesuffix(".npy") for name in members]
        if METADATA_KEY not in keys:
            raise ValueError(
                f"resume: {path} is no checkpoint: it has no entry {METADATA_KEY!r}; give a file "
                "that tinycnn.Checkpoint has written"
            )
        metadata = read_metadata(archive, path, METADATA_KEY, FORMAT_VERSION)
        net = read_model(archive, path)
        largest = max(LEAST_LIMIT, 8 * n_parameters)

        def group(name: str) -> dict[str, npt.NDArray[Any]]:
            found = [key for key in keys if key.startswith(f"{name}/")]
            if len(found) > MOST_MEMBERS:
                raise ValueError(f"{len(found)} arrays in {name}")
            return {
                key.removeprefix(f"{name}/"): read_array(archive, path, key, largest)
                for key in found
            }

        try:
            names = metadata["callbacks"]
            if not isinstance(names, list) or len(names) > MOST_MEMBERS:
                raise ValueError(f"callbacks is {shown(names)}")
            return _Contents(
                net=net,
                epoch=as_count("epoch", metadata["epoch"], 0),
                epochs=as_count("epochs", metadata["epochs"], 0),
                arguments=dict(metadata["arguments"]),
                random_state=metadata["random_state"],
                order=read_array(archive, path, "order", 8 * n_images),
                history={name: group("history")[name].tolist() for name in vars(History())},
                optimizer=group("optimizer"),
                callbacks=[(str(name), group(f"callback{i}")) for i, name in enumerate(names)],
            )
        except (KeyError, ValueError, TypeError) as error:
            raise ValueError(
                f"{path}: damaged: its contents are incomplete: {shown(error)}"
            ) from error


def _described(arguments: Mapping[str, Any]) -> dict[str, str]:
    """Tell arguments by words that are the same when they are."""
    return {name: in_words(value) for name, value in arguments.items()}


def in_words(value: Any) -> str:
    """Tell an argument by words: an array by its shape, dtype and a checksum."""
    if isinstance(value, tuple):
        return " and ".join(map(in_words, value))
    if isinstance(value, np.ndarray):
        step = math.ceil(max(1, value.nbytes) / CHECKSUM_BYTES)
        return f"{value.shape} {value.dtype} with checksum {_checksum(value[::step])}"
    if callable(value):
        values = [value(i / SCHEDULE_SAMPLES) for i in range(SCHEDULE_SAMPLES)]
        # The last bits of a cosine are not the same on every machine.
        checksum = _checksum(np.array(values, np.float32))
        return f"{getattr(value, '__name__', type(value).__name__)} with checksum {checksum}"
    return str(value)


def _checksum(array: npt.NDArray[Any]) -> str:
    return f"{zlib.crc32(array.tobytes()):08x}"


def _stateful(state: TrainingState) -> list[Callback]:
    """Return the callbacks that remember something, in their order."""
    return [each for each in state.callbacks if type(each).state is not Callback.state]


def _require_same_arguments(path: Path, contents: _Contents, state: TrainingState) -> None:
    """Raise ValueError if this training would go on otherwise than the one before."""
    before = {**describe(contents.net), **contents.arguments}
    now = {**describe(state.net), **_described(state.arguments)}
    for name in now:
        if now[name] != before.get(name):
            raise ValueError(
                f"resume: {path} was trained with {name}: {_told(before.get(name))}; this call has "
                f"{name}: {_told(now[name])}; use the same, or start anew with the network that "
                "tinycnn.load_model reads from it"
            )


def _told(value: Any) -> str:
    """Show a value that differs; one that is in words already, without quotes."""
    return shown(value).strip("'") if isinstance(value, str) else shown(value)


def _require_epochs(path: Path, contents: _Contents, state: TrainingState) -> None:
    """Raise ValueError unless the epochs asked for continue those done."""
    if state.epochs < contents.epoch:
        raise ValueError(
            f"epochs: {path} has {shown(contents.epoch)} epochs done, got epochs={state.epochs}; "
            f"they are counted from the start: give at least {shown(contents.epoch)}"
        )
    if state.arguments["schedule"] is not constant and state.epochs != contents.epochs:
        raise ValueError(
            f"epochs: the schedule of {path} is spread over {shown(contents.epochs)} epochs, got "
            f"epochs={state.epochs}; give epochs={shown(contents.epochs)}"
        )


def _require_order(path: Path, order: npt.NDArray[Any], state: TrainingState) -> None:
    """Raise ValueError unless order is one of as many different images: kernels trust it."""
    n_images = len(state.arguments["images"])
    if not (
        order.shape == state.order.shape
        and order.dtype.kind == "u"
        and order.max() < n_images
        and len(np.unique(order)) == len(order)
    ):
        raise ValueError(
            f"{path}: damaged: its order must be distinct indices of {len(state.order)} images"
        )


def _require_history(path: Path, contents: _Contents) -> None:
    """Raise ValueError unless the history has one finite number for each epoch, or none at all."""
    for name, values in contents.history.items():
        numbers = all(type(value) is float and math.isfinite(value) for value in values)
        needed = name in ("train_loss", "seconds")
        if not numbers or len(values) not in ({contents.epoch} if needed else {0, contents.epoch}):
            raise ValueError(
                f"{path}: damaged: {name} must be {contents.epoch} finite numbers, one an epoch"
            )


def _require_same_callbacks(path: Path, contents: _Contents, state: TrainingState) -> None:
    """Raise ValueError unless the same callbacks have a state to restore."""
    before = [name for name, _ in contents.callbacks]
    now = [type(callback).__name__ for callback in _stateful(state)]
    if now != before:
        raise ValueError(
            f"callbacks: {path} holds the state of {_told(', '.join(before) or 'none')}, this call "
            f"has {', '.join(now) or 'none'} with a state to restore; give the same ones"
        )


def _restore_objects(path: Path, contents: _Contents, state: TrainingState) -> None:
    """Hand generator, optimiser and callbacks their states; if one refuses, none has changed."""
    optimizer, flat = state.optimizer, state.net.flat
    stateful = _stateful(state)
    before = optimizer.state(), [copy.deepcopy(vars(callback)) for callback in stateful]
    try:
        state.rng.bit_generator.state = contents.random_state
        _require_like_parameters(contents.optimizer, flat)
        optimizer.set_state(contents.optimizer)
        for callback, (_, remembered) in zip(stateful, contents.callbacks, strict=True):
            callback.set_state(remembered)
    except (KeyError, ValueError, TypeError, OverflowError, AttributeError) as error:
        optimizer.set_state(before[0])
        for callback, attributes in zip(stateful, before[1], strict=True):
            vars(callback).update(attributes)
        raise ValueError(f"{path}: cannot be resumed: {error}") from error


def _require_like_parameters(sums: Mapping[str, npt.NDArray[Any]], flat: FloatArray) -> None:
    """Raise ValueError unless an optimiser's running sums fit the parameters and are finite."""
    for name, values in sums.items():
        if name == "n_steps":
            continue
        if values.shape != flat.shape or values.dtype != flat.dtype:
            raise ValueError(
                f"{name} is {values.dtype} {values.shape}, not {flat.dtype} {flat.shape}"
            )
        if not np.isfinite(values).all():
            raise ValueError(f"{name} has values that are not finite numbers")


def _held_out(state: TrainingState) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Take what does not train for validation: without a seed, this call drew other images."""
    images, labels = state.arguments["images"], state.arguments["labels"]
    held_out = np.setdiff1d(np.arange(len(images)), state.order)
    return images[held_out], labels[held_out]
