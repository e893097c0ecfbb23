"""Images that look as no training image did: on another scale, or black for white.

A network takes every number as it is. Images as floats of 0..255 in a network that learned from
0..1, or black ink on white where it learned white ink on black, get answers that are wrong and
sure. :meth:`tinycnn.CNN.standardize` has learned mean and deviation of the training images' pixels,
so a look at a few pixels tells.
"""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
import numpy.typing as npt

from tinycnn.inputs import unit_of

# What is looked at: so many images, and so many pixels of each channel of them, evenly spread.
SAMPLE_IMAGES = 64
SAMPLE_PIXELS = 256

# How far from the training images' mean pixels are on average, counted in the training images'
# deviations, from which on they are on another scale: theirs are at 1. White pages reach 4 where
# the training images are white lines on black.
LARGE = 6.0

# Deviation of the pixels, counted likewise, below which they are on another scale.
SMALL = 1 / 12

# What rounding leaves of the deviation of pixels that are all the same, of which nothing is said.
ROUNDING = 1e-9

# By how many deviations the mean is off, from which on images are black for white, if that also
# explains it. A single image may be brighter than others; many together are not.
INVERTED, INVERTED_OF_ONE = 0.9, 0.4

# A mean of floats in 0..1 may be a little outside.
SLACK = 0.01


# Who predicts images one by one pays for a look at so many of them.
LOOKS_AT_FEW = 32


class UnusualImagesWarning(UserWarning):
    """Images for prediction are far from those that the network learned from."""


class Watch:
    """Looks at what a network predicts, and warns once if it is unusual."""

    def __init__(self) -> None:
        self._looks = 0
        self._has_warned = False

    def look(
        self,
        images: npt.NDArray[Any],
        mean: npt.NDArray[np.float64],
        std: npt.NDArray[np.float64],
    ) -> None:
        """Warn if images are unusual, unless that was done before; see :func:`what_is_unusual`.

        The warning is told as that of the caller's caller.
        """
        if self._has_warned or (self._looks >= LOOKS_AT_FEW and len(images) < SAMPLE_IMAGES):
            return
        self._looks += 1
        what = what_is_unusual(images, mean, std)
        if what is not None:
            self._has_warned = True
            warnings.warn(f"images: {what}", UnusualImagesWarning, stacklevel=4)


def what_is_unusual(
    images: npt.NDArray[Any], mean: npt.NDArray[np.float64], std: npt.NDArray[np.float64]
) -> str | None:
    """Say what sets images apart from those that a network learned from, if anything does.

    Parameters
    ----------
    images : (N, C, H, W)
        As they are stored; a few pixels are looked at.
    mean, std : (C,)
        What the network learned, as ``CNN.input_mean`` and ``CNN.input_std``.

    Returns
    -------
    str or None
    """
    if images.size == 0:
        return None
    sample = _sample(images) * unit_of(images.dtype)
    own_mean = sample.mean(axis=(0, 2))
    own_std = sample.std(axis=(0, 2))
    offset = float(np.mean((own_mean - mean) / std))
    spread = math.sqrt(float(np.mean((own_std / std) ** 2)))
    if not math.isfinite(offset) or not math.isfinite(spread):
        return None
    if math.hypot(offset, spread) > LARGE or ROUNDING < spread < SMALL:
        plain = " they show next to nothing, or" if spread < SMALL else ""
        return (
            f"{_told(own_mean, own_std)}, the network learned from {_told(mean, std)}:{plain} they "
            "are on another scale; bring them to the same"
        )
    if _is_inverted(own_mean, mean, abs(offset), len(sample)):
        return (
            f"{_told(own_mean, own_std)}, the network learned from {_told(mean, std)}: they look "
            "black for white; invert them (1 - images, or 255 - images of bytes)"
        )
    return None


def _sample(images: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Take some pixels (n, C, pixels) of some images, evenly spread."""
    N, C, H, W = images.shape
    some = images[:: math.ceil(N / SAMPLE_IMAGES)]
    rows = math.ceil(math.sqrt(H * W / SAMPLE_PIXELS))
    pixels = some[:, :, ::rows, ::rows].astype(np.float64)
    return pixels.reshape(len(some), C, -1)


def _is_inverted(
    own_mean: npt.NDArray[np.float64],
    mean: npt.NDArray[np.float64],
    offset: float,
    n_images: int,
) -> bool:
    """Tell whether the mean is far off, and would not be if white, 1, were black."""
    if min(own_mean.min(), mean.min()) < -SLACK or max(own_mean.max(), mean.max()) > 1 + SLACK:
        return False
    if offset < INVERTED + INVERTED_OF_ONE / math.sqrt(n_images):
        return False
    away, away_if_inverted = np.abs(own_mean - mean).mean(), np.abs(1 - own_mean - mean).mean()
    return bool(away_if_inverted < away / 2)


def _told(mean: npt.NDArray[np.float64], std: npt.NDArray[np.float64]) -> str:
    """Tell how pixels are distributed, in all channels together."""
    return f"pixels of mean {np.mean(mean):.3g} and deviation {np.mean(std):.3g}"
