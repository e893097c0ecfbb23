"""What a network is made of: its shapes, from the image to the logits, and their rules."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from tinycnn._checks import as_count

# The fused kernels hold so many; each block halves the image, so no image is large enough for more.
MAX_BLOCKS = 16

# Values that a block after the first may be given of an image: the kernels count them in 32 bits,
# and its frames, which can be eight times as large.
MAX_MAP_VALUES = 2**27


class Architecture(NamedTuple):
    """What a network is made of, apart from the values of its parameters.

    Attributes
    ----------
    image_shape : (C, H, W)
        Channels, rows and columns of every image.
    channels : tuple of int
        Filters of each block.
    kernel_sizes : tuple of (R, S)
        Rows and columns of each block's filters.
    n_classes : int
    bias : bool
        Whether conv and linear layers add a bias.
    hidden : int
        Units of the hidden fully connected layer, 0 where there is none.
    padding : int
        Zeros around every image.
    """

    image_shape: tuple[int, int, int]
    channels: tuple[int, ...]
    kernel_sizes: tuple[tuple[int, int], ...]
    n_classes: int
    bias: bool
    hidden: int = 0
    padding: int = 0

    @property
    def block_shapes(self) -> list[tuple[int, int, int]]:
        """Shape (C, H, W) of an image as it enters each block, and as it leaves the last one."""
        C, H, W = self.image_shape
        shapes = [(C, H + 2 * self.padding, W + 2 * self.padding)]
        for K, (R, S) in zip(self.channels, self.kernel_sizes, strict=True):
            _, H, W = shapes[-1]
            shapes.append((K, (H - R + 1) // 2, (W - S + 1) // 2))
        return shapes

    @property
    def n_features(self) -> int:
        """Length F of the flattened image that the first fully connected layer sees."""
        K, P, Q = self.block_shapes[-1]
        return K * P * Q

    @property
    def parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        """Name and shape of each parameter, in the order of the flat vector."""
        shapes: dict[str, tuple[int, ...]] = {}
        inputs = self.block_shapes
        for i, (K, (R, S)) in enumerate(zip(self.channels, self.kernel_sizes, strict=True)):
            shapes[f"conv{i + 1}.weight"] = (K, inputs[i][0], R, S)
            if self.bias:
                shapes[f"conv{i + 1}.bias"] = (K,)
        for name, units, features in self.linear_layers:
            shapes[f"{name}.weight"] = (units, features)
            if self.bias:
                shapes[f"{name}.bias"] = (units,)
        return shapes

    @property
    def linear_layers(self) -> list[tuple[str, int, int]]:
        """Name, number of outputs and number of inputs of each fully connected layer."""
        if not self.hidden:
            return [("fc", self.n_classes, self.n_features)]
        return [
            ("hidden", self.hidden, self.n_features),
            ("fc", self.n_classes, self.hidden),
        ]

    @property
    def n_parameters(self) -> int:
        """Number of trainable values."""
        return sum(math.prod(shape) for shape in self.parameter_shapes.values())


def make_architecture(
    image_shape: Sequence[int],
    channels: Sequence[int],
    kernel_size: int | Sequence[int | Sequence[int]],
    n_classes: int,
    bias: bool,
    hidden: int = 0,
    padding: int = 0,
) -> Architecture:
    """Check the arguments of :class:`tinycnn.CNN` of these names, and normalise them.

    Raises
    ------
    ValueError
        If an image gets too small for the blocks asked for; the message tells how many fit. Or if
        one gets larger, between two blocks, than the kernels can count.
    TypeError
        If a size is not a number.
    """
    C, H, W = _as_counts("image_shape", image_shape, 3, "(channels, rows, columns)")
    widths = _as_counts("channels", channels)
    if len(widths) > MAX_BLOCKS:
        raise ValueError(f"channels: at most {MAX_BLOCKS} blocks, got {len(widths)}")
    architecture = Architecture(
        (C, H, W),
        widths,
        _checked_kernel_sizes(kernel_size, len(widths)),
        as_count("n_classes", n_classes, 1),
        bool(bias),
        as_count("hidden", hidden, 0),
        as_count("padding", padding, 0),
    )
    for depth, (K, P, Q) in enumerate(architecture.block_shapes):
        if P < 1 or Q < 1:
            _, rows, columns = architecture.block_shapes[depth - 1]
            R, S = architecture.kernel_sizes[depth - 1]
            raise ValueError(
                f"image_shape: images of {H} x {W} are too small for {len(widths)} blocks: "
                f"block {depth} gets {rows} x {columns} and its {R} x {S} kernel leaves no 2x2 "
                f"window to pool; {_deepest(depth - 1)}"
            )
        if 0 < depth < len(widths) and K * P * Q > MAX_MAP_VALUES:
            raise ValueError(
                f"image_shape: images of {H} x {W} are too large for {len(widths)} blocks: block "
                f"{depth} makes {K} x {P} x {Q} values of each and the next one takes at most "
                f"{MAX_MAP_VALUES:,}; use fewer filters or smaller images"
            )
    return architecture


def _deepest(depth: int) -> str:
    if depth == 0:
        return "use a smaller kernel or larger images"
    return f"at most {depth} block{'s fit' if depth > 1 else ' fits'}, or use smaller kernels"


def _checked_kernel_sizes(
    kernel_size: int | Sequence[int | Sequence[int]], n_blocks: int
) -> tuple[tuple[int, int], ...]:
    """Bring every accepted spelling of kernel_size to one (R, S) a block."""
    entries = kernel_size if isinstance(kernel_size, list) else [kernel_size] * n_blocks
    if len(entries) != n_blocks:
        raise ValueError(
            f"kernel_size: a list needs one entry for each of {n_blocks} blocks, got {kernel_size}"
        )
    sizes = []
    for entry in entries:
        pair = entry if isinstance(entry, Sequence) else (entry, entry)
        R, S = _as_counts("kernel_size", pair, 2, "(rows, columns)")
        sizes.append((R, S))
    return tuple(sizes)


def _as_counts(
    name: str, values: Any, length: int | None = None, layout: str = ""
) -> tuple[int, ...]:
    """Check a sequence of whole numbers of at least 1, of the given length if there is one."""
    if np.ndim(values) != 1 or len(values) == 0 or (length is not None and len(values) != length):
        rule = f"{length} whole numbers {layout}" if length else "at least one whole number"
        raise ValueError(f"{name}: must be {rule}, got {values!r}")
    return tuple(as_count(name, value, 1) for value in values)
