"""What every reader returns, and the checks every source passes on the way there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tinycnn._checks import shown

from .image_arrays import Array, as_images
from .label_arrays import flatten_labels, number_labels


@dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """Images with their labels; unpacks as ``images, labels, class_names = dataset``.

    Attributes
    ----------
    images : ndarray, (N, C, H, W)
        uint8 on 0..255; uint16 as the file counts; or float32 / float64, on 0..1 or as the file
        has them. C-contiguous, native byte order.
    labels : ndarray of int64, (N,)
        Class of each image, in [0, len(class_names)).
    class_names : tuple of str
        Name of each class, by its label.
    files : tuple of str, N or none
        File of each image, relative to the path that was loaded, where every image has its own.
    notes : tuple of str
        What a user should know about the reading: files passed over, classes without images,
        how an unusual layout was understood. One sentence each.
    """

    images: Array
    labels: NDArray[np.int64]
    class_names: tuple[str, ...]
    files: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def __iter__(self) -> Iterator[Any]:
        """Yield images, labels and class names, so that a dataset unpacks into these three."""
        yield self.images
        yield self.labels
        yield self.class_names

    def __len__(self) -> int:
        """Return the number of images, N."""
        return len(self.images)

    def __repr__(self) -> str:
        """Say how many images there are, of which shape and depth, and how many classes."""
        N, *shape = self.images.shape
        return (
            f"<Dataset: {N} images {tuple(shape)} of {self.images.dtype}, "
            f"{len(self.class_names)} classes, {len(self.notes)} notes>"
        )

    def take(self, index: ArrayLike) -> Dataset:
        """Return the images at `index`, (M,) of int or (N,) of bool, with labels and files.

        The names of the classes stay, even of those that lose all their images; so do the notes.
        """
        try:
            chosen = np.atleast_1d(np.arange(len(self))[np.asarray(index)])
        except IndexError as error:
            raise ValueError(
                f"take: index: must be whole numbers below {len(self)}, or as many bools, got "
                f"{shown(index)}"
            ) from error
        files = tuple(self.files[i] for i in chosen) if self.files else ()
        return replace(self, images=self.images[chosen], labels=self.labels[chosen], files=files)


def make_dataset(
    images: Array,
    labels: Array,
    class_names: Sequence[str] | None,
    images_source: str,
    labels_source: str,
    *,
    train_labels: Array | None = None,
) -> Dataset:
    """Check images and labels as a file holds them, and pair them.

    Parameters
    ----------
    images : ndarray
        Of a layout and on a scale that `as_images` knows.
    labels : ndarray
        Of a layout that `flatten_labels` knows.
    class_names : sequence of str or None
        None names the classes by the labels themselves.
    images_source, labels_source : str
        Where they come from; error messages begin with it.
    train_labels : ndarray, optional
        Labels of the training part, if this is another one: they number the classes.

    Raises
    ------
    ValueError
        If either is not what it should be, or they do not fit together.
    """
    checked_images, notes = as_images(images, images_source)
    flat_labels = flatten_labels(labels, labels_source)
    _check_lengths(images, flat_labels, images_source, labels_source)
    if train_labels is not None:
        train_labels = flatten_labels(train_labels, labels_source)
    numbers, names, label_notes = number_labels(
        flat_labels, class_names, labels_source, train_labels
    )
    return Dataset(checked_images, numbers, names, notes=(*notes, *label_notes))


def _check_lengths(images: Array, labels: Array, images_source: str, labels_source: str) -> None:
    if len(images) == len(labels):
        return
    if images.ndim > 2 and images.shape[-1] == len(labels):
        raise ValueError(
            f"{images_source} has shape {images.shape}, with the images along the last axis: save "
            "np.moveaxis(images, -1, 0)"
        )
    raise ValueError(
        f"{images_source} holds {len(images)} images but {labels_source} holds {len(labels)} "
        "labels: every image needs its label"
    )
