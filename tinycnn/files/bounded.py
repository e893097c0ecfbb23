"""Reading what a header announces without trusting it, and no path that could read forever."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Protocol

_CHUNK_BYTES = 1 << 20

_SPECIAL = (
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


class Readable(Protocol):
    """Anything bytes can be read from: a file, or the inside of a gzip or zip file."""

    def read(self, n_bytes: int, /) -> bytes:
        """At most `n_bytes`; none at the end."""


def read_bounded(stream: Readable, n_bytes: int) -> bytearray:
    """Read `n_bytes`, or less if the stream ends, or one byte more if it does not.

    The three outcomes tell a truncated, a correct and an overlong stream apart. Memory grows with
    what is there, in chunks, so that a damaged header that announces terabytes allocates nothing.
    """
    data = bytearray()
    while len(data) <= n_bytes:
        chunk = stream.read(min(_CHUNK_BYTES, n_bytes + 1 - len(data)))
        if not chunk:
            break
        data += chunk
    return data


@contextmanager
def open_file(path: Path) -> Iterator[BinaryIO]:
    """Open a plain file to read; refuse pipes and devices, which may never end or never begin.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    OSError
        If it cannot be read, or is a folder, a pipe, a device or a socket.
    """
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    number = os.open(path, flags)
    try:
        mode = os.fstat(number).st_mode
        if not stat.S_ISREG(mode):
            kind = "a folder" if stat.S_ISDIR(mode) else "a pipe, device or socket"
            raise OSError(f"{path}: is {kind}, not a file")
        file = os.fdopen(number, "rb")
    except BaseException:
        os.close(number)
        raise
    with file:
        yield file


def what_special(path: Path) -> str | None:
    """Name what is neither a file nor a folder ("a pipe", "a device"); None for those two.

    Opening a pipe waits until somebody writes to it, and /dev/zero never ends.

    Raises
    ------
    OSError
        If there is nothing at the path, or its links lead nowhere.
    """
    mode = path.stat().st_mode
    return next((words for is_such, words in _SPECIAL if is_such(mode)), None)


def refuse_special(path: Path) -> None:
    """Raise ValueError if the path is a pipe, a socket or a device; OSError if it is nothing."""
    words = what_special(path)
    if words is not None:
        raise ValueError(f"{path} is {words}, not a file: copy what it gives into a file first")
