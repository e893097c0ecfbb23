"""From a list of layers to a table of operations that the kernels walk through.

A plan exists if every layer is part of a pattern below. Otherwise :class:`NoPlan` says why not, and
the network is computed layer by layer.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tinycnn.architecture import Architecture, Step
from tinycnn.fast.dispatch import LEVEL, REFERENCE, kernels
from tinycnn.layer import Shape
from tinycnn.layers import Conv, Dropout, Flatten, Layer, Linear, MaxPool, ReLU

# Operations, by their numbers in _kernels.pxd.
BLOCK, CONV, CONV_RELU, LINEAR, LINEAR_RELU = range(5)

# Layers that follow each other, and the operation that computes them in one; None: nothing has to
# be done, or only to what the next operation sees. The longest pattern comes first. Whether ReLU or
# MaxPool comes first makes no difference, since both keep the order of values; nor for the
# gradient, which a window whose largest value is not above 0 does not pass on.
PATTERNS: tuple[tuple[tuple[type[Layer], ...], int | None], ...] = (
    ((Conv, ReLU, MaxPool), BLOCK),
    ((Conv, MaxPool, ReLU), BLOCK),
    ((Conv, ReLU), CONV_RELU),
    ((Conv,), CONV),
    ((Linear, ReLU), LINEAR_RELU),
    ((Linear,), LINEAR),
    ((Flatten,), None),
    ((Dropout,), None),
)

# A row of the table: `Operation` in _kernels.pxd.
#
#   kind               number of the operation
#   C, H, W            what it sees of an image, with its border of zeros; a conv without pool
#                      works on windows of 2 x 2 outputs, and has more zeros for an odd number
#   inner_H, inner_W   what is inside the border,
#   top, left          and where that begins
#   K, R, S, P, Q      K filters of R x S taps, P x Q values of each; or K units, else 1
#   weight_at, bias_at where the parameters begin in the flat vector; -1 for no bias
#   dropout, rate      number of the Dropout before it, -1 for none, and what share that drops
OPERATION = np.dtype(
    [
        (name, np.float64 if name == "rate" else np.int64)
        for name in (
            *("kind", "C", "H", "W", "inner_H", "inner_W", "top", "left"),
            *("K", "R", "S", "P", "Q", "weight_at", "bias_at", "dropout", "rate"),
        )
    ]
)

MAX_OPERATIONS = 32

# Values of one image that a block after the first one takes: places in it must fit 32 bits.
MAX_MAP_VALUES = 2**27

# Values of an image in all; more would not fit any memory.
MAX_IMAGE_VALUES = 2**40

# Images whose gradient is computed in one go, at most: two of these groups make a batch of 128, so
# that two threads can share it. Fewer where their pooled values would take more memory than this.
GROUP_IMAGES = 64
GROUP_BYTES = 16 * 2**20


class NoPlan(ValueError):  # noqa: N818 - it is no error: another path is taken
    """The kernels cannot compute a network; the message says why."""


# Where there is no Dropout.
NO_DROPOUT = (-1, 0.0)


class _Place(NamedTuple):
    """Where the parameters of an operation begin in the flat vector."""

    weight_at: int
    bias_at: int


def make_plan(architecture: Architecture, dtype: np.dtype[Any]) -> kernels.Plan:
    """Plan the operations of a network that computes in a dtype.

    Raises
    ------
    NoPlan
        If the kernels have no operation for one of the layers, or cannot count as far as it takes.
    """
    if LEVEL == REFERENCE:
        raise NoPlan(f"TINYCNN_CPU_LEVEL is {REFERENCE}")
    table = make_table(architecture)
    require_fitting(table, architecture.n_parameters)
    return kernels.Plan(table, architecture.n_parameters, dtype.itemsize, GROUP_IMAGES, GROUP_BYTES)


def make_table(architecture: Architecture) -> npt.NDArray[np.void]:
    """List a network's operations, as an array of :data:`OPERATION`.

    Raises
    ------
    NoPlan
        As for :func:`make_plan`.
    """
    steps, places = architecture.steps, _places(architecture)
    rows: list[tuple[float, ...]] = []
    dropout, n_dropouts = NO_DROPOUT, 0
    i = shaped = 0  # shaped: the step whose input has the shape that the next operation sees
    while i < len(steps):
        layers, kind = _longest_pattern(steps, i)
        first, i = steps[i], i + len(layers)
        if isinstance(first.layer, Dropout):
            if dropout != NO_DROPOUT:
                raise NoPlan(f"no fast operation for two Dropouts in a row, at {first.name}")
            dropout, n_dropouts = (n_dropouts, first.layer.rate), n_dropouts + 1
        if kind is not None:
            filters = _filters(first.layer, steps[i - 1].output_shape)
            odd = (filters[-2] % 2, filters[-1] % 2) if kind in (CONV, CONV_RELU) else (0, 0)
            sizes = _sizes(steps[shaped].input_shape, first.layer, odd)
            rows.append((kind, *sizes, *filters, *places[first.name], *dropout))
            dropout, shaped = NO_DROPOUT, i
    if not rows or rows[-1][0] != LINEAR or dropout != NO_DROPOUT:
        last = steps[-1]
        raise NoPlan(f"no fast operation for {type(last.layer).__name__} at {last.name}, the end")
    table = np.array(rows, OPERATION)
    _require_countable(table)
    return table


def products_of_an_image(architecture: Architecture) -> int:
    """Count what a network multiplies for one image: roughly what it takes to compute it."""
    return max(1, sum(_products(step) for step in architecture.steps))


def _products(step: Step) -> int:
    weight = step.parameter_shapes.get(f"{step.name}.weight", (0,))
    return math.prod(weight) * math.prod(step.output_shape[1:])


def _longest_pattern(steps: tuple[Step, ...], i: int) -> tuple[tuple[type[Layer], ...], int | None]:
    """Find the pattern that the layers from step i on begin with."""
    kinds = tuple(type(step.layer) for step in steps[i:])
    for layers, kind in PATTERNS:
        if kinds[: len(layers)] == layers:
            return layers, kind
    raise NoPlan(f"no fast operation for {kinds[0].__name__} at {steps[i].name}")


def _sizes(input_shape: Shape, layer: Layer, odd: tuple[int, int]) -> tuple[int, ...]:
    """Return C, H, W, inner_H, inner_W, top and left of an operation that begins with a layer.

    odd: rows and columns of zeros that are added below and to the right.
    """
    C, H, W = (*input_shape, 1, 1)[:3]
    if not isinstance(layer, Conv):
        return C, H, W, H, W, 0, 0
    (top, bottom), (left, right) = layer.border
    return C, H + top + bottom + odd[0], W + left + right + odd[1], H, W, top, left


def _filters(layer: Layer, output_shape: Shape) -> tuple[int, ...]:
    """Return K, R, S, P and Q of an operation that begins with a layer."""
    K, P, Q = (*output_shape, 1, 1)[:3]
    return K, *(layer.kernel if isinstance(layer, Conv) else (1, 1)), P, Q


def _places(architecture: Architecture) -> dict[str, _Place]:
    """Find where the parameters of each step begin in the flat vector."""
    places, at = {}, 0
    for step in architecture.steps:
        starts = {}
        for name, shape in step.parameter_shapes.items():
            starts[name.removeprefix(f"{step.name}.")] = at
            at += math.prod(shape)
        places[step.name] = _Place(starts.get("weight", -1), starts.get("bias", -1))
    return places


def _require_countable(table: npt.NDArray[np.void]) -> None:
    """Refuse what is more or larger than the kernels can count."""
    if len(table) > MAX_OPERATIONS:
        raise NoPlan(f"{len(table)} operations are more than the {MAX_OPERATIONS} of a plan")
    for i, row in enumerate(table):
        values = int(row["C"]) * int(row["H"]) * int(row["W"])
        limit = MAX_MAP_VALUES if i > 0 and row["kind"] == BLOCK else MAX_IMAGE_VALUES
        if values > limit:
            raise NoPlan(
                f"maps of {row['C']} x {row['H']} x {row['W']} have more than the {limit:,} values "
                "of a fast operation"
            )


def require_fitting(table: npt.NDArray[np.void], n_parameters: int) -> None:
    """Refuse a table that would lead the kernels, which trust it, outside of their memory."""
    t = {name: table[name] for name in OPERATION.names or ()}
    conv = t["kind"] < LINEAR
    # Without a pool, windows are whole, too.
    windows = [np.where(t["kind"] == BLOCK, 2 * t[n], t[n] + t[n] % 2) for n in ("P", "Q")]
    taps = t["C"] * np.where(conv, t["R"] * t["S"], t["H"] * t["W"])
    fits = (
        (t["kind"] >= BLOCK)
        & (t["kind"] <= LINEAR_RELU)
        & (np.min([t[n] for n in ("C", "inner_H", "inner_W", "K", "R", "S", "P", "Q")], 0) > 0)
        & (np.min([t["top"], t["left"]], 0) >= 0)
        & (t["top"] + t["inner_H"] <= t["H"])
        & (t["left"] + t["inner_W"] <= t["W"])
        & (~conv | (windows[0] <= t["H"] - t["R"] + 1) & (windows[1] <= t["W"] - t["S"] + 1))
        & (conv | (t["P"] * t["Q"] == 1) & (t["H"] * t["W"] == t["inner_H"] * t["inner_W"]))
        & (t["weight_at"] >= 0)
        & (t["weight_at"] <= n_parameters - t["K"] * taps)
        & (t["bias_at"] >= -1)
        & (t["bias_at"] <= n_parameters - t["K"])
        & (t["dropout"] >= -1)
        & (t["dropout"] < MAX_OPERATIONS)
        & (t["rate"] >= 0)
        & (t["rate"] < 1)
    )
    for before, n in (("K", "C"), ("P", "inner_H"), ("Q", "inner_W")):
        fits[1:] &= t[before][:-1] == t[n][1:]
    fits[1:] &= conv[:-1] | ~conv[1:]
    if not (len(table) and fits.all() and table[-1]["kind"] == LINEAR):
        raise ValueError(f"rows of a plan that do not fit: {table[~fits]}")
