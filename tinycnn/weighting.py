"""How much each image counts: class weights and image weights, brought to one number an image."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from tinycnn._checks import FloatArray, as_array, as_rate, require_finite, require_ndim

ClassWeight = Mapping[int, float] | npt.ArrayLike | Literal["balanced"]


def image_weights(
    labels: npt.NDArray[np.int64],
    n_classes: int,
    sample_weight: npt.ArrayLike | None,
    class_weight: ClassWeight | None,
) -> npt.NDArray[np.float64] | None:
    """Multiply the weight of each image by that of its class; None if all count the same.

    Parameters
    ----------
    labels : (N,)
        Classes in [0, n_classes).
    n_classes : int
    sample_weight : (N,), optional
        Finite and not negative.
    class_weight : mapping, (n_classes,) or "balanced", optional
        Classes that a mapping leaves out count 1. "balanced" is
        N / (number of classes present * number of images of the class), so that each class counts
        the same; N and the numbers count images by their ``sample_weight``.

    Returns
    -------
    weights : (N,) or None
    """
    if sample_weight is None and class_weight is None:
        return None
    weights = np.ones(len(labels))
    if sample_weight is not None:
        weights *= _checked_weights("sample_weight", sample_weight, len(labels), "image")
    if class_weight is not None:
        weights *= _class_weights(class_weight, labels, n_classes, weights)[labels]
    return weights


def _class_weights(
    class_weight: ClassWeight,
    labels: npt.NDArray[np.int64],
    n_classes: int,
    weights: npt.NDArray[np.float64],
) -> FloatArray:
    """Bring every spelling of class_weight to an array (n_classes,)."""
    if isinstance(class_weight, str):
        if class_weight != "balanced":
            raise ValueError(
                f"class_weight: the only word it takes is 'balanced', got {class_weight!r}"
            )
        counts = np.bincount(labels, weights, n_classes)
        present = counts > 0
        result = np.zeros(n_classes)
        result[present] = counts.sum() / (present.sum() * counts[present])
        return result
    if isinstance(class_weight, Mapping):
        result = np.ones(n_classes)
        for label, weight in class_weight.items():
            if label not in range(n_classes):
                raise ValueError(
                    f"class_weight: keys are classes in [0, {n_classes}), got {label!r}"
                )
            result[int(label)] = as_rate(f"class_weight[{label}]", weight)
        return result
    return _checked_weights("class_weight", class_weight, n_classes, "class")


def _checked_weights(name: str, values: Any, length: int, what: str) -> FloatArray:
    array: FloatArray = as_array(name, values).astype(np.float64)
    require_ndim(name, array, 1)
    if len(array) != length:
        plural = "es" if what == "class" else "s"
        raise ValueError(f"{name}: {length} {what}{plural} need as many weights, got {len(array)}")
    require_finite(name, array, array.dtype)
    if (array < 0).any():
        first = int((array < 0).argmax())
        raise ValueError(f"{name}: must not be negative, got {name}[{first}] = {array[first]}")
    return array
