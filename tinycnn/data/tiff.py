"""What the tags of a TIFF say that Pillow does not heed: pages, channels, and what white is.

TIFF 6.0, https://www.itu.int/itudoc/itu-t/com16/tiff-fx/docs/tiff6.pdf.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

_NEW_SUBFILE_TYPE = 254
_BITS_PER_SAMPLE = 258
_PHOTOMETRIC = 262
_DESCRIPTION = 270
_SAMPLES_PER_PIXEL = 277
_EXTRA_SAMPLES = 338
_SAMPLE_FORMAT = 339

_MIN_IS_WHITE = 0
_CMYK = 5
_ALPHA = (1, 2)  # premultiplied, and not
_REDUCED = 1  # a smaller version of another page

# ImageJ writes a stack as one page, and says in the description how many follow it.
_IMAGEJ_PAGES = re.compile(r"^images=(\d+)", re.MULTILINE)


def check_tiff(picture: Picture) -> str | None:
    """Say why a TIFF cannot be one image of grey or RGB, or None if it can."""
    tags: Any = picture.tag_v2  # type: ignore[attr-defined]
    n_pages = _count_pages(picture, tags)
    if n_pages > 1:
        return (
            f"has {n_pages} pages (a stack, or channels): save the page that counts as a file of "
            "its own, or all as channels in an NPZ archive, (N, C, H, W)"
        )
    n_samples = tags.get(_SAMPLES_PER_PIXEL, 1)
    extra = tags.get(_EXTRA_SAMPLES, ())
    extra = extra if isinstance(extra, tuple) else (extra,)
    n_extra = len(extra) if tags.get(_PHOTOMETRIC) != _CMYK else 0
    if n_samples > 4 or any(kind not in _ALPHA for kind in extra[:n_extra]):
        return (
            f"has {n_samples} channels: save grey or RGB, or all channels in an NPZ archive, "
            "(N, C, H, W)"
        )
    if picture.mode in ("I", "F") and min_is_white(picture):
        return "has white as its least value and no largest: save it with black as the least"
    return None


def _count_pages(picture: Picture, tags: Any) -> int:
    described = _IMAGEJ_PAGES.search(str(tags.get(_DESCRIPTION, "")))
    if described is not None:
        return int(described[1])
    n_frames = getattr(picture, "n_frames", 1)
    if n_frames == 1:
        return 1
    picture.seek(1)
    second_is_smaller = bool(picture.tag_v2.get(_NEW_SUBFILE_TYPE, 0) & _REDUCED)  # type: ignore[attr-defined]
    picture.seek(0)
    return 1 if second_is_smaller else n_frames


def min_is_white(picture: Picture) -> bool:
    """Whether 0 is white; Pillow turns such bytes round, but not what has more bits."""
    tags: Any = picture.tag_v2  # type: ignore[attr-defined]
    return bool(tags.get(_PHOTOMETRIC, 1) == _MIN_IS_WHITE)


def bits_per_sample(picture: Picture) -> int:
    """How many bits a pixel has in each channel."""
    tags: Any = picture.tag_v2  # type: ignore[attr-defined]
    return int(max(tags.get(_BITS_PER_SAMPLE, (1,))))


def unsigned_32_bit(picture: Picture) -> bool:
    """Whether pixels are unsigned whole numbers of 32 bits, which Pillow takes for signed."""
    tags: Any = picture.tag_v2  # type: ignore[attr-defined]
    bits, kinds = tags.get(_BITS_PER_SAMPLE, (1,)), tags.get(_SAMPLE_FORMAT, (1,))
    return bool(picture.mode == "I" and bits[0] == 32 and kinds[0] == 1)
