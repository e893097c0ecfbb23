"""Colour and shape
================

A set of small pictures that neither colour nor shape alone can sort.

Run it as ``python examples/colour_shapes.py``; it takes half a minute and needs nothing
but tinycnn. 10,000 pictures of 32 x 32 are drawn: a disc, a square, a triangle or a cross, in red,
green or blue, of any size, at any place and angle, on a background of another colour, with noise
and changing light. The twelve classes are the pairs of shape and colour.
"""

import argparse

import numpy as np

import tinycnn

SHAPES = ("disc", "square", "triangle", "cross")
COLOURS = ("red", "green", "blue")
CLASS_NAMES = [f"{colour} {shape}" for shape in SHAPES for colour in COLOURS]
SIDE = 32


def draw_pictures(n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Draw n pictures (n, 3, SIDE, SIDE) of bytes, and their classes (n,)."""
    labels = rng.integers(0, len(CLASS_NAMES), n)
    pictures = np.stack([draw_picture(*divmod(label, len(COLOURS)), rng) for label in labels])
    return pictures, labels


def draw_picture(shape: int, colour: int, rng: np.random.Generator) -> np.ndarray:
    """Draw one picture (3, SIDE, SIDE): the shape in its colour, everything else by chance."""
    background = rng.uniform(0, 160, 3)
    background[colour] *= 0.5  # else it could be the colour of the shape
    foreground = rng.uniform(0, 90, 3)
    foreground[colour] = rng.uniform(140, 230)
    inside = mask(SHAPES[shape], rng)
    picture = np.where(inside, foreground[:, None, None], background[:, None, None])
    light = rng.uniform(0.7, 1.1)
    return np.clip(light * picture + rng.normal(0, 10, picture.shape), 0, 255).astype(np.uint8)


def mask(shape: str, rng: np.random.Generator) -> np.ndarray:
    """Tell which pixels (SIDE, SIDE) lie inside a shape of any size, place and angle."""
    size = rng.uniform(7, 12)
    row, column = rng.uniform(size + 1, SIDE - size - 1, 2)
    rows, columns = np.mgrid[:SIDE, :SIDE]
    angle = rng.uniform(0, 2 * np.pi)
    u = (np.cos(angle) * (rows - row) + np.sin(angle) * (columns - column)) / size
    v = (np.cos(angle) * (columns - column) - np.sin(angle) * (rows - row)) / size
    if shape == "disc":
        return u**2 + v**2 < 0.8**2
    if shape == "square":
        return np.maximum(abs(u), abs(v)) < 0.7
    if shape == "triangle":
        return (u < 0.5) & (np.sqrt(3) * abs(v) < u + 1)
    return (np.minimum(abs(u), abs(v)) < 0.25) & (np.maximum(abs(u), abs(v)) < 0.95)


def shuffle_pixels(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Take the shape away: shuffle the places of each picture's pixels, and keep their colours."""
    places = rng.permuted(np.tile(np.arange(SIDE * SIDE), (len(images), 1, 1)), axis=2)
    flat = images.reshape(*images.shape[:2], -1)
    return np.take_along_axis(flat, places, axis=2).reshape(images.shape)


def accuracy_of(images: np.ndarray, labels: np.ndarray, n_train: int, arguments) -> float:
    """Train a network of three blocks on the first images; return its accuracy on the others."""
    net = tinycnn.CNN(images.shape[1:], channels=(16, 32, 32), n_classes=len(CLASS_NAMES))
    net.standardize(images[:n_train])
    tinycnn.fit(
        net,
        images[:n_train],
        labels[:n_train],
        epochs=arguments.epochs,
        batch_size=64,
        optimizer=tinycnn.Adam(lr=0.004),
        schedule=tinycnn.OneCycle(),
        augmentation=tinycnn.Augmentation(shift=2, flip=True),
        verbose=False,
    )
    return net.score(images[n_train:], labels[n_train:])


def main() -> None:
    """Draw, train, and show that it takes both colour and shape."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pictures", type=int, default=10_000, help="drawn in all (%(default)s)")
    parser.add_argument("--epochs", type=int, default=15, help="of training (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the pictures (%(default)s)")
    arguments = parser.parse_args()

    images, labels = draw_pictures(arguments.pictures, np.random.default_rng(arguments.seed))
    n_train = len(images) * 4 // 5
    print(f"{n_train} pictures to train on, {len(images) - n_train} for the test, 12 classes")
    grey = images.mean(axis=1, keepdims=True).astype(np.uint8)
    for name, pictures in (
        ("in colour", images),
        ("in grey", grey),
        ("pixels shuffled", shuffle_pixels(images, np.random.default_rng(arguments.seed))),
    ):
        print(f"{name:16}{accuracy_of(pictures, labels, n_train, arguments):6.1%}")


if __name__ == "__main__":
    main()
