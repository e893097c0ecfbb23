"""The inside of a gzip file, in time that does not depend on what stands behind it.

Python's gzip module looks for the next member byte by byte: 50 MB of zeros behind the last one,
which the format allows as padding, take it 20 seconds.
"""

from __future__ import annotations

import io
import zlib
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing_extensions import Buffer

_CHUNK_BYTES = 1 << 14  # a member's rest is copied at its end, so chunks are small
_GZIP = 31  # zlib's number for "gzip, with its checksum"


class Gunzip(io.RawIOBase):
    """Members of a gzip file, one after the other.

    Reading raises EOFError where a member is cut short, and zlib.error where one is damaged.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._chunk = b""
        self._member: Any = None  # zlib names the type of decompressobj nowhere
        self._any_member = False

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: Buffer, /) -> int:
        """Fill the buffer, or a part of it; 0 is the end."""
        view = memoryview(buffer).cast("B")
        while len(view) and (self._member is not None or self._begin_member()):
            data = self._member.decompress(self._chunk, len(view))
            if self._member.eof:
                self._chunk, self._member = self._member.unused_data, None
            else:
                self._chunk = self._member.unconsumed_tail
            if data:
                view[: len(data)] = data
                return len(data)
            if self._member is not None and not self._chunk and not self._read_chunk():
                raise EOFError("it ends in the middle")
        return 0

    def _begin_member(self) -> bool:
        """Pass over padding; return whether another member follows."""
        while True:
            if self._any_member:
                self._chunk = self._chunk.lstrip(b"\0")
            if self._chunk:
                break
            if not self._read_chunk():
                return False
        self._member, self._any_member = zlib.decompressobj(_GZIP), True
        return True

    def _read_chunk(self) -> bool:
        self._chunk = self._file.read(_CHUNK_BYTES)
        return bool(self._chunk)
