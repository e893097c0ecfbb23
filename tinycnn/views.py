"""Views: an image and moved or mirrored copies of it, whose logits are averaged.

A network that was trained on moved and mirrored images (:class:`tinycnn.Augmentation`) answers a
little differently to each of them. The mean of these answers is right more often than one alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tinycnn._checks import FloatArray, as_count, as_flag, as_rate, shown
from tinycnn.inputs import move_all, slab_size, slabs
from tinycnn.layered import SPREADING

# What the image where it stands counts, next to 1 for each other view.
STRAIGHT = 2


@dataclass(frozen=True)
class Views:
    """Which copies of an image are looked at, besides the image itself, to predict its class.

    The image as it is, moved up, down, left and right and, if asked for, the mirror image of each
    of these. At the border that an image leaves, its outermost pixels are repeated. The logits are
    averaged; those of the unmoved ones count twice.

    Parameters
    ----------
    shift : int
        Pixels to move by; less than the images' rows and columns. 0 for mirror images alone.
    flip : bool
        Whether to add mirror images, left for right. Not for letters and digits.
    margin : float, optional
        Average only where the image alone leaves doubt: where its two highest logits are less
        than this apart. The others keep their logits, so that most of the accuracy is had for
        little more than the time of a plain prediction. All images by default.

    Raises
    ------
    ValueError
        If there is no other view than the image itself, or the margin is not above 0.
    TypeError
        If an argument is of the wrong kind.

    References
    ----------
    Krizhevsky, Sutskever and Hinton, "ImageNet Classification with Deep Convolutional Neural
    Networks", 2012: the mean of ten views, moved and mirrored. Jordan, "94% on CIFAR-10 in 3.29
    Seconds on a Single GPU", 2024, arXiv:2404.00498: unmoved ones count more.
    """

    shift: int = 1
    flip: bool = False
    margin: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "shift", as_count("shift", self.shift, 0))
        object.__setattr__(self, "flip", as_flag("flip", self.flip))
        if not (self.shift or self.flip):
            raise ValueError(
                "Views: shift=0 and flip=False leave no view but the image itself; give shift=1, "
                "say, or predict with views=None"
            )
        if self.margin is not None:
            object.__setattr__(self, "margin", as_rate("margin", self.margin))
            if self.margin == 0:
                raise ValueError("margin: must be above 0, got 0; None is for all images")

    @property
    def moves(self) -> list[tuple[int, int, bool]]:
        """The other views: pixels down, pixels right, and whether they are mirrored before."""
        s = self.shift
        places = [(0, 0), (-s, 0), (s, 0), (0, -s), (0, s)] if s else [(0, 0)]
        turns = (False, True) if self.flip else (False,)
        return [(*place, turn) for turn in turns for place in places][1:]

    def check(self, image_shape: tuple[int, ...]) -> None:
        """Raise ValueError if images of shape (C, H, W) would be moved out of sight."""
        _, H, W = image_shape
        if self.shift >= min(H, W):
            raise ValueError(
                f"views: shift must be less than {min(H, W)} for images of {H} x {W}, got "
                f"{self.shift}"
            )

    def doubtful(self, logits: FloatArray) -> npt.NDArray[np.intp]:
        """Return the indices of the images whose logits (N, n_classes) leave doubt."""
        if self.margin is None:
            return np.arange(len(logits))
        if logits.shape[1] < 2:
            return np.arange(0)
        second, first = np.partition(logits, -2, axis=1)[:, -2:].T
        return np.flatnonzero(first - second < self.margin)


def as_views(name: str, views: Any, image_shape: tuple[int, ...]) -> Views | None:
    """Return views, or None for none, checked against the images (C, H, W)."""
    if views is None:
        return None
    if not isinstance(views, Views):
        raise TypeError(f"{name}: must be None or tinycnn.Views(shift=1), say, got {shown(views)}")
    views.check(image_shape)
    return views


@SPREADING
def average_views(
    views: Views,
    images: npt.NDArray[Any],
    logits: FloatArray,
    logits_of: Callable[[npt.NDArray[Any]], FloatArray],
) -> None:
    """Replace logits by the mean over all views, where the images leave doubt.

    Copies are made of a limited number of images at a time.

    Parameters
    ----------
    views : Views
    images : (N, C, H, W)
    logits : (N, n_classes)
        Of the images themselves; overwritten.
    logits_of : callable
        Computes the logits of other images.
    """
    moves = views.moves
    weights = [STRAIGHT if (down, right) == (0, 0) else 1 for down, right, _ in moves]
    doubtful = views.doubtful(logits)
    for slab in slabs(doubtful, slab_size(images)):
        chosen = doubtful[slab]
        some, total = images[chosen], STRAIGHT * logits[chosen]
        for move, weight in zip(moves, weights, strict=True):
            total += weight * logits_of(move_all(some, *move))
        logits[chosen] = total / (STRAIGHT + sum(weights))
