"""The text of the C: what others include, what is compiled, and images to test it with."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tinycnn.export.c.functions import Writer, function
from tinycnn.export.c.plan import CTYPES, Program
from tinycnn.export.c.text import (
    Lines,
    block,
    comment_text,
    indented,
    initializer,
    literal,
    loop,
    string_literal,
)
from tinycnn.export.quantized import QuantizedCNN
from tinycnn.network import CNN

LARGEST_AVR_TABLE = 32767

LICENSE = """\
 * The code in this file may be used by anybody for anything, without any condition (MIT-0):
 * it is provided "as is", without warranty of any kind. The weights belong to who trained them."""


# On a Cortex-M4, three blocks of 32, 64 and 128 filters take 10% fewer instructions with it.
_KEEP_ORDER_ON_ARM = [
    "#if defined(__GNUC__) && !defined(__clang__) && defined(__arm__)",
    "#pragma GCC push_options /* gcc would reorder until it lacks registers for the sums */",
    '#pragma GCC optimize("no-schedule-insns")',
    "#endif",
    "",
]
_ORDER_AS_BEFORE = [
    "#if defined(__GNUC__) && !defined(__clang__) && defined(__arm__)",
    "#pragma GCC pop_options",
    "#endif",
    "",
]


class Source(NamedTuple):
    """A C program in two parts.

    Attributes
    ----------
    header : str
        Declarations: sizes as macros, types and functions.
    implementation : str
        Tables and functions.
    table_bytes : int
        Flash memory that the tables take.
    """

    header: str
    implementation: str
    table_bytes: int


def make_source(net: CNN | QuantizedCNN, program: Program, name: str) -> Source:
    """Write the C of a program whose names all begin with a name."""
    writer = Writer(name, program.in_integers)
    functions = [line for call in program.calls for line in function(call, writer)]
    implementation = [
        *_limits_of_avr(writer),
        *writer.tables,
        *_requantize_functions(program, writer),
        *_KEEP_ORDER_ON_ARM,
        *functions,
        *_ORDER_AS_BEFORE,
        *_entry_points(net, program, writer),
    ]
    return Source(
        _joined(_declarations(net, program, writer)),
        _joined(implementation),
        sum(writer.table_bytes),
    )


def title(net: CNN | QuantizedCNN, name: str, text: str) -> str:
    """Write the comment at the top of a file."""
    C, H, W = net.architecture.image_shape
    layers = "".join(f" *     {comment_text(repr(layer))}\n" for layer in net.architecture.layers)
    return (
        f"/* {name}: {text}\n *\n"
        f" * Made by tinycnn. Images of {C} x {H} x {W} go through\n{layers} *\n{LICENSE}\n */\n"
    )


def _declarations(net: CNN | QuantizedCNN, program: Program, writer: Writer) -> Lines:
    name, upper = writer.name, writer.name.upper()
    C, H, W = net.architecture.image_shape
    scale = {"uint8_t": "bytes 0..255", "uint16_t": "0..65535", "float": "floats as in training"}
    return [
        f"#ifndef {upper}_H",
        f"#define {upper}_H",
        "",
        "#include <stdint.h>",
        "",
        f"#define {upper}_CHANNELS {C}",
        f"#define {upper}_ROWS {H}",
        f"#define {upper}_COLUMNS {W}",
        f"#define {upper}_PIXELS {C * H * W}",
        f"#define {upper}_CLASSES {net.architecture.n_classes}",
        f"#define {upper}_SCRATCH_BYTES {program.scratch_bytes} /* RAM that a call works in */",
        f"#define {upper}_TABLE_BYTES {sum(writer.table_bytes)} /* flash that the weights take */",
        "",
        f"typedef {program.pixels.ctype} {name}_pixel; /* {scale[program.pixels.ctype]} */",
        f"typedef {program.logits.ctype} {name}_logit;",
        "",
        "#ifdef __cplusplus",
        'extern "C" {',
        "#endif",
        "",
        f"/* An image has {upper}_PIXELS pixels: channel by channel, row by row. */",
        "",
        "/* Return the number of the most likely class. */",
        f"int {name}_predict(const {name}_pixel *image);",
        "",
        f"/* Compute the logits of all {upper}_CLASSES classes. */",
        f"void {name}_logits(const {name}_pixel *image, {name}_logit *logits);",
        "",
        "/* The same, in memory that is handed over, so that several threads may call it at once:",
        f" * {upper}_SCRATCH_BYTES, aligned as for a {name}_logit; NULL if that is 0. */",
        f"void {name}_logits_in(const {name}_pixel *image, void *scratch, {name}_logit *logits);",
        "",
        f"#ifndef {upper}_NO_PROBABILITIES /* needs expf of math.h; the others need no library */",
        "/* Compute the probability of each class. */",
        f"void {name}_predict_proba(const {name}_pixel *image, float *probabilities);",
        "#endif",
        "",
        f"extern const char *const {name}_class_names[{upper}_CLASSES];",
        "",
        "#ifdef __cplusplus",
        "}",
        "#endif",
        "",
        "#if defined(__AVR__)",
        "#include <avr/pgmspace.h>",
        f"#define {upper}_FLASH PROGMEM",
        f"#define {upper}_READ_U8(p) pgm_read_byte(p)",
        f"#define {upper}_READ_I8(p) ((int8_t)pgm_read_byte(p))",
        f"#define {upper}_READ_U16(p) pgm_read_word(p)",
        f"#define {upper}_READ_I32(p) ((int32_t)pgm_read_dword(p))",
        f"#define {upper}_READ_F32(p) pgm_read_float(p)",
        "#else",
        f"#define {upper}_FLASH",
        *(f"#define {upper}_READ_{kind}(p) (*(p))" for kind in ("U8", "I8", "U16", "I32", "F32")),
        "#endif",
        "",
        "#endif",
    ]


def _limits_of_avr(writer: Writer) -> Lines:
    """Let the compiler refuse tables that an AVR cannot address."""
    largest = max(writer.table_bytes, default=0)
    if largest <= LARGEST_AVR_TABLE:
        return []
    return [
        "#if defined(__AVR__)",
        f"#error a table of {largest} bytes: AVR addresses {LARGEST_AVR_TABLE} at most",
        "#endif",
        "",
    ]


def _requantize_functions(program: Program, writer: Writer) -> Lines:
    """Write the functions that bring sums to bytes, those that are called."""
    signed = {call.requantization.signed for call in program.calls if call.requantization}
    name, arguments = writer.name, "(int32_t z, int32_t multiplier, int shift)"
    lines: Lines = []
    if signed:
        lines += [
            "/* z * multiplier / 2**shift, rounded half up, of a z that is not negative */",
            f"static int64_t {name}_scaled{arguments}",
            "{",
            "    return ((int64_t)z * multiplier + ((int64_t)1 << (shift - 1))) >> shift;",
            "}",
            "",
        ]
    if False in signed:
        lines += [
            f"static uint8_t {name}_requantize{arguments}",
            "{",
            f"    const int64_t v = z > 0 ? {name}_scaled(z, multiplier, shift) : 0;",
            "    return (uint8_t)(v > 255 ? 255 : v);",
            "}",
            "",
        ]
    if True in signed:
        lines += [
            f"static int8_t {name}_requantize_signed{arguments}",
            "{",
            f"    const int64_t v = {name}_scaled(z < 0 ? -z : z, multiplier, shift);",
            "    const int8_t byte = (int8_t)(v > 127 ? 127 : v);",
            "    return (int8_t)(z < 0 ? -byte : byte);",
            "}",
            "",
        ]
    return lines


def _entry_points(net: CNN | QuantizedCNN, program: Program, writer: Writer) -> Lines:
    name, upper = writer.name, writer.name.upper()
    words = program.scratch_bytes // 4
    scratch = f"static {writer.sum_type} scratch[{words}];" if words else "void *const scratch = 0;"
    names = ", ".join(map(string_literal, net.class_names))
    top = [f"{name}_logit logits[{upper}_CLASSES];", f"{name}_logits(image, logits);"]
    lines = [
        f"void {name}_logits_in(const {name}_pixel *image, void *scratch, {name}_logit *logits)",
        "{",
        *indented(_calls(program, name)),
        "}",
        "",
        f"void {name}_logits(const {name}_pixel *image, {name}_logit *logits)",
        "{",
        f"    {scratch}",
        f"    {name}_logits_in(image, scratch, logits);",
        "}",
        "",
        f"int {name}_predict(const {name}_pixel *image)",
        "{",
        f"    int best = 0, n;\n    {top[0]}\n    {top[1]}",
        *indented(
            loop(
                "n",
                net.architecture.n_classes,
                block("if (logits[n] > logits[best])", ["best = n;"]),
            )
        ),
        "    return best;",
        "}",
        "",
        f"#ifndef {upper}_NO_PROBABILITIES",
        "#include <math.h>",
        f"void {name}_predict_proba(const {name}_pixel *image, float *probabilities)",
        "{",
        *indented(_softmax(net, program, writer)),
        "}",
        "#endif",
        "",
        f"const char *const {name}_class_names[{upper}_CLASSES] = {{{names}}};",
    ]
    return lines


def _calls(program: Program, name: str) -> Lines:
    """Call one function after the other, each on the memory that was planned for it."""
    lines: Lines = []
    if program.scratch_bytes:
        lines.append("unsigned char *const memory = (unsigned char *)scratch;")
    else:
        lines.append("(void)scratch;")
    for call in program.calls:
        source = "image"
        if call is not program.calls[0]:
            source = f"(const {call.source.ctype} *)(const void *)(memory + {call.source.offset})"
        target = "logits"
        if call is not program.calls[-1]:
            target = f"({call.target.ctype} *)(void *)(memory + {call.target.offset})"
        lines.append(f"{name}_{call.name}({source}, {target});")
    return lines


def _softmax(net: CNN | QuantizedCNN, program: Program, writer: Writer) -> Lines:
    n_classes = net.architecture.n_classes
    apart = "logits[n] - top"
    if program.logit_scale is not None:
        # As floats first: the difference of two int32_t may need 33 bits.
        scale = literal(np.float32(program.logit_scale))
        apart = f"((float)logits[n] - (float)top) * {scale}"
    return [
        f"{writer.name}_logit logits[{writer.name.upper()}_CLASSES], top;",
        "float sum = 0.0f;",
        "int n;",
        f"{writer.name}_logits(image, logits);",
        "top = logits[0];",
        *loop("n", n_classes, block("if (logits[n] > top)", ["top = logits[n];"])),
        *loop("n", n_classes, [f"probabilities[n] = expf({apart});", "sum += probabilities[n];"]),
        *loop("n", n_classes, ["probabilities[n] /= sum;"]),
    ]


def make_test(
    program: Program,
    name: str,
    images: npt.NDArray[np.generic],
    logits: npt.NDArray[np.generic],
) -> str:
    """Write a header with images, their logits, and a function that compares."""
    upper = name.upper()
    n_classes, n_pixels = logits.shape[1], math.prod(images.shape[1:])
    pixel_type, logit_type = CTYPES[images.dtype], CTYPES[logits.dtype]
    pixel_reader = {"uint8_t": "U8", "uint16_t": "U16", "float": "F32"}[pixel_type]
    expected = f"{upper}_READ_{'I32' if program.in_integers else 'F32'}"
    if program.in_integers:
        differs = "logits[n] != expected"
    else:
        tolerance = literal(np.float32(1e-5 * max(1.0, float(np.abs(logits).max()))))
        differs = f"logits[n] - expected > {tolerance} || expected - logits[n] > {tolerance}"
    compare = [
        f"const {logit_type} expected = {expected}({name}_test_logits + i * {n_classes} + n);",
        f"differ |= {differs};",
    ]
    copy = f"{upper}_READ_{pixel_reader}({name}_test_images + (int32_t)i * {n_pixels} + n)"
    body = [
        "int differ = 0;",
        *loop("n", n_pixels, [f"image[n] = {copy};"]),
        f"{name}_logits(image, logits);",
        *loop("n", n_classes, compare),
        "failed += differ;",
    ]
    return _joined(
        [
            f"#define {upper}_TEST_IMAGES {len(images)}",
            "",
            f"static const {pixel_type} {name}_test_images[{images.size}] {upper}_FLASH = "
            f"{initializer(images)};",
            "",
            f"static const {logit_type} {name}_test_logits[{logits.size}] {upper}_FLASH = "
            f"{initializer(logits)};",
            "",
            "/* Return the number of images whose logits are not those that tinycnn computed. */",
            f"static int {name}_test(void)",
            "{",
            f"    static {pixel_type} image[{n_pixels}];",
            f"    {logit_type} logits[{n_classes}];",
            "    int failed = 0, i, n;",
            *indented(loop("i", len(images), body)),
            "    return failed;",
            "}",
        ]
    )


def _joined(lines: Lines) -> str:
    return "\n".join(lines) + "\n"
