"""Reading what a header announces without trusting it."""

from __future__ import annotations

from typing import Protocol

_CHUNK_BYTES = 1 << 20


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
