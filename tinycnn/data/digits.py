"""The bundled handwritten digits: something real to train on, with no download."""

from __future__ import annotations

from importlib.resources import files

import numpy as np
from numpy.typing import NDArray

_LEVELS = 16  # the darkest pixel; datasets/README.md tells where the levels come from


def load_digits() -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Load the bundled UCI optical handwritten digits.

    Returns
    -------
    images : ndarray of float32, (1797, 1, 8, 8)
        On 0..1: levels 0..16 divided by 16, which is exact. Ink is 1, paper is 0.
    labels : ndarray of int64, (1797,)
        The digit, 0..9.

    References
    ----------
    E. Alpaydin and C. Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine Learning
    Repository, 1998, doi 10.24432/C50P49. Licence: CC BY 4.0.
    """
    resource = files("tinycnn").joinpath("datasets", "digits.npz")
    with resource.open("rb") as file, np.load(file, allow_pickle=False) as archive:
        levels, labels = archive["levels"], archive["labels"]
    images = levels[:, np.newaxis].astype(np.float32) / np.float32(_LEVELS)
    return images, labels.astype(np.int64)
