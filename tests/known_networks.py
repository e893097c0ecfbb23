"""Small-image networks of tutorials, examples and papers, as lists of layers.

Each has the structure of the original: kinds and order of layers, kernel sizes, padding, rates. The
images are smaller and the layers narrower, so that all of them together train in a moment. Strides
are a Conv and a Subsample; an output of one sigmoid is two classes, which is the same function.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from own_layers import (
    GELU,
    AvgPool,
    BatchNorm,
    Depthwise,
    Dropout2d,
    GlobalAvgPool,
    LeakyReLU,
    Residual,
    Scale,
    Sigmoid,
    Subsample,
    Tanh,
    WindowAvgPool,
    WindowMaxPool,
)

from tinycnn import CNN, Conv, Dropout, Flatten, Layer, Linear, MaxPool, ReLU


class KnownNetwork(NamedTuple):
    """A network and the (C, H, W) of its images."""

    image_shape: tuple[int, int, int]
    layers: list[Layer]


def conv(filters: int, kernel_size: int = 3, padding: int | str = 0) -> list[Layer]:
    """Conv and ReLU."""
    return [Conv(filters, kernel_size, padding), ReLU()]


def block(filters: int, kernel_size: int = 3, padding: int | str = 0) -> list[Layer]:
    """Conv, ReLU and MaxPool."""
    return [*conv(filters, kernel_size, padding), MaxPool()]


def linear(units: int) -> list[Layer]:
    """Linear and ReLU."""
    return [Linear(units), ReLU()]


def normed(filters: int, kernel_size: int = 3, padding: int | str = 0) -> list[Layer]:
    """Conv and batch norm, which has the bias."""
    return [Conv(filters, kernel_size, padding, bias=False), BatchNorm()]


def leaky(filters: int, kernel_size: int = 3) -> list[Layer]:
    """Conv, batch norm and leaky ReLU, of the same size."""
    return [*normed(filters, kernel_size, "same"), LeakyReLU(0.1)]


def separable(filters: int) -> list[Layer]:
    """Depthwise conv, 1x1 conv and batch norm."""
    return [Depthwise(), *normed(filters, 1)]


def basic_block(filters: int, stride: int = 1) -> list[Layer]:
    """Two convs with a shortcut, as in ResNet-18."""
    step: list[Layer] = [Subsample(stride)] if stride > 1 else []
    main = (
        Conv(filters, 3, 1, bias=False),
        *step,
        BatchNorm(),
        ReLU(),
        *normed(filters, 3, 1),
    )
    shortcut = (Conv(filters, 1, bias=False), *step, BatchNorm()) if step else ()
    return [Residual(main, shortcut), ReLU()]


def xception_block(filters: int) -> list[Layer]:
    """Two separable convs and a pool, with a shortcut."""
    main = (ReLU(), *separable(filters), ReLU(), *separable(filters))
    return [Residual((*main, WindowMaxPool(3, 2, ceil=True)), (Conv(filters, 1), Subsample(2)))]


WITH_LAYERS_ALONE = {
    "LeNet modern (Flux)": KnownNetwork(
        (1, 16, 16), [*block(3, 5), *block(4, 5), Flatten(), *linear(12), *linear(8), Linear(10)]
    ),
    "Caffe LeNet": KnownNetwork(
        (1, 16, 16),
        [Conv(3, 5), MaxPool(), Conv(5, 5), MaxPool(), Flatten(), *linear(16), Linear(10)],
    ),
    "PyTorch MNIST example": KnownNetwork(
        (1, 10, 10),
        [
            *conv(4), *block(6), Dropout(0.25), Flatten(), *linear(12), Dropout(0.5), Linear(10),
        ],
    ),
    "PyTorch CIFAR-10 tutorial": KnownNetwork(
        (3, 16, 16), [*block(3, 5), *block(5, 5), Flatten(), *linear(12), *linear(8), Linear(10)]
    ),
    "Keras simple MNIST convnet": KnownNetwork(
        (1, 12, 12), [*block(4), *block(6), Flatten(), Dropout(0.5), Linear(10)]
    ),
    "Keras CIFAR-10 CNN": KnownNetwork(
        (3, 16, 16),
        [
            *conv(4, 3, "same"), *block(4), Dropout(0.25),
            *conv(6, 3, "same"), *block(6), Dropout(0.25),
            Flatten(), *linear(12), Dropout(0.5), Linear(10),
        ],
    ),
    "TensorFlow CNN tutorial": KnownNetwork(
        (3, 18, 18), [*block(4), *block(6), *conv(6), Flatten(), *linear(8), Linear(10)]
    ),
    "TensorFlow image classification": KnownNetwork(
        (3, 12, 14),
        [
            *block(3, 3, "same"), *block(4, 3, "same"), *block(6, 3, "same"), Dropout(0.2),
            Flatten(), *linear(8), Linear(5),
        ],
    ),
    "Chollet cats vs dogs, 1st edition": KnownNetwork(
        (3, 46, 46),
        [*block(2), *block(3), *block(4), *block(4), Flatten(), *linear(8), Linear(2)],
    ),
    "Kaggle digit recognizer": KnownNetwork(
        (1, 12, 12),
        [
            *conv(4, 5, "same"), *block(4, 5, "same"), Dropout(0.25),
            *conv(6, 3, "same"), *block(6, 3, "same"), Dropout(0.25),
            Flatten(), *linear(12), Dropout(0.5), Linear(10),
        ],
    ),
    "Fashion-MNIST README convnet": KnownNetwork(
        (1, 12, 12),
        [
            *block(4, 5, "same"), *block(6, 5, "same"),
            Flatten(), *linear(16), Dropout(0.4), Linear(10),
        ],
    ),
    "KMNIST benchmark": KnownNetwork(
        (1, 12, 12),
        [*conv(3), *block(4), Dropout(0.25), Flatten(), *linear(12), Dropout(0.5), Linear(10)],
    ),
    "Nielsen dbl_conv_relu": KnownNetwork(
        (1, 16, 16),
        [
            Conv(4, 5), MaxPool(), ReLU(), Conv(6, 5), MaxPool(), ReLU(),
            Flatten(), *linear(10), Linear(10),
        ],
    ),
    "Nielsen double_fc_dropout": KnownNetwork(
        (1, 16, 16),
        [
            Conv(4, 5), MaxPool(), ReLU(), Conv(6, 5), MaxPool(), ReLU(), Flatten(),
            *linear(12), Dropout(0.5), *linear(12), Dropout(0.5), Linear(10),
        ],
    ),
    "CS231n ThreeLayerConvNet": KnownNetwork(
        (3, 12, 12), [*block(4, 7, 3), Flatten(), *linear(8), Linear(10)]
    ),
    "tiny-dnn CIFAR-10": KnownNetwork(
        (3, 16, 16),
        [
            Conv(3, 5, "same"), MaxPool(), ReLU(), Conv(4, 5, "same"), MaxPool(), ReLU(),
            Conv(6, 5, "same"), MaxPool(), ReLU(), Flatten(), Linear(8), Linear(10),
        ],
    ),
    "KANN mnist-cnn": KnownNetwork(
        (1, 10, 12),
        [*conv(4), *block(4), Dropout(0.25), Flatten(), *linear(12), Dropout(0.5), Linear(10)],
    ),
    "Edge Impulse default image block": KnownNetwork(
        (3, 12, 12),
        [*block(6, 3, "same"), *block(4, 3, "same"), Flatten(), Dropout(0.25), Linear(3)],
    ),
    "Edge Impulse courseware Fashion CNN": KnownNetwork(
        (1, 12, 12), [*block(6), *block(6), Flatten(), *linear(6), Linear(10)]
    ),
    "Arduino digits (TFLM)": KnownNetwork(
        (1, 12, 12), [*block(3), *block(5), Flatten(), *linear(8), Linear(10)]
    ),
    "ConvNetJS CIFAR-10": KnownNetwork(
        (3, 16, 16), [*block(4, 5, 2), *block(5, 5, 2), *block(5, 5, 2), Flatten(), Linear(10)]
    ),
    "train_mnist_fast final": KnownNetwork(
        (1, 14, 14),
        [
            Conv(4, 5), MaxPool(), ReLU(), Conv(6, 3), MaxPool(), ReLU(),
            Flatten(), *linear(16), Linear(10),
        ],
    ),
    "CS50 AI traffic": KnownNetwork(
        (3, 10, 10), [*block(4), Flatten(), *linear(8), Dropout(0.5), Linear(43)]
    ),
}  # fmt: skip

WITH_LAYERS_OF_ONES_OWN = {
    "LeNet-5 1998": KnownNetwork(
        (1, 16, 16),
        [
            Conv(3, 5), Tanh(), AvgPool(), Conv(4, 5), Tanh(), AvgPool(),
            Flatten(), Linear(12), Tanh(), Linear(8), Tanh(), Linear(10),
        ],
    ),
    "LeNet d2l.ai": KnownNetwork(
        (1, 16, 16),
        [
            Conv(3, 5, 2), Sigmoid(), AvgPool(), Conv(4, 5), Sigmoid(), AvgPool(),
            Flatten(), Linear(12), Sigmoid(), Linear(8), Sigmoid(), Linear(10),
        ],
    ),
    "Chollet MNIST, 3rd edition": KnownNetwork(
        (1, 20, 20), [*block(4), *block(6), *conv(8), GlobalAvgPool(), Linear(10)]
    ),
    "Chollet cats vs dogs, 3rd edition": KnownNetwork(
        (3, 78, 78),
        [
            *block(2), *block(2), *block(3), *block(3), *conv(4),
            GlobalAvgPool(), Dropout(0.25), Linear(2),
        ],
    ),
    "Keras image classification from scratch": KnownNetwork(
        (3, 32, 32),
        [
            Conv(3, 3, "same"), Subsample(2), BatchNorm(), ReLU(),
            *xception_block(4), *xception_block(5), *xception_block(6), *xception_block(6),
            *separable(8), ReLU(), GlobalAvgPool(), Dropout(0.25), Linear(2),
        ],
    ),
    "fastai book simple_cnn": KnownNetwork(
        (1, 28, 28),
        [
            Conv(2, 3, 1), Subsample(2), ReLU(), Conv(3, 3, 1), Subsample(2), ReLU(),
            Conv(4, 3, 1), Subsample(2), ReLU(), Conv(6, 3, 1), Subsample(2), ReLU(),
            Conv(2, 3, 1), Subsample(2), Flatten(),
        ],
    ),
    "MedMNIST baseline ResNet-18": KnownNetwork(
        (3, 16, 16),
        [
            *normed(3, 3, 1), ReLU(), *basic_block(3), *basic_block(3),
            *basic_block(4, 2), *basic_block(4), *basic_block(5, 2), *basic_block(5),
            *basic_block(6, 2), *basic_block(6), GlobalAvgPool(), Linear(9),
        ],
    ),
    "darknet cifar": KnownNetwork(
        (3, 12, 12),
        [
            *leaky(3), *leaky(3), *leaky(3), MaxPool(), Dropout(0.5),
            *leaky(4), *leaky(4), *leaky(4), MaxPool(), Dropout(0.5),
            *leaky(6), *leaky(6), *leaky(6), Dropout(0.5), *leaky(10, 1), GlobalAvgPool(),
        ],
    ),
    "NNoM mnist-simple": KnownNetwork(
        (1, 12, 12),
        [
            *block(3, 3, "same"), *block(4, 3, "same"), *conv(6, 3, "same"), Dropout(0.2),
            WindowMaxPool(2, 2, ceil=True), Flatten(), Linear(8), Dropout(0.2), ReLU(), Linear(10),
        ],
    ),
    "TFLM micro_speech tiny_conv": KnownNetwork(
        (1, 25, 20),
        [Conv(3, (10, 8), "same"), Subsample(2), ReLU(), Dropout(0.5), Flatten(), Linear(4)],
    ),
    "TinyMaix, emlearn-micropython mnist": KnownNetwork(
        (1, 28, 28),
        [
            Conv(2), Subsample(2), BatchNorm(), ReLU(), Conv(3), Subsample(2), BatchNorm(), ReLU(),
            Conv(4), Subsample(2), BatchNorm(), ReLU(), GlobalAvgPool(), Linear(10),
        ],
    ),
    "ConvNetJS MNIST": KnownNetwork(
        (1, 12, 12),
        [*block(4, 5, 2), *conv(5, 5, 2), WindowMaxPool(3, 3), Flatten(), Linear(10)],
    ),
    "airbench94": KnownNetwork(
        (3, 32, 32),
        [
            Conv(4, 2), GELU(),
            Conv(4, 3, "same"), MaxPool(), BatchNorm(), GELU(),
            Conv(4, 3, "same"), BatchNorm(), GELU(),
            Conv(5, 3, "same"), MaxPool(), BatchNorm(), GELU(),
            Conv(5, 3, "same"), BatchNorm(), GELU(),
            Conv(5, 3, "same"), MaxPool(), BatchNorm(), GELU(),
            Conv(5, 3, "same"), BatchNorm(), GELU(),
            WindowMaxPool(3, 3), Flatten(), Linear(10, bias=False), Scale(1 / 5),
        ],
    ),
    "skorch MNIST notebook": KnownNetwork(
        (1, 14, 14),
        [
            Conv(4), MaxPool(), ReLU(), Conv(6), Dropout2d(0.5), MaxPool(), ReLU(),
            Flatten(), Linear(10), Dropout(0.5), ReLU(), Linear(10),
        ],
    ),
    "MnistSimpleCNN M3": KnownNetwork(
        (1, 22, 22),
        [
            *normed(2), ReLU(), *normed(2), ReLU(), *normed(3), ReLU(), *normed(3), ReLU(),
            *normed(3), ReLU(), *normed(4), ReLU(), *normed(4), ReLU(), *normed(4), ReLU(),
            *normed(5), ReLU(), *normed(5), ReLU(), Flatten(), Linear(10, bias=False), BatchNorm(),
        ],
    ),
    "Caffe cifar10_quick": KnownNetwork(
        (3, 16, 16),
        [
            Conv(4, 5, 2), WindowMaxPool(3, 2, ceil=True), ReLU(),
            *conv(4, 5, 2), WindowAvgPool(3, 2, ceil=True),
            *conv(5, 5, 2), WindowAvgPool(3, 2, ceil=True), Flatten(), Linear(8), Linear(10),
        ],
    ),
    "Flax MNIST": KnownNetwork(
        (1, 12, 12),
        [
            Conv(4, 3, "same"), Dropout(0.25), BatchNorm(), ReLU(), AvgPool(),
            Conv(6, 3, "same"), BatchNorm(), ReLU(), AvgPool(),
            Flatten(), Linear(12), Dropout(0.5), ReLU(), Linear(10),
        ],
    ),
    "tinygrad beautiful_mnist": KnownNetwork(
        (1, 20, 20),
        [
            *conv(4, 5), *conv(4, 5), BatchNorm(), MaxPool(),
            *conv(6), *conv(6), BatchNorm(), MaxPool(), Flatten(), Linear(10),
        ],
    ),
}  # fmt: skip

KNOWN_NETWORKS = WITH_LAYERS_ALONE | WITH_LAYERS_OF_ONES_OWN

N_IMAGES = 3


def make(name: str) -> tuple[CNN, np.ndarray, np.ndarray]:
    """Make a network in float64 with images and labels, of the same values on every machine."""
    image_shape, layers = KNOWN_NETWORKS[name]
    net = CNN(image_shape, layers, dtype="float64")
    for seed, (parameter, values) in enumerate(net.parameters.items()):
        drawn = spread(values.shape, seed)
        if values.ndim > 1:
            values[...] = drawn * np.sqrt(24 / values[0].size)
        else:  # of batch norm, weight and variance start at 1
            values[...] = drawn + (not parameter.endswith(("bias", "mean")))
    images = spread((N_IMAGES, *image_shape), len(net.parameters))
    return net, images, np.arange(N_IMAGES) % net.architecture.n_classes


def spread(shape: tuple[int, ...], seed: int) -> np.ndarray:
    """Spread numbers over -0.5 to 0.5 by whole-number arithmetic, which is the same everywhere."""
    numbers = np.arange(1, np.prod(shape, dtype=int) + 1, dtype=np.uint64) + np.uint64(997 * seed)
    mixed = (numbers * numbers * np.uint64(2654435761)) % np.uint64(2**32)
    return (mixed.astype(float) / 2**32 - 0.5).reshape(shape)
