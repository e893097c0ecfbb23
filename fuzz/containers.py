"""HDF5, MATLAB and Parquet files that are nearly right, written by their libraries with anything.

Their formats have checksums and offsets, so that a changed byte seldom gets beyond the library
that reads it. What a reader of ours meets behind it are names, types, shapes, layouts and cells
that nobody expects; of MATLAB and Parquet files bytes are changed besides.
"""

from __future__ import annotations

import io
import json
import random
import struct
import zlib
from typing import Any

import h5py
import mutate
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import scipy.io

KEYS = ("images", "labels", "X", "y", "x_train", "y_train", "x_test", "class_names", "a", "é", "#x")
SHAPES = (
    (12, 6, 6),
    (12, 36),
    (12, 1, 6, 6),
    (12,),
    (12, 1),
    (1, 12),
    (0, 6, 6),
    (),
    (3, 4, 1, 6, 6),
)
KINDS = ("u1", "u1", "f4", "f8", "i8", ">i4", "u2", "?", "f2", "S3", "c8", "i1", "u8")


def draw_values(rng: random.Random) -> np.ndarray:
    """Draw an array of some shape and kind whose values may be anything of it."""
    shape, kind = rng.choice(SHAPES[: rng.choice((4, 9))]), rng.choice(KINDS[: rng.choice((4, 13))])
    values = np.arange(int(np.prod(shape))).reshape(shape) % rng.choice((2, 3, 256, 1000))
    if kind == "S3":
        return values.astype(kind)
    values = values.astype("u1").astype(kind)
    if values.size and rng.random() < 0.2:
        extreme = (np.nan, np.inf, -1, 3e38) if values.dtype.kind in "fc" else (0, 1, 127)
        with np.errstate(all="ignore"):
            values.flat[rng.randrange(values.size)] = rng.choice(extreme)
    return values


def some_bytes_changed(rng: random.Random, content: bytes, share: float) -> bytes:
    """Change bytes of a part of all files."""
    return mutate.change_bytes(rng, content) if rng.random() < share else content


def hdf5(rng: random.Random, content: bytes) -> bytes:
    """Write an HDF5 file with anything in it, or cut a right one off.

    Bytes are not changed: HDF5's own library does not outlive that, as SECURITY.md says.
    """
    if rng.random() < 0.1:
        return content[: rng.randrange(len(content))]
    stream = io.BytesIO()
    with h5py.File(stream, "w", libver=rng.choice(("earliest", "latest"))) as file:
        _add(rng, file, "images", np.zeros((12, 6, 6), "u1"), 0.4)
        _add(rng, file, "labels", np.arange(12) % 3, 0.4)
        for _ in range(rng.choice((0, 0, 1, 2))):
            name = rng.choice(KEYS)
            if name not in file:
                _add(rng, file, name, draw_values(rng), 1)
    return stream.getvalue()


def _add(rng: random.Random, file: h5py.File, name: str, values: np.ndarray, odd: float) -> None:
    """Add a data set, or something else of the name."""
    if rng.random() > odd:
        file[name] = values
        return
    kinds = (_plain, _plain, _filtered, _filtered, _unfilled, _texts, _elsewhere, _exotic, _link)
    rng.choice(kinds)(rng, file, name)


def _plain(rng: random.Random, file: h5py.File, name: str) -> None:
    file[name] = draw_values(rng)


def _filtered(rng: random.Random, file: h5py.File, name: str) -> None:
    values = np.atleast_1d(draw_values(rng))
    filters: tuple[dict[str, Any], ...] = (
        {"compression": "gzip"},
        {"compression": "gzip", "shuffle": True},
        {"compression": "lzf"},
        {"fletcher32": True},
        {"scaleoffset": 2} if values.dtype.kind in "iu" else {},
    )
    file.create_dataset(name, data=values, maxshape=(None,) * values.ndim, **rng.choice(filters))


def _unfilled(rng: random.Random, file: h5py.File, name: str) -> None:
    """Announce much and hold little."""
    n = rng.choice((12, 10**5, 10**6, 10**9, 10**13))
    chunk = rng.choice((1, 12, 10**5, 10**8))
    shape = rng.choice(((n,), (12, n), (12, 6, n)))
    chunks = (*(1,) * (len(shape) - 1), chunk)
    made = file.create_dataset(
        name, shape, rng.choice(("u1", "f8")), chunks=chunks, maxshape=(None,) * len(shape),
        compression="gzip",
    )  # fmt: skip
    if chunk <= 10**5 and rng.random() < 0.5:
        made[(0,) * len(shape)] = 1


def _texts(rng: random.Random, file: h5py.File, name: str) -> None:
    n = rng.choice((0, 1, 12, 12, 300))
    words = [rng.choice(("a", "b", "é", "", "x" * 1000, "\x1b[2J")) for _ in range(n)]
    kind = h5py.string_dtype(rng.choice(("utf-8", "ascii"))) if rng.random() < 0.7 else "S4"
    file.create_dataset(name, data=[word.encode() for word in words], dtype=kind)


def _elsewhere(rng: random.Random, file: h5py.File, name: str) -> None:
    if rng.random() < 0.5:
        file.create_dataset(name, (12, 6, 6), "u1", external=[("/etc/hostname", 0, 432)])
        return
    layout = h5py.VirtualLayout((12, 6, 6), "u1")
    layout[:] = h5py.VirtualSource("other.h5", "images", (12, 6, 6))
    file.create_virtual_dataset(name, layout)


def _exotic(rng: random.Random, file: h5py.File, name: str) -> None:
    kinds = (
        lambda: np.zeros(12, [("a", "f4"), ("b", "u1")]),
        lambda: np.zeros(12, "V5"),
        lambda: h5py.Empty("f4"),
        lambda: np.array([file.ref] * 12, h5py.ref_dtype),
        lambda: np.array([np.arange(k % 4) for k in range(12)], h5py.vlen_dtype("i4")),
        lambda: np.zeros(12, h5py.enum_dtype({"no": 0, "yes": 1}, "i1")),
        lambda: np.zeros((12, 6, 6), "g"),
        lambda: np.zeros(2, "(12,6,6)u1"),
    )
    file[name] = rng.choice(kinds)()


def _link(rng: random.Random, file: h5py.File, name: str) -> None:
    links = (h5py.SoftLink("/nowhere"), h5py.SoftLink("/"), h5py.ExternalLink("other.h5", "/x"))
    turn = rng.randrange(5)
    if turn < 3:
        file[name] = links[turn]
    elif turn == 3:
        file[name] = file["/"]  # a group that holds itself
    else:
        file.create_group(name)[rng.choice(KEYS)] = draw_values(rng)


def mat(rng: random.Random, content: bytes) -> bytes:
    """Write a MATLAB file, or change an element of a right one."""
    turn = rng.random()
    if turn < 0.3:
        return mutate.change_bytes(rng, content)
    if turn < 0.6:
        return content[:128] + _change_element(rng, content[128:])
    variables: dict[str, Any] = {"images": np.zeros((12, 6, 6), "u1"), "labels": np.arange(12) % 3}
    others = (
        lambda: draw_values(rng),
        lambda: {"a": 1, "b": [1, 2]},
        lambda: np.array([[1, "a"]], object),
        lambda: "text",
        lambda: np.zeros((3, 3), [("x", "f8")]),
        lambda: scipy.sparse.eye(12, format="csc"),
    )
    for _ in range(rng.choice((1, 2))):
        variables[rng.choice(KEYS[:8])] = rng.choice(others)()
    stream = io.BytesIO()
    scipy.io.savemat(stream, variables, do_compression=rng.random() < 0.5)
    return some_bytes_changed(rng, stream.getvalue(), 0.2)


def _change_element(rng: random.Random, data: bytes) -> bytes:
    """Change the first element: its tag, or what is in it, packed again."""
    kind, length = struct.unpack("<II", data[:8])
    inside, rest = data[8 : 8 + length], data[8 + length :]
    if kind == 15:  # compressed
        unpacked = _change_words(rng, zlib.decompress(inside))
        if rng.random() < 0.05:
            unpacked += bytes(rng.choice((10**5, 10**7)))
        inside = zlib.compress(unpacked, 1)
    else:
        inside = _change_words(rng, inside)
    return struct.pack("<II", kind, len(inside)) + inside + rest


def _change_words(rng: random.Random, data: bytes) -> bytes:
    """Change words of four bytes, as which tags, flags and sizes stand there."""
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 2))):
        at = 4 * rng.randrange(min(len(out), 120) // 4 + 1)
        sizes = (*mutate.SIZES, *range(20))
        out[at : at + 4] = struct.pack("<I", rng.choice(sizes))
    return bytes(out)


def parquet(rng: random.Random, picture: bytes) -> bytes:
    """Write a Parquet file of pictures, with anything in its columns and metadata."""
    n = rng.choice((0, 1, 4, 4, 4))
    pictures = [rng.choice((picture, picture, picture, b"", None, b"x" * 50)) for _ in range(n)]
    if rng.random() < 0.6:
        pictures = [picture] * n
    kinds = (
        lambda: pa.array(pictures, pa.binary()),
        lambda: pa.array(pictures, pa.large_binary()),
        lambda: pa.array([None if p is None else {"bytes": p, "path": "x.png"} for p in pictures]),
        lambda: pa.array([{"path": "x.png"} for _ in pictures]),
        lambda: pa.array(["text"] * n),
        lambda: pa.array([[p] for p in pictures], pa.list_(pa.binary())),
    )
    columns = {"image": rng.choice(kinds[: rng.choice((3, 6))])()}
    columns[rng.choice(("label", "label", "label", "y", "image2"))] = _labels(rng, n)
    table = pa.table(columns)
    if rng.random() < 0.4:
        table = table.replace_schema_metadata({b"huggingface": _metadata(rng)})
    stream = io.BytesIO()
    packing = rng.choice(("NONE", "snappy", "gzip", "zstd"))
    pq.write_table(table, stream, compression=packing, use_dictionary=rng.random() < 0.5)
    return some_bytes_changed(rng, stream.getvalue(), 0.4)


def _labels(rng: random.Random, n: int) -> pa.Array:
    kinds = (
        lambda: pa.array([k % 3 for k in range(n)]),
        lambda: pa.array([rng.choice(("a", "é", "", "x" * 5000)) for _ in range(n)]),
        lambda: pa.array([rng.choice((0, None, 2**62)) for _ in range(n)], pa.int64()),
        lambda: pa.array([rng.choice((0.0, 0.5, float("nan"))) for _ in range(n)]),
        lambda: pa.array([[1, 2]] * n),
        lambda: pa.array([{"a": 1}] * n),
        lambda: pa.array([k > 1 for k in range(n)]),
        lambda: pa.array([0] * n, pa.timestamp("us")),
        lambda: pa.array([b"\xff"] * n, pa.binary()),
        lambda: pa.array(["a"] * n).dictionary_encode(),
        lambda: pa.nulls(n),
    )
    return rng.choice(kinds[: rng.choice((1, 11))])()


def _metadata(rng: random.Random) -> bytes:
    value: Any = {"info": {"features": {"label": {"names": ["a", "b", "c"]}}}}
    if rng.random() < 0.1:
        return rng.choice((b"[" * 50_000, b"\xff", b"", b'{"info": NaN'))
    return json.dumps(mutate.change_json(rng, value)).encode("utf-8", "surrogatepass")
