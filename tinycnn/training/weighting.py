"""How much each image counts: class weights and image weights, brought to one number an image."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from tinycnn._checks import FloatArray, as_rate, as_weights

# Of the weights of all images: within these no product with a loss overflows, and no quotient.
LEAST_TOTAL, MOST_TOTAL = 1e-200, 1e200

ClassWeight = Mapping[int, float] | npt.ArrayLike | Literal["balanced"]


def image_weights(
    labels: npt.NDArray[np.int64],
    training: npt.NDArray[np.int64],
    n_classes: int,
    sample_weight: npt.ArrayLike | None,
    class_weight: ClassWeight | None,
) -> npt.NDArray[np.float64] | None:
    """Multiply the weight of each image by that of its class; None if all count the same.

    Parameters
    ----------
    labels : (N,)
        Classes in [0, n_classes).
    training : (T,)
        Indices of the images to train on: those that "balanced" balances.
    n_classes : int
    sample_weight : (N,), optional
        Finite and not negative.
    class_weight : mapping, (n_classes,) or "balanced", optional
        Classes that a mapping leaves out count 1. "balanced" is
        T / (number of classes present * number of images of the class), so that each class counts
        the same; T and the numbers count images by their ``sample_weight``.

    Returns
    -------
    weights : (N,) or None

    Raises
    ------
    ValueError
        Also if the weights of the images to train on add up to 0, or to a number that is too small
        or too large to compute with.
    """
    if sample_weight is None and class_weight is None:
        return None
    weights = np.ones(len(labels))
    if sample_weight is not None:
        weights *= as_weights("sample_weight", sample_weight, len(labels), "image")
    with np.errstate(over="ignore", invalid="ignore"):
        if class_weight is not None:
            counts = np.bincount(labels[training], weights[training], n_classes)
            weights *= class_weights(class_weight, n_classes, counts)[labels]
        require_usual_total(weights[training].sum())
    return weights


def require_usual_total(total: float) -> None:
    """Raise ValueError if the weights of the images to train on add up to next to 0 or overflow."""
    if not LEAST_TOTAL <= total <= MOST_TOTAL:
        raise ValueError(
            "sample_weight, class_weight: the weights of the images to train on add up to "
            f"{total:g}; only their ratios count: rescale them so that some are about 1"
        )


def class_weights(
    class_weight: ClassWeight, n_classes: int, counts: npt.NDArray[Any]
) -> FloatArray:
    """Bring every spelling of class_weight to an array (n_classes,); counts are of its images."""
    if isinstance(class_weight, str):
        if class_weight != "balanced":
            raise ValueError(
                f"class_weight: the only word it takes is 'balanced', got {class_weight!r}"
            )
        return _balanced_weights(counts)
    if isinstance(class_weight, Mapping):
        result = np.ones(n_classes)
        for label, weight in class_weight.items():
            if label not in range(n_classes):
                raise ValueError(
                    f"class_weight: keys are classes in [0, {n_classes}), got {label!r}"
                )
            result[int(label)] = as_rate(f"class_weight[{label}]", weight)
        return result
    return as_weights("class_weight", class_weight, n_classes, "class")


def _balanced_weights(counts: npt.NDArray[Any]) -> FloatArray:
    """Return weights with which all classes count the same; 0 for those without images."""
    present = counts > 0
    result = np.zeros(len(counts))
    result[present] = counts.sum() / (present.sum() * counts[present])
    return result
