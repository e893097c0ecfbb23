"""X and y: from what scikit-learn hands over to images, labels and weights."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from tinycnn.sklearn.layout import find_layout, match_layout
from tinycnn.sklearn.translation import by_number
from tinycnn.training.weighting import image_weights

# What the kernels read as it stands; anything else becomes the first of these.
PIXEL_TYPES = [np.float32, np.float64, np.uint8]


class Labelled(NamedTuple):
    """Images that count, with their classes by number, and how much each counts.

    Attributes
    ----------
    images : (N, C, H, W)
    labels : (N,)
    weights : (N,), optional
        Above 0; None if all are 1.
    """

    images: npt.NDArray[Any]
    labels: npt.NDArray[np.int64]
    weights: npt.NDArray[np.float64] | None


def read_examples(
    estimator: Any, X: Any, y: Any, reset: bool
) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Check X and y; return images (N, C, H, W) and y (N,).

    With `reset`, what an image is is learned from X, else images must be as before.
    """
    _refuse_masked("y", y)
    rows, sample_shape = _as_rows(X)
    rows, labels = validate_data(estimator, rows, y, reset=reset, dtype=PIXEL_TYPES, order="C")
    check_classification_targets(labels)
    sample_shape = sample_shape or rows.shape[1:]
    if reset:
        estimator._layout = find_layout(sample_shape, estimator.image_shape)
        estimator.image_shape_ = estimator._layout.shape
    return match_layout(estimator._layout, sample_shape).images(rows), labels


def read_images(estimator: Any, X: Any) -> npt.NDArray[Any]:
    """Check images to predict from, and return them as (N, C, H, W)."""
    check_is_fitted(estimator, "network_")
    rows, sample_shape = _as_rows(X)
    rows = validate_data(estimator, rows, reset=False, dtype=PIXEL_TYPES, order="C")
    return match_layout(estimator._layout, sample_shape or rows.shape[1:]).images(rows)


def those_that_count(
    estimator: Any, images: npt.NDArray[Any], y: npt.NDArray[Any], sample_weight: Any
) -> Labelled:
    """Number the classes, weigh the images, and leave out those of weight 0."""
    classes = estimator.classes_
    unknown = np.setdiff1d(y, classes)
    if len(unknown):
        raise ValueError(f"y: {unknown.item(0)!r} is not among the classes {classes}")
    labels = np.searchsorted(classes, y).astype(np.int64)
    if sample_weight is not None and not np.asarray(sample_weight).any():
        raise ValueError("sample_weight: all weights are zero; at least one must be above")
    class_weight = by_number(estimator.class_weight, classes)
    everything = np.arange(len(labels))
    weights = image_weights(labels, everything, len(classes), sample_weight, class_weight)
    if weights is None:
        return Labelled(images, labels, None)
    counted = weights > 0
    if not counted.all():
        images, labels, weights = images[counted], labels[counted], weights[counted]
    return Labelled(images, labels, None if (weights == 1).all() else weights)


def _as_rows(X: Any) -> tuple[Any, tuple[int, ...]]:
    """Flatten images of more than one dimension; also return their shape, () if they are flat."""
    _refuse_masked("X", X)
    shape = getattr(X, "shape", None)
    if shape is None:
        X = np.asarray(X)
        shape = X.shape
    if len(shape) < 3:
        return X, ()
    sample_shape = tuple(shape[1:])
    return np.asarray(X).reshape(shape[0], math.prod(sample_shape)), sample_shape


def _refuse_masked(name: str, values: Any) -> None:
    """Raise TypeError for masked arrays, whose masks NumPy would drop without a word."""
    if isinstance(values, np.ma.MaskedArray):
        raise TypeError(f"{name}: masked arrays are not supported; fill it: {name}.filled(0)")
