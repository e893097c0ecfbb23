"""Pieces of HTML: text that is safe to show, tables, pictures."""

from __future__ import annotations

import base64
import html
import struct
import zlib
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

NONE = "\N{EN DASH}"  # where there is no number


def text(value: object) -> str:
    """Return text that stands for itself, in HTML and in attributes: names come from strangers."""
    return html.escape("".join(map(_visible, str(value))))


def _visible(char: str) -> str:
    return char if char.isprintable() else "\N{REPLACEMENT CHARACTER}"


def name(value: object) -> str:
    """Return a name whose direction of writing does not reach the text around it."""
    return f"<bdi>{text(value)}</bdi>"


def share(value: float | None, digits: int = 1) -> str:
    """Return a share in per cent, or a dash."""
    return NONE if value is None else f"{value:.{digits}%}"


def table(caption: str, head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Make a table; its cells are HTML, the first one of each row its header."""
    columns = "".join(f'<th scope="col">{cell}</th>' for cell in head)
    lines = (
        f'<tr><th scope="row">{row[0]}</th>{"".join(f"<td>{cell}</td>" for cell in row[1:])}</tr>'
        for row in rows
    )
    return scrolling(
        caption,
        f"<table><caption>{caption}</caption><thead><tr>{columns}</tr></thead>"
        f"<tbody>{''.join(lines)}</tbody></table>",
    )


def scrolling(label: str, content: str) -> str:
    """Let content that is wider than the page scroll by itself, with the keyboard too."""
    return f'<div class="scroll" tabindex="0" role="region" aria-label="{label}">{content}</div>'


def definitions(pairs: Iterable[tuple[str, str]]) -> str:
    """Make a list of words, each with what it stands for; HTML both."""
    return (
        f"<dl>{''.join(f'<div><dt>{key}</dt><dd>{value}</dd></div>' for key, value in pairs)}</dl>"
    )


def code(label: str, content: str) -> str:
    """Show code or commands, line by line."""
    lines = "\n".join(map(text, content.split("\n")))
    return scrolling(label, f"<pre><code>{lines}</code></pre>")


def picture(image: npt.NDArray[Any], description: str) -> str:
    """Show an image (C, H, W) of bytes or numbers; description is what it shows, as plain text."""
    _, H, W = image.shape
    content = base64.b64encode(png(as_bytes(image))).decode("ascii")
    size = f'width="{W}" height="{H}"'
    return f'<img src="data:image/png;base64,{content}" {size} alt="{text(description)}">'


def as_bytes(image: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """Bring an image (C, H, W) to bytes, grey (H, W, 1) or colour (H, W, 3).

    Numbers outside 0..1 are on a scale of their own: the least becomes black, the largest white.
    """
    if image.dtype != np.uint8:
        values = image.astype(np.float64)
        low, high = float(values.min()), float(values.max())
        if low < 0 or high > 1:
            values = (values - low) / ((high - low) or 1.0)
        image = np.round(values * 255).astype(np.uint8)
    if len(image) not in (1, 3):
        image = image.mean(axis=0, keepdims=True).astype(np.uint8)
    return np.ascontiguousarray(image.transpose(1, 2, 0))


def png(pixels: npt.NDArray[np.uint8]) -> bytes:
    """Encode pixels, grey (H, W, 1) or colour (H, W, 3), as PNG."""
    H, W, C = pixels.shape
    rows = np.zeros((H, 1 + W * C), np.uint8)  # each row begins with its filter: none
    rows[:, 1:] = pixels.reshape(H, -1)
    header = struct.pack(">IIBBBBB", W, H, 8, 2 if C == 3 else 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        [
            _chunk(b"IHDR", header),
            _chunk(b"IDAT", zlib.compress(rows.tobytes(), 9)),
            _chunk(b"IEND", b""),
        ]
    )


def _chunk(kind: bytes, content: bytes) -> bytes:
    checked = kind + content
    return struct.pack(">I", len(content)) + checked + struct.pack(">I", zlib.crc32(checked))
