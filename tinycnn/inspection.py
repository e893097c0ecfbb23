"""What a trained network does with images, in numbers: what plots and the report are drawn from.

Everything here needs NumPy alone, and works for any list of layers.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tinycnn._checks import (
    FloatArray,
    as_array,
    as_count,
    as_labels,
    require_ndim,
    require_same_length,
)
from tinycnn.architecture import Step
from tinycnn.inputs import as_images, first_layer_input
from tinycnn.layered import backward_steps, forward_steps
from tinycnn.layers import Conv, Linear
from tinycnn.network import CNN, require_network

Labels = npt.NDArray[np.int64]
Indices = npt.NDArray[np.intp]


def layer_outputs(net: CNN, images: npt.ArrayLike) -> dict[str, FloatArray]:
    """Compute what each layer makes of some images.

    Parameters
    ----------
    net : CNN
    images : (N, C, H, W)
        Bytes, uint16 or floats. Memory grows with N.

    Returns
    -------
    outputs : dict of str to array
        (N, *output_shape) of each layer, under its name: ``conv1``, ``relu1``, ...

    Raises
    ------
    ValueError
        If images have another shape than the network's.
    """
    x = _scaled(net, images)
    outputs = {}
    for step in net.architecture.steps:
        x, _ = forward_steps([step], x, net.parameters)
        outputs[step.name] = x
    return outputs


def input_gradient(net: CNN, images: npt.ArrayLike, labels: npt.ArrayLike) -> FloatArray:
    """Compute how the logit of a class changes with each pixel of an image.

    Parameters
    ----------
    net : CNN
    images : (N, C, H, W)
        Bytes, uint16 or floats. Memory grows with N.
    labels : (N,)
        The class whose logit is looked at, of each image.

    Returns
    -------
    gradient : (N, C, H, W)
        Change of the logit with a pixel that goes from black (0) to white (1, or byte 255), if it
        went on as at the start.

    Raises
    ------
    ValueError
        If images or labels do not fit the network or each other.
    """
    x = _scaled(net, images)
    labels = as_labels("labels", labels, net.architecture.n_classes).astype(np.intp)
    require_same_length(x, labels, "images", "labels")
    steps = net.architecture.steps
    logits, caches = forward_steps(steps, x, net.parameters)
    dlogits = np.zeros_like(logits)
    dlogits[np.arange(len(labels)), labels] = 1
    dx, _ = backward_steps(steps, dlogits, caches)
    gradient: FloatArray = dx / net.input_std.astype(dx.dtype)[:, None, None]
    return gradient


def multiply_adds(step: Step) -> int:
    """Count the multiplications, each with its addition, that a layer needs for one image.

    Those of :class:`tinycnn.Conv` and :class:`tinycnn.Linear` are counted, and 0 for all others:
    next to these, comparing and adding takes no time.
    """
    if isinstance(step.layer, Conv):
        _, I, J = step.output_shape
        return math.prod(step.parameter_shapes[f"{step.name}.weight"]) * I * J
    if isinstance(step.layer, Linear):
        return math.prod(step.parameter_shapes[f"{step.name}.weight"])
    return 0


def margins(probabilities: npt.ArrayLike) -> FloatArray:
    """Compute by how much (N,) the likeliest class of each image is ahead of the next one.

    Parameters
    ----------
    probabilities : (N, n_classes)
        At least two classes.
    """
    rows = _probabilities(probabilities)
    if rows.shape[1] < 2:
        raise ValueError("probabilities: needs at least two classes, got one")
    second, first = np.partition(rows, -2, axis=1)[:, -2:].T
    ahead: FloatArray = first - second
    return ahead


def confident_mistakes(probabilities: npt.ArrayLike, labels: npt.ArrayLike) -> Indices:
    """Find the images that were taken for another class, the most confident mistakes first.

    Parameters
    ----------
    probabilities : (N, n_classes)
    labels : (N,)
        What the images are.

    Returns
    -------
    indices : (n_wrong,)
    """
    rows, classes = _labelled(probabilities, labels)
    wrong = np.flatnonzero(rows.argmax(axis=1) != classes)
    return wrong[np.argsort(-rows[wrong].max(axis=1), kind="stable")]


def typical_images(probabilities: npt.ArrayLike, labels: npt.ArrayLike) -> Indices:
    """Find the image of each class that the network is surest of, if any was right.

    Parameters
    ----------
    probabilities : (N, n_classes)
    labels : (N,)
        What the images are.

    Returns
    -------
    indices : (n,)
        At most one a class, in the order of the classes.
    """
    rows, classes = _labelled(probabilities, labels)
    right = rows.argmax(axis=1) == classes
    own = np.where(right, rows[np.arange(len(rows)), classes], -1.0)
    best = [
        members[own[members].argmax()]
        for members in (np.flatnonzero(right & (classes == label)) for label in np.unique(classes))
        if len(members)
    ]
    return np.array(best, np.intp)


class Reliability(NamedTuple):
    """How far confidence means what it says, bin by bin.

    Attributes
    ----------
    edges : (n_bins + 1,)
        Of the bins of confidence, from 0 to 1.
    confidence, accuracy : (n_bins,)
        Means over the images of a bin; NaN where there is none.
    counts : (n_bins,)
        Images of each bin.
    calibration_error : float
        Mean over all images of the gap between confidence and accuracy of their bin.
    """

    edges: npt.NDArray[np.float64]
    confidence: npt.NDArray[np.float64]
    accuracy: npt.NDArray[np.float64]
    counts: Indices
    calibration_error: float


def reliability(
    probabilities: npt.ArrayLike, labels: npt.ArrayLike, n_bins: int = 10
) -> Reliability:
    """Compare the confidence in predictions with the share of them that is right.

    Confidence is the probability of the likeliest class. After Guo et al., "On Calibration of
    Modern Neural Networks", 2017, arXiv:1706.04599.

    Parameters
    ----------
    probabilities : (N, n_classes)
    labels : (N,)
        What the images are.
    n_bins : int
        Bins of equal width.

    Returns
    -------
    Reliability
    """
    rows, classes = _labelled(probabilities, labels)
    n_bins = as_count("n_bins", n_bins, 1)
    confidence, right = rows.max(axis=1), rows.argmax(axis=1) == classes
    bins = np.minimum((confidence * n_bins).astype(np.intp), n_bins - 1)
    counts = np.bincount(bins, minlength=n_bins)
    sums = np.bincount(bins, confidence, n_bins), np.bincount(bins, right, n_bins)
    with np.errstate(invalid="ignore"):
        means = sums[0] / counts, sums[1] / counts
    error = float(np.abs(sums[0] - sums[1]).sum() / len(rows))
    return Reliability(np.linspace(0, 1, n_bins + 1), *means, counts, error)


def _scaled(net: CNN, images: npt.ArrayLike) -> FloatArray:
    """Bring images to what the first layer sees."""
    checked = as_images("images", images, require_network(net).architecture.image_shape)
    return first_layer_input(net.inputs(checked), net.flat.dtype)


def _probabilities(probabilities: npt.ArrayLike) -> FloatArray:
    rows: Any = as_array("probabilities", probabilities)
    require_ndim("probabilities", rows, 2, "(N, n_classes)")
    if len(rows) == 0:
        raise ValueError("probabilities: at least one row is needed, got 0")
    low, high = rows.min(), rows.max()
    if not (low >= 0 and high <= 1 + 1e-5):
        raise ValueError(
            f"probabilities: must be in [0, 1], got {low:.4g} to {high:.4g}; use "
            "net.predict_proba(images), not net.logits(images)"
        )
    checked: FloatArray = rows.astype(np.float64, copy=False)
    return checked


def _labelled(probabilities: npt.ArrayLike, labels: npt.ArrayLike) -> tuple[FloatArray, Labels]:
    rows = _probabilities(probabilities)
    classes = as_labels("labels", labels, rows.shape[1]).astype(np.int64)
    require_same_length(rows, classes, "probabilities", "labels")
    return rows, classes
