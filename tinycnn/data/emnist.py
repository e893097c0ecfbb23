"""What is particular to EMNIST: images lie on their sides, labels are numbers of letters.

G. Cohen, S. Afshar, J. Tapson and A. van Schaik, "EMNIST: an extension of MNIST to handwritten
letters", 2017, https://arxiv.org/abs/1702.05373. Its IDX and CSV files keep MATLAB's column
order, so that rows and columns of each image are exchanged.
"""

from __future__ import annotations

import re
from string import ascii_lowercase, ascii_uppercase, digits

from .image_arrays import Array

_ALL = tuple(digits + ascii_uppercase + ascii_lowercase)
_MERGED = tuple(digits + ascii_uppercase + "abdefghnqrt")  # letters whose two cases differ

_CLASSES = {
    "byclass": _ALL,
    "bymerge": _MERGED,
    "balanced": _MERGED,
    "letters": tuple(ascii_uppercase),
    "digits": tuple(digits),
    "mnist": tuple(digits),
}


def is_emnist(name: str) -> bool:
    """Whether a file is one of EMNIST's, by its name."""
    return name.lower().startswith("emnist")


def upright(images: Array) -> Array:
    """Images (N, H, W) with rows and columns exchanged."""
    return images.transpose(0, 2, 1) if images.ndim == 3 else images


def emnist_classes(name: str, labels: Array) -> tuple[Array, tuple[str, ...] | None]:
    """Labels from 0, and the characters they stand for.

    Parameters
    ----------
    name : str
        Of the file, such as "emnist-letters-train-images-idx3-ubyte.gz".
    labels : ndarray
        As stored: the set "letters" counts from 1.

    Returns
    -------
    labels : ndarray
    class_names : tuple of str or None
        None for a set of another name, or labels that are not those of the set.
    """
    words = re.findall("[a-z]+", name.lower())
    names = next((_CLASSES[word] for word in words[1:] if word in _CLASSES), None)
    if names is None or labels.size == 0 or labels.dtype.kind not in "iu":
        return labels, None
    first = 1 if names == _CLASSES["letters"] else 0
    if labels.min() < first or labels.max() >= first + len(names):
        return labels, None
    return labels - first, names
