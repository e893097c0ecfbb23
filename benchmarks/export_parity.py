"""How exactly exported networks compute: 32 architectures on 10,000 Fashion-MNIST images.

    python benchmarks/export_parity.py /usr/share/datasets/fashion-mnist

Each network is trained for a moment on 2,000 images, exported to every target and run there: ONNX
Runtime, C in floats and in eight-bit integers (gcc), the page's script (Node) and, where torch is
installed, PyTorch. A row tells the largest difference of a probability from ``predict_proba``, how
many images got another class, and how many logits of the eight-bit C differ from QuantizedCNN.
The folder is that of Debian's package dataset-fashion-mnist.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import tinycnn
from tinycnn import Conv, Dropout, Flatten, Linear, MaxPool, ReLU
from tinycnn.export import pytorch_source, to_c, to_html, to_onnx, to_safetensors
from tinycnn.zoo import MODELS

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from export_c import Library, installed
from export_page import probabilities_of

TRAINING_IMAGES, EPOCHS, CALIBRATION_IMAGES = 2000, 2, 100
GREY, COLOUR = (1, 28, 28), (3, 28, 28)


def blocks(*channels: int, **arguments: Any) -> dict[str, Any]:
    """Return the arguments of the usual network."""
    return {"channels": channels, "n_classes": 10, **arguments}


def conv(*arguments: Any, **keywords: Any) -> list[tinycnn.Layer]:
    """Return a convolution with its ReLU."""
    return [Conv(*arguments, **keywords), ReLU()]


def pooled_first(filters: int) -> list[tinycnn.Layer]:
    """Return a convolution with its ReLU behind the pooling."""
    return [Conv(filters), MaxPool(), ReLU()]


END = [Flatten(), Linear(10)]

# Name, shape of an image, arguments or layers, and whether the input is standardised.
GRID: list[tuple[str, tuple[int, int, int], Any, bool]] = [
    ("8", GREY, blocks(8), True),
    ("8, not standardised", GREY, blocks(8), False),
    ("8, same", GREY, blocks(8, padding="same"), True),
    ("8, same, not standardised", GREY, blocks(8, padding="same"), False),
    ("8, no bias", GREY, blocks(8, bias=False, padding=1), True),
    ("7 of 5 x 5", GREY, blocks(7, kernel_size=5), True),
    ("6 of 3 x 5, padding 2, 1", GREY, blocks(6, kernel_size=(3, 5), padding=(2, 1)), True),
    ("8 of 4 x 4, same", GREY, blocks(8, kernel_size=4, padding="same"), True),
    ("5 of 1 x 1", GREY, blocks(5, kernel_size=1), True),
    ("3 of 11 x 11", GREY, blocks(3, kernel_size=11), True),
    ("8, hidden 32", GREY, blocks(8, hidden=32), True),
    ("8, 16", GREY, blocks(8, 16), True),
    ("8, 16, same", GREY, blocks(8, 16, padding="same"), True),
    ("8, 16, hidden 32", GREY, blocks(8, 16, hidden=32), True),
    ("8, 16, hidden 120, 84, same", GREY, blocks(8, 16, hidden=(120, 84), padding="same"), True),
    ("5, 9, 13, same", GREY, blocks(5, 9, 13, padding="same"), True),
    ("16, 32, 64, padding 1, 0, 0", GREY, blocks(16, 32, 64, padding=[1, 0, 0]), True),
    ("32, 64, 128, padding 1, 0, 0", GREY, blocks(32, 64, 128, padding=[1, 0, 0]), True),
    ("colour: 8", COLOUR, blocks(8), True),
    ("colour: 8, same", COLOUR, blocks(8, padding="same"), True),
    ("colour: 8, 16, padding 2, hidden 20", COLOUR, blocks(8, 16, padding=2, hidden=20), True),
    ("colour: pooled, 8", COLOUR, [MaxPool(), *conv(8, padding=1), MaxPool(), *END], True),
    ("linear alone", GREY, END, True),
    ("linear 64, 32 with dropout", GREY, [Flatten(), Linear(64), ReLU(), Dropout(0.2), Linear(32),
                                          ReLU(), Linear(10)], True),
    ("8 without pool", GREY, [*conv(8), *END], True),
    ("two convs a pool", GREY, [*conv(8, padding="same"), *conv(8), MaxPool(), *END], True),
    ("pool before ReLU", GREY, [*pooled_first(8), *pooled_first(12), *END], True),
    ("no ReLU", GREY, [Conv(6), MaxPool(), Conv(8), MaxPool(), *END], True),
    ("pooled twice", GREY, [*conv(12), MaxPool(), MaxPool(), *END], True),
    ("conv to the classes", GREY, [*conv(8), MaxPool(), *conv(8), MaxPool(),
                                   Conv(10, 5), Flatten()], True),
    ("lenet", GREY, MODELS["lenet"](10), True),
    ("keras-mnist", GREY, MODELS["keras-mnist"](10), True),
]  # fmt: skip


class Data(NamedTuple):
    """Images (N, C, 28, 28) of one number of channels, and their labels."""

    train: np.ndarray
    train_labels: np.ndarray
    test: np.ndarray
    test_labels: np.ndarray


class Parity(NamedTuple):
    """How far a target is from the network.

    Attributes
    ----------
    difference : float
        Largest difference of a probability.
    other_classes : int
        Images that got another class.
    """

    difference: float
    other_classes: int

    def __str__(self) -> str:
        return f"{self.difference:.1e} {self.other_classes:2d}"


def main() -> None:
    """Print a row for each architecture, and what is the worst of all."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("data", help="the folder of Fashion-MNIST's IDX files")
    parser.add_argument("--images", type=int, default=10_000, help="of the test part")
    arguments = parser.parse_args()
    grey = read(arguments.data, arguments.images)
    colour = grey._replace(train=in_colour(grey.train), test=in_colour(grey.test))
    runs = [
        run(name, shape, description, standardised, grey if shape == GREY else colour)
        for name, shape, description, standardised in GRID
    ]
    worst = max(parity.difference for parities, _ in runs for parity in parities.values())
    classes = sum(parity.other_classes for parities, _ in runs for parity in parities.values())
    bits = sum(wrong for _, wrong in runs)
    print(
        f"{len(runs)} networks, {len(grey.test)} images: probabilities {worst:.1e} apart at most, "
    )
    print(f"{classes} other classes, {bits} other eight-bit logits")


def read(folder: str, n_images: int) -> Data:
    """Read Fashion-MNIST."""
    train, test = tinycnn.load(folder, "train"), tinycnn.load(folder, "test")
    few = slice(TRAINING_IMAGES)
    return Data(
        train.images[few], train.labels[few], test.images[:n_images], test.labels[:n_images]
    )


def in_colour(images: np.ndarray) -> np.ndarray:
    """Make three channels of one: the picture, its negative, and the picture turned."""
    return np.concatenate([images, 255 - images, images.swapaxes(2, 3)], axis=1)


def run(
    name: str, shape: tuple[int, int, int], description: Any, standardised: bool, data: Data
) -> tuple[dict[str, Parity], int]:
    """Train a network, run it everywhere, and print its row."""
    keywords = description if isinstance(description, dict) else {"layers": description}
    net = tinycnn.CNN(shape, **keywords)
    if standardised:
        net.standardize(data.train)
    tinycnn.fit(net, data.train, data.train_labels, epochs=EPOCHS, verbose=False, n_threads=1)
    expected = net.predict_proba(data.test)
    quantized = tinycnn.quantize(net, data.train[:CALIBRATION_IMAGES])
    parities = {}
    with tempfile.TemporaryDirectory() as folder:
        for target, probabilities in computed(net, Path(folder), data.test):
            others = (probabilities.argmax(axis=1) != expected.argmax(axis=1)).sum()
            parities[target] = Parity(float(np.abs(probabilities - expected).max()), int(others))
        wrong = other_bits(quantized, Path(folder), data.test)
    points = 100 * (
        quantized.score(data.test, data.test_labels) - net.score(data.test, data.test_labels)
    )
    cells = "  ".join(f"{target} {parity}" for target, parity in parities.items())
    print(f"{name:36} {cells}  int8: {wrong} other logits, accuracy {points:+.2f}", flush=True)
    return parities, wrong


def computed(
    net: tinycnn.CNN, folder: Path, images: np.ndarray
) -> Iterator[tuple[str, np.ndarray]]:
    """Compute probabilities with each target that is installed."""
    import onnxruntime

    to_onnx(net, folder / "net.onnx")
    session = onnxruntime.InferenceSession(folder / "net.onnx", providers=["CPUExecutionProvider"])
    yield "onnx", np.asarray(session.run(["probabilities"], {"images": images})[0])
    to_c(net, folder / "net.h")
    library = Library(folder / "net.h", "net")
    yield "c", library.call("predict_proba", images, net.architecture.n_classes, np.float32)
    if installed("node"):
        to_html(net, folder / "net.html")
        yield "page", probabilities_of(folder / "net.html", images / np.float32(255))
    try:
        import torch
    except ImportError:
        return
    to_safetensors(net, folder / "model.safetensors")
    namespace: dict[str, Any] = {}
    exec(pytorch_source(net, str(folder / "model.safetensors")), namespace)
    yield "torch", namespace["predict_proba"](torch.from_numpy(images)).numpy()


def other_bits(quantized: tinycnn.QuantizedCNN, folder: Path, images: np.ndarray) -> int:
    """Count logits that the eight-bit C computes otherwise than the QuantizedCNN."""
    to_c(quantized, folder / "whole.h")
    library = Library(folder / "whole.h", "whole")
    given = library.call("logits", images, quantized.architecture.n_classes, np.int32)
    return int((given != quantized.logits(images)).sum())


if __name__ == "__main__":
    main()
