"""Settings that follow from the number of images and their size, for those who choose none."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from tinycnn.architecture import make_architecture

# By the number of blocks. The last one leaves at least 64 maps to tell classes by: on the digits,
# 64 filters and 40 epochs are better than 32 filters and 60, in the same time.
CHANNELS = {1: (64,), 2: (32, 64), 3: (32, 64, 128)}

# A block on fewer rows or columns than these costs more than it gains.
LEAST_BLOCK_SIDE = 8

# In smaller images a pixel is too much to move by.
LEAST_SHIFTED_SIDE = 8

BATCH_SIZE = 64
LARGE_BATCH_SIZE = 128
MANY_IMAGES = 10_000

LEAST_EPOCHS, MOST_EPOCHS = 10, 200


def auto_channels(
    image_shape: Sequence[int], kernel_size: Any = 3, padding: int = 0
) -> tuple[int, ...]:
    """Choose the filters of as many blocks as have something to look at, of at most three.

    Parameters
    ----------
    image_shape : (C, H, W)
    kernel_size, padding
        As for :class:`tinycnn.CNN`.

    Returns
    -------
    channels : tuple of int
    """
    n_blocks = 1
    while n_blocks < max(CHANNELS):
        blocks = make_architecture(
            image_shape, CHANNELS[n_blocks], kernel_size, 1, True, 0, padding
        )
        _, H, W = blocks.block_shapes[-1]
        R, S = blocks.kernel_sizes[-1]
        if min(H, W) < LEAST_BLOCK_SIDE or H <= R or W <= S:
            break
        n_blocks += 1
    return CHANNELS[n_blocks]


def auto_shift(image_shape: Sequence[int]) -> int:
    """Move images (C, H, W) by one pixel at most, where they are large enough for that."""
    return 1 if min(image_shape[1:]) >= LEAST_SHIFTED_SIDE else 0


def auto_batch_size(n_images: int) -> int:
    """Return 64, which is all images where there are no more, and 128 where there are many."""
    return LARGE_BATCH_SIZE if n_images >= MANY_IMAGES else BATCH_SIZE


def auto_epochs(n_images: int) -> int:
    """Return how many epochs: 200 of one batch, half as many for four times the images, or 10."""
    epochs = round(MOST_EPOCHS * math.sqrt(BATCH_SIZE / max(1, n_images)))
    return min(MOST_EPOCHS, max(LEAST_EPOCHS, epochs))
