"""Which function computes what, from where to where: the calls of the C program and its memory."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tinycnn.architecture import Step
from tinycnn.export.folding import pixel_scaling
from tinycnn.export.quantized import QuantizedCNN, QuantizedStage, Requantization
from tinycnn.export.stages import NO_BORDER, Stage, make_stages
from tinycnn.functional import Border
from tinycnn.inputs import unit_of
from tinycnn.layer import Shape
from tinycnn.layers import Conv, Layer, Linear, MaxPool
from tinycnn.network import CNN

CTYPES = {
    np.dtype(np.uint8): "uint8_t",
    np.dtype(np.int8): "int8_t",
    np.dtype(np.uint16): "uint16_t",
    np.dtype(np.int32): "int32_t",
    np.dtype(np.float32): "float",
}
ALIGNMENT = 4


@dataclass(frozen=True)
class Frame(Layer):
    """What puts a border around an image: a copy, where nobody could write it there at once."""


@dataclass(frozen=True)
class Finish(Layer):
    """What becomes of the sums of a Linear layer that a Conv has added up."""


@dataclass(frozen=True)
class Buffer:
    """Where values of one image stand.

    Attributes
    ----------
    dtype : dtype
    shape : tuple of int
        Without the border.
    border : Border
        Rows and columns of padding around each map.
    offset : int
        Bytes from the start of the scratch memory; -1 for the caller's image and logits.
    """

    dtype: np.dtype[Any]
    shape: Shape
    border: Border = NO_BORDER
    offset: int = -1

    @property
    def ctype(self) -> str:
        """Type of a value in C."""
        return CTYPES[self.dtype]

    @property
    def framed_shape(self) -> Shape:
        """Shape with the border."""
        if self.border == NO_BORDER:
            return self.shape
        (top, bottom), (left, right) = self.border
        C, H, W = self.shape
        return C, H + top + bottom, W + left + right

    @property
    def n_values(self) -> int:
        """Number of values, those of the border too."""
        return math.prod(self.framed_shape)

    @property
    def n_bytes(self) -> int:
        """Bytes that it takes, in whole words."""
        return -(-self.n_values * self.dtype.itemsize // ALIGNMENT) * ALIGNMENT


@dataclass(frozen=True)
class Call:
    """One function of the C program.

    Attributes
    ----------
    name : str
        Of the function, behind the network's name.
    stage : Stage
    source, target : Buffer
    requantization : Requantization or None
        Of a stage in integers, unless its sums are the logits.
    into : Stage or None
        The Linear layer to whose sums a Conv adds its outputs as they come, so that they are
        stored nowhere.
    """

    name: str
    stage: Stage
    source: Buffer
    target: Buffer
    requantization: Requantization | None = None
    into: Stage | None = None


@dataclass(frozen=True)
class Program:
    """The calls in their order, and what they need.

    Attributes
    ----------
    calls : list of Call
    logit_scale : float or None
        Of a network in integers.
    """

    calls: list[Call]
    logit_scale: float | None = None

    @property
    def pixels(self) -> Buffer:
        """The caller's image."""
        return self.calls[0].source

    @property
    def logits(self) -> Buffer:
        """The caller's logits."""
        return self.calls[-1].target

    @property
    def in_integers(self) -> bool:
        """Whether it computes in eight-bit integers."""
        return self.logit_scale is not None

    @property
    def scratch_bytes(self) -> int:
        """Bytes of scratch memory."""
        buffers = [call.target for call in self.calls[:-1]]
        return max((buffer.offset + buffer.n_bytes for buffer in buffers), default=0)


def make_program(net: CNN | QuantizedCNN, pixels: np.dtype[Any]) -> Program:
    """Plan the C program of a network whose images have pixels of a dtype."""
    if isinstance(net, QuantizedCNN):
        stages, logit_scale = list(net.stages), net.logit_scale
    else:
        scaling = pixel_scaling(net, unit_of(pixels))
        stages = [QuantizedStage(stage) for stage in make_stages(net, scaling)]
        logit_scale = None
    source = Buffer(pixels, net.architecture.image_shape)
    calls = _link(stages, source, np.dtype(np.float32 if logit_scale is None else np.int32))
    return Program(_with_offsets(calls), logit_scale)


def _link(stages: list[QuantizedStage], source: Buffer, sums: np.dtype[Any]) -> list[Call]:
    """Give each stage the buffer before it, and one behind it."""
    calls: list[Call] = []
    i = 0
    while i < len(stages):
        stage, requantization = stages[i].stage, stages[i].requantization
        if source.border != stage.border:
            calls.append(_frame(stage, source))
            source = calls[-1].target
        following = stages[i + 1 :]
        if following and _streams(stage, following[0].stage):
            into = following[0]
            target = Buffer(sums, into.stage.output_shape)
            calls.append(Call(stage.name, stage, source, target, requantization, into.stage))
            i += 1
            if into.requantization or into.stage.relu:
                calls.append(_finish(into, target, _result_type(into, target.dtype)))
        else:
            dtype = _result_type(stages[i], source.dtype if _keeps_type(stage) else sums)
            border = following[0].stage.border if following and _writes_border(stage) else NO_BORDER
            target = Buffer(dtype, stage.output_shape, border)
            calls.append(Call(stage.name, stage, source, target, requantization))
        source = calls[-1].target
        i += 1
    return calls


def _streams(stage: Stage, following: Stage) -> bool:
    return isinstance(stage.step.layer, Conv) and isinstance(following.step.layer, Linear)


def _writes_border(stage: Stage) -> bool:
    return isinstance(stage.step.layer, Conv)


def _keeps_type(stage: Stage) -> bool:
    return isinstance(stage.step.layer, MaxPool)


def _result_type(stage: QuantizedStage, otherwise: np.dtype[Any]) -> np.dtype[Any]:
    if stage.requantization is None:
        return otherwise
    return np.dtype(np.int8 if stage.requantization.signed else np.uint8)


def _frame(stage: Stage, source: Buffer) -> Call:
    """Copy what a stage takes into a buffer with its border, of floats if that is no pixel."""
    if source.dtype.kind in "iu":
        limits = np.iinfo(source.dtype)
        fits = (
            (stage.pad == np.round(stage.pad))
            & (limits.min <= stage.pad)
            & (stage.pad <= limits.max)
        )
    else:
        fits = np.ones(1, bool)
    dtype = source.dtype if fits.all() else np.dtype(np.float32)
    shape = source.shape
    step = Step(f"{stage.name}_input", Frame(), shape, shape, {})
    target = Buffer(dtype, shape, stage.border)
    return Call(step.name, Stage(step, {}, stage.pad), source, target)


def _finish(into: QuantizedStage, source: Buffer, dtype: np.dtype[Any]) -> Call:
    shape = source.shape
    step = Step(f"{into.stage.name}_output", Finish(), shape, shape, {})
    stage = Stage(step, {}, np.zeros(1), relu=into.stage.relu)
    return Call(step.name, stage, source, Buffer(dtype, shape), into.requantization)


def _with_offsets(calls: list[Call]) -> list[Call]:
    """Place the buffers between calls alternately at the two ends of the scratch memory."""
    sizes = [call.target.n_bytes for call in calls[:-1]]
    total = max((sum(sizes[i : i + 2]) for i in range(len(sizes))), default=0)
    placed, source = [], calls[0].source
    for i, call in enumerate(calls):
        target = call.target
        if i < len(sizes):
            offset = 0 if i % 2 == 0 else total - sizes[i]
            target = dataclasses.replace(target, offset=offset)
        placed.append(dataclasses.replace(call, source=source, target=target))
        source = target
    return placed


def tables_of(values: npt.NDArray[Any], dtype: Any) -> npt.NDArray[Any]:
    """Return values in the dtype of a table; refuse those that do not fit."""
    table = values.astype(dtype)
    if not np.isfinite(table).all():
        raise ValueError("parameters: some are not finite as float32, which is what the C computes")
    return table
