"""Images that are in two data sets at once, pixel for pixel."""

from __future__ import annotations

from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from tinycnn._checks import as_array

from .dataset import Dataset
from .image_arrays import Array


def duplicates(first: Array, second: Array) -> NDArray[np.intp]:
    """Find the images of `second` that are in `first`, pixel for pixel.

    Parameters
    ----------
    first, second : ndarray, (N, ...) and (M, ...)
        Images; of another shape or dtype they are never the same.

    Returns
    -------
    ndarray of int, (K, 2)
        Rows (index in `first`, index in `second`), in the order of `second`; of several equal
        images in `first`, the first.
    """
    first, second = as_array("first", first), as_array("second", second)
    places: dict[bytes, int] = {}
    for index, image in enumerate(first):
        places.setdefault(_digest(image), index)
    pairs = [
        (places[digest], index)
        for index, digest in enumerate(map(_digest, second))
        if digest in places
    ]
    return np.array(pairs, dtype=np.intp).reshape(-1, 2)


def _digest(image: Array) -> bytes:
    head = f"{image.dtype.str}{image.shape}".encode()
    return blake2b(head + np.ascontiguousarray(image).tobytes(), digest_size=16).digest()


def duplicates_note(train: Dataset, test: Dataset) -> str | None:
    """Say how many test images are training images too, and name the first; None if none are."""
    pairs = duplicates(train.images, test.images)
    if len(pairs) == 0:
        return None
    i, j = pairs[0]
    names = [data.files[k] if data.files else f"image {k}" for data, k in ((train, i), (test, j))]
    return (
        f"{len(pairs)} of {len(test)} test images are training images too, pixel for pixel (the "
        f"first: {names[1]} is {names[0]}): the accuracy on them says nothing"
    )
