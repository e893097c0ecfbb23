"""How much the pages of a Parquet file unpack to: pyarrow allocates what their headers claim.

A page is a header, in Thrift's compact protocol, and data: Apache's parquet-format, PageHeader.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, BinaryIO

# Of a page's header: statistics hold the least and the largest value.
_MOST_HEADER_BYTES = 1 << 16
_MOST_PAGES = 100_000
_MOST_DEPTH = 8

_UNPACKED, _PACKED = 2, 3  # fields of a page's header
_STOP, _LISTS, _STRUCT, _BINARY, _DOUBLE = 0, (9, 10), 12, 8, 7
_FLAGS, _BYTE, _NUMBERS = (1, 2), 3, (4, 5, 6)


class PageError(ValueError):
    """A page whose header cannot be read."""


def page_sizes(path: Path, metadata: Any, columns: Collection[str]) -> Iterator[int]:
    """Yield the unpacked size of every page of some columns, in bytes.

    Parameters
    ----------
    path : Path
    metadata : pyarrow.parquet.FileMetaData
    columns : collection of str
        Names, without those of fields in a struct.

    Raises
    ------
    PageError
        If a header is damaged, or there are too many pages.
    """
    n_pages = 0
    with path.open("rb") as file:
        for start, end in _chunks(metadata, columns):
            while start < end:
                header_bytes, packed, unpacked = _header(file, start)
                start += header_bytes + packed
                n_pages += 1
                if n_pages > _MOST_PAGES or packed < 0 or unpacked < 0:
                    raise PageError("it has too many pages, or pages of a negative size")
                yield unpacked


def _chunks(metadata: Any, columns: Collection[str]) -> Iterator[tuple[int, int]]:
    """Yield where the pages of each piece of a column begin and end."""
    for group in map(metadata.row_group, range(metadata.num_row_groups)):
        for column in map(group.column, range(group.num_columns)):
            if column.path_in_schema.partition(".")[0] not in columns:
                continue
            start = column.data_page_offset
            if column.has_dictionary_page and 0 < column.dictionary_page_offset < start:
                start = column.dictionary_page_offset
            if start < 0 or column.total_compressed_size < 0:
                raise PageError("a column begins before the file, or has a negative size")
            yield start, start + column.total_compressed_size


def _header(file: BinaryIO, start: int) -> tuple[int, int, int]:
    """Size of a header itself, and the packed and the unpacked size of its page."""
    file.seek(start)
    reader = _Compact(file.read(_MOST_HEADER_BYTES))
    try:
        fields = reader.struct()
    except IndexError as error:
        raise PageError("the header of a page is cut off") from error
    packed, unpacked = fields.get(_PACKED), fields.get(_UNPACKED)
    if packed is None or unpacked is None:
        raise PageError("the header of a page lacks its size")
    return reader.at, packed, unpacked


class _Compact:
    """Reads Thrift's compact protocol; keeps nothing but whole numbers."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def struct(self, depth: int = 0) -> dict[int, int]:
        """Read a struct; return its fields that are whole numbers."""
        if depth > _MOST_DEPTH:
            raise PageError("the header of a page is nested too deep")
        numbers: dict[int, int] = {}
        field = 0
        while (head := self._byte()) & 15 != _STOP:
            delta, kind = head >> 4, head & 15
            field = field + delta if delta else self._number()
            if kind in _NUMBERS:
                numbers[field] = self._number()
            elif kind not in _FLAGS:
                self._skip(kind, depth)
        return numbers

    def _byte(self) -> int:
        self.at += 1
        return self.data[self.at - 1]

    def _size(self) -> int:
        size = shift = 0
        while (byte := self._byte()) & 128:
            size |= (byte & 127) << shift
            shift += 7
        return size | byte << shift

    def _number(self) -> int:
        coded = self._size()
        return coded >> 1 ^ -(coded & 1)

    def _skip(self, kind: int, depth: int) -> None:
        """Pass over a value in a struct, or in a list, where a flag takes a byte."""
        if kind in _FLAGS or kind == _BYTE:
            self.at += 1
        elif kind in _NUMBERS:
            self._size()
        elif kind == _DOUBLE:
            self.at += 8
        elif kind == _BINARY:
            size = self._size()  # which moves `at`
            self.at += size
        elif kind == _STRUCT:
            self.struct(depth + 1)
        elif kind in _LISTS:
            self._skip_list(depth)
        else:  # maps, which no page's header has
            raise PageError(f"the header of a page has a field of type {kind}")

    def _skip_list(self, depth: int) -> None:
        head = self._byte()
        n = head >> 4 if head >> 4 < 15 else self._size()
        if n > _MOST_HEADER_BYTES or depth > _MOST_DEPTH:
            raise PageError("the header of a page holds too long a list")
        for _ in range(n):
            self._skip(head & 15, depth + 1)
