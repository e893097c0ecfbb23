"""How arrays of images stand in memory: from what people have to images (N, C, H, W)."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tinycnn._checks import as_count, is_row, shown

# The smallest image that the usual network takes: there is one window to pool.
SMALLEST_SIDE = 2

# From how many rows and columns on three squares are told to be likely colours.
SMALLEST_COLOURED = 8


class ImageLayout(NamedTuple):
    """What a row of pixel values means.

    Attributes
    ----------
    shape : (C, H, W)
    channels_last : bool
        Whether the channels of a pixel stand side by side, as image libraries have them.
    """

    shape: tuple[int, int, int]
    channels_last: bool

    def images(self, rows: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Make images (N, C, H, W) of rows (N, values): a view, unless rows are too short.

        Zeros take the place of missing values.
        """
        (N, n_values), (C, H, W) = rows.shape, self.shape
        if n_values < C * H * W:
            rows = np.pad(rows, ((0, 0), (0, C * H * W - n_values)))
        if self.channels_last:
            return rows.reshape(N, H, W, C).transpose(0, 3, 1, 2)
        return rows.reshape(N, C, H, W)


def find_layout(sample_shape: Sequence[int], image_shape: Any) -> ImageLayout:
    """Tell the layout of images from their shape and the parameter ``image_shape``.

    Parameters
    ----------
    sample_shape : (values,), (H, W), (H, W, C) or (C, H, W)
        Shape of one sample.
    image_shape : (H, W), (H, W, C), (C, H, W) or None
        None for the sample's own or, if that is flat, for the smallest square that holds it.

    Raises
    ------
    ValueError
        If the two do not fit together, or are no shape of an image.

    Warns
    -----
    UserWarning
        If what is taken for a grey square has as many values as a square of three colours.
    """
    flat = len(sample_shape) == 1
    if image_shape is None:
        return _square(sample_shape[0]) if flat else _read_shape("X", sample_shape)
    layout = _read_shape("image_shape", image_shape)
    if flat:
        if sample_shape[0] != math.prod(layout.shape):
            raise ValueError(
                f"image_shape: {tuple(image_shape)} has {math.prod(layout.shape)} values, "
                f"X has {sample_shape[0]} features"
            )
        return layout
    return match_layout(layout, sample_shape)


def match_layout(layout: ImageLayout, sample_shape: Sequence[int]) -> ImageLayout:
    """Return the layout of samples of images of a known shape, flat or not.

    Raises
    ------
    ValueError
        If these are images of another shape.
    """
    if len(sample_shape) == 1:
        return layout
    C, H, W = layout.shape
    shape = tuple(sample_shape)
    layouts: dict[tuple[int, ...], bool] = {(C, H, W): False, (H, W, C): True}
    if C == 1:
        layouts[H, W] = False
    if shape not in layouts:
        raise ValueError(
            f"X: these images are {H} x {W} with {C} channel{'s' * (C > 1)}; samples must have "
            f"shape {' or '.join(map(str, layouts))} or be flat, got {shape}"
        )
    return layout if C == H == W else ImageLayout(layout.shape, layouts[shape])


def _square(n_values: int) -> ImageLayout:
    """Lay values out in the smallest square that holds them."""
    side = max(SMALLEST_SIDE, math.isqrt(n_values - 1) + 1)
    coloured = math.isqrt(n_values // 3)
    if n_values == 3 * coloured**2 and coloured >= SMALLEST_COLOURED:
        warnings.warn(
            f"X: {n_values} features are taken for a grey image of {side} x {side}, filled up with "
            f"zeros; if they are an image in colour, say so by image_shape=(3, {coloured}, "
            f"{coloured}), or ({coloured}, {coloured}, 3) if a pixel's colours stand side by side",
            stacklevel=6,
        )
    return ImageLayout((1, side, side), channels_last=False)


def _read_shape(name: str, shape: Any) -> ImageLayout:
    """Tell rows, columns and channels apart: channels are the shorter end, the last on a tie."""
    if not is_row(shape) or len(shape) not in (2, 3):
        raise ValueError(
            f"{name}: images are (rows, columns), (rows, columns, channels) or "
            f"(channels, rows, columns), got {shown(shape)}"
        )
    sizes = [as_count(name, size, 1) for size in shape]
    if len(sizes) == 2:
        return ImageLayout((1, sizes[0], sizes[1]), channels_last=False)
    first, middle, last = sizes
    if last <= first:
        return ImageLayout((last, first, middle), channels_last=True)
    return ImageLayout((first, middle, last), channels_last=False)
