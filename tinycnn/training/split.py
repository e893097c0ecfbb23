"""Holding images out for testing, with every class in proportion."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray


def stratified_split(
    labels: ArrayLike, fraction: float, seed: int | None
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Divide images into a train and a test part, every class in proportion.

    Parameters
    ----------
    labels : array_like, (N,)
        Class of each image; anything that can be compared for equality and order.
    fraction : float
        Part to hold out for testing, between 0 and 1 and neither.
    seed : int or None
        The same seed gives the same split; None gives another one every time.

    Returns
    -------
    train_index, test_index : ndarray of int
        Sorted; together 0..N-1. Each class has `fraction` of its images in test, rounded up or
        down so that round(fraction * N) are held out in all; but one image of each class stays in
        train, which may make them fewer.

    Raises
    ------
    ValueError
        If `labels` is not 1-D or is empty, or `fraction` does not lie between 0 and 1.
    """
    labels = np.asarray(labels)
    if labels.ndim != 1 or labels.size == 0:
        raise ValueError(
            f"stratified_split: labels has shape {labels.shape}: it must be (N,) with N > 0"
        )
    if not 0 < fraction < 1:
        raise ValueError(
            f"stratified_split: fraction {fraction} must lie between 0 and 1: 0.2 holds out a fifth"
        )
    counts, members_by_class = _group_by_class(labels)
    n_test = _apportion(counts, fraction)
    rng = np.random.default_rng(seed)
    held_out = np.zeros(len(labels), dtype=bool)
    for members, n in zip(members_by_class, n_test, strict=True):
        held_out[rng.permutation(members)[:n]] = True
    return np.flatnonzero(~held_out), np.flatnonzero(held_out)


def _group_by_class(labels: NDArray[Any]) -> tuple[NDArray[np.intp], list[NDArray[np.intp]]]:
    """How many images each class has, and which."""
    _, class_of_image, counts = np.unique(labels, return_inverse=True, return_counts=True)
    by_class = np.argsort(class_of_image, kind="stable")
    return counts, np.split(by_class, np.cumsum(counts)[:-1])


def _apportion(counts: NDArray[np.intp], fraction: float) -> NDArray[np.intp]:
    """How many of each class to hold out: Hamilton's method of largest remainders."""
    # Rounded, as 0.29 * 100 is 28.999999999999996 and would count as a remainder.
    quotas = np.round(fraction * counts, 9)
    n_test = np.minimum(np.floor(quotas), counts - 1).astype(np.intp)
    may_gain = (quotas > n_test) & (n_test < counts - 1)
    by_remainder = np.argsort(-(quotas - n_test), kind="stable")
    n_missing = max(round(fraction * int(counts.sum())) - int(n_test.sum()), 0)
    n_test[by_remainder[may_gain[by_remainder]][:n_missing]] += 1
    return n_test
