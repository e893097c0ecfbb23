"""Training: ``train``, the full-batch contract, and ``fit``, the minibatch loop.

Both stand on :class:`tinycnn.engine.BatchGradients`, which computes the gradient of any number of
images in memory that does not depend on that number.
"""

from __future__ import annotations

import copy
import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tinycnn._checks import (
    FLOAT_TYPES,
    FloatArray,
    as_array,
    as_count,
    as_labels,
    as_number,
    as_rate,
    as_seed,
    require_finite,
    require_ndim,
)
from tinycnn.augmentation import Augmentation
from tinycnn.callbacks import Callback, History, TrainingState, progress
from tinycnn.engine import GROUP_IMAGES, BatchGradients, Pixels
from tinycnn.functional import cross_entropy_forward
from tinycnn.network import CNN, require_same_length
from tinycnn.optim import SGD, Optimizer
from tinycnn.schedules import Schedule
from tinycnn.weighting import ClassWeight, image_weights

# Values of x that train looks at together, so that a copy in another dtype stays small, and images.
SLAB_VALUES = 2**21
SLAB_IMAGES = 2048


def train(
    x: npt.ArrayLike,
    y: npt.ArrayLike,
    w_conv: npt.ArrayLike,
    w_fc: npt.ArrayLike,
    lr: float,
    n_epochs: int,
) -> FloatArray:
    """Train conv2d -> ReLU -> 2x2 max pool -> flatten -> linear by full-batch gradient descent.

    Every epoch is one step on the mean softmax cross-entropy of all N images. Both weights are
    trained; the final ``w_fc`` is returned.

    Note that the step of ``w_conv`` is smaller than that of ``w_fc``: the gradient of the mean
    loss is divided by N once more, so ``w_conv`` descends at the rate ``lr / N``.

    Parameters
    ----------
    x : (N, 1, H, W)
        Grey images, any real dtype. May be a ``numpy.memmap``: extra memory does not grow with N.
    y : (N,)
        Class labels, whole numbers in [0, C), of any real dtype.
    w_conv : (K, 1, R, S)
        Initial conv filters. No bias, stride 1, no padding.
    w_fc : (K * P * Q, C)
        Initial weights of the output layer, no bias; P = (H - R + 1) // 2 and
        Q = (W - S + 1) // 2, features in the order filter, row, column.
    lr : float
        Learning rate, at least 0.
    n_epochs : int
        Number of steps, at least 0.

    Returns
    -------
    w_fc : (K * P * Q, C)
        A new array, float64 if either weight is float64 (or whole numbers), else float32. All
        is computed in that dtype.

    Raises
    ------
    ValueError
        For shapes that do not fit, labels that are no classes, values that are not finite, a
        negative lr, a negative or fractional n_epochs.
    TypeError
        For arrays or numbers of another kind (complex, object, strings).
    """
    images = as_array("x", x)
    w_conv, w_fc = _contract_weights(w_conv, w_fc)
    net = _contract_network(images, w_conv, w_fc)
    labels = as_labels("y", y, net.architecture.n_classes)
    if len(labels) != len(images):
        raise ValueError(f"y: x has {len(images)} images, y has {len(labels)} labels")
    lr, n_epochs = as_rate("lr", lr), as_count("n_epochs", n_epochs, 0)

    for slab in _slabs(images):
        require_finite("x", images[slab], net.flat.dtype, slab.start)

    if lr == 0:
        return w_fc.copy()
    with BatchGradients(net.engine, net.flat) as gradients:
        for _ in range(n_epochs):
            gradient = _full_batch_gradient(gradients, images, labels)
            gradient[: w_conv.size] /= len(images)  # the contract's second division by N
            with np.errstate(over="ignore", invalid="ignore"):  # a huge lr is the caller's choice
                net.flat -= (lr * gradient).astype(net.flat.dtype)
    return np.ascontiguousarray(net.parameters["fc.weight"].T)


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
        Validation measures without.
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
    label_smoothing = _checked_smoothing(label_smoothing)
    if augmentation is not None:
        augmentation.check(net.architecture.image_shape)
    optimizer = SGD() if optimizer is None else optimizer
    callbacks = [progress(), *callbacks] if verbose else callbacks

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
        callbacks=callbacks,
        arguments={
            "images": images,
            "labels": labels,
            "batch_size": batch_size,
            "optimizer": optimizer,
            "schedule": schedule,
            "seed": seed,
            "validation_data": None if validation_data is None else validation,
            "validation_fraction": validation_fraction,
            "augmentation": augmentation,
            "sample_weight, class_weight": weights,
            "label_smoothing": label_smoothing,
        },
    )
    initial = net.flat.copy(), optimizer.state()
    if resume is not None:
        from tinycnn.checkpoint import restore  # brings the readers of files along

        restore(state, resume)
    try:
        answers = [callback.on_fit_begin(state) for callback in callbacks]
        state.stopping = any(answers)
        pixels = net.pixels(images)
        with BatchGradients(net.engine, net.flat, n_threads, label_smoothing) as gradients:

            def update(batch: npt.NDArray[np.int64], lr_factor: float) -> float:
                loss, gradient = gradients.of_batch(pixels, labels, batch, weights, moves)
                optimizer.step(net.flat, gradient, lr_factor)
                return loss

            while not state.over:
                state.epoch += 1
                state.rng.shuffle(state.order)
                rng = _branch(state.rng)  # the same batches with augmentation and without
                moves = augmentation.draw(len(images), rng) if augmentation else None
                _run_epoch(state, update, weights, batch_size, schedule, callbacks)
                if not math.isfinite(state.history.train_loss[-1]):
                    raise _diverged(state, optimizer, initial)
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
    return state.history


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


def _run_epoch(
    state: TrainingState,
    update: Callable[[npt.NDArray[np.int64], float], float],
    weights: npt.NDArray[np.float64] | None,
    batch_size: int,
    schedule: Schedule | None,
    callbacks: Sequence[Callback],
) -> None:
    """Update the network once for every batch of the state's order; record loss and time.

    update takes a batch's indices and the factor of the learning rate, and returns its mean loss.
    """
    start, total_loss, total_weight = time.perf_counter(), 0.0, 0.0
    n_steps = state.epochs * state.batches_per_epoch
    # A network that diverges computes with infinities and NaN on its way to an infinite loss, which
    # fit looks at; NumPy need not warn of each step.
    with np.errstate(over="ignore", invalid="ignore"):
        for i in range(state.batches_per_epoch):
            batch = state.order[i * batch_size : (i + 1) * batch_size]
            step = (state.epoch - 1) * state.batches_per_epoch + i
            loss = update(batch, schedule(step / n_steps) if schedule else 1.0)
            weight = len(batch) if weights is None else float(weights[batch].sum())
            total_loss += loss * weight
            total_weight += weight
            for callback in callbacks:
                callback.on_batch_end(state)
    state.history.train_loss.append(total_loss / total_weight)
    state.history.seconds.append(time.perf_counter() - start)


def _branch(rng: np.random.Generator) -> np.random.Generator:
    """Make a generator of other random numbers, which depend on the state of rng and leave it."""
    return np.random.default_rng(copy.deepcopy(rng).integers(2**63))


def _diverged(
    state: TrainingState, optimizer: Optimizer, initial: tuple[FloatArray, dict[str, Any]]
) -> FloatingPointError:
    """Undo a training whose loss is no longer finite, and say so."""
    state.net.flat[...], optimizer_state = initial
    optimizer.set_state(optimizer_state)
    return FloatingPointError(
        f"fit: the loss became {state.history.train_loss[-1]} in epoch {state.epoch} with "
        f"{optimizer}; use a lower learning rate, or scale the images to about 0..1. "
        "The network has the parameters it had before."
    )


def _checked_smoothing(label_smoothing: float) -> float:
    number = as_number("label_smoothing", label_smoothing)
    if not 0 <= number < 1:
        raise ValueError(f"label_smoothing: must be in [0, 1), got {label_smoothing}")
    return float(number)


def _slabs(images: npt.NDArray[Any]) -> Iterator[slice]:
    """Cut images into consecutive slices of bounded size, which depends on their shape alone."""
    size = min(SLAB_IMAGES, max(GROUP_IMAGES, SLAB_VALUES // max(1, images[0].size)))
    return (slice(i, min(i + size, len(images))) for i in range(0, len(images), size))


def _full_batch_gradient(
    gradients: BatchGradients, images: npt.NDArray[Any], labels: npt.NDArray[Any]
) -> FloatArray:
    """Compute the gradient of the mean loss of all images, each pixel taken as it is."""
    slabs = (_slab_gradient(gradients, images[i], labels[i], len(images)) for i in _slabs(images))
    total = next(slabs).astype(np.float64)
    for gradient in slabs:
        total += gradient
    return total


def _slab_gradient(
    gradients: BatchGradients, images: npt.NDArray[Any], labels: npt.NDArray[Any], N: int
) -> FloatArray:
    """Compute what some of N images add to the gradient of the mean loss."""
    if images.dtype.kind != "f":
        images = images.astype(np.float32 if images.dtype.itemsize < 4 else np.float64)
    pixels = Pixels(images, np.ones(1), np.zeros(1))
    _, gradient = gradients.of_all(pixels, labels.astype(np.int64), 1 / N)
    return gradient


def _checked_data(
    net: CNN, images: npt.ArrayLike, labels: npt.ArrayLike, images_name: str, labels_name: str
) -> tuple[npt.NDArray[Any], npt.NDArray[np.int64]]:
    """Check labelled images against the network and each other; labels come out as integers."""
    checked_images = net.as_images(images, images_name)
    checked_labels = as_labels(labels_name, labels, net.architecture.n_classes)
    require_same_length(checked_images, checked_labels, images_name, labels_name)
    for slab in _slabs(checked_images):
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


def _contract_weights(w_conv: npt.ArrayLike, w_fc: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Bring train's weights to their common dtype: float32 or float64, whole numbers as float64."""
    arrays = []
    for name, value in (("w_conv", w_conv), ("w_fc", w_fc)):
        array = as_array(name, value)
        if array.dtype.kind == "f" and array.dtype.type not in FLOAT_TYPES:
            raise TypeError(
                f"{name}: needs dtype float32 or float64, got {array.dtype}; "
                f"convert it first: {name}.astype('float32')"
            )
        arrays.append(array if array.dtype.kind == "f" else array.astype(np.float64))
    dtype = np.result_type(*arrays)
    conv, fc = (np.ascontiguousarray(array, dtype) for array in arrays)
    return conv, fc


def _contract_network(x: npt.NDArray[Any], w_conv: FloatArray, w_fc: FloatArray) -> CNN:
    """Check the shapes of train's arrays and build the network they describe."""
    require_ndim("x", x, 4, "(N, 1, H, W)")
    require_ndim("w_conv", w_conv, 4, "(C_out, 1, kH, kW)")
    require_ndim("w_fc", w_fc, 2, "(C_out * H' * W', C)")
    (N, C, H, W), (K, weight_channels, R, S) = x.shape, w_conv.shape
    if N == 0:
        raise ValueError(f"x: at least one image is needed, got N = 0 with shape {x.shape}")
    if C != 1:
        raise ValueError(f"x: must have 1 channel, got {C} with shape {x.shape}; use tinycnn.CNN")
    if weight_channels != 1:
        raise ValueError(
            f"w_conv: must have 1 channel, got {weight_channels} with shape {w_conv.shape}"
        )
    if min(K, R, S) == 0:
        raise ValueError(f"w_conv: needs at least one filter of one tap, got shape {w_conv.shape}")
    if R > H or S > W:
        raise ValueError(
            f"w_conv: kernel ({R}, {S}) is larger than the images ({H}, {W}) of x: "
            f"use at most {H} rows and {W} columns"
        )
    P, Q = (H - R + 1) // 2, (W - S + 1) // 2
    if min(P, Q) == 0:
        raise ValueError(
            f"w_conv: kernel ({R}, {S}) on images ({H}, {W}) of x leaves a conv output of "
            f"({H - R + 1}, {W - S + 1}), too small for the 2x2 pool: use a smaller kernel"
        )
    rows, n_classes = w_fc.shape
    if rows != K * P * Q:
        raise ValueError(
            f"w_fc: needs C_out * H' * W' = {K} * {P} * {Q} = {K * P * Q} rows, got {rows}"
        )
    if n_classes == 0:
        raise ValueError(f"w_fc: needs a column for each class, got shape {w_fc.shape}")
    require_finite("w_conv", w_conv, w_conv.dtype)
    require_finite("w_fc", w_fc, w_fc.dtype)
    net = CNN((1, H, W), (K,), (R, S), n_classes, bias=False, dtype=w_fc.dtype)
    net.parameters["conv1.weight"][...] = w_conv
    net.parameters["fc.weight"][...] = w_fc.T
    return net
