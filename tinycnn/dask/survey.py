"""What shards tell of themselves before training: sums of each, which add up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import distributed
import numpy as np
import numpy.typing as npt

from tinycnn.dask.crew import TIMEOUT, Crew, crew_of
from tinycnn.dask.parts import Shard, Shards
from tinycnn.files.checkpoint import in_words
from tinycnn.inputs import merge_moments, moments, scaling_of
from tinycnn.network import CNN


class Facts(NamedTuple):
    """What is known of a shard.

    Attributes
    ----------
    n_images : int
    dtype : dtype
        Of the images.
    counts : (n_classes,)
        Images of each class, counted by their weights.
    mean, variance : (C,)
        Of stored pixels, all of which count the same.
    words : str
        By which the shard is told from others.
    """

    n_images: int
    dtype: np.dtype[Any]
    counts: npt.NDArray[np.float64]
    mean: npt.NDArray[np.float64]
    variance: npt.NDArray[np.float64]
    words: str


def survey(crew: Crew) -> list[Facts]:
    """Ask all shards for their facts.

    Raises
    ------
    ValueError, TypeError
        If a shard does not fit the network, or its images have another dtype than the others'.
    """
    facts: list[Facts] = crew.ask(_facts_of)
    _require_one_dtype([each.dtype for each in facts])
    return facts


def _facts_of(shard: Shard, _: None) -> Facts:
    images, labels, weights = shard.images, shard.labels, shard.weights
    mean, std = moments(images)
    counts = np.bincount(labels, weights, shard.net.architecture.n_classes)
    words = in_words((images, labels) if weights is None else (images, labels, weights))
    return Facts(len(images), images.dtype, counts.astype(np.float64), mean, std**2, words)


def merged_moments(
    facts: Sequence[Facts],
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Compute mean and deviation (C,) of the stored pixels of all shards."""
    n_images = np.array([each.n_images for each in facts], np.float64)
    means, variances = [each.mean for each in facts], [each.variance for each in facts]
    mean, variance = merge_moments(np.stack(means), np.stack(variances), n_images)
    return mean, np.sqrt(variance)


def standardize(
    net: CNN, shards: Shards, *, client: distributed.Client | None = None, timeout: float = TIMEOUT
) -> None:
    """Learn mean and standard deviation of each channel, as ``CNN.standardize``, from shards.

    Images count by their weights, where the shards have weights.

    Parameters
    ----------
    net : CNN
    shards : Shards
        All images of one dtype.
    client : distributed.Client, optional
        The default client, if there is one.
    timeout : float
        Seconds that the shards may take to be made and to answer.

    Raises
    ------
    ValueError, TypeError
        As ``CNN.standardize``, and if shards differ in dtype. What was learned before then stays.
    TimeoutError
        If the workers take too long.
    """
    with crew_of(net, shards, client, timeout) as crew:
        weights, means, variances, dtypes = zip(*crew.ask(_moments_of), strict=True)
    _require_one_dtype(dtypes)
    if not any(weights):
        raise ValueError("sample_weight: all weights are 0; at least one must be above")
    mean, variance = merge_moments(np.stack(means), np.stack(variances), np.array(weights))
    net.set_scaling(*scaling_of(mean, np.sqrt(variance), dtypes[0]))


def _moments_of(
    shard: Shard, _: None
) -> tuple[float, npt.NDArray[np.float64], npt.NDArray[np.float64], np.dtype[Any]]:
    """Return what a shard's images weigh, mean and variance of their pixels, and their dtype."""
    total = float(len(shard.images) if shard.weights is None else shard.weights.sum())
    mean, std = moments(shard.images, shard.weights if total else None)
    return total, mean, std**2, shard.images.dtype


def _require_one_dtype(dtypes: Sequence[np.dtype[Any]]) -> None:
    for i, dtype in enumerate(dtypes):
        if dtype != dtypes[0]:
            raise ValueError(
                f"shards: all images need one dtype, shards[0] has {dtypes[0]}, shards[{i}] "
                f"{dtype}; convert them first, with .astype"
            )
