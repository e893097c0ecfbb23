"""Augmentation: each epoch sees every image a little differently."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from tinycnn._checks import as_count, as_flag

MAX_SHIFT = 127  # moves travel as signed bytes


class Augmentation:
    """How images may differ from epoch to epoch without becoming something else.

    Anew for every image and epoch: mirrored left to right or not, then moved by a whole number of
    pixels down or up and right or left, all equally likely. At the border that an image leaves,
    its outermost pixels are repeated. The images themselves stay as they are; the moved ones exist
    only while their batch is computed.

    Parameters
    ----------
    shift : int
        Most pixels to move by, in each direction; less than the images' rows and columns.
    flip : bool
        Whether half of the images are mirrored. Not for letters and digits.
    """

    def __init__(self, shift: int = 0, flip: bool = False) -> None:
        self.shift = as_count("shift", shift, 0)
        self.flip = as_flag("flip", flip)
        if self.shift > MAX_SHIFT:
            raise ValueError(f"shift: must be at most {MAX_SHIFT}, got {shift}")

    def __repr__(self) -> str:
        return f"Augmentation(shift={self.shift}, flip={self.flip})"

    def check(self, image_shape: Sequence[int]) -> None:
        """Raise ValueError if images of shape (C, H, W) could be moved out of sight."""
        _, H, W = image_shape
        if self.shift >= min(H, W):
            raise ValueError(
                f"shift: must be less than {min(H, W)} for images of {H} x {W}, got {self.shift}"
            )

    def draw(self, n_images: int, rng: np.random.Generator) -> npt.NDArray[np.int8]:
        """Draw (n_images, 3) moves: pixels down, pixels right, and 1 to be mirrored before."""
        moves = np.zeros((n_images, 3), np.int8)
        moves[:, :2] = rng.integers(-self.shift, self.shift, (n_images, 2), endpoint=True)
        if self.flip:
            moves[:, 2] = rng.integers(0, 1, n_images, endpoint=True)
        return moves
