"""One picture from its file, through Pillow.

How a picture becomes grey or RGB bytes, the same for training and for prediction:

- it is turned upright as its EXIF orientation says, as every viewer does;
- of an animation, the first frame counts;
- transparency is laid over white, as on paper or an empty page: drawings with a transparent
  background are mostly dark ink;
- 16-bit grey is scaled to bytes, round(level * 255 / 65535);
- colour becomes grey, where grey is asked for, by Pillow's L = 0.299 R + 0.587 G + 0.114 B;
- a new size is Pillow's BILINEAR, which takes the mean over all pixels that fall together when it
  shrinks (no aliasing) and never overshoots; the picture is stretched, not cropped.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

# Named, because among the rest that Pillow opens is EPS, for which it starts Ghostscript.
FORMATS = ("PNG", "JPEG", "BMP", "GIF", "TIFF", "PPM", "WEBP")

_GREY_MODES = ("1", "L", "LA")
_GREY_16_BIT_MODES = ("I", "I;16", "I;16L", "I;16B", "I;16N")
_COLOUR_MODES = ("P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr")

_CHANNELS_TO_MODE = {1: "L", 3: "RGB"}


def read_image(
    path: str | os.PathLike[str], image_shape: tuple[int, int, int]
) -> NDArray[np.uint8]:
    """Read one picture for prediction, in the shape the network takes.

    Parameters
    ----------
    path : str or path
        PNG, JPEG, BMP, GIF, TIFF, PPM/PGM/PBM or WebP.
    image_shape : (C, H, W)
        C is 1 for grey or 3 for RGB; the picture is converted, and resized if its size differs.
        The module's docstring tells how, and what becomes of transparency.

    Returns
    -------
    ndarray of uint8, (C, H, W)
        On 0..255; `load_image_folder` gives the same bytes for the same picture.

    Raises
    ------
    ImportError
        Without Pillow.
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is no picture or a damaged one, or `image_shape` is not as above.
    """
    require_pillow("read_image")
    if len(image_shape) != 3 or image_shape[0] not in _CHANNELS_TO_MODE:
        raise ValueError(
            f"read_image: image_shape {image_shape} must be (C, H, W) with C = 1 (grey) or 3 (RGB)"
        )
    size = check_size(image_shape[1:], "read_image: image_shape")
    picture = open_picture(Path(path)).convert(_CHANNELS_TO_MODE[image_shape[0]])
    return to_array(picture, size)


def require_pillow(caller: str) -> None:
    """Say how to install Pillow, in the name of the function that needs it, if it is not there."""
    try:
        import PIL.Image  # noqa: F401
    except ImportError as error:
        raise ImportError(f"{caller} needs Pillow: pip install 'tinycnn[images]'") from error


def check_size(size: Sequence[int], argument: str) -> tuple[int, int]:
    """(H, W) as whole positive numbers, or a ValueError that names the argument."""
    if len(size) != 2 or not all(isinstance(n, int | np.integer) and n > 0 for n in size):
        raise ValueError(
            f"{argument} has height and width {tuple(size)}: give two whole numbers above 0"
        )
    return int(size[0]), int(size[1])


def open_picture(path: Path) -> Picture:
    """Open the picture in a file, upright and opaque: as mode L if the file is grey, else RGB.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is no picture, a damaged one, or of a mode with no sure scale.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    with path.open("rb") as file:
        try:
            with Image.open(file, formats=FORMATS) as opened:
                opened.load()
                picture = ImageOps.exif_transpose(opened)
        except UnidentifiedImageError as error:
            raise ValueError(
                f"{path} is no image ({', '.join(FORMATS)}): convert it, or move it elsewhere"
            ) from error
        except Exception as error:  # decoders meet damage with anything, SyntaxError included
            raise ValueError(f"{path} is a damaged image, or too large: {error}") from error
    return _to_bytes(picture, path)


def _to_bytes(picture: Picture, path: Path) -> Picture:
    """Turn any mode into opaque L or RGB; the module's docstring tells how."""
    if picture.mode in _GREY_16_BIT_MODES:
        return _shrink_16_bit(picture, path)
    if picture.mode in _GREY_MODES:
        return _over_white(picture).convert("L")
    if picture.mode in _COLOUR_MODES:
        return _over_white(picture).convert("RGB")
    raise ValueError(
        f"{path} has pixels of Pillow's mode {picture.mode}, whose scale is not known: save it "
        "with 8 bits per channel, grey or RGB"
    )


def _shrink_16_bit(picture: Picture, path: Path) -> Picture:
    from PIL import Image

    levels = np.asarray(picture).astype(np.int64)
    if levels.min() < 0 or levels.max() > 65535:
        raise ValueError(
            f"{path} has grey levels from {levels.min()} to {levels.max()}: they must lie in "
            "0..65535; save it with 8 or 16 bits"
        )
    grey = ((levels * 255 + 32767) // 65535).astype(np.uint8)
    if "transparency" in picture.info:  # PNG's way to call one level clear
        grey[levels == picture.info["transparency"]] = 255
    return Image.fromarray(grey)


def _over_white(picture: Picture) -> Picture:
    from PIL import Image

    if not picture.has_transparency_data:
        return picture
    clear = picture.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", clear.size, "white"), clear)


def to_array(picture: Picture, size: tuple[int, int] | None) -> NDArray[np.uint8]:
    """Turn a picture of mode L or RGB into (C, H, W) bytes, resized if `size` (H, W) differs."""
    from PIL import Image

    if size is not None and picture.size != size[::-1]:
        picture = picture.resize(size[::-1], Image.Resampling.BILINEAR)
    pixels = np.asarray(picture, dtype=np.uint8)
    if pixels.ndim == 2:
        return pixels[np.newaxis].copy()  # Pillow's view of its memory is read-only
    return np.ascontiguousarray(pixels.transpose(2, 0, 1))
