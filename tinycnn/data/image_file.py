"""One picture from its file, through Pillow.

How a picture becomes numbers, the same for training and for prediction:

- it is turned upright as its EXIF orientation says, as every viewer does;
- of an animation, the first frame counts; a TIFF of several pages is refused;
- transparency is laid over white, as on paper or an empty page: drawings with a transparent
  background are mostly dark ink;
- 8 bits are bytes; 16-bit grey keeps its counts as uint16, whatever part of 0..65535 they use;
  a TIFF of signed or 32-bit whole numbers or of floats keeps its values as float32;
- colour of 16 bits a channel becomes bytes, and is refused if it is so dark that most were lost;
- colour becomes grey, where grey is asked for, by Pillow's L = 0.299 R + 0.587 G + 0.114 B;
- a new size is Pillow's BILINEAR, which takes the mean over all pixels that fall together when it
  shrinks (no aliasing) and never overshoots; the picture is stretched, not cropped. A JPEG that
  shrinks to less than half is decoded at a smaller size to begin with; another picture of more than
  16 million pixels is shrunk by a whole number first.
"""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike

from tinycnn._checks import as_path, is_row, shown
from tinycnn.files.bounded import what_special

from .foreign import identify
from .image_arrays import Array
from .pixels import (
    BYTES,
    COUNTS,
    FLOATS,
    LARGE_PIXELS,
    PictureError,
    bytes_of,
    check_not_lost,
    convert,
    opaque,
    resized_numbers,
    shrink_factor,
    shrunk_numbers,
)
from .reader import START_BYTES
from .tiff import bits_per_sample, check_tiff

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

# Named, because among the rest that Pillow opens is EPS, for which it starts Ghostscript.
FORMATS = ("PNG", "JPEG", "BMP", "GIF", "TIFF", "PPM", "WEBP")

# Where Pillow begins to warn of "decompression bombs".
MAX_PIXELS = 89_478_485
# Its decoder takes 18 bytes of memory a pixel, others 4 to 8.
_MOST_PIXELS = {"WEBP": 50_000_000}

_large = threading.Lock()

_GREY_MODES = ("1", "L", "LA")
_GREY_16_BIT_MODES = ("I;16", "I;16L", "I;16B", "I;16N")
_COLOUR_MODES = ("P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr")

_ORIENTATION = 0x0112  # of EXIF
_PNG_OR_JPEG = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff")  # what either begins with
_PNG_DEPTH_AT = 24  # bytes into a PNG: after the signature, the chunk's head, width and height


class Kind(NamedTuple):
    """What a picture is before its pixels are decoded."""

    n_channels: int  # 1 or 3
    dtype: np.dtype[Any]  # uint8, uint16 or float32
    size: tuple[int, int]  # height, width
    is_deep_colour: bool  # of 16 bits a channel, of which the upper 8 are kept


def read_image(
    path: str | os.PathLike[str],
    image_shape: tuple[int, int, int],
    dtype: DTypeLike | None = None,
) -> Array:
    """Read one picture for prediction, in the shape and depth the network takes.

    Parameters
    ----------
    path : str or path
        PNG, JPEG, BMP, GIF, TIFF, PPM/PGM/PBM or WebP.
    image_shape : (C, H, W)
        C is 1 for grey or 3 for RGB; the picture is converted, and resized if its size differs.
        The module's docstring tells how, and what becomes of transparency.
    dtype : dtype, optional
        Of the images the network learned from: uint8, uint16 or a float. By default the depth is
        the picture's own.

    Returns
    -------
    ndarray, (C, H, W)
        `load_image_folder` gives the same values for the same picture. 16-bit grey becomes bytes
        where bytes are asked for, and bytes b become b / 255 where floats are.

    Raises
    ------
    ImportError
        Without Pillow.
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is no picture or a damaged one, if its depth cannot become `dtype`, or if
        `image_shape` is not as above.
    """
    require_pillow("read_image")
    n_channels, size = check_image_shape(image_shape, "read_image: image_shape")
    path = as_path("read_image: path", path)
    with bombs_are_errors(), open_file(path) as file:
        pixels = decode(file, str(path), n_channels, size)
    return pixels if dtype is None else convert(pixels, np.dtype(dtype), str(path))


def require_pillow(caller: str) -> None:
    """Say how to install Pillow, in the name of the function that needs it, if it is not there."""
    try:
        import PIL.Image  # noqa: F401
    except ImportError as error:
        raise ImportError(f"{caller} needs Pillow: pip install 'tinycnn[images]'") from error


def check_image_shape(image_shape: Sequence[int], argument: str) -> tuple[int, tuple[int, int]]:
    """Channels and (H, W) of an image shape that pictures can have, or a ValueError."""
    if not is_row(image_shape) or len(image_shape) != 3 or image_shape[0] not in (1, 3):
        raise ValueError(
            f"{argument} {shown(image_shape)} must be (C, H, W) with C = 1 (grey) or 3 (RGB)"
        )
    return int(image_shape[0]), check_size(image_shape[1:], argument)


def check_size(size: Sequence[int], argument: str) -> tuple[int, int]:
    """(H, W) as whole positive numbers, or a ValueError that names the argument."""
    whole = is_row(size) and all(isinstance(n, int | np.integer) and n > 0 for n in size)
    if not whole or len(size) != 2:
        raise ValueError(
            f"{argument} has height and width {shown(size)}: give two whole numbers above 0"
        )
    return int(size[0]), int(size[1])


@contextmanager
def bombs_are_errors() -> Iterator[None]:
    """Have Pillow's warning of very large pictures raised, to be told as a problem."""
    from PIL.Image import DecompressionBombWarning

    with warnings.catch_warnings():
        warnings.simplefilter("error", DecompressionBombWarning)
        yield


def open_file(path: Path) -> IO[bytes]:
    """Open a file of a picture, but no pipe or device, whose end may never come."""
    special = what_special(path)
    if special is not None:
        raise PictureError(f"{path} is {special}, not a file: leave it out", special)
    return path.open("rb")


def probe(file: IO[bytes], name: str) -> Kind:
    """Tell channels, depth and size of a picture from its head.

    Raises
    ------
    PictureError
        If it is no picture, one that is not read, or too large.
    """
    picture = _open(file, name)
    width, height = picture.size
    if _is_on_its_side(picture):
        width, height = height, width
    n_channels, dtype = _channels_and_dtype(picture, name)
    return Kind(n_channels, dtype, (height, width), _has_deep_colour(picture))


def decode(
    file: IO[bytes], name: str, n_channels: int | None = None, size: tuple[int, int] | None = None
) -> Array:
    """Decode a picture, upright and opaque.

    Parameters
    ----------
    file : binary file
    name : str
        Of the file; error messages begin with it.
    n_channels : 1 or 3, optional
        Convert to grey or RGB; by default it stays what it is.
    size : (H, W), optional
        Resize; by default it stays as it is.

    Returns
    -------
    ndarray, (C, H, W)
        Of the dtype `probe` tells.

    Raises
    ------
    PictureError
        If it is no picture, a damaged one, or one that is not read.
    """
    from PIL import ImageOps

    picture = _open(file, name)
    own_channels, dtype = _channels_and_dtype(picture, name)
    n_channels = n_channels or own_channels
    n_pixels = picture.width * picture.height
    if size is not None and picture.format == "JPEG":
        n_pixels //= 3  # of which a progressive one is decoded whole, the others seldom
        longest = 2 * max(size)
        picture.draft(None, (longest, longest))
    deep = _has_deep_colour(picture)
    with _alone_if_large(n_pixels):
        try:
            picture.load()
            turned = picture.getexif().get(_ORIENTATION, 1) != 1
            upright = ImageOps.exif_transpose(picture) if turned else picture  # which copies it
        except Exception as error:  # decoders meet damage with anything, SyntaxError included
            raise _damaged(name, error) from error
        factor = shrink_factor((upright.height, upright.width), size)
        box = None if factor == 1 else (0, 0, upright.width / factor, upright.height / factor)
        if dtype != BYTES:
            pixels = shrunk_numbers(upright, picture, dtype, name, factor)
            return np.repeat(
                resized_numbers(pixels, dtype, size, box)[np.newaxis], n_channels, axis=0
            )
        if deep:
            check_not_lost(upright, name)
        return bytes_of(opaque(upright, "L" if n_channels == 1 else "RGB", factor), size, box)


def _open(file: IO[bytes], name: str) -> Picture:
    from PIL import Image, UnidentifiedImageError

    try:
        picture = Image.open(file, formats=FORMATS)
    except UnidentifiedImageError as error:
        raise _no_image(file, name) from error
    except Image.DecompressionBombError as error:
        raise _too_large(name, MAX_PIXELS) from error
    except Image.DecompressionBombWarning as error:  # where warnings are errors
        raise _too_large(name, MAX_PIXELS) from error
    except Exception as error:
        raise _damaged(name, error) from error
    most = _MOST_PIXELS.get(picture.format or "", MAX_PIXELS)
    if picture.width * picture.height > most:
        raise _too_large(name, most)
    return picture


@contextmanager
def _alone_if_large(n_pixels: int) -> Iterator[None]:
    """Keep other threads from decoding a very large picture at the same time."""
    if n_pixels <= LARGE_PIXELS:
        yield
        return
    with _large:
        yield


def _renew_lock() -> None:
    global _large
    _large = threading.Lock()


if hasattr(os, "register_at_fork"):  # another thread of the parent may have held it
    os.register_at_fork(after_in_child=_renew_lock)


def _no_image(file: IO[bytes], name: str) -> PictureError:
    file.seek(0)
    start = file.read(START_BYTES)
    if not start:
        return PictureError(f"{name} is empty: fetch or copy it again, or remove it", "empty")
    foreign = identify(Path(name), start)
    if foreign is not None:
        return PictureError(f"{name} {foreign}", foreign.what)
    if start[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return PictureError(
            f"{name} is a TIFF of a kind that Pillow does not read: save it as PNG, or as TIFF "
            "with one page of 8 or 16 bits",
            "TIFF of an unusual kind",
        )
    if start.startswith(_PNG_OR_JPEG):
        return _damaged(name, ValueError("its head cannot be read"))
    return PictureError(
        f"{name} is no image ({', '.join(FORMATS)}): convert it, or move it elsewhere",
        "no image",
    )


def _damaged(name: str, error: Exception) -> PictureError:
    words = (str(error).splitlines() or [type(error).__name__])[0][:150]
    return PictureError(
        f"{name} is a damaged image, or too large: {words}; fetch it again, or remove it",
        "damaged",
    )


def _too_large(name: str, most: int) -> PictureError:
    return PictureError(
        f"{name} is too large, or a damaged image: more than {most} pixels; shrink it", "too large"
    )


def _is_on_its_side(picture: Picture) -> bool:
    """Whether the EXIF orientation exchanges height and width, as far as the head tells."""
    if picture.format == "PNG" and "exif" not in picture.info:
        return False  # Pillow would decode the whole picture to look behind it
    try:
        orientation = picture.getexif().get(_ORIENTATION)
    except Exception:  # damaged metadata, which decoding will tell or pass over
        return False
    return orientation in (5, 6, 7, 8)


def _channels_and_dtype(picture: Picture, name: str) -> tuple[int, np.dtype[Any]]:
    if picture.format == "TIFF":
        try:
            why = check_tiff(picture)
        except Exception as error:  # damaged tags
            raise _damaged(name, error) from error
        if why is not None:
            raise PictureError(f"{name} {why}", "TIFF of an unusual kind")
    if picture.mode in _GREY_MODES:
        return 1, BYTES
    if picture.mode in _COLOUR_MODES:
        return 3, BYTES
    if picture.mode in _GREY_16_BIT_MODES or (picture.mode == "I" and picture.format != "TIFF"):
        return 1, COUNTS
    if picture.mode in ("I", "F"):
        return 1, FLOATS
    raise PictureError(
        f"{name} has pixels of Pillow's mode {picture.mode}, whose scale is not known: save it "
        "with 8 bits per channel, grey or RGB",
        "of a mode without a known scale",
    )


def _has_deep_colour(picture: Picture) -> bool:
    """Whether the file has 16 bits a channel, of which Pillow keeps the upper 8."""
    if picture.mode not in ("LA", "RGB", "RGBA", "RGBX"):
        return False
    if picture.format == "TIFF":
        return bits_per_sample(picture) > 8
    if picture.format == "PNG":
        file: Any = picture.fp  # type: ignore[attr-defined]
        position = file.tell()
        file.seek(_PNG_DEPTH_AT)
        depth = file.read(1)
        file.seek(position)
        return bool(depth == b"\x10")
    return False
