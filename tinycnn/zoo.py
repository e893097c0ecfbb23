"""Networks that people know by name, as lists of layers; for images of other sizes as well.

Each function takes the number of classes and returns the layers. To add a network is to write
such a function and to name it in :data:`MODELS`.
"""

from __future__ import annotations

from collections.abc import Callable

from tinycnn.layers import Conv, Dropout, Flatten, Layer, Linear, MaxPool, ReLU


def lenet(n_classes: int) -> list[Layer]:
    """LeNet-5 as it is built today, with ReLU and max pooling.

    For images of 28 x 28 and larger. After LeCun et al., "Gradient-Based Learning Applied to
    Document Recognition", 1998.
    """
    return [
        *[Conv(6, 5, padding=2), ReLU(), MaxPool()],
        *[Conv(16, 5), ReLU(), MaxPool()],
        *[Flatten(), Linear(120), ReLU(), Linear(84), ReLU(), Linear(n_classes)],
    ]


def pytorch_cifar(n_classes: int) -> list[Layer]:
    """The network of PyTorch's tutorial "Training a Classifier", for colour images of 32 x 32."""
    return [
        *[Conv(6, 5), ReLU(), MaxPool(), Conv(16, 5), ReLU(), MaxPool()],
        *[Flatten(), Linear(120), ReLU(), Linear(84), ReLU(), Linear(n_classes)],
    ]


def pytorch_mnist(n_classes: int) -> list[Layer]:
    """The network of PyTorch's MNIST example, for grey images of 28 x 28."""
    return [
        *[Conv(32, 3), ReLU(), Conv(64, 3), ReLU(), MaxPool(), Dropout(0.25)],
        *[Flatten(), Linear(128), ReLU(), Dropout(0.5), Linear(n_classes)],
    ]


def keras_mnist(n_classes: int) -> list[Layer]:
    """The network of Keras' "Simple MNIST convnet", for grey images of 28 x 28."""
    return [
        *[Conv(32, 3), ReLU(), MaxPool(), Conv(64, 3), ReLU(), MaxPool()],
        *[Flatten(), Dropout(0.5), Linear(n_classes)],
    ]


def tensorflow_cifar(n_classes: int) -> list[Layer]:
    """The network of TensorFlow's tutorial "Convolutional Neural Network", for 32 x 32."""
    return [
        *[Conv(32, 3), ReLU(), MaxPool(), Conv(64, 3), ReLU(), MaxPool(), Conv(64, 3), ReLU()],
        *[Flatten(), Linear(64), ReLU(), Linear(n_classes)],
    ]


def vgg(n_classes: int) -> list[Layer]:
    """Three blocks of two convolutions each, as VGG stacks them; for 16 x 16 and larger.

    After Simonyan and Zisserman, "Very Deep Convolutional Networks for Large-Scale Image
    Recognition", 2014, arXiv:1409.1556.
    """
    blocks: list[Layer] = []
    for filters in (32, 64, 128):
        for _ in range(2):
            blocks += [Conv(filters, 3, padding="same"), ReLU()]
        blocks.append(MaxPool())
    return [*blocks, Flatten(), Dropout(0.5), Linear(128), ReLU(), Linear(n_classes)]


MODELS: dict[str, Callable[[int], list[Layer]]] = {
    "lenet": lenet,
    "pytorch-mnist": pytorch_mnist,
    "pytorch-cifar": pytorch_cifar,
    "keras-mnist": keras_mnist,
    "tensorflow-cifar": tensorflow_cifar,
    "vgg": vgg,
}


def make_layers(name: str, n_classes: int) -> list[Layer]:
    """List the layers of the network of a name.

    Parameters
    ----------
    name : str
        One of :data:`MODELS`.
    n_classes : int
        Units of the last layer.

    Raises
    ------
    ValueError
        If there is no such network.
    """
    if name not in MODELS:
        raise ValueError(f"model: must be one of {', '.join(MODELS)}, got {name!r}")
    return MODELS[name](n_classes)
