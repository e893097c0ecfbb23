"""From Pillow's pixels to numbers: depth, transparency, size. `image_file.py` tells the rules."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .image_arrays import Array
from .tiff import min_is_white, unsigned_32_bit

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

BYTES: np.dtype[Any] = np.dtype(np.uint8)
COUNTS: np.dtype[Any] = np.dtype(np.uint16)
FLOATS: np.dtype[Any] = np.dtype(np.float32)

_DARKEST_BYTE = 16  # 16-bit colour below it has 4 bits left in a byte, or less
_FEWEST_COUNTS = 4_096  # 12 bits; 16-bit grey below it has as few left

_STRIP_ROWS = 1_024
_MOST_SHRUNK = 16  # Pillow's means over larger squares are a grey level too dark, or several
LARGE_PIXELS = 1 << 24  # a photograph of which a network sees little, or a hostile one


Box = tuple[float, float, float, float] | None  # left, top, right, bottom


class PictureError(ValueError):
    """A file that cannot be used as a picture; `kind` groups such files in a report."""

    def __init__(self, message: str, kind: str) -> None:
        super().__init__(message)
        self.kind = kind


def convert(pixels: Array, dtype: np.dtype[Any], name: str) -> Array:
    """Pixels in the depth that the other images, or the network, have.

    Raises
    ------
    PictureError
        If they have no place on its scale.
    """
    if pixels.dtype == dtype:
        return pixels
    if pixels.dtype == COUNTS and dtype == BYTES:
        if 0 < pixels.max() < _FEWEST_COUNTS:
            raise PictureError(
                f"{name} has 16-bit counts up to {pixels.max()} among images of 8 bits: few grey "
                "levels would be left; save all images with 16 bits, or scale it to 0..65535",
                "16-bit counts among 8-bit images",
            )
        return ((pixels.astype(np.uint32) * 255 + 32767) // 65535).astype(np.uint8)
    if pixels.dtype == BYTES and dtype.kind == "f":
        floats: Array = (pixels / dtype.type(255)).astype(dtype)
        return floats
    if pixels.dtype.kind == "f" and dtype.kind == "f":
        return pixels.astype(dtype)
    raise PictureError(
        f"{name} has pixels of {pixels.dtype} where the other images have {dtype}, and no scale "
        "is common to both: save all images in one depth",
        f"of {pixels.dtype} where others have {dtype}",
    )


def numbers(upright: Picture, picture: Picture, dtype: np.dtype[Any], name: str) -> Array:
    """Pixels (H, W) of a picture that is not of bytes, as its file counts them."""
    values = np.asarray(upright)
    if dtype == COUNTS:
        if values.min() < 0 or values.max() > 65535:
            raise PictureError(
                f"{name} has grey levels from {values.min()} to {values.max()}: they must lie in "
                "0..65535; save it with 8 or 16 bits",
                "of more than 16 bits",
            )
        counts = values.astype(np.uint16)
        if picture.format == "TIFF" and min_is_white(picture):
            counts = np.uint16(65535) - counts
        if "transparency" in picture.info:  # PNG's way to call one level clear
            counts[values == picture.info["transparency"]] = 65535
        return counts
    if picture.format == "TIFF" and unsigned_32_bit(picture):
        values = values.view(np.uint32)
    floats = values.astype(np.float32)
    if not np.isfinite(floats).all():
        raise PictureError(
            f"{name} has pixels that are not finite: replace them (np.nan_to_num)", "not finite"
        )
    return floats


def shrunk_numbers(
    upright: Picture, picture: Picture, dtype: np.dtype[Any], name: str, factor: int
) -> Array:
    """Like `numbers`, as means over squares of `factor` pixels; strip by strip if that shrinks.

    Returns
    -------
    ndarray, (H, W)
        Of `dtype`, or float32 if it was shrunk.
    """
    from PIL import Image

    if factor == 1:
        return numbers(upright, picture, dtype, name)
    rows = [
        Image.fromarray(numbers(strip, picture, dtype, name).astype(np.float32)).reduce(factor)
        for _, strip in _strips(upright, factor)
    ]
    return np.concatenate([np.asarray(row) for row in rows])


def resized_numbers(
    pixels: Array, dtype: np.dtype[Any], size: tuple[int, int] | None, box: Box = None
) -> Array:
    """Counts or floats (H, W) at another size, through Pillow's floats; `box` as for `bytes_of`."""
    from PIL import Image

    if size is None or pixels.shape == size:
        return pixels
    picture = Image.fromarray(pixels.astype(np.float32))
    resized = np.asarray(picture.resize(size[::-1], Image.Resampling.BILINEAR, box))
    return np.rint(resized).astype(dtype) if dtype == COUNTS else resized.copy()


def check_not_lost(picture: Picture, name: str) -> None:
    """Refuse 16-bit colour that is so dark that its upper 8 bits tell little."""
    bands: Any = picture.getextrema()
    colours = bands[:1] if picture.mode == "LA" else bands[:3]
    brightest = int(max(high for _, high in colours))
    if 0 < brightest < _DARKEST_BYTE:
        raise PictureError(
            f"{name} has 16 bits a channel of which the upper 8 hold {brightest + 1} levels at "
            "most, and colour is read as bytes: scale it to the full range, or save grey",
            "dark 16-bit colour",
        )


def shrink_factor(pixels: tuple[int, int], size: tuple[int, int] | None) -> int:
    """How many pixels of a very large picture become one before it is resized to (H, W).

    What is left has still twice the size, so that hardly a value changes; and nothing takes memory
    in several copies of the whole.
    """
    if size is None or pixels[0] * pixels[1] <= LARGE_PIXELS:
        return 1
    factors = (length // (2 * wanted) for length, wanted in zip(pixels, size, strict=True))
    return max(min(*factors, _MOST_SHRUNK), 1)


def opaque(picture: Picture, mode: str, factor: int) -> Picture:
    """Picture in mode L or RGB, laid over white if it is not opaque, shrunk by a factor.

    Strip by strip: whole, it would be there three times.
    """
    from PIL import Image

    if factor == 1 and not picture.has_transparency_data:
        return as_mode(picture, mode)
    width, height = (-(-length // factor) for length in picture.size)
    whole = Image.new(mode, (width, height))
    for top, strip in _strips(picture, factor):
        whole.paste(_opaque_strip(strip, mode, factor), (0, top // factor))
    return whole


def _opaque_strip(strip: Picture, mode: str, factor: int) -> Picture:
    from PIL import Image

    if not strip.has_transparency_data:
        return as_mode(strip, mode).reduce(factor)
    clear = strip.convert("RGBA").reduce(factor)
    white = Image.new("RGBA", clear.size, "white")
    return as_mode(Image.alpha_composite(white, clear).convert("RGB"), mode)


def _strips(picture: Picture, factor: int) -> Iterator[tuple[int, Picture]]:
    """Yield pieces of a picture with their first rows: a multiple of `factor` rows each."""
    rows = -(-_STRIP_ROWS // factor) * factor
    for top in range(0, picture.height, rows):
        strip = picture.crop((0, top, picture.width, min(top + rows, picture.height)))
        strip.info = picture.info  # where the clear level of a palette is
        yield top, strip


def as_mode(picture: Picture, mode: str) -> Picture:
    """Picture in a mode, and itself if it is in that; Pillow would copy it."""
    return picture if picture.mode == mode else picture.convert(mode)


def bytes_of(picture: Picture, size: tuple[int, int] | None, box: Box = None) -> NDArray[np.uint8]:
    """Turn a picture of mode L or RGB into (C, H, W) bytes, resized if `size` (H, W) differs.

    `box` is the part of it that counts, where it was shrunk and its last pixels are broken ones.
    """
    from PIL import Image

    if size is not None and picture.size != size[::-1]:
        picture = picture.resize(size[::-1], Image.Resampling.BILINEAR, box)
    pixels = np.asarray(picture, dtype=np.uint8)
    if pixels.ndim == 2:
        return pixels[np.newaxis].copy()  # Pillow's view of its memory is read-only
    return np.ascontiguousarray(pixels.transpose(2, 0, 1))
