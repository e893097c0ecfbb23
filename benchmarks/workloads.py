"""What is worked on: the images, the tasks, and the parameters that all start from.

Nothing here needs tinycnn, whose older commits ``compare.py`` measures have no layers.
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

IMAGES = 60_000
CLASSES = 10
SIDE = 28  # rows and columns of an image
IMAGE_SHAPE = (1, SIDE, SIDE)
LEARNING_RATE = 0.05

FloatArray = npt.NDArray[np.floating[Any]]


class Task(NamedTuple):
    """One job for one peer; travels to the peer's process as JSON.

    Attributes
    ----------
    peer : str
        Module of ``benchmarks.peers``.
    action : str
        What to do; each peer documents its own.
    layers : tuple of dict
        The network, as ``networks.Network.description`` has it; empty if there is none.
    batch_size : int
        Images per update, or per call when predicting.
    n_images : int
        Images in all; fewer than were stored, or more (then they repeat).
    n_threads : int or None
        None leaves the choice to the peer.
    """

    peer: str
    action: str
    layers: tuple[dict[str, Any], ...] = ()
    batch_size: int = 128
    n_images: int = IMAGES
    n_threads: int | None = 1


def initial_parameters(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, FloatArray]:
    """Draw the parameters that every peer starts from, by their names and shapes.

    Weights have the variance 2 / fan-in, those of the last layer 1 / fan-in; biases are 0.
    """
    rng = np.random.default_rng(0)
    weights = [name for name in shapes if name.endswith(".weight")]
    parameters: dict[str, FloatArray] = {}
    for name, shape in shapes.items():
        if name in weights:
            gain = 1 if name == weights[-1] else 2
            scale = math.sqrt(gain / math.prod(shape[1:]))
            parameters[name] = rng.normal(0, scale, shape).astype(np.float32)
        else:
            parameters[name] = np.zeros(shape, np.float32)
    return parameters


def store_data(folder: Path, n_images: int, source: Path | None) -> int:
    """Save the images and labels that all peers will load; return how many there are."""
    images, labels = make_images(n_images) if source is None else read_images(source, n_images)
    np.save(folder / "images.npy", images)
    np.save(folder / "labels.npy", labels)
    return len(images)


def load_data(folder: Path, n_images: int) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """Load the stored images (N,1,28,28) and labels (N,), over and over until they are N."""
    stored_images = np.load(folder / "images.npy")
    stored_labels = np.load(folder / "labels.npy")
    images = np.empty((n_images, *stored_images.shape[1:]), np.uint8)
    labels = np.empty(n_images, np.int64)
    for start in range(0, n_images, len(stored_images)):
        count = min(len(stored_images), n_images - start)
        images[start : start + count] = stored_images[:count]
        labels[start : start + count] = stored_labels[:count]
    return images, labels


def as_floats(images: npt.NDArray[np.uint8]) -> FloatArray:
    """Scale bytes to floats, 0 to 1."""
    return images * np.float32(1 / 255)


def make_images(n_images: int) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """Generate images like Fashion-MNIST's: a shape for each class, about half the pixels zero.

    Every image is its class's shape, moved by up to two pixels either way, in a brightness and
    with a texture of its own. A tenth of the labels is drawn anew, so that there is always
    something left to learn: a network that makes no errors has no gradients either.
    """
    rng = np.random.default_rng(0)
    shapes = _class_shapes(rng)
    labels = rng.integers(0, CLASSES, n_images)
    images = np.empty((n_images, 1, SIDE, SIDE), np.uint8)
    for start in range(0, n_images, 4096):
        block = slice(start, start + 4096)
        images[block, 0] = _draw(shapes[labels[block]], rng)
    redrawn = rng.random(n_images) < 0.1
    labels[redrawn] = rng.integers(0, CLASSES, redrawn.sum())
    return images, labels


def _class_shapes(rng: np.random.Generator) -> FloatArray:
    """Draw smooth random shapes (CLASSES, SIDE, SIDE) in 0..1 that leave half the image empty."""
    frequencies = np.fft.rfft2(rng.normal(size=(CLASSES, SIDE, SIDE)))
    rows, columns = np.fft.fftfreq(SIDE)[:, None], np.fft.rfftfreq(SIDE)[None, :]
    smooth = np.fft.irfft2(frequencies * np.exp(-300 * (rows**2 + columns**2)), s=(SIDE, SIDE))
    above = smooth - np.median(smooth, axis=(1, 2), keepdims=True)
    above = np.maximum(above, 0)
    shapes: FloatArray = (above / above.max(axis=(1, 2), keepdims=True)).astype(np.float32)
    return shapes


def _draw(shapes: FloatArray, rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """Vary shapes (N, SIDE, SIDE), one an image, and make bytes of them."""
    n = len(shapes)
    rows = (np.arange(SIDE) + rng.integers(-2, 3, (n, 1))) % SIDE
    columns = (np.arange(SIDE) + rng.integers(-2, 3, (n, 1))) % SIDE
    moved = shapes[np.arange(n)[:, None, None], rows[:, :, None], columns[:, None, :]]
    brightness = rng.uniform(0.4, 1.0, (n, 1, 1)).astype(np.float32)
    texture = rng.uniform(0.3, 1.0, moved.shape).astype(np.float32)
    grey = np.ceil(255 * np.sqrt(moved) * brightness * texture)
    drawn: npt.NDArray[np.uint8] = grey.astype(np.uint8)
    return drawn


def read_images(source: Path, n_images: int) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """Read at most n_images of the training images in a folder of IDX files."""
    import tinycnn

    dataset = tinycnn.load(source)
    images, labels = np.asarray(dataset.images), np.asarray(dataset.labels)
    if images.dtype != np.uint8 or images.shape[1:] != (1, SIDE, SIDE) or labels.max() >= CLASSES:
        raise ValueError(
            f"{source}: needs uint8 images (N, 1, {SIDE}, {SIDE}) of at most {CLASSES} classes, "
            f"got {images.dtype} {images.shape} of {labels.max() + 1}"
        )
    return images[:n_images], labels[:n_images].astype(np.int64)
