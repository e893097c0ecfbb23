"""What the tests of the command line share: calls, and small data as people have it."""

import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import tinycnn
from tinycnn import cli


def run(*arguments):
    """Run a command in this process; return its exit code."""
    return cli.main([str(argument) for argument in arguments])


def run_apart(*arguments, **options):
    """Run a command in a process of its own; return how it ended and what it printed."""
    command = [sys.executable, "-m", "tinycnn", *map(str, arguments)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    return subprocess.run(command, timeout=120, check=False, **pipes)


def write_idx(path, array):
    """Write a uint8 array as an IDX file."""
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
    path.write_bytes(header + array.tobytes())


def halves(n, rng, side=8):
    """Make images (n, side, side) whose left half is bright, class 0, or whose right half is."""
    labels = (np.arange(n) % 2).astype(np.uint8)
    images = rng.integers(0, 50, (n, side, side), dtype=np.uint8)
    for image, label in zip(images, labels, strict=True):
        image[:, side // 2 * label : side // 2 * (label + 1)] += 200
    return images, labels


def save_pictures(folder, images, labels, names=("left", "right")):
    """Save images as PNG in one folder a class; skip the test without Pillow."""
    image_module = pytest.importorskip("PIL.Image")
    for i, (image, label) in enumerate(zip(images, labels, strict=True)):
        place = Path(folder) / names[label]
        place.mkdir(parents=True, exist_ok=True)
        image_module.fromarray(image).save(place / f"{i:03}.png")
    return Path(folder)


def only_line(text):
    """Return the only line of a text."""
    [line] = text.splitlines()
    return line


def network_of_halves(epochs, **options):
    """Train a network to tell :func:`halves` apart: the more epochs, the surer it is."""
    images, labels = halves(60, np.random.default_rng(0))
    net = tinycnn.CNN((1, 8, 8), channels=(2,), n_classes=2, **options)
    net.standardize(images[:, None])
    tinycnn.fit(net, images[:, None], labels, epochs=epochs, verbose=False)
    return net
