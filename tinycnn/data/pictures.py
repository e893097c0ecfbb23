"""Many pictures decoded into one array (N, C, H, W).

Their heads are looked at first, which takes a fraction of the time: they tell which files are no
pictures, whether sizes differ, and how large the array must be. Then threads decode each picture
into its place.
"""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .image_arrays import Array
from .image_file import Kind, bombs_are_errors, decode, open_file, probe
from .parallel import map_in_order
from .pixels import BYTES, COUNTS, FLOATS, PictureError, convert
from .problems import Problem, relative, report, shorten, summary
from .reader import Options, Progress

# Larger images are photographs, of which a small network sees no more than of a small version.
MOST_PIXELS = 512 * 512
_USUAL_SIZE = (64, 64)
_SMALL_SIDE = 128


class Source(NamedTuple):
    """A picture: a file, or the bytes of one with a name for messages."""

    path: Path
    content: bytes | None = None

    def open(self) -> IO[bytes]:
        """Open the file, or the bytes as if they were one."""
        return open_file(self.path) if self.content is None else io.BytesIO(self.content)


class Pictures(NamedTuple):
    """Decoded pictures.

    Attributes
    ----------
    images : ndarray of uint8, uint16 or float32, (N, C, H, W)
    kept : ndarray of int, (N,)
        Which of the sources they are: all, but for those that were skipped.
    notes : list of str
    """

    images: Array
    kept: NDArray[np.intp]
    notes: list[str]


def read_pictures(
    sources: Sequence[Source],
    folder: Path,
    options: Options,
    problems: Sequence[Problem] = (),
) -> Pictures:
    """Decode pictures into one array, grey if all are, of the depth that all have.

    Parameters
    ----------
    sources : sequence of Source
    folder : path
        Where they are; messages name the pictures as seen from there.
    options : Options
        `size`, `skip_broken` and `progress` count.
    problems : sequence of Problem
        What was found wrong before, to be told in the same report.

    Raises
    ------
    ValueError
        If a picture cannot be read and `skip_broken` is false, if none is left, or if sizes
        differ, or are very large, and `size` is not given.
    """
    with bombs_are_errors():
        kinds = _probe_all(sources, options.progress)
        found = [*problems, *(kind for kind in kinds if isinstance(kind, Problem))]
        good = [i for i, kind in enumerate(kinds) if isinstance(kind, Kind)]
        good_kinds = [kind for kind in kinds if isinstance(kind, Kind)]
        if found and not options.skip_broken:
            more = ""
            if _sizes_differ(good_kinds, options):
                more = f"; sizes differ too: {_proposal(good_kinds)}"
            raise ValueError(report(folder, found) + more)
        _require_some(good, folder, found)
        size = _common_size(good_kinds, [sources[i] for i in good], folder, options)
        images, kept, broken = _decode_all(sources, good, good_kinds, size, options)
    found += broken
    if found and not options.skip_broken:
        raise ValueError(report(folder, found))
    _require_some(kept, folder, found)
    notes = _depth_notes(good_kinds, folder)
    if found:
        notes.append(f"{folder}: {len(found)} passed over: {summary(folder, found)}")
    return Pictures(images, np.array(kept, dtype=np.intp), notes)


def problem_of(source: Source, error: Exception) -> Problem:
    """What is wrong with a picture, by the error that reading it raised."""
    if isinstance(error, PictureError):
        return Problem(source.path, error.kind, str(error))
    if isinstance(error, FileNotFoundError):
        words, kind = "is a link to nothing: remove it", "links to nothing"
    elif isinstance(error, PermissionError):
        words, kind = "may not be read: change its permissions (chmod a+r)", "not permitted"
    elif isinstance(error, MemoryError):
        words, kind = "needs more memory than there is: shrink it", "too large"
    else:
        reason = getattr(error, "strerror", None) or error
        words, kind = f"cannot be read: {reason}; remove it", "unreadable"
    return Problem(source.path, kind, f"{source.path} {words}")


def _probe_all(sources: Sequence[Source], progress: Progress | None) -> list[Kind | Problem]:
    def look(source: Source) -> Kind | Problem:
        try:
            with source.open() as file:
                return probe(file, str(source.path))
        except (PictureError, OSError, MemoryError) as error:
            return problem_of(source, error)

    if progress is not None:
        progress(0, len(sources))
    return list(map_in_order(look, sources))


def _require_some(good: Sequence[int], folder: Path, found: Sequence[Problem]) -> None:
    if not good:
        why = f": {summary(folder, found)}" if found else ""
        raise ValueError(f"{folder} has no image that can be read{why}")


def _sizes_differ(kinds: Sequence[Kind], options: Options) -> bool:
    return options.size is None and len({kind.size for kind in kinds}) > 1


def _differing(kinds: Sequence[Kind]) -> str:
    counts = Counter(kind.size for kind in kinds).most_common()
    told = ", ".join(f"{n} of {height} x {width}" for (height, width), n in counts[:3])
    more = f" and {len(counts) - 3} other sizes" if len(counts) > 3 else ""
    return f"sizes (height x width) differ: {told}{more}: {_proposal(kinds)}"


def _proposal(kinds: Sequence[Kind]) -> str:
    """Propose the size that most images have, if it is small."""
    most = Counter(kind.size for kind in kinds).most_common(1)[0][0]
    H, W = most if max(most) <= _SMALL_SIDE else _USUAL_SIZE
    return f"give size=({H}, {W})"


def _common_size(
    kinds: Sequence[Kind], sources: Sequence[Source], folder: Path, options: Options
) -> tuple[int, int]:
    """Size that all images have or get."""
    if options.size is not None:
        return options.size
    first = kinds[0].size
    for kind, source in zip(kinds, sources, strict=True):
        if kind.size != first:
            one, other = (shorten(relative(some.path, folder), 60) for some in (sources[0], source))
            raise ValueError(
                f"{folder}: {one} has {first[0]} x {first[1]} pixels (height x width) but {other} "
                f"{kind.size[0]} x {kind.size[1]}; of {len(kinds)} images, {_differing(kinds)}"
            )
    if first[0] * first[1] > MOST_PIXELS:
        H, W = _USUAL_SIZE
        raise ValueError(
            f"{folder} has images of {first[0]} x {first[1]} pixels (height x width), more than a "
            f"small network is made for: give size=({H}, {W}), or "
            "their own size to keep it"
        )
    return first


def _common_dtype(kinds: Sequence[Kind]) -> np.dtype[np.generic]:
    """Depth of the array: bytes where there are any, as those with more can become bytes."""
    dtypes = {kind.dtype for kind in kinds}
    return next(dtype for dtype in (BYTES, COUNTS, FLOATS) if dtype in dtypes)


def _depth_notes(kinds: Sequence[Kind], folder: Path) -> list[str]:
    n_deep = sum(kind.dtype == COUNTS for kind in kinds)
    n_deep_colour = sum(kind.is_deep_colour for kind in kinds)
    notes = []
    if n_deep > 0 and _common_dtype(kinds) == BYTES:
        notes.append(f"{folder}: {n_deep} images of 16 bits among others of 8 bits became bytes")
    if n_deep_colour > 0:
        notes.append(
            f"{folder}: {n_deep_colour} colour images of 16 bits a channel became bytes, the upper "
            "8 bits of each; grey ones keep all 16"
        )
    return notes


def _decode_all(
    sources: Sequence[Source],
    good: Sequence[int],
    kinds: Sequence[Kind],
    size: tuple[int, int],
    options: Options,
) -> tuple[Array, list[int], list[Problem]]:
    """Images, which of the sources they are, and what is wrong with the others."""
    n_channels = max(kind.n_channels for kind in kinds)
    dtype = _common_dtype(kinds)
    try:
        images: Array = np.empty((len(good), n_channels, *size), dtype)
    except (MemoryError, ValueError) as error:
        H, W = _USUAL_SIZE
        raise ValueError(
            f"{len(good)} images of {size[0]} x {size[1]} pixels need more memory than there is: "
            f"give a smaller size, size=({H}, {W})"
        ) from error

    def read(place: int) -> Problem | None:
        source = sources[good[place]]
        try:
            with source.open() as file:
                pixels = decode(file, str(source.path), None, options.size)
            if pixels.shape[1:] != size:  # an orientation that stood behind the pixels
                raise PictureError(
                    f"{source.path} has {pixels.shape[1]} x {pixels.shape[2]} pixels and others "
                    f"{size[0]} x {size[1]}: give size=(H, W)",
                    "of another size",
                )
            images[place] = convert(pixels, dtype, str(source.path))
        except (PictureError, OSError, MemoryError) as error:
            return problem_of(source, error)
        return None

    broken: list[Problem] = []
    kept: list[int] = []
    for place, problem in enumerate(map_in_order(read, range(len(good)))):
        if problem is None:
            if len(kept) < place:  # close the gap; threads write behind `place` alone
                images[len(kept)] = images[place]
            kept.append(good[place])
        else:
            broken.append(problem)
        if options.progress is not None:
            options.progress(place + 1, len(good))
    return images[: len(kept)], kept, broken
