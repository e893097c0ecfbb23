"""The gradient of a batch by parts: each part's counts by its weight, and they add up.

Parts may be computed one after the other, where a batch is too large to be computed at once, or on
different machines.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from tinycnn._checks import (
    FloatArray,
    as_labels,
    as_rate,
    as_share,
    as_weights,
    require_finite,
    require_same_length,
)
from tinycnn.inputs import Examples, as_images, slabs
from tinycnn.network import CNN, require_network
from tinycnn.parameters import Parameters

# The mean loss of some images, its gradient (n_parameters,), and what these images weigh.
Part: TypeAlias = tuple[float, FloatArray, float]


def loss_and_gradient(
    net: CNN,
    images: npt.ArrayLike,
    labels: npt.ArrayLike,
    *,
    sample_weight: npt.ArrayLike | None = None,
    total_weight: float | None = None,
    label_smoothing: float = 0.0,
    rng: np.random.Generator | None = None,
    n_threads: int | None = None,
) -> tuple[float, Parameters]:
    """Compute the cross-entropy of any number of images and its gradient, as ``fit`` has them.

    Memory does not grow with the number of images. What is computed is
    ``sum(w * loss) / total_weight``: by default the mean over the images, and with the total weight
    of a batch what a part of it adds to the batch's loss and gradient.

    Parameters
    ----------
    net : CNN
    images : (N, C, H, W)
        N at least 1. Bytes (uint8), uint16 or finite floats; may be a ``numpy.memmap``.
    labels : (N,)
        Whole numbers in [0, n_classes).
    sample_weight : (N,), optional
        How much each image counts: finite and not negative; 1 by default.
    total_weight : float, optional
        Above 0. The sum of the weights of these images by default; where that is 0, so are loss
        and gradient.
    label_smoothing : float
        Share, in [0, 1), of each target that is spread evenly over all classes.
    rng : numpy.random.Generator, optional
        Lets layers such as Dropout do what they do in training.
    n_threads : int, optional
        As many as this process has CPUs by default. It does not change the result.

    Returns
    -------
    loss : float
    gradient : Parameters
        Names, order and shapes of ``net.parameters``; its ``flat`` goes to an optimiser.

    Raises
    ------
    ValueError, TypeError
        For arguments that do not fit the network or each other.
    """
    images, labels = checked_data(net, images, labels)
    weights = None
    if sample_weight is not None:
        weights = as_weights("sample_weight", sample_weight, len(images), "image")
    if total_weight is not None and as_rate("total_weight", total_weight) == 0:
        raise ValueError("total_weight: must be above 0, got 0")
    smoothing = as_share("label_smoothing", label_smoothing)
    examples = Examples(net.inputs(images), labels, weights=weights)
    gradients = net.path.gradients(net.flat, n_threads, smoothing)
    parts = parts_of(gradients.over(examples, rng), range(len(images)), net.path.slab_images)
    loss, gradient, _ = merge(parts, total_weight)
    flat = gradient.astype(net.flat.dtype)
    return loss, Parameters(flat, net.architecture.parameter_shapes)


def parts_of(batches: Any, some: range, size: int) -> Iterable[Part]:
    """Differentiate some images of an order, a slab at a time, so that memory stays bounded.

    Of the two ways to compute a network, only the fast one bounds it by itself.
    """
    for first in range(some.start, some.stop, size):
        yield batches.differentiate(first, min(first + size, some.stop))


def merge(parts: Iterable[Part], total_weight: float | None = None) -> Part:
    """Add up parts of a batch in their order, in float64.

    Parameters
    ----------
    parts : iterable of (loss, gradient, weight)
        Means over the images of each part; a gradient may be overwritten by the next one.
    total_weight : float, optional
        What the sums are divided by: the weight of all parts by default.

    Returns
    -------
    loss, gradient, weight
        The gradient in float64. All are 0 where the weight is 0, or next to it.
    """
    loss, gradient, weight = 0.0, np.zeros(1), 0.0
    for mean_loss, mean_gradient, part_weight in parts:
        loss += part_weight * mean_loss
        gradient = gradient + part_weight * mean_gradient.astype(np.float64)
        weight += part_weight
    total = weight if total_weight is None else total_weight
    if total < sys.float_info.min:
        return 0.0, np.zeros_like(gradient), weight
    return loss / total, gradient / total, weight


def checked_data(
    net: CNN,
    images: npt.ArrayLike,
    labels: npt.ArrayLike,
    names: tuple[str, str] = ("images", "labels"),
) -> tuple[npt.NDArray[Any], npt.NDArray[np.int64]]:
    """Check labelled images against the network and each other; labels come out as integers."""
    checked_images = as_images(names[0], images, require_network(net).architecture.image_shape)
    checked_labels = as_labels(names[1], labels, net.architecture.n_classes)
    require_same_length(checked_images, checked_labels, *names)
    for slab in slabs(checked_images):
        require_finite(names[0], checked_images[slab], net.flat.dtype, slab.start)
    return checked_images, checked_labels.astype(np.int64)
