"""Files that are nearly right: changes that know what a byte, a size, a header or a cell is."""

from __future__ import annotations

import gzip
import io
import json
import random
import struct
import warnings
import zipfile
import zlib
from collections.abc import Callable
from typing import Any

Mutation = Callable[[random.Random, bytes], bytes]

SIZES = (0, 1, 2, 8, 64, 0xFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 2**31 + 1, 2**16)
NUMBERS = ("0", "-1", "1", "2**62", "9223372036854775807", "1" * 500, "1.5", "True", "None", "'a'")
CELLS = ("", "-1", "256", "1e400", "nan", "x", '"', "\0", "9" * 400, "1;2", "é", "0.5", ",,,")
DTYPES = (
    *("<f4", ">f4", "<f8", "|u1", "|O", "<U3", "<U0", "<U99999999999", "|V5", "<M8[s]", "|S3"),
    *("<c8", "<f2", "<f16", "|b1", "<i8", ">i4", "<u8", "", "f" * 300, "int", "T", "(2,3)<f4"),
)
VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 3.5, 1e308, 2**63, 10**30, "", "x", "float16", "float64"),
    *([], {}, [[]], [1, 2], {"a": 1}, "\ud800", "\x1b[2J", ["a"] * 3, [None] * 3, float("nan")),
    *(float("inf"), [2**40], [1, 10**9, 10**9], "a" * 10_000, 10**400, [0] * 1000),
)


def change_bytes(rng: random.Random, data: bytes) -> bytes:
    """Change, remove, insert, repeat or cut off some bytes, wherever they are."""
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 4, 16))):
        at, kind = rng.randrange(len(out) + 1), rng.randrange(6)
        if kind == 0:
            out[at : at + 1] = rng.randbytes(1)
        elif kind == 1:
            del out[at : at + rng.choice((1, 2, 4, 50))]
        elif kind == 2:
            out[at:at] = rng.randbytes(rng.choice((1, 4, 40)))
        elif kind == 3:
            out[at : at + 4] = struct.pack(rng.choice("<>") + "I", rng.choice(SIZES))
        elif kind == 4:
            out[at:at] = out[: rng.randrange(64)]
        else:
            del out[at:]
    return bytes(out)


def change_header(rng: random.Random, data: bytes) -> bytes:
    """Put one of the sizes that formats of big-endian whole numbers have at their start."""
    at = 4 * rng.randrange(1, 5)
    return data[:at] + struct.pack(">I", rng.choice(SIZES)) + data[at + 4 :]


def change_cells(rng: random.Random, data: bytes) -> bytes:
    """Change some cells of a table as text."""
    rows = [row.split(b",") for row in data.split(b"\n")]
    for _ in range(rng.choice((1, 1, 3))):
        row = rng.choice(rows)
        at, kind = rng.randrange(len(row)), rng.randrange(4)
        if kind == 0:
            row.pop(at)
        elif kind == 1:
            row.insert(at, rng.choice(CELLS).encode())
        else:
            row[at] = rng.choice(CELLS).encode()
    return b"\n".join(b",".join(row) for row in rows)


def change_pairs(rng: random.Random, data: bytes) -> bytes:
    """Change some ``index:value`` pairs of a libsvm file."""
    rows = [row.split(b" ") for row in data.split(b"\n")]
    pairs = (
        *CELLS,
        "0:1",
        "1:",
        ":1",
        "1:1:1",
        "2147483648:1",
        "1048577:1",
        "99999999999:1",
        "1:nan",
    )
    for _ in range(rng.choice((1, 1, 3))):
        row = rng.choice(rows)
        row[rng.randrange(len(row))] = rng.choice(pairs).encode()
    return b"\n".join(b" ".join(row) for row in rows)


def change_tags(rng: random.Random, data: bytes) -> bytes:
    """Change an entry of a TIFF's directory: which tag, its kind, how many, its value or place."""
    out = bytearray(data)
    (start,) = struct.unpack("<I", data[4:8])
    (n,) = struct.unpack("<H", data[start : start + 2])
    for _ in range(rng.choice((1, 1, 2))):
        at = start + 2 + 12 * rng.randrange(n)
        kind = rng.randrange(6)
        if kind == 0:
            out[at : at + 2] = struct.pack(
                "<H", rng.choice((254, 258, 259, 262, 277, 338, 339, 273))
            )
        elif kind == 1:
            out[at + 2 : at + 4] = struct.pack("<H", rng.randrange(14))
        elif kind == 2:
            out[at + 4 : at + 8] = struct.pack("<I", rng.choice(SIZES))
        elif kind == 3:
            out[at + 8 : at + 12] = struct.pack(
                "<I", rng.choice((*SIZES, *range(9), 32_946, 34_892))
            )
        elif kind == 4:
            last = start + 2 + 12 * n
            out[last : last + 4] = struct.pack("<I", rng.choice((start, 8, 0xFFFFFFFF)))
        else:
            return change_bytes(rng, data)
    return bytes(out)


def inside_gzip(change: Mutation) -> Mutation:
    """Make a change inside a gzip file, or to the file."""

    def mutate(rng: random.Random, data: bytes) -> bytes:
        if rng.random() < 0.5:
            return gzip.compress(change(rng, gzip.decompress(data)), 1)
        return change_bytes(rng, data)

    return mutate


def change_chunks(rng: random.Random, data: bytes) -> bytes:
    """Change a chunk of a PNG file, with a checksum that fits."""
    at, chunks = 8, []
    while at + 12 <= len(data):
        (length,) = struct.unpack(">I", data[at : at + 4])
        chunks.append([data[at + 4 : at + 8], data[at + 8 : at + 8 + length]])
        at += 12 + length
    chunk, kind = rng.choice(chunks), rng.randrange(5)
    if kind == 0:
        chunks.remove(chunk)
    elif kind == 1:
        chunks.insert(rng.randrange(len(chunks)), list(rng.choice(chunks)))
    elif kind == 2:
        name = rng.choice((b"tRNS", b"gAMA", b"iCCP", b"zTXt", b"eXIf", b"PLTE", b"acTL", b"fcTL"))
        chunks.insert(1, [name, rng.randbytes(rng.choice((0, 1, 6, 26, 300)))])
    elif kind == 3 and chunks[0][0] == b"IHDR":
        size = [rng.choice(SIZES) if rng.random() < 0.5 else 8 for _ in range(2)]
        chunks[0][1] = struct.pack(">II", *size) + chunks[0][1][8:]
    else:
        chunk[1] = change_bytes(rng, chunk[1])
    out = data[:8]
    for name, content in chunks:
        checksum = zlib.crc32(name + content)
        out += struct.pack(">I", len(content)) + name + content + struct.pack(">I", checksum)
    return out


def npy_start(rng: random.Random) -> bytes:
    """Begin an NPY file: a header that may be anything."""
    n = rng.randrange(4)
    sizes = ",".join(rng.choice((*NUMBERS, "0", "3", "12", "6")) for _ in range(n))
    parts = [
        f"'descr': {rng.choice(DTYPES)!r}",
        f"'fortran_order': {rng.choice(('False', 'True', '1', 'None'))}",
        f"'shape': ({sizes},)" if n else "'shape': ()",
    ]
    rng.shuffle(parts)
    if rng.random() < 0.1:
        parts.pop()
    text = f"{{{', '.join(parts)}, }}"
    if rng.random() < 0.1:
        text = rng.choice(("(" * 3000, "-" * 5000, " " * 9000, "\0", "[" * 200)) + text
    header = text.encode() + b"\n"
    length = rng.choice((len(header),) * 9 + (0, 65535))
    return b"\x93NUMPY" + bytes((rng.choice((1, 1, 2)), 0)) + struct.pack("<H", length) + header


def change_array(rng: random.Random, data: bytes) -> bytes:
    """Change an NPY file: its header, its data or any byte."""
    kind = rng.randrange(3)
    if kind == 0:
        return npy_start(rng) + data[128:]
    return change_bytes(rng, data) if kind == 1 else data[: rng.randrange(len(data) + 1)]


def change_json(rng: random.Random, value: Any) -> Any:
    """Change something within a value of JSON."""
    if isinstance(value, dict) and value and rng.random() < 0.9:
        key = rng.choice(list(value))
        changed = {**value, key: change_json(rng, value[key])}
        if rng.random() < 0.1:
            del changed[key]
        return changed
    if isinstance(value, list) and value and rng.random() < 0.8:
        at = rng.randrange(len(value))
        return [*value[:at], change_json(rng, value[at]), *value[at + (rng.random() < 0.9) :]]
    return rng.choice(VALUES)


def change_text(rng: random.Random, data: bytes) -> bytes:
    """Change the JSON that an NPY file holds as an array of one string."""
    try:
        length = struct.unpack("<H", data[8:10])[0]
        value = json.loads(data[10 + length :].decode("utf-32-le"))
    except (
        struct.error,
        ValueError,
        RecursionError,
    ):  # another text, or one that was changed before
        return change_array(rng, data)
    if rng.random() < 0.1:
        text = rng.choice(("[" * 50_000, "{", "null", "[]", '{"a":' * 2000, "NaN", "9" * 5000))
    else:
        text = json.dumps(change_json(rng, value))
    header = f"{{'descr': '<U{len(text)}', 'fortran_order': False, 'shape': (1,), }}\n".encode()
    start = b"\x93NUMPY\x01\0" + struct.pack("<H", len(header)) + header
    return start + text.encode("utf-32-le", "surrogatepass")


def change_members(rng: random.Random, data: bytes) -> bytes:
    """Change an NPZ archive: its members, their names, their contents, or any byte."""
    if rng.random() < 0.3:
        return change_bytes(rng, data)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = [[name, archive.read(name)] for name in archive.namelist()]
    for _ in range(rng.choice((1, 1, 2))):
        member, kind = rng.choice(members), rng.randrange(8)
        is_text = b"'<U" in member[1][:40]
        if kind == 0 and len(members) > 1:
            members.remove(member)
        elif kind == 1:
            members.append([rng.choice((member[0], "x.npy", "../x.npy", "é.npy", "dir/")), b"x"])
        elif kind == 2:
            member[1] = rng.choice(members)[1]
        else:
            member[1] = (change_text if is_text and kind > 3 else change_array)(rng, member[1])
    stream, methods = io.BytesIO(), (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of names that stand there twice
        with zipfile.ZipFile(stream, "w", rng.choice(methods[: rng.choice((2, 2, 3))])) as archive:
            for name, content in members:
                archive.writestr(name, content)
    return stream.getvalue()
