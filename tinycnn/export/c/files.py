"""``to_c``: the C in one header, in header and source, or as an Arduino library."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias, get_args

import numpy as np
import numpy.typing as npt

from tinycnn.export.c.plan import CTYPES, Program, make_program
from tinycnn.export.c.source import Source, make_source, make_test, title
from tinycnn.export.c.text import checked_identifier
from tinycnn.export.quantized import QuantizedCNN
from tinycnn.files.writing import write_text
from tinycnn.inputs import as_images
from tinycnn.network import CNN, require_network

Layout: TypeAlias = Literal["header", "source", "arduino"]
PixelType: TypeAlias = Literal["uint8", "uint16", "float32"]


class CSizes(NamedTuple):
    """What a C program needs.

    Attributes
    ----------
    table_bytes : int
        Flash memory for the weights; the code around them takes a few thousand bytes more.
    scratch_bytes : int
        RAM that is worked in, besides the image and the logits.
    """

    table_bytes: int
    scratch_bytes: int


def to_c(
    net: CNN | QuantizedCNN,
    path: str | os.PathLike[str],
    *,
    name: str | None = None,
    layout: Layout = "header",
    input: PixelType = "uint8",
    examples: npt.ArrayLike | None = None,
) -> CSizes:
    """Write a network as C99 without dependencies; C++ compiles it too.

    Nothing is allocated. ``NAME_predict(image)`` returns a class, ``NAME_logits(image, logits)``
    and ``NAME_predict_proba(image, probabilities)`` fill an array,
    ``NAME_logits_in(image, scratch, logits)`` does it in the caller's memory.

    Parameters
    ----------
    net : CNN or QuantizedCNN
        The first computes in floats (float32 also for a float64 network), the second, made by
        :func:`tinycnn.quantize`, in eight-bit integers.
    path : path-like
        Of the header, such as ``pets.h``. "source" writes the implementation beside it, under the
        same name with ``.c``; for "arduino" it is the folder that the library is written to.
    name : str, optional
        What all names in the C begin with, an identifier, so that several networks fit one
        program; by default that of the file.
    layout : "header", "source" or "arduino"
        The header alone holds the implementation too: ``#define NAME_IMPLEMENTATION`` before
        including it in one file.
    input : "uint8", "uint16" or "float32"
        What pixels are: bytes 0..255; or values as they are, which are 0..1 for a network that was
        trained on bytes. A QuantizedCNN takes bytes.
    examples : (N, C, H, W), optional
        Images for a header beside the first, ``..._test.h``, whose function ``NAME_test()``
        returns how many of them the C computes otherwise than tinycnn.

    Returns
    -------
    CSizes

    Raises
    ------
    ValueError
        If a layer has no translation, or an argument is none of these.
    """
    if not isinstance(net, QuantizedCNN):
        require_network(net)
    path = Path(path)
    name = checked_identifier("name", path.stem if name is None else name)
    pixels = _checked_choices(net, layout, input)
    program = make_program(net, pixels)
    source = make_source(net, program, name)
    files = _LAYOUTS[layout](net, path, name, source)
    if examples is not None:
        images = as_images("examples", examples, net.architecture.image_shape)
        test = next(file for file in files if file.suffix == ".h")
        files[test.with_name(f"{test.stem}_test.h")] = _test_file(
            net, program, name, test.name, images.astype(pixels, casting="safe")
        )
    for file, text in files.items():
        if layout == "arduino":
            file.parent.mkdir(parents=True, exist_ok=True)
        write_text(file, text)
    return CSizes(source.table_bytes, program.scratch_bytes)


def _checked_choices(net: CNN | QuantizedCNN, layout: str, input: str) -> np.dtype[Any]:
    if layout not in get_args(Layout):
        raise ValueError(f"layout: must be 'header', 'source' or 'arduino', got {layout!r}")
    if input not in get_args(PixelType):
        raise ValueError(f"input: must be 'uint8', 'uint16' or 'float32', got {input!r}")
    if isinstance(net, QuantizedCNN) and input != "uint8":
        raise ValueError(f"input: an eight-bit network takes bytes ('uint8'), got {input!r}")
    return np.dtype(input)


def _header_layout(
    net: CNN | QuantizedCNN, path: Path, name: str, source: Source
) -> dict[Path, str]:
    macro = f"{name.upper()}_IMPLEMENTATION"
    use = (
        f"a network in one header.\n *\n"
        f' * In one source file:  #define {macro}\n *                      #include "{path.name}"\n'
        f' * In all others:       #include "{path.name}"'
    )
    implementation = f"\n#ifdef {macro}\n#undef {macro}\n\n{source.implementation}\n#endif\n"
    return {path: title(net, name, use) + source.header + implementation}


def _source_layout(
    net: CNN | QuantizedCNN, path: Path, name: str, source: Source
) -> dict[Path, str]:
    return {
        path: title(net, name, "a network.") + source.header,
        path.with_suffix(".c"): title(net, name, "a network.")
        + f'#include "{path.name}"\n\n{source.implementation}',
    }


def _arduino_layout(
    net: CNN | QuantizedCNN, path: Path, name: str, source: Source
) -> dict[Path, str]:
    files = _source_layout(net, path / "src" / f"{name}.h", name, source)
    files[path / "library.properties"] = _ARDUINO_PROPERTIES.format(name=name)
    files[path / "examples" / "Predict" / "Predict.ino"] = _ARDUINO_SKETCH.format(
        name=name, upper=name.upper()
    )
    return files


_LAYOUTS: Mapping[str, Any] = {
    "header": _header_layout,
    "source": _source_layout,
    "arduino": _arduino_layout,
}

_ARDUINO_PROPERTIES = """\
name={name}
version=1.0.0
author=tinycnn
maintainer=tinycnn
sentence=A convolutional network that tells what an image shows.
paragraph=Plain C without dependencies, made by tinycnn.
category=Data Processing
url=
architectures=*
"""

_ARDUINO_SKETCH = """\
#include <{name}.h>

static {name}_pixel image[{upper}_PIXELS]; // fill it: channel by channel, row by row

void setup() {{
  Serial.begin(9600);
}}

void loop() {{
  Serial.println({name}_class_names[{name}_predict(image)]);
  delay(1000);
}}
"""


def _test_file(
    net: CNN | QuantizedCNN,
    program: Program,
    name: str,
    header: str,
    images: npt.NDArray[Any],
) -> str:
    logits = net.logits(images).astype(np.int32 if program.in_integers else np.float32)
    assert CTYPES[logits.dtype] == program.logits.ctype
    test = make_test(program, name, images, logits)
    return title(net, name, "images to test the network with.") + f'#include "{header}"\n\n{test}'
