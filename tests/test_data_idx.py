"""IDX files: what ``read_idx`` returns, and its words for every kind of damage."""

from __future__ import annotations

import gzip
import re
import struct
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from tinycnn.data import is_idx, read_idx

CODES = {"u1": 0x08, "i1": 0x09, "i2": 0x0B, "i4": 0x0C, "f4": 0x0D, "f8": 0x0E}

FUZZ_MEMORY = 8 << 20  # bytes; the valid files of these tests hold a few hundred


def idx_bytes(values: np.ndarray) -> bytes:
    """Make an IDX file of an array, written by the format's description alone."""
    code = CODES[values.dtype.str[1:]]
    header = bytes([0, 0, code, values.ndim]) + struct.pack(f">{values.ndim}i", *values.shape)
    return header + values.astype(values.dtype.newbyteorder(">")).tobytes()


def write(path: Path, content: bytes) -> Path:
    """Write a file and return its path."""
    path.write_bytes(content)
    return path


@pytest.fixture(params=["plain", "gzip"])
def pack(request: pytest.FixtureRequest):
    """How an IDX file's bytes are stored."""
    return gzip.compress if request.param == "gzip" else bytes


@pytest.mark.parametrize("dtype", CODES)
@pytest.mark.parametrize("shape", [(5,), (4, 3), (3, 4, 5), (2, 3, 4, 5), (0, 28, 28), (0,), ()])
def test_every_type_and_shape_comes_back_native(tmp_path, rng, pack, dtype, shape):
    values = np.asarray(rng.standard_normal(shape) * 100).astype(dtype)
    array = read_idx(write(tmp_path / "a", pack(idx_bytes(values))))
    assert array.dtype == np.dtype(dtype)
    assert array.dtype.isnative
    assert array.shape == shape
    assert array.flags.writeable
    np.testing.assert_array_equal(array, values)


def test_random_arrays_come_back_equal(tmp_path, rng):
    for n in range(60):
        shape = tuple(rng.integers(0, 6, size=rng.integers(0, 5)))
        dtype = rng.choice(list(CODES))
        values = rng.integers(0, 128, size=shape).astype(dtype)
        pack = gzip.compress if n % 2 else bytes
        np.testing.assert_array_equal(
            read_idx(write(tmp_path / f"{n}", pack(idx_bytes(values)))), values
        )


def test_gzip_is_told_by_content_not_by_name(tmp_path):
    values = np.arange(6, dtype="u1")
    plain = write(tmp_path / "plain.gz", idx_bytes(values))
    packed = write(tmp_path / "packed-idx1-ubyte", gzip.compress(idx_bytes(values)))
    np.testing.assert_array_equal(read_idx(plain), values)
    np.testing.assert_array_equal(read_idx(str(packed)), values)


def test_more_than_one_chunk_is_read(tmp_path, rng, pack):
    values = rng.integers(0, 256, size=(3, 1000, 700), dtype="u1")
    np.testing.assert_array_equal(read_idx(write(tmp_path / "a", pack(idx_bytes(values)))), values)


def test_two_gzip_members_are_one_file(tmp_path):
    content = idx_bytes(np.arange(100, dtype="i4"))
    path = write(tmp_path / "a", gzip.compress(content[:50]) + gzip.compress(content[50:]))
    np.testing.assert_array_equal(read_idx(path), np.arange(100))


HEADER_2x3 = b"\0\0\x08\x02" + struct.pack(">2i", 2, 3)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", r"is no IDX file: it begins with bytes \(none\)"),
        (b"\1\0\x08\1", "is no IDX file: it begins with bytes 01 00 08 01, .*; fetch or copy it"),
        (
            gzip.compress(gzip.compress(b"\0\0\x08\1", mtime=0), mtime=0),
            r"is compressed twice: .* \(gunzip\)",
        ),
        (b"\0\0\x08", "is truncated: only 3 bytes of its IDX header"),
        (b"\0\0\x07\1" + bytes(8), "has the IDX type 0x07: known types are 0x08, 0x09, 0x0b"),
        (b"\0\0\x08\xff" + bytes(2000), "announces 255 dimensions: .* 64 at most"),
        (HEADER_2x3[:9], "is truncated: .* 2 dimensions and ends after 9 of 12 bytes"),
        (
            b"\0\0\x08\x02" + struct.pack(">2i", 2, -3) + bytes(6),
            r"announces the shape \(2, -3\): sizes must not be negative",
        ),
        (
            b"\0\0\x0e\x03" + struct.pack(">3i", *[2**31 - 1] * 3) + bytes(6),
            r"announces the shape \(2147483647, .*no memory holds so much",
        ),
        (
            b"\0\0\x08\x04" + struct.pack(">4i", 0, *[2**31 - 1] * 3),
            r"announces the shape \(0, 2147483647, .*no memory holds so much",
        ),
        (
            HEADER_2x3 + bytes(5),
            r"is truncated: its header announces \(2, 3\) uint8, 6 bytes of data, but there are 5",
        ),
        (
            HEADER_2x3 + bytes(7),
            r"has extra bytes after its data: .*\(2, 3\) uint8, 6 bytes of data, but at least 7",
        ),
    ],
)
def test_damage_is_told_with_the_file(tmp_path, pack, content, words):
    path = write(tmp_path / "some-idx", pack(content))
    with pytest.raises(ValueError, match=f"^{re.escape(str(path))} {words}"):
        read_idx(path)


def test_corrupt_gzip_is_told_with_the_file(tmp_path, rng):
    whole = gzip.compress(idx_bytes(rng.integers(0, 256, size=500, dtype="u1")))
    wrong_sum = whole[:-8] + bytes(4) + whole[-4:]
    for damaged in (whole[:-1], whole[:100], whole[:5], wrong_sum, whole + b"garbage"):
        path = write(tmp_path / "labels.gz", damaged)
        with pytest.raises(ValueError, match=r"labels\.gz is a damaged gzip file: .*again"):
            read_idx(path)


def test_padding_behind_gzip_is_passed_over_at_once(tmp_path):
    packed = gzip.compress(idx_bytes(np.arange(6, dtype="u1")))
    path = write(tmp_path / "a.gz", packed + bytes(8 << 20))
    start = time.process_time()
    np.testing.assert_array_equal(read_idx(path), np.arange(6))
    assert time.process_time() - start < 1  # Python's own gzip takes three seconds


def test_missing_file_is_file_not_found(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        read_idx(tmp_path / "nowhere")


def test_header_of_terabytes_allocates_nothing(tmp_path, pack):
    header = b"\0\0\x0d\x03" + struct.pack(">3i", 2**20, 2**10, 2**10)  # 4 TiB
    path = write(tmp_path / "a", pack(header + bytes(1000)))
    tracemalloc.start()
    try:
        with pytest.raises(
            ValueError, match=r"4398046511104 bytes of data|4,398,046,511,104 bytes"
        ):
            read_idx(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < FUZZ_MEMORY


def test_reading_stops_where_the_announced_data_ends(tmp_path):
    header = b"\0\0\x08\x01" + struct.pack(">i", 10)
    path = write(tmp_path / "bomb.gz", gzip.compress(header + bytes(200 << 20), compresslevel=1))
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="extra bytes"):
            read_idx(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < FUZZ_MEMORY


def test_is_idx_looks_at_the_first_bytes(tmp_path, pack):
    assert is_idx(write(tmp_path / "a", pack(idx_bytes(np.arange(3, dtype="u1")))))
    for content in (b"", b"\0\0\x08", b"\0\0\x07\1", b"\x89PNG\r\n", b"PK\3\4"):
        assert not is_idx(write(tmp_path / "b", pack(content)))
    assert not is_idx(write(tmp_path / "c", gzip.compress(b"\0\0\x08\1")[:5]))
    with pytest.raises(FileNotFoundError):
        is_idx(tmp_path / "nowhere")


def damage(content: bytes, rng: np.random.Generator) -> bytes:
    """Cut a file short, or change one to three of its bytes, mostly near its start."""
    if rng.random() < 0.25:
        return content[: rng.integers(0, len(content))]
    changed = bytearray(content)
    for _ in range(rng.integers(1, 4)):
        where = rng.integers(0, 20 if rng.random() < 0.6 else len(content))
        changed[where] = rng.choice([0, 1, 0x7F, 0x80, 0xFF, rng.integers(0, 256)])
    return bytes(changed)


def read_or_refuse(path: Path, n_bytes: int) -> str:
    """Read a damaged file: give the words of its refusal, or check how much was read."""
    try:
        array = read_idx(path)
    except ValueError as error:
        return str(error)
    # Type and sizes may change together and still account for every byte.
    assert array.nbytes == n_bytes
    return f"{path} was read"


def test_damaged_files_read_as_such_or_say_so(tmp_path, rng, pack):
    values = rng.integers(0, 100, size=(7, 5, 4)).astype("i2")
    whole = pack(idx_bytes(values))
    tracemalloc.start()
    try:
        for n in range(300):
            path = write(tmp_path / f"{n}", damage(whole, rng))
            assert str(path) in read_or_refuse(path, values.nbytes)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < FUZZ_MEMORY


def test_a_shape_of_many_sizes_is_told_shortly(tmp_path):
    path = write(tmp_path / "long", struct.pack(">BBBB64i", 0, 0, 8, 64, *[-1460431869] * 64))
    with pytest.raises(ValueError, match="must not be negative") as caught:
        read_idx(path)
    assert len(str(caught.value)) < 300 + len(str(path))
