"""Images for prediction, batch by batch: from files, folders, patterns and arrays.

Nothing that is wrong with one image stops the others, and memory does not grow with their number:
pictures are found, decoded and handed on a few hundred at a time.
"""

from __future__ import annotations

import glob
import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby, islice
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
from numpy.typing import DTypeLike

from tinycnn._checks import as_count, as_path, is_row, shown
from tinycnn.files.bounded import what_special

from .class_folders import pictures_below
from .conform import fit_images
from .folders import PICTURE_SUFFIXES
from .image_arrays import Array, as_images
from .image_file import bombs_are_errors, check_image_shape, decode, require_pillow
from .parallel import map_in_order
from .parquet import iter_pictures
from .pictures import Source, problem_of
from .pixels import PictureError, convert
from .sources import PICTURE_MAGICS, find_arrays

STANDARD_INPUT = "-"

_MOST_INPUT_BYTES = 1 << 28
_MOST_LINE_BYTES = 1 << 16
_MOST_FAILURES = 1_000  # kept with their words; the others are counted


class Batch(NamedTuple):
    """Some images with their names: a path, or a path and a number, "digits.npz[12]"."""

    names: list[str]
    images: Array  # (n, C, H, W)


class Failure(NamedTuple):
    """An image, or a source of images, that could not be read; `reason` is one sentence."""

    name: str
    reason: str


class _Arrays(NamedTuple):
    """Images that are there as an array."""

    name: str
    images: Array


# What the sources name, in order; a failure is one that was met before anything was decoded.
_Item = Source | _Arrays | Failure


def stream_images(
    sources: Iterable[str | Path | Array] | str | Path | Array,
    image_shape: Sequence[int],
    *,
    dtype: DTypeLike = np.uint8,
    batch_size: int = 256,
    n_threads: int | None = None,
) -> ImageStream:
    """Read images for prediction, batch by batch.

    Parameters
    ----------
    sources : one or several of
        - a picture's path, or a pattern of paths ("photos/*.png", "**" for any folders);
        - a folder, all whose pictures are read, those of its folders too;
        - a file or a folder of arrays that `load` reads, with or without labels: its test part,
          or what there is;
        - "-" for standard input: one picture, or a list of paths, one in each line;
        - an array of images.
    image_shape : (C, H, W)
        What the network takes. Pictures are converted and resized; arrays must have this size.
    dtype : dtype
        Of the images the network learned from; see `read_image`.
    batch_size : int
        Images in a batch, at most.
    n_threads : int, optional
        Threads that decode; by default one per processor, eight at most.

    Returns
    -------
    ImageStream
        To iterate over once.

    Raises
    ------
    ValueError
        If `image_shape` or `batch_size` is none. What is wrong with images is not raised but
        collected in `failures`.
    """
    if isinstance(sources, str | Path | np.ndarray):
        sources = [sources]
    return ImageStream(sources, image_shape, dtype, batch_size, n_threads)


class ImageStream:
    """Batches of images, and what could not be read.

    Attributes
    ----------
    failures : list of Failure
        The first thousand, in the order in which they were met; complete after the iteration.
    n_failures : int
    n_images : int
        Handed on so far.
    """

    def __init__(
        self,
        sources: Iterable[str | Path | Array],
        image_shape: Sequence[int],
        dtype: DTypeLike = np.uint8,
        batch_size: int = 256,
        n_threads: int | None = None,
    ) -> None:
        if not is_row(image_shape) or len(image_shape) != 3:
            raise ValueError(f"stream_images: image_shape {shown(image_shape)} must be (C, H, W)")
        if not isinstance(sources, Iterable):
            raise TypeError(
                f"stream_images: sources: must be paths or arrays, got {shown(sources)}"
            )
        self._sources = sources
        self._image_shape = tuple(as_count("stream_images: image_shape", n, 1) for n in image_shape)
        self._dtype = np.dtype(dtype)
        self._batch_size = as_count("stream_images: batch_size", batch_size, 1)
        if n_threads is not None:
            n_threads = as_count("stream_images: n_threads", n_threads, 1)
        self._n_threads = n_threads
        self.failures: list[Failure] = []
        self.n_failures = 0
        self.n_images = 0

    def __iter__(self) -> Iterator[Batch]:
        """Yield batches in the order of the sources."""
        for are_arrays, items in groupby(self._items(), lambda item: isinstance(item, _Arrays)):
            read = self._slice_arrays if are_arrays else self._decode_pictures
            for batch in read(items):
                self.n_images += len(batch.names)
                yield batch

    def _fail(self, failure: Failure) -> None:
        self.n_failures += 1
        if len(self.failures) < _MOST_FAILURES:
            self.failures.append(failure)

    def _slice_arrays(self, items: Iterable[_Item]) -> Iterator[Batch]:
        for item in items:
            assert isinstance(item, _Arrays)
            if not self._has_the_size(item):
                continue
            for start in range(0, len(item.images), self._batch_size):
                some = item.images[start : start + self._batch_size]
                names = [f"{item.name}[{start + i}]" for i in range(len(some))]
                try:
                    yield Batch(names, fit_images(some, self._image_shape, self._dtype))
                except ValueError as error:
                    self._fail(Failure(item.name, f"{item.name}: {error}"))
                    break

    def _has_the_size(self, item: _Arrays) -> bool:
        """Tell whether arrays have the rows and columns asked for, and note it if not."""
        (H, W), (wanted_h, wanted_w) = item.images.shape[2:], self._image_shape[1:]
        if (wanted_h, wanted_w) == (H, W):
            return True
        reason = (
            f"{item.name}: images of {H} x {W} pixels (height x width) do not fit {wanted_h} x "
            f"{wanted_w}; only pictures are resized, arrays are not"
        )
        self._fail(Failure(item.name, reason))
        return False

    def _decode_pictures(self, items: Iterable[_Item]) -> Iterator[Batch]:
        require_pillow("predict")
        check_image_shape(self._image_shape, "stream_images: image_shape")
        results = map_in_order(self._decode, items, self._n_threads)
        while True:
            # Around each batch, not around the loop: between batches other code runs.
            with bombs_are_errors():
                some = list(islice(results, self._batch_size))
            if not some:
                return
            good = [result for result in some if not isinstance(result, Failure)]
            for result in some:
                if isinstance(result, Failure):
                    self._fail(result)
            if good:
                yield Batch([name for name, _ in good], np.stack([pixels for _, pixels in good]))

    def _decode(self, source: _Item) -> tuple[str, Array] | Failure:
        if isinstance(source, Failure):
            return source
        assert isinstance(source, Source)
        name = str(source.path)
        n_channels, height, width = self._image_shape
        try:
            with source.open() as file:
                pixels = decode(file, name, n_channels, (height, width))
            return name, convert(pixels, self._dtype, name)
        except (PictureError, OSError, MemoryError) as error:
            return Failure(name, problem_of(source, error).message)

    def _items(self) -> Iterator[_Item]:
        """Yield what the sources name, one after the other."""
        for number, source in enumerate(self._sources):
            if isinstance(source, np.ndarray):
                name = f"array {number}"
                yield from _or_failure(name, self._from_array(name, source))
            elif source == STANDARD_INPUT:
                yield from _or_failure(STANDARD_INPUT, self._from_standard_input())
            else:
                yield from self._from_path(str(as_path("stream_images: sources", source)))

    def _from_array(self, name: str, images: Array) -> Iterator[_Item]:
        yield _Arrays(name, as_images(images, name)[0])

    def _from_path(self, name: str) -> Iterator[_Item]:
        """Yield what a path names; where it is bad, others of its pattern or list go on."""
        yield from _or_failure(name, self._found_at(name))

    def _found_at(self, name: str) -> Iterator[_Item]:
        path = Path(name)
        if path.is_dir():
            yield from self._from_folder(path)
        elif path.exists() or path.is_symlink():
            yield from self._from_file(path)
        elif glob.has_magic(name):
            found = False
            for match in sorted(glob.iglob(name, recursive=True)):
                found = True
                yield from self._from_path(match)
            if not found:
                yield Failure(name, f"{name}: no file fits this pattern")
        else:
            yield Failure(name, f"{name}: there is no such file or folder")

    def _from_folder(self, folder: Path) -> Iterator[_Item]:
        images = find_arrays(folder)
        if images is not None:
            yield _Arrays(str(folder), images)
            return
        n_found = 0
        for file in pictures_below(folder):
            n_found += 1
            yield Source(file)
        if n_found == 0:
            yield Failure(str(folder), f"{folder} holds no pictures")

    def _from_file(self, path: Path) -> Iterator[_Item]:
        if path.suffix.lower() in PICTURE_SUFFIXES or what_special(path) is not None:
            yield Source(path)
        elif path.suffix.lower() == ".parquet":
            yield from iter_pictures(path)
        else:
            images = find_arrays(path)
            yield Source(path) if images is None else _Arrays(str(path), images)

    def _from_standard_input(self) -> Iterator[_Item]:
        stream = getattr(sys.stdin, "buffer", None)  # programs without a console have none
        if stream is None:
            raise ValueError("there is no standard input to read: name files or folders")
        start = stream.read(12)
        if start.startswith(PICTURE_MAGICS):
            content = start + stream.read(_MOST_INPUT_BYTES)
            yield Source(Path(STANDARD_INPUT), content)
            return
        for line in _lines(start, stream):
            yield from self._from_path(line)


def _or_failure(name: str, items: Iterator[_Item]) -> Iterator[_Item]:
    """Yield items, and a failure in the place of what is raised on the way."""
    try:
        yield from items
    except (ValueError, OSError, ImportError, MemoryError) as error:
        yield Failure(name, " ".join(str(error).split()) or type(error).__name__)


def _lines(start: bytes, stream: BinaryIO) -> Iterator[str]:
    """Paths in a list, one in each line."""
    line = start
    while True:
        *whole, line = line.split(b"\n")
        for one in whole:
            text = one.strip(b"\r\n").decode(errors="surrogateescape")
            if text:
                yield text
        more = stream.readline(_MOST_LINE_BYTES)
        if not more:
            break
        line += more
    if line.strip():
        yield line.strip(b"\r\n").decode(errors="surrogateescape")
