"""Arrays of images as people store them: which axis is what, and on which scale.

Layouts. (N, H, W) is grey. Of four axes, one is the channels: the second or the last, whichever
is shorter than both sides of the image. Where neither is, as in (N, 4, 4, 4), the second is, as
this package has it, and a note says so. Two axes (N, D) are flat images, if D is a square.

Scales. Bytes stay bytes, more than 8 bits stay uint16, fractions stay floats; nothing is divided,
as the largest possible value is known to nobody but the owner of the data.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

_USUAL_CHANNELS = (1, 3, 4)  # grey, RGB, RGBA
_MANY_CHANNELS = 16  # more are rather slices of a volume, or rows of an image

_BYTE_LIMIT, _COUNT_LIMIT = 255, 65535
_FAINT = 64  # whole numbers below it use a quarter of a byte at most
_EXACT_IN_FLOAT32 = 1 << 24


def as_images(images: Array, source: str) -> tuple[Array, list[str]]:
    """Images in the layout and on the scale of `Dataset`.

    Parameters
    ----------
    images : ndarray, (N, H, W), (N, C, H, W), (N, H, W, C) or (N, H * W) with H = W
        Of bools, whole numbers or floats.
    source : str
        Where they come from; error messages and notes begin with it.

    Returns
    -------
    images : ndarray, (N, C, H, W)
        uint8, uint16, float32 or float64; not copied if already so.
    notes : list of str
        What was not certain, or worth a word.

    Raises
    ------
    ValueError
        For another number of dimensions, no images at all, values that are not finite, or a dtype
        that is no number.
    """
    notes: list[str] = []
    if images.dtype.kind not in "biuf":
        raise ValueError(
            f"{source} has dtype {images.dtype}: images must be bytes (uint8, 0..255), counts "
            "(uint16) or floats (0..1); convert them"
        )
    if images.size == 0 and images.ndim > 1:
        raise ValueError(f"{source} holds no images: its shape is {images.shape}")
    arranged = _arrange(images, source, notes)
    return np.ascontiguousarray(_on_scale(arranged, source, notes)), notes


def _arrange(images: Array, source: str, notes: list[str]) -> Array:
    """Images as (N, C, H, W), without copying."""
    if images.ndim == 2:
        return _unflatten(images, source, notes)
    if images.ndim == 3:
        return images[:, np.newaxis]
    if images.ndim == 4:
        return _channels_second(images, source, notes)
    raise ValueError(
        f"{source} has shape {images.shape}: images must be (N, H, W), (N, C, H, W) or "
        "(N, H, W, C); reshape them"
    )


def _unflatten(images: Array, source: str, notes: list[str]) -> Array:
    N, n_values = images.shape
    side = math.isqrt(n_values)
    if side < 2 or side * side != n_values:
        raise ValueError(
            f"{source} has shape {images.shape}: {n_values} values make no square image; reshape "
            "it to (N, H, W), or to (N, C, H, W) for images in colour"
        )
    notes.append(f"{source}: {n_values} values an image are read as {side} x {side} pixels")
    return images.reshape(N, 1, side, side)


def _channels_second(images: Array, source: str, notes: list[str]) -> Array:
    _, second, third, last = images.shape
    first_fits = second < min(third, last)
    last_fits = last < min(second, third)
    if last_fits and not first_fits:
        if last not in _USUAL_CHANNELS:
            notes.append(f"{source}: shape {images.shape} is read as {last} channels, last")
        return images.transpose(0, 3, 1, 2)
    uncertain = not first_fits and (last in _USUAL_CHANNELS or second > _MANY_CHANNELS)
    if uncertain and images.shape[1:] != (1, 1, 1):
        notes.append(
            f"{source}: shape {images.shape} is read as (N, C, H, W), {second} channels of "
            f"{third} x {last} pixels; if channels are last, apply images.transpose(0, 3, 1, 2)"
        )
    return images


def _on_scale(images: Array, source: str, notes: list[str]) -> Array:
    if images.dtype == np.uint8:
        return images
    if images.dtype.kind == "b":
        return images.astype(np.uint8) * np.uint8(_BYTE_LIMIT)
    if images.dtype.kind == "f":
        return _floats_on_scale(images, source, notes)
    if images.dtype.kind == "u" and images.dtype.itemsize == 2:
        return images.astype(np.uint16, copy=False)
    return _whole_numbers_on_scale(images, source, notes)


def _whole_numbers_on_scale(images: Array, source: str, notes: list[str]) -> Array:
    """Bytes or counts if they are such, else floats of the same values."""
    low, high = int(images.min()), int(images.max())
    if low >= 0 and high <= _BYTE_LIMIT:
        _note_faint(high, source, notes)
        return images.astype(np.uint8)
    if low >= 0 and high <= _COUNT_LIMIT:
        return images.astype(np.uint16)
    _note_scale("whole numbers", low, high, source, notes)
    exact = max(-low, high) < _EXACT_IN_FLOAT32
    return images.astype(np.float32 if exact else np.float64)


def _floats_on_scale(images: Array, source: str, notes: list[str]) -> Array:
    low, high = float(images.min()), float(images.max())
    if not (math.isfinite(low) and math.isfinite(high)):  # NaN passes through min and max
        raise ValueError(
            f"{source} holds floats from {low} to {high}: all must be finite; replace them, for "
            "instance by np.nan_to_num(images)"
        )
    if low >= 0 and 1 < high <= _BYTE_LIMIT and _all_whole(images):
        _note_faint(int(high), source, notes)
        return images.astype(np.uint8)
    if low < 0 or high > 1:
        _note_scale("floats", low, high, source, notes)
    dtype = np.float32 if images.dtype.itemsize <= 4 else np.float64
    with np.errstate(over="raise"):
        try:
            return images.astype(dtype, copy=False)
        except FloatingPointError:  # a long double beyond float64
            raise ValueError(
                f"{source} holds floats from {images.min()} to {images.max()}: divide them by "
                "the largest"
            ) from None


def _all_whole(images: Array) -> bool:
    """Whether every value is a whole number; one image at a time, to need no memory."""
    return all(bool((image == np.floor(image)).all()) for image in images)


def _note_faint(high: int, source: str, notes: list[str]) -> None:
    if high < _FAINT:
        notes.append(
            f"{source}: whole numbers up to {high} are taken for bytes, of which 255 is the most; "
            "pictures given to predict must be as faint"
        )


def _note_scale(kind: str, low: float, high: float, source: str, notes: list[str]) -> None:
    notes.append(
        f"{source}: {kind} from {low:.4g} to {high:.4g} keep their values; images given to "
        "predict must be on the same scale"
    )
