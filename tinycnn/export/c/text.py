"""Pieces of C: literals, tables, strings, identifiers and nested blocks."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tinycnn._checks import shown

Lines = list[str]

_IDENTIFIER = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_LINE_VALUES = 12


def checked_identifier(name: str, value: Any) -> str:
    """Return a name that functions of C and C++ can begin with; ValueError if it is none."""
    if not (isinstance(value, str) and _IDENTIFIER.fullmatch(value)):
        raise ValueError(
            f"{name}: must be an identifier of C (letters, digits and _, a letter first), "
            f"got {shown(value)}"
        )
    if "__" in value:
        raise ValueError(f"{name}: C++ reserves names with two _ in a row, got {shown(value)}")
    return value


def literal(value: Any) -> str:
    """Write a number: the shortest digits that give the same float, or a whole number."""
    if isinstance(value, np.floating):
        digits = str(np.float32(value))
        return f"{digits}f" if re.search(r"[.en]", digits) else f"{digits}.0f"
    return str(int(value))


def string_literal(text: str) -> str:
    """Write a string as UTF-8, with all that C would read otherwise in octal."""
    escaped = "".join(
        chr(byte) if 32 <= byte < 127 and chr(byte) not in '"\\?' else f"\\{byte:03o}"
        for byte in text.encode("utf-8", "surrogatepass")
    )
    return f'"{escaped}"'


def comment_text(text: str) -> str:
    """Make a text harmless inside a comment of C."""
    return text.replace("*/", "* /").replace("/*", "/ *").replace("??", "? ?")


def initializer(values: npt.NDArray[Any]) -> str:
    """Write all values of an array in braces, some on each line."""
    written = [literal(value) for value in values.reshape(-1)]
    rows = (written[i : i + _LINE_VALUES] for i in range(0, len(written), _LINE_VALUES))
    return "{\n" + ",\n".join("    " + ", ".join(row) for row in rows) + "\n}"


def indented(lines: Iterable[str]) -> Lines:
    """Move lines in by one level."""
    return [f"    {line}" if line and not line.startswith("#") else line for line in lines]


def block(head: str, body: Iterable[str]) -> Lines:
    """Put a head and braces around lines."""
    return [f"{head} {{", *indented(body), "}"]


def loop(variable: str, count: int, body: Sequence[str], step: int = 1) -> Lines:
    """Write a loop from 0 to a count."""
    increment = f"{variable}++" if step == 1 else f"{variable} += {step}"
    return block(f"for ({variable} = 0; {variable} < {count}; {increment})", body)
