r"""What goes to the terminal: one line at a time, safe to show, whatever is in names.

Names of files and classes come from strangers. Control characters, line breaks and characters that
turn the direction of text are shown as escapes (``\n``, ``\x1b``, ``\u202e``), and so is what the
encoding of the terminal does not have. A stream that is closed takes no lines, and that is no
error: without a console Python has none.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TextIO

# Python's stand-ins for bytes of file names that are no UTF-8.
FIRST_BYTE, LAST_BYTE = "\udc80", "\udcff"

# Seconds until a count is first shown, and between two of them.
FIRST_COUNT, NEXT_COUNT = 1.0, 0.1
CLEAR_LINE = "\x1b[K"


def prepare() -> None:
    """Let stdout and stderr escape what their encoding does not have."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")


def visible(text: object) -> str:
    r"""Return text with escapes for all that is not printable.

    Examples
    --------
    >>> visible("two\nlines\x1b[2J")
    'two\\nlines\\x1b[2J'
    """
    return "".join(char if char.isprintable() else _escaped(char) for char in str(text))


def say(text: object) -> None:
    """Write a line to stdout.

    Raises
    ------
    BrokenPipeError
        If nobody reads any more, as after ``| head``.
    """
    _write_line(sys.stdout, text)


def complain(text: object) -> None:
    """Write a line to stderr; if it cannot be written, there is nobody to tell."""
    with suppress(OSError, ValueError):
        _write_line(sys.stderr, text)


@contextmanager
def on_interrupt(message: str) -> Iterator[None]:
    """Let Ctrl-C say where it struck and what became of things: "while reading: ..."."""
    try:
        yield
    except KeyboardInterrupt as interrupt:
        if interrupt.args:
            raise
        raise KeyboardInterrupt(message) from None


class Output:
    """Stdout for a command whose work matters more than its words: a failure stops neither.

    Attributes
    ----------
    error : OSError or None
        Why lines could not be written.
    """

    def __init__(self, *, muted: bool = False) -> None:
        self.muted = muted
        self.error: OSError | None = None

    def say(self, text: object) -> None:
        """Write a line, if that is possible."""
        if self.muted:
            return
        try:
            say(text)
        except OSError as error:
            self.error = self.error or error
            silence(sys.stdout)


@contextmanager
def counting(what: str) -> Iterator[Callable[[int, int], None]]:
    """Show on a terminal how far something that takes long has come."""
    stream = sys.stderr
    if stream is None or not stream.isatty():
        yield lambda done, total: None
        return
    shown, next_time = False, time.monotonic() + FIRST_COUNT

    def show(done: int, total: int) -> None:
        nonlocal shown, next_time
        if time.monotonic() < next_time:
            return
        shown, next_time = True, time.monotonic() + NEXT_COUNT
        with suppress(OSError, ValueError):
            stream.write(f"\r{visible(what)}: {done} of {total}{CLEAR_LINE}")
            stream.flush()

    try:
        yield show
    finally:
        if shown:
            with suppress(OSError, ValueError):
                stream.write(f"\r{CLEAR_LINE}")
                stream.flush()


def silence_if_failed(stream: TextIO | None) -> None:
    """Lead a stream nowhere if what is left in it cannot be written, as on a full disk."""
    try:
        if stream is not None:
            stream.flush()
    except (OSError, ValueError):
        silence(stream)


def silence(stream: TextIO | None) -> None:
    """Lead a stream that failed nowhere, so that Python does not complain when it flushes it."""
    if stream is None:
        return
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


def _write_line(stream: TextIO | None, text: object) -> None:
    if stream is not None:
        stream.write(f"{visible(text)}\n")
        stream.flush()


def _escaped(char: str) -> str:
    if FIRST_BYTE <= char <= LAST_BYTE:
        return f"\\x{ord(char) & 0xFF:02x}"
    return char.encode("unicode_escape").decode("ascii")
