"""``fit``: the minibatch loop.

A network's path computes the gradient of one batch after the other, in memory that does not depend
on the number of images; an optimiser makes a step of each.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tinycnn._checks import (
    FloatArray,
    as_flag,
    as_seed,
    as_share,
    shown,
)
from tinycnn.fast.threads import resolve_threads
from tinycnn.functional import cross_entropy_forward
from tinycnn.inputs import Examples, moments
from tinycnn.network import CNN, require_network
from tinycnn.training.augmentation import Augmentation
from tinycnn.training.callbacks import Callback, History, TrainingState
from tinycnn.training.choices import (
    Auto,
    as_augmentation,
    as_callbacks,
    as_count_or_auto,
    as_optimizer,
    as_schedule,
)
from tinycnn.training.defaults import (
    LABEL_SMOOTHING,
    OPTIMIZER,
    SCHEDULE,
    auto_batch_size,
    auto_epochs,
)
from tinycnn.training.gradients import checked_data
from tinycnn.training.optim import Optimizer
from tinycnn.training.progress import progress
from tinycnn.training.schedules import Schedule
from tinycnn.training.split import stratified_split
from tinycnn.training.weighting import ClassWeight, image_weights
from tinycnn.views import Views

# Root mean square of the pixels from which on a network that was not standardised refuses them:
# bytes as floats of 0..1 have at most 1, and standardised pixels have 1.
LARGEST_RMS = 4.0


class _Task(NamedTuple):
    """What is to be learned, from what, and in which steps; all of it checked."""

    images: npt.NDArray[Any]
    labels: npt.NDArray[np.int64]
    weights: npt.NDArray[np.float64] | None
    label_smoothing: float
    augmentation: Augmentation | None
    batch_size: int
    schedule: Schedule


# What a part of the task is made from, where the caller knows it by other names.
_ARGUMENT_NAMES = {"weights": "sample_weight, class_weight"}


def fit(
    net: CNN,
    images: npt.ArrayLike,
    labels: npt.ArrayLike,
    *,
    epochs: int | Auto = "auto",
    batch_size: int | Auto = "auto",
    optimizer: str | Optimizer = OPTIMIZER,
    schedule: str | Schedule | None = SCHEDULE,
    augmentation: Augmentation | Auto | None = "auto",
    sample_weight: npt.ArrayLike | None = None,
    class_weight: ClassWeight | None = None,
    label_smoothing: float = LABEL_SMOOTHING,
    validation_data: tuple[npt.ArrayLike, npt.ArrayLike] | None = None,
    validation_fraction: float = 0.0,
    callbacks: Callback | Iterable[Callback] = (),
    seed: int | None = 0,
    n_threads: int | None = None,
    verbose: bool = True,
) -> History:
    """Train a network on minibatches, reshuffled every epoch.

    A step descends the gradient of the mean cross-entropy of a batch, weighted by the images'
    weights if they have any: ``sum(w * loss) / sum(w)``.

    Parameters
    ----------
    net : CNN
        Its parameters are trained in place.
    images : (N, C, H, W)
        Bytes (uint8), uint16 or finite floats; may be a ``numpy.memmap``.
    labels : (N,)
        Whole numbers in [0, n_classes).
    epochs : int or "auto"
        Passes over all images. "auto" is 200 for up to 64 images, half as many for four times the
        images, and at least 10.
    batch_size : int or "auto"
        Images per update; the last batch of an epoch may be smaller. "auto" is 64, and 128 from
        10,000 images on.
    optimizer : "adamw", "adam", "sgd" or Optimizer
        A name stands for that optimiser with the learning rate 0.01, or 0.05 for "sgd". An
        instance keeps its momentum when used again.
    schedule : "one_cycle", "cosine", "linear", "constant", callable or None
        How the learning rate changes: a name from :mod:`tinycnn.training.schedules`, or a function
        of the share of training that is done, in [0, 1), to a factor. None is "constant".
    seed : int or None
        Of the shuffling, the augmentation and what is held out for validation; None for other ones
        each time.
    n_threads : int, optional
        As many as this process has CPUs by default. It does not change the result.
    verbose : bool
        Show progress on stderr: a bar if tqdm is installed, else lines.
    validation_data : (images, labels), optional
        Loss and accuracy on these are recorded after every epoch.
    validation_fraction : float
        Instead: hold this share of the images out, the same of each class.
    callbacks : Callback or sequence of Callback
        Told of every batch and epoch, in this order; any that returns True at the end of an epoch
        ends training. :class:`tinycnn.Checkpoint` resumes a training that was interrupted.
    augmentation : Augmentation, "auto" or None
        How images are moved and mirrored, differently in every epoch. "auto" moves them by up to
        one pixel, where they have at least 16 rows and columns.
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

    Returns
    -------
    History

    Raises
    ------
    ValueError, TypeError
        For arguments that do not fit the network or each other.
    FloatingPointError
        If the loss or a parameter is no longer finite after an epoch; network and optimiser are
        put back to what they were before the call.
    """
    require_network(net)
    if not net.flat.flags.writeable:
        raise ValueError(
            "net: its parameters are read-only, as those that joblib hands to other processes; "
            "train a copy: copy.deepcopy(net)"
        )
    images, labels = checked_data(net, images, labels)
    _require_usual_scale(net, images)
    seed = as_seed("seed", seed)
    fraction = as_share("validation_fraction", validation_fraction)
    validation = checked_validation(net, validation_data, fraction)
    order, validation = _hold_out((images, labels), validation, fraction, seed)
    shape, n_classes = net.architecture.image_shape, net.architecture.n_classes
    task = _Task(
        images,
        labels,
        image_weights(labels, order, n_classes, sample_weight, class_weight),
        as_share("label_smoothing", label_smoothing),
        as_augmentation(augmentation, shape),
        as_count_or_auto("batch_size", batch_size, auto_batch_size(len(order)), 1),
        as_schedule(schedule),
    )
    optimizer, chosen = as_optimizer(optimizer), as_callbacks(callbacks)
    verbose = as_flag("verbose", verbose)
    threads = resolve_threads(n_threads)
    state = TrainingState(
        net,
        optimizer,
        np.random.default_rng(seed),
        order,
        validation,
        (progress(), *chosen) if verbose else chosen,
        as_count_or_auto("epochs", epochs, auto_epochs(len(order))),
        math.ceil(len(order) / task.batch_size),
        arguments={
            **{_ARGUMENT_NAMES.get(name, name): value for name, value in task._asdict().items()},
            "optimizer": optimizer,
            "seed": seed,
            "validation_data": None if validation_data is None else validation,
            "validation_fraction": fraction,
        },
    )
    _train(state, task, threads)
    return state.history


def _train(state: TrainingState, task: _Task, n_threads: int) -> None:
    """Run all epochs that are left on the images at hand."""
    gradients = state.net.path.gradients(state.net.flat, n_threads, task.label_smoothing)
    run_epochs(state, lambda: _run_epoch(state, task, gradients), n_threads)


def run_epochs(state: TrainingState, run_epoch: Callable[[], None], n_threads: int) -> None:
    """Run all epochs that are left; put everything back if training diverges.

    Parameters
    ----------
    state : TrainingState
    run_epoch : callable
        Updates the network for an epoch, and records its loss and time in the history.
    n_threads : int
        For validation.
    """
    net, callbacks = state.net, state.callbacks
    initial = net.flat.copy(), state.optimizer.state()
    failure: BaseException | None = None
    try:
        _begin(state, initial)
        while not state.over:
            state.epoch += 1
            run_epoch()
            _require_convergence(state, initial)
            _validate(state, n_threads)
            answers = [callback.on_epoch_end(state) for callback in callbacks]
            state.stopping = any(answers)
            for callback in callbacks:
                callback.after_epoch(state)
    except BaseException as error:
        failure = error
        raise
    finally:
        _end(state, failure)
    if not np.isfinite(net.flat).all():  # an epoch that follows would have told
        _undo(state, initial)
        raise FloatingPointError(
            f"fit: a callback has made a parameter infinite or NaN after epoch {state.epoch}. The "
            "network has the parameters it had before."
        )


def _begin(state: TrainingState, initial: tuple[FloatArray, dict[str, Any]]) -> None:
    """Let callbacks restore and prepare; if one refuses, nothing has changed."""
    try:
        for callback in state.callbacks:
            callback.before_fit(state)
        answers = [callback.on_fit_begin(state) for callback in state.callbacks]
    except BaseException:
        _undo(state, initial)
        raise
    state.stopping = any(answers)


def _undo(state: TrainingState, initial: tuple[FloatArray, dict[str, Any]]) -> None:
    """Put network and optimiser back to what they were before training."""
    state.net.flat[...], optimizer_state = initial
    state.optimizer.set_state(optimizer_state)
    state.undone = True


def _run_epoch(state: TrainingState, task: _Task, gradients: Any) -> None:
    """Shuffle, and update the network once for every batch; record loss and time."""
    start, total_loss, total_weight = time.perf_counter(), 0.0, 0.0
    net, optimizer, B = state.net, state.optimizer, min(task.batch_size, len(state.order))
    state.rng.shuffle(state.order)
    rng = _branch(state.rng)  # the same batches with augmentation and without
    moves = None if task.augmentation is None else task.augmentation.draw(len(task.images), rng)
    inputs = net.inputs(task.images)
    examples = Examples(inputs, task.labels, state.order, task.weights, moves)
    batches = gradients.over(examples, rng)
    for i in range(state.batches_per_epoch):
        loss, gradient, weight = batches.differentiate(i * B, (i + 1) * B)
        optimizer.step(net.flat, gradient, _lr_factor(state, task.schedule, i))
        total_loss += loss * weight
        total_weight += weight
        for callback in state.callbacks:
            callback.on_batch_end(state)
    state.history.train_loss.append(total_loss / total_weight)
    state.history.seconds.append(time.perf_counter() - start)


def _lr_factor(state: TrainingState, schedule: Schedule, batch: int) -> float:
    """Compute the factor of the learning rate for a batch of the epoch at hand."""
    step = (state.epoch - 1) * state.batches_per_epoch + batch
    return schedule(step / (state.epochs * state.batches_per_epoch))


def _branch(rng: np.random.Generator) -> np.random.Generator:
    """Make a generator of other random numbers, which depend on the state of rng and leave it."""
    return np.random.default_rng(copy.deepcopy(rng).integers(2**63))


def _validate(state: TrainingState, n_threads: int) -> None:
    """Record loss and accuracy on the validation data, if there are any."""
    if state.validation is not None:
        loss, accuracy = evaluate(state.net, *state.validation, n_threads)
        state.history.validation_loss.append(loss)
        state.history.validation_accuracy.append(accuracy)


def _require_convergence(state: TrainingState, initial: tuple[FloatArray, dict[str, Any]]) -> None:
    """Undo a training whose loss or parameters are no longer finite, and say so."""
    loss = state.history.train_loss[-1]
    if math.isfinite(loss) and np.isfinite(state.net.flat).all():
        return
    what = "a parameter" if math.isfinite(loss) else "the loss"
    _undo(state, initial)
    raise FloatingPointError(
        f"fit: {what} became infinite or NaN in epoch {state.epoch} with {state.optimizer}; use a "
        "lower learning rate, or net.standardize(images) before fit. The network has the "
        "parameters it had before."
    )


def _end(state: TrainingState, failure: BaseException | None) -> None:
    """Tell all callbacks that training is over; what one of them raises does not stop the others.

    The first error is the one that is raised: later ones are added to it as notes.
    """
    for callback in state.callbacks:
        try:
            callback.on_fit_end(state)
        except BaseException as error:  # also Ctrl-C: who comes later may have something to keep
            if failure is None:
                failure = error
            else:
                failure.add_note(f"{type(callback).__name__}.on_fit_end failed as well: {error!r}")
    if failure is not None:
        raise failure


def evaluate(
    net: CNN,
    images: npt.ArrayLike,
    labels: npt.ArrayLike,
    n_threads: int | None = None,
    *,
    views: Views | None = None,
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
    views : Views, optional
        Average over moved and mirrored copies of an image.

    Returns
    -------
    loss, accuracy : float
    """
    images, labels = checked_data(net, images, labels)
    logits = net.logits(images, n_threads, views=views)
    loss, _ = cross_entropy_forward(logits, labels)
    return loss, float(np.mean(logits.argmax(axis=1) == labels))


def _require_usual_scale(net: CNN, images: npt.NDArray[Any]) -> None:
    """Refuse pixels far outside 0..1 where nothing brings them to the scale of the weights."""
    if not net.is_standardized and images.dtype != np.uint8:
        require_usual_moments(*moments(images))


def require_usual_moments(mean: npt.NDArray[np.float64], std: npt.NDArray[np.float64]) -> None:
    """Refuse mean and deviation (C,) of pixels that nobody standardises, if far outside 0..1."""
    rms = float(np.sqrt(np.max(mean**2 + std**2)))
    if rms > LARGEST_RMS:
        raise ValueError(
            f"images: a network that was not standardised expects pixels of about 0..1, these are "
            f"{np.max(mean):.4g} on average with a deviation of {np.max(std):.4g}; call "
            "net.standardize(images) before fit"
        )


def _hold_out(
    data: tuple[npt.NDArray[Any], npt.NDArray[np.int64]],
    validation_data: tuple[npt.NDArray[Any], npt.NDArray[np.int64]] | None,
    fraction: float,
    seed: int | None,
) -> tuple[npt.NDArray[np.int64], tuple[npt.NDArray[Any], npt.NDArray[Any]] | None]:
    """Decide which images train (their indices) and what validates."""
    images, labels = data
    if validation_data is not None or not fraction:
        return np.arange(len(images), dtype=np.int64), validation_data
    order, held_out = stratified_split(labels, fraction, seed)
    if len(held_out) == 0:
        raise ValueError(
            f"validation_fraction: {fraction} of {len(labels)} images holds none out, as one of "
            "each class stays to train; give a larger share or more images"
        )
    return order.astype(np.int64), (images[held_out], labels[held_out])


def checked_validation(
    net: CNN, validation_data: Any, validation_fraction: float
) -> tuple[npt.NDArray[Any], npt.NDArray[np.int64]] | None:
    """Check a pair of images and labels, if there is one and no fraction beside it."""
    if validation_data is None:
        return None
    if validation_fraction:
        raise ValueError("validation_fraction: give this or validation_data, not both")
    if not isinstance(validation_data, tuple | list) or len(validation_data) != 2:
        raise ValueError(
            f"validation_data: must be a pair (images, labels), got {shown(validation_data)}"
        )
    images, labels = validation_data
    return checked_data(net, images, labels, ("validation_data[0]", "validation_data[1]"))
