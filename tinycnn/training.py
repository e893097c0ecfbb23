"""``fit``: the minibatch loop.

It stands on :class:`tinycnn.engine.BatchGradients`, which computes the gradient of a batch in
memory that does not depend on the number of images.
"""

from __future__ import annotations

import copy
import math
import os
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tinycnn._checks import FloatArray, as_count, as_labels, as_number, as_seed, require_finite
from tinycnn.augmentation import Augmentation
from tinycnn.callbacks import Callback, History, TrainingState, progress
from tinycnn.engine import BatchGradients, slabs
from tinycnn.functional import cross_entropy_forward
from tinycnn.network import CNN, require_same_length
from tinycnn.optim import SGD, Optimizer
from tinycnn.schedules import Schedule
from tinycnn.weighting import ClassWeight, image_weights


class _Task(NamedTuple):
    """What is to be learned, from what, and in which steps; all of it checked."""

    images: npt.NDArray[Any]
    labels: npt.NDArray[np.int64]
    weights: npt.NDArray[np.float64] | None
    label_smoothing: float
    augmentation: Augmentation | None
    batch_size: int
    schedule: Schedule | None


# What a part of the task is made from, where the caller knows it by other names.
_ARGUMENT_NAMES = {"weights": "sample_weight, class_weight"}


def fit(
    net: CNN,
    images: npt.ArrayLike,
    labels: npt.ArrayLike,
    *,
    epochs: int = 5,
    batch_size: int = 128,
    optimizer: Optimizer | None = None,
    schedule: Schedule | None = None,
    seed: int | None = 0,
    n_threads: int | None = None,
    verbose: bool = True,
    validation_data: tuple[npt.ArrayLike, npt.ArrayLike] | None = None,
    validation_fraction: float = 0.0,
    callbacks: Sequence[Callback] = (),
    augmentation: Augmentation | None = None,
    sample_weight: npt.ArrayLike | None = None,
    class_weight: ClassWeight | None = None,
    label_smoothing: float = 0.0,
    resume: str | os.PathLike[str] | None = None,
) -> History:
    """Train a network on minibatches, reshuffled every epoch.

    A step descends the gradient of the mean cross-entropy of a batch, weighted by the images'
    weights if they have any: ``sum(w * loss) / sum(w)``.

    Parameters
    ----------
    net : CNN
        Its parameters are trained in place.
    images : (N, C, H, W)
        Bytes (uint8) or finite floats; may be a ``numpy.memmap``.
    labels : (N,)
        Whole numbers in [0, n_classes).
    epochs : int
        Passes over all images.
    batch_size : int
        Images per update; the last batch of an epoch may be smaller.
    optimizer : Optimizer, optional
        ``SGD(lr=0.05, momentum=0.9)`` by default. It keeps its momentum when used again.
    schedule : callable, optional
        Maps the share of training that is done, in [0, 1), to a factor of the learning rate.
    seed : int or None
        Of the shuffling, the augmentation and what is held out for validation; None for other ones
        each time.
    n_threads : int, optional
        As many as this process has CPUs by default. It does not change the result.
    verbose : bool
        Show progress on stderr: a bar if tqdm is installed, else a line an epoch.
    validation_data : (images, labels), optional
        Loss and accuracy on these are recorded after every epoch.
    validation_fraction : float
        Instead: hold this share of the images out, the same of each class.
    callbacks : sequence of Callback
        Told of every batch and epoch, in this order; any that returns True at the end of an epoch
        ends training.
    augmentation : Augmentation, optional
        How images are moved and mirrored, differently in every epoch.
    sample_weight : (N,), optional
        How much each image counts in the loss: finite and not negative. Validation ignores it.
    class_weight : mapping of int to float, (n_classes,) or "balanced", optional
        How much each class counts, times the weight of the image; classes that a mapping leaves
        out count 1. With "balanced" all classes count the same, however many images they have;
        what is held out for validation does not count.
    label_smoothing : float
        Share, in [0, 1), of each target that is spread evenly over all classes, after Szegedy et
        al., "Rethinking the Inception Architecture for Computer Vision", 2016, arXiv:1512.00567.
        Validation measures without. Weights of classes and images weigh the smoothed loss as a
        whole.
    resume : path-like, optional
        A file that :class:`tinycnn.Checkpoint` has written, to go on from: epochs are counted
        from the start of that training, and the result is that of one without a break, bit for
        bit on one machine. Network and optimiser get the state that the file holds; all other
        arguments must be what they were, but for ``n_threads``, ``verbose``, callbacks that have
        no state, and, where there is no schedule, ``epochs``.

    Returns
    -------
    History

    Raises
    ------
    ValueError, TypeError
        For arguments that do not fit the network or each other.
    FloatingPointError
        If the loss is no longer finite after an epoch; the parameters are put back to what they
        were before the call.
    FileNotFoundError
        If there is no file to resume from.
    """
    images, labels = _checked_data(net, images, labels, "images", "labels")
    epochs = as_count("epochs", epochs, 0)
    batch_size = as_count("batch_size", batch_size, 1)
    seed = as_seed("seed", seed)
    order, validation = _hold_out(net, images, labels, validation_data, validation_fraction, seed)
    n_classes = net.architecture.n_classes
    weights = image_weights(labels, order, n_classes, sample_weight, class_weight)
    smoothing = _checked_smoothing(label_smoothing)
    if augmentation is not None:
        if not isinstance(augmentation, Augmentation):
            raise TypeError(
                f"augmentation: must be a tinycnn.Augmentation, such as Augmentation(shift=1), "
                f"got {augmentation!r}"
            )
        augmentation.check(net.architecture.image_shape)
    task = _Task(images, labels, weights, smoothing, augmentation, batch_size, schedule)

    optimizer = SGD() if optimizer is None else optimizer
    state = TrainingState(
        net,
        History(),
        0,
        epochs,
        math.ceil(len(order) / batch_size),
        optimizer=optimizer,
        rng=np.random.default_rng(seed),
        order=order,
        validation=validation,
        callbacks=[progress(), *callbacks] if verbose else callbacks,
        arguments={
            **{_ARGUMENT_NAMES.get(name, name): value for name, value in task._asdict().items()},
            "optimizer": optimizer,
            "seed": seed,
            "validation_data": None if validation_data is None else validation,
            "validation_fraction": validation_fraction,
        },
    )
    initial = net.flat.copy(), optimizer.state()
    if resume is not None:
        from tinycnn.checkpoint import restore  # brings the readers of files along

        restore(state, resume)
    _train(state, task, initial, n_threads)
    return state.history


def _train(
    state: TrainingState,
    task: _Task,
    initial: tuple[FloatArray, dict[str, Any]],
    n_threads: int | None,
) -> None:
    """Run all epochs that are left; put the initial parameters back if the loss diverges."""
    net, callbacks = state.net, state.callbacks
    try:
        answers = [callback.on_fit_begin(state) for callback in callbacks]
        state.stopping = any(answers)
        with BatchGradients(net.engine, net.flat, n_threads, task.label_smoothing) as gradients:
            while not state.over:
                state.epoch += 1
                _run_epoch(state, task, gradients)
                if not math.isfinite(state.history.train_loss[-1]):
                    raise _diverged(state, initial)
                if state.validation is not None:
                    loss, accuracy = evaluate(net, *state.validation, n_threads)
                    state.history.validation_loss.append(loss)
                    state.history.validation_accuracy.append(accuracy)
                answers = [callback.on_epoch_end(state) for callback in callbacks]
                state.stopping = any(answers)
                for callback in callbacks:
                    callback.after_epoch(state)
    finally:
        for callback in callbacks:
            callback.on_fit_end(state)


def _run_epoch(state: TrainingState, task: _Task, gradients: BatchGradients) -> None:
    """Shuffle, and update the network once for every batch; record loss and time."""
    start, total_loss, total_weight = time.perf_counter(), 0.0, 0.0
    net, optimizer, B = state.net, state.optimizer, min(task.batch_size, len(state.order))
    state.rng.shuffle(state.order)
    moves = None
    if task.augmentation is not None:
        rng = _branch(state.rng)  # the same batches with augmentation and without
        moves = task.augmentation.draw(len(task.images), rng)
    pixels = net.pixels(task.images)
    batches = gradients.over(pixels, task.labels, state.order, task.weights, moves)
    for i in range(state.batches_per_epoch):
        loss, gradient, weight = batches.differentiate(i * B, (i + 1) * B)
        optimizer.step(net.flat, gradient, _lr_factor(state, task.schedule, i))
        total_loss += loss * weight
        total_weight += weight
        for callback in state.callbacks:
            callback.on_batch_end(state)
    state.history.train_loss.append(total_loss / total_weight)
    state.history.seconds.append(time.perf_counter() - start)


def _lr_factor(state: TrainingState, schedule: Schedule | None, batch: int) -> float:
    """Compute the factor of the learning rate for a batch of the epoch at hand."""
    if schedule is None:
        return 1.0
    step = (state.epoch - 1) * state.batches_per_epoch + batch
    return schedule(step / (state.epochs * state.batches_per_epoch))


def evaluate(
    net: CNN, images: npt.ArrayLike, labels: npt.ArrayLike, n_threads: int | None = None
) -> tuple[float, float]:
    """Compute mean cross-entropy and accuracy of a network on labelled images.

    Parameters
    ----------
    net : CNN
    images : (N, C, H, W)
        N at least 1.
    labels : (N,)
        Whole numbers in [0, n_classes).
    n_threads : int, optional
        As many as this process has CPUs by default.

    Returns
    -------
    loss, accuracy : float
    """
    images, labels = _checked_data(net, images, labels, "images", "labels")
    logits = net.logits(images, n_threads)
    loss, _ = cross_entropy_forward(logits, labels)
    return loss, float(np.mean(logits.argmax(axis=1) == labels))


def _branch(rng: np.random.Generator) -> np.random.Generator:
    """Make a generator of other random numbers, which depend on the state of rng and leave it."""
    return np.random.default_rng(copy.deepcopy(rng).integers(2**63))


def _diverged(
    state: TrainingState, initial: tuple[FloatArray, dict[str, Any]]
) -> FloatingPointError:
    """Undo a training whose loss is no longer finite, and say so."""
    state.net.flat[...], optimizer_state = initial
    state.optimizer.set_state(optimizer_state)
    return FloatingPointError(
        f"fit: the loss became {state.history.train_loss[-1]} in epoch {state.epoch} with "
        f"{state.optimizer}; use a lower learning rate, or scale the images to about 0..1. "
        "The network has the parameters it had before."
    )


def _checked_smoothing(label_smoothing: float) -> float:
    number = as_number("label_smoothing", label_smoothing)
    if not 0 <= number < 1:
        raise ValueError(f"label_smoothing: must be in [0, 1), got {label_smoothing}")
    return float(number)


def _checked_data(
    net: CNN, images: npt.ArrayLike, labels: npt.ArrayLike, images_name: str, labels_name: str
) -> tuple[npt.NDArray[Any], npt.NDArray[np.int64]]:
    """Check labelled images against the network and each other; labels come out as integers."""
    checked_images = net.as_images(images, images_name)
    checked_labels = as_labels(labels_name, labels, net.architecture.n_classes)
    require_same_length(checked_images, checked_labels, images_name, labels_name)
    for slab in slabs(checked_images):
        require_finite(images_name, checked_images[slab], net.flat.dtype, slab.start)
    return checked_images, checked_labels.astype(np.int64)


def _hold_out(
    net: CNN,
    images: npt.NDArray[Any],
    labels: npt.NDArray[np.int64],
    validation_data: tuple[npt.ArrayLike, npt.ArrayLike] | None,
    validation_fraction: float,
    seed: int | None,
) -> tuple[npt.NDArray[np.int64], tuple[npt.NDArray[Any], npt.NDArray[Any]] | None]:
    """Decide which images train (their indices) and what validates."""
    everything = np.arange(len(images), dtype=np.int64)
    if validation_data is not None:
        if validation_fraction:
            raise ValueError("validation_fraction: give this or validation_data, not both")
        return everything, _checked_data(
            net, *validation_data, "validation_data[0]", "validation_data[1]"
        )
    if not validation_fraction:
        return everything, None
    from tinycnn.data import stratified_split  # brings the readers of files along

    order, held_out = stratified_split(labels, validation_fraction, seed)
    if len(held_out) == 0:
        raise ValueError(
            f"validation_fraction: {validation_fraction} of {len(labels)} images holds none out, "
            "as one of each class stays to train; give a larger share or more images"
        )
    return order.astype(np.int64), (images[held_out], labels[held_out])
