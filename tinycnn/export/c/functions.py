"""The C function of each kind of stage."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from tinycnn.export.c.plan import CTYPES, Call, Finish, Frame, tables_of
from tinycnn.export.c.text import Lines, block, indented, initializer, literal, loop
from tinycnn.export.stages import NO_BORDER, Scale, Stage
from tinycnn.export.translations import Translations
from tinycnn.layers import Conv as ConvLayer
from tinycnn.layers import Linear, MaxPool, ReLU

_READERS = {np.dtype(np.int8): "I8", np.dtype(np.int32): "I32", np.dtype(np.float32): "F32"}


class Writer:
    """Collects the tables of a program, and knows how its values are written.

    Attributes
    ----------
    name : str
        What all names of the program begin with.
    in_integers : bool
        Whether sums are int32_t; else they are float.
    tables : list of str
        Their definitions.
    table_bytes : list of int
        The size of each.
    """

    def __init__(self, name: str, in_integers: bool) -> None:
        self.name = name
        self.in_integers = in_integers
        self.tables: Lines = []
        self.table_bytes: list[int] = []

    @property
    def sum_type(self) -> str:
        """Type of sums, and of logits."""
        return "int32_t" if self.in_integers else "float"

    @property
    def factor_type(self) -> str:
        """Type of what is multiplied: two bytes fit the product into any int."""
        return "int" if self.in_integers else "float"

    @property
    def zero(self) -> str:
        """Nothing."""
        return "0" if self.in_integers else "0.0f"

    @property
    def weight_dtype(self) -> npt.DTypeLike:
        """Of weights in tables."""
        return np.int8 if self.in_integers else np.float32

    @property
    def sum_dtype(self) -> npt.DTypeLike:
        """Of biases in tables."""
        return np.int32 if self.in_integers else np.float32

    def table(self, name: str, values: npt.NDArray[Any], dtype: npt.DTypeLike) -> str:
        """Define a table, and return its name; read it with :meth:`read`."""
        stored = tables_of(values, dtype)
        full_name = f"{self.name}_{name}"
        self.tables += [
            f"static const {CTYPES[stored.dtype]} {full_name}[{stored.size}] "
            f"{self.name.upper()}_FLASH = {initializer(stored)};",
            "",
        ]
        self.table_bytes.append(stored.nbytes)
        return full_name

    def read(self, pointer: str, dtype: npt.DTypeLike) -> str:
        """Return the expression of a table's value, which may stand in flash memory."""
        return f"{self.name.upper()}_READ_{_READERS[np.dtype(dtype)]}({pointer})"

    def weight(self, pointer: str) -> str:
        """Return the expression of a weight, ready to be multiplied."""
        return self.read(pointer, self.weight_dtype)

    def bias(self, pointer: str) -> str:
        """Return the expression of a bias."""
        return self.read(pointer, self.sum_dtype)

    def factor(self, value: str, ctype: str) -> str:
        """Return a value ready to be multiplied."""
        return value if self.in_integers or ctype == "float" else f"(float){value}"


CTranslation: TypeAlias = Callable[[Call, Writer], Lines]

TRANSLATIONS: Translations[CTranslation] = Translations("C", "tinycnn.export.c.TRANSLATIONS")
"""Functions of a :class:`Call` and the :class:`Writer` that return the lines of a function's body.

There, ``x`` points to the values of the layer's input, and ``y`` to where its output goes, both
without a border and of floats where a layer of one's own is called.
"""


@TRANSLATIONS.register(ConvLayer)
def _conv(call: Call, writer: Writer) -> Lines:
    """Compute a tile of filters at a time, at all pixels of a pooling window at once."""
    weight = call.stage.parameters["weight"]
    _, P, Q = call.stage.output_shape
    K = len(weight)
    tile = min(K, _tile_size(call, writer))
    weights = writer.table(f"{call.name}_weight", _in_tiles(weight, tile), writer.weight_dtype)
    bias = _bias_table(call.name, call.stage, writer)
    requantize = _requantizer(call, writer)
    sink = _linear_sink(call, writer) if call.into else _store_sink(call)
    tiles = loop(
        "k", K - K % tile, _conv_tile(call, writer, tile, (weights, bias, requantize, sink)), tile
    )
    if K % tile:
        tiles += block("", _conv_tile(call, writer, K % tile, (weights, bias, requantize, sink)))
    return [
        "int p, q, k;",
        *_prologue(call, writer),
        *loop("p", P, loop("q", Q, tiles)),
    ]


def _tile_size(call: Call, writer: Writer) -> int:
    """Return how many filters share the pixels that are read.

    A Cortex-M has 32 registers of floats but 13 of integers: counted there, these are fastest.
    """
    if writer.in_integers:
        return 1
    return 4 if call.stage.pool else 8


def _in_tiles(weight: npt.NDArray[Any], tile: int) -> npt.NDArray[Any]:
    """Reorder weights (K, C, R, S) as tiles of (C, R, S, filters of the tile)."""
    tiles = [weight[k : k + tile].transpose(1, 2, 3, 0) for k in range(0, len(weight), tile)]
    return np.concatenate([values.reshape(-1) for values in tiles])


def _prologue(call: Call, writer: Writer) -> Lines:
    """Set what is added to, or the zeros around what is written."""
    if call.into:
        bias = _bias_table(call.into.name, call.into, writer)
        units = math.prod(call.into.output_shape)
        value = writer.bias(f"{bias} + n") if bias else writer.zero
        return ["int n;", *loop("n", units, [f"y[n] = {value};"])]
    if call.target.border != NO_BORDER:
        return ["int i;", *loop("i", call.target.n_values, ["y[i] = 0;"])]
    return []


def _conv_tile(
    call: Call, writer: Writer, tile: int, names: tuple[str, str, str, Callable[[str], Lines]]
) -> Lines:
    weights, bias, requantize, sink = names
    _, C, R, S = call.stage.parameters["weight"].shape
    _, H, W = call.source.framed_shape
    side = 2 if call.stage.pool else 1
    spots = [(i, j) for i in range(side) for j in range(side)]
    sums = [f"a{t}{i}{j}" for t in range(tile) for i, j in spots]
    row = [
        *_conv_row(call, writer, tile),
        f"w += {S * tile};",
        f"v += {W};",
    ]
    taps = loop("r", R, row)
    if C > 1:
        taps = loop("c", C, [*taps, f"v += {(H - R) * W};"])
    value = f"m[t] + {writer.bias(f'{bias} + k + t')}" if bias else "m[t]"
    start = f"{side} * p * {W} + {side} * q" if side > 1 else f"p * {W} + q"
    return [
        f"const {_weight_ctype(writer)} *w = {weights} + k * {C * R * S};",
        f"const {call.source.ctype} *v = x + {start};",
        f"{writer.sum_type} {', '.join(f'{a} = {writer.zero}' for a in sums)};",
        f"{writer.sum_type} m[{tile}];",
        f"int {'c, ' * (C > 1)}r, t;",
        *taps,
        *(line for t in range(tile) for line in _window_maximum(t, side)),
        *loop("t", tile, [f"const {writer.sum_type} z = {value};", *sink(requantize)]),
    ]


def _conv_row(call: Call, writer: Writer, tile: int) -> Lines:
    """Multiply one row of taps: each pixel is read once for all filters and spots."""
    S = call.stage.parameters["weight"].shape[3]
    W = call.source.framed_shape[2]
    side = 2 if call.stage.pool else 1
    lines: Lines = []
    columns = 0
    for s in range(S):
        while columns < s + side:
            for i in range(side):
                pixel = writer.factor(f"v[{i * W + columns}]", call.source.ctype)
                lines.append(f"const {writer.factor_type} u{i}{columns} = {pixel};")
            columns += 1
        for t in range(tile):
            factor = f"f{s}{t}"
            lines.append(
                f"const {writer.factor_type} {factor} = {writer.weight(f'w + {s * tile + t}')};"
            )
            lines += [
                f"a{t}{i}{j} += u{i}{s + j} * {factor};" for i in range(side) for j in range(side)
            ]
    return lines


def _window_maximum(t: int, side: int) -> Lines:
    if side == 1:
        return [f"m[{t}] = a{t}00;"]
    return [
        f"a{t}00 = a{t}00 > a{t}01 ? a{t}00 : a{t}01;",
        f"a{t}10 = a{t}10 > a{t}11 ? a{t}10 : a{t}11;",
        f"m[{t}] = a{t}00 > a{t}10 ? a{t}00 : a{t}10;",
    ]


def _requantizer(call: Call, writer: Writer, index: str = "k + t") -> str:
    """Return the expression of a value, of the sum z of filter k + t."""
    requantization = call.requantization
    if requantization is None:
        return f"z > {writer.zero} ? z : {writer.zero}" if call.stage.relu else "z"
    multiplier = writer.table(f"{call.name}_multiplier", requantization.multiplier, np.int32)
    shift = writer.table(f"{call.name}_shift", requantization.shift, np.int8)
    function = "requantize_signed" if requantization.signed else "requantize"
    return (
        f"{writer.name}_{function}(z, {writer.read(f'{multiplier} + {index}', np.int32)}, "
        f"{writer.read(f'{shift} + {index}', np.int8)})"
    )


def _store_sink(call: Call) -> Callable[[str], Lines]:
    """Return what stores the value of filter k + t at (p, q)."""
    _, H, W = call.target.framed_shape
    (top, _), (left, _) = call.target.border
    at = f"((k + t) * {H} + p{f' + {top}' * bool(top)}) * {W} + q{f' + {left}' * bool(left)}"
    return lambda value: [f"y[{at}] = {value};"]


def _linear_sink(call: Call, writer: Writer) -> Callable[[str], Lines]:
    """Return what adds the value of filter k + t at (p, q) to the sums of a Linear layer."""
    assert call.into
    weight = call.into.parameters["weight"]
    K, P, Q = call.stage.output_shape
    ordered = weight.reshape(-1, K, P, Q).transpose(2, 3, 1, 0)  # as the values come
    table = writer.table(f"{call.into.name}_weight", ordered, writer.weight_dtype)
    units = len(weight)
    at = f"((p * {Q} + q) * {K} + k + t) * {units}"
    add = loop("n", units, [f"y[n] += h * {writer.weight('g + n')};"])
    return lambda value: [
        f"const {writer.factor_type} h = {value};",
        *block(
            f"if (h != {writer.zero})",
            [f"const {_weight_ctype(writer)} *g = {table} + {at};", *add],
        ),
    ]


@TRANSLATIONS.register(Linear)
def _linear(call: Call, writer: Writer) -> Lines:
    weight = call.stage.parameters["weight"]
    units, F = weight.shape
    table = writer.table(f"{call.name}_weight", weight, writer.weight_dtype)
    bias = _bias_table(call.name, call.stage, writer)
    start = writer.bias(f"{bias} + u") if bias else writer.zero
    product = f"{writer.factor('x[f]', call.source.ctype)} * {writer.weight('w + f')}"
    return [
        f"const {_weight_ctype(writer)} *w = {table};",
        "int u, f;",
        *loop(
            "u",
            units,
            [
                f"{writer.sum_type} z = {start};",
                *loop("f", F, [f"z += {product};"]),
                f"y[u] = {_requantizer(call, writer, 'u')};",
                f"w += {F};",
            ],
        ),
    ]


@TRANSLATIONS.register(Finish)
def _finish(call: Call, writer: Writer) -> Lines:
    units = math.prod(call.stage.output_shape)
    value = _requantizer(call, writer, "u")
    return ["int u;", *loop("u", units, [f"const {writer.sum_type} z = x[u];", f"y[u] = {value};"])]


@TRANSLATIONS.register(MaxPool)
def _max_pool(call: Call, writer: Writer) -> Lines:
    C, H, W = call.source.shape
    _, P, Q = call.target.shape
    ctype = call.source.ctype
    corners = ((0, 0), (0, 1), (1, 0), (1, 1))
    body = [
        f"const {ctype} *v = x + (c * {H} + 2 * p) * {W} + 2 * q;",
        f"{ctype} m = v[0];",
        *(f"m = v[{i * W + j}] > m ? v[{i * W + j}] : m;" for i, j in corners[1:]),
        f"y[(c * {P} + p) * {Q} + q] = m;",
    ]
    return ["int c, p, q;", *loop("c", C, loop("p", P, loop("q", Q, body)))]


@TRANSLATIONS.register(ReLU)
def _relu(call: Call, writer: Writer) -> Lines:
    body = [f"y[i] = x[i] > {writer.zero} ? x[i] : {writer.zero};"]
    return ["int i;", *loop("i", call.source.n_values, body)]


@TRANSLATIONS.register(Scale)
def _scale(call: Call, writer: Writer) -> Lines:
    assert isinstance(call.stage.step.layer, Scale)
    layer = call.stage.step.layer
    C, H, W = call.source.shape
    pixel = writer.factor("x[i]", call.source.ctype)
    lines = ["int i;"]
    for c in range(C):
        zero, scale = literal(np.float32(layer.zero[c])), literal(np.float32(layer.scale[c]))
        first, last = c * H * W, (c + 1) * H * W
        lines += block(
            f"for (i = {first}; i < {last}; i++)", [f"y[i] = ({pixel} - {zero}) * {scale};"]
        )
    return lines


@TRANSLATIONS.register(Frame)
def _frame(call: Call, writer: Writer) -> Lines:
    C, H, W = call.source.shape
    _, framed_H, framed_W = call.target.framed_shape
    (top, _), (left, _) = call.target.border
    size = framed_H * framed_W
    lines = ["int c, i, j;"]
    for c, pad in enumerate(call.stage.pad):
        value = literal(np.float32(pad) if call.target.ctype == "float" else pad)
        lines += block(f"for (i = {c * size}; i < {(c + 1) * size}; i++)", [f"y[i] = {value};"])
    same = call.source.ctype == call.target.ctype
    pixel = "*x++" if same else f"({call.target.ctype})*x++"
    copy = [f"y[(c * {framed_H} + i + {top}) * {framed_W} + j + {left}] = {pixel};"]
    return [*lines, *loop("c", C, loop("i", H, loop("j", W, copy)))]


def function(call: Call, writer: Writer) -> Lines:
    """Write the whole function of a call."""
    body = TRANSLATIONS.of(call.stage.step)(call, writer)
    head = (
        f"static void {writer.name}_{call.name}"
        f"(const {call.source.ctype} *x, {call.target.ctype} *y)"
    )
    return [f"/* {_summary(call)} */", head, "{", *indented(body), "}", ""]


def _summary(call: Call) -> str:
    def sizes(shape: tuple[int, ...]) -> str:
        return " x ".join(map(str, shape))

    layer = call.stage.step.layer
    also = [
        name for name, done in (("ReLU", call.stage.relu), ("MaxPool", call.stage.pool)) if done
    ]
    if call.into:
        also.append(f"{type(call.into.step.layer).__name__} ({call.into.name})")
    text = ", ".join([type(layer).__name__, *also])
    return f"{text}: {sizes(call.source.shape)} -> {sizes(call.target.shape)}"


def _bias_table(name: str, stage: Stage, writer: Writer) -> str:
    """Define the table of a stage's bias and return its name; empty if it has none."""
    bias = stage.parameters.get("bias")
    return "" if bias is None else writer.table(f"{name}_bias", bias, writer.sum_dtype)


def _weight_ctype(writer: Writer) -> str:
    return "int8_t" if writer.in_integers else "float"
