"""What differs between the commits of tinycnn that ``compare.py`` measures with one peer."""

from collections.abc import Mapping, Sequence
from typing import Any

import tinycnn
from benchmarks.peers import CannotTakePartError
from benchmarks.workloads import IMAGE_SHAPE

BLOCK = ["conv", "relu", "maxpool"]


def make_network(description: Sequence[Mapping[str, Any]]) -> tinycnn.CNN:
    """Build the network of a task.

    Raises
    ------
    CannotTakePartError
        If this commit's networks are no lists of layers, and this list cannot be said otherwise.
    """
    try:
        from tinycnn.layers import make_layer
    except ImportError:
        return tinycnn.CNN(IMAGE_SHAPE, **as_blocks(description))
    return tinycnn.CNN(IMAGE_SHAPE, [make_layer(layer) for layer in description])


def cpu_level() -> str:
    """Name the build of the kernels that is in use."""
    try:
        from tinycnn.fast.dispatch import LEVEL
    except ImportError:
        from tinycnn._dispatch import LEVEL  # type: ignore[no-redef]
    return str(LEVEL)


def as_blocks(description: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Say a list of layers in the arguments that CNN had before it took one.

    Those were blocks of Conv, ReLU and MaxPool and a linear layer, with zeros around the image
    and nowhere else.
    """
    kinds = [layer["kind"] for layer in description]
    convs = [layer for layer in description if layer["kind"] == "conv"]
    if kinds != [*BLOCK * len(convs), "flatten", "linear"]:
        raise CannotTakePartError("before layers, networks had blocks and one linear layer only")
    first, *later = (_padding(conv) for conv in convs)
    if any(later):
        raise CannotTakePartError("before layers, networks had no padding but around the image")
    return {
        "channels": tuple(conv["filters"] for conv in convs),
        "kernel_size": [tuple(conv["kernel_size"]) for conv in convs],
        "n_classes": description[-1]["units"],
        "padding": first,
    }


def _padding(conv: Mapping[str, Any]) -> int:
    """Return the zeros on each side, which must be the same on all."""
    sides = [size // 2 for size in conv["kernel_size"]]
    if conv["padding"] != "same":
        sides = conv["padding"]
    elif any(size % 2 == 0 for size in conv["kernel_size"]):
        raise CannotTakePartError("before layers, padding was the same on all sides")
    if sides[0] != sides[1]:
        raise CannotTakePartError("before layers, padding was the same on all sides")
    return int(sides[0])
