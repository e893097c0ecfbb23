"""Data files that claim, repeat or hide more than they hold: refused at once, in little memory."""

import gzip
import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest

from tinycnn.data import image_file, load, pixels, read_idx, read_image
from tinycnn.data.mat import mat_store

LABELS = np.arange(12) % 3
IMAGES = np.zeros((12, 6, 6), np.uint8)


def refused(path, words):
    """Have a file refused in words, shortly."""
    with pytest.raises(ValueError, match=words) as caught:
        load(path)
    assert len(str(caught.value)) < 500


# --------------------------------------------------------------------------------------------- IDX


def test_gzip_that_unpacks_to_more_than_images_do(tmp_path):
    header = bytes([0, 0, 8, 3]) + struct.pack(">3i", 1000, 1000, 1000)
    (tmp_path / "a-images.gz").write_bytes(gzip.compress(header + bytes(10**6)))
    with pytest.raises(ValueError, match=r"claims 1,000,000,000 bytes from .* no images compress"):
        read_idx(tmp_path / "a-images.gz")


# ------------------------------------------------------------------------------------------ MATLAB


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "packed"])
@pytest.mark.parametrize(
    "kind", ["u1", "i1", "u2", "i2", "u4", "i4", "f4", "f8", "i8", "u8", "?", ">f8"]
)
def test_matlab_numbers_are_what_scipy_reads(tmp_path, rng, kind, packed):
    scipy_io = pytest.importorskip("scipy.io")
    path = tmp_path / "a.mat"
    for shape in ((3, 4), (0, 5), (2, 3, 4), (1, 1), (5,)):
        values = {"a": rng.integers(0, 100, shape).astype(kind), "a_longer_name": np.ones(3)}
        scipy_io.savemat(path, values, do_compression=packed)
        expected = scipy_io.loadmat(path)
        with mat_store(path) as store:
            assert store.keys == ("a", "a_longer_name")
            for key in store.keys:
                read = store.read(key)
                assert read.dtype == expected[key].dtype
                np.testing.assert_array_equal(read, expected[key])


def test_matlab_texts(tmp_path):
    scipy_io = pytest.importorskip("scipy.io")
    scipy_io.savemat(tmp_path / "a.mat", {"a": np.array(["cat", "a zèbre"]), "b": "dog"})
    with mat_store(tmp_path / "a.mat") as store:
        assert store.read("a").tolist() == ["cat", "a zèbre"]
        assert store.read("b").tolist() == ["dog"]


def mat_file(*elements):
    """A MATLAB file of some arrays of bytes (n, 1): name, number told, type told, number there."""
    content = b"MATLAB 5.0 MAT-file".ljust(124) + struct.pack("<H", 0x0100) + b"IM"
    for name, n, kind, there in elements:
        data = bytes(there)
        inside = struct.pack("<IIII", 6, 8, 9, 0) + struct.pack("<IIii", 5, 8, n, 1)
        inside += struct.pack("<II", 1, len(name)) + name.ljust(8, b"\0")
        inside += struct.pack("<II", kind, len(data)) + data
        packed = zlib.compress(struct.pack("<II", 14, len(inside)) + inside)
        content += struct.pack("<II", 15, len(packed)) + packed
    return content


@pytest.mark.parametrize(
    ("elements", "words"),
    [
        ([(b"images", 12, 2, 12)], "'images' and 'labels'"),
        ([(b"images", 12, 8, 12), (b"y", 12, 2, 12)], "of type 8"),
        ([(b"images", 12, 99, 12), (b"y", 12, 2, 12)], "of type 99"),
        ([(b"images", 2**31 - 1, 2, 12), (b"y", 12, 2, 12)], "more than the file"),
        ([(b"images", 12, 2, 2**25), (b"y", 12, 2, 12)], "cut off, or longer"),
        ([(b"images", -1, 2, 0), (b"y", 12, 2, 12)], "the shape"),
        ([(b"y", 12, 2, 12)] * 2, "twice"),
    ],
    ids=str,
)
def test_matlab_files_that_lie(tmp_path, elements, words):
    (tmp_path / "a.mat").write_bytes(mat_file(*elements))
    refused(tmp_path / "a.mat", words)


def test_matlab_file_with_a_wrong_byte_is_told(tmp_path):
    scipy_io = pytest.importorskip("scipy.io")
    values = {"images": np.random.default_rng(0).random((12, 6, 6)), "labels": LABELS}
    scipy_io.savemat(tmp_path / "a.mat", values, do_compression=True)
    content = bytearray((tmp_path / "a.mat").read_bytes())
    content[1000] ^= 1
    (tmp_path / "a.mat").write_bytes(content)
    refused(tmp_path / "a.mat", "cannot be read as a MATLAB file")


# -------------------------------------------------------------------------------------------- HDF5


@pytest.fixture
def h5(tmp_path):
    """A file to add data sets to, and its path."""
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        yield file, tmp_path / "a.h5"


def test_hdf5_with_a_chunk_larger_than_all_of_it(h5):
    file, path = h5
    options = {"maxshape": (None, None, None), "chunks": (1 << 27, 1, 1), "compression": "gzip"}
    file.create_dataset("images", IMAGES.shape, "u1", **options)
    file["labels"] = LABELS
    file.close()
    refused(path, r"a\.h5: 'images' announces .* in .* chunks of 134217728")


def test_hdf5_with_more_chunks_than_memory(h5):
    file, path = h5
    file.create_dataset("images", (12, 10**6), "u1", chunks=(1, 1), compression="gzip")
    file["labels"] = LABELS
    file.close()
    refused(path, "in 12000000 chunks of 1: write it with chunks=True")


def test_hdf5_whose_texts_are_one_text(h5):
    h5py = pytest.importorskip("h5py")
    file, path = h5
    n = 5_000
    file["images"] = np.zeros((n, 2, 2), np.uint8)
    words = ["x" * 100_000, *["a"] * (n - 1)]
    labels = file.create_dataset("labels", data=words, dtype=h5py.string_dtype())
    at = labels.id.get_offset()
    file.close()
    content = bytearray(path.read_bytes())
    content[at : at + 16 * n] = content[at : at + 16] * n
    path.write_bytes(content)
    refused(path, "has texts of 100000 characters")


# ----------------------------------------------------------------------------------------- Parquet


def test_parquet_with_a_page_that_unpacks_to_more_than_there_is(tmp_path):
    pa = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    table = pa.table({"image": [bytes(2**25)], "label": [0]})
    parquet.write_table(table, tmp_path / "a.parquet", compression="zstd")
    refused(tmp_path / "a.parquet", r"a\.parquet is a damaged Parquet file: a page .* 335")


def test_parquet_whose_footer_lies_about_its_pages(tmp_path):
    pa = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    table = pa.table({"image": [bytes(2**25)], "label": [0]})
    path = tmp_path / "a.parquet"
    parquet.write_table(table, path, compression="zstd")
    told = parquet.ParquetFile(path).metadata.row_group(0).column(0).total_uncompressed_size
    content = path.read_bytes()
    assert varint(told) in content
    path.write_bytes(content.replace(varint(told), varint(2**21)))
    refused(path, "page")


def varint(n):
    """A whole number as Thrift writes it."""
    coded, out = n << 1, b""
    while coded > 127:
        out += bytes([coded & 127 | 128])
        coded >>= 7
    return out + bytes([coded])


@pytest.mark.parametrize("packing", ["none", "snappy", "gzip", "zstd", "lz4", "brotli"])
@pytest.mark.parametrize("page_size", [100, 1 << 20])
def test_pages_of_every_kind_are_measured(tmp_path, packing, page_size):
    pa = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    from tinycnn.data.parquet_pages import page_sizes

    values = [bytes([k % 256]) * (k % 50) for k in range(3_000)]
    table = pa.table({"a": values, "b": range(3_000), "c": [[k] for k in range(3_000)]})
    for version in ("1.0", "2.0"):
        parquet.write_table(
            table, tmp_path / "a.parquet", compression=packing, row_group_size=1_000,
            data_page_size=page_size, data_page_version=version, use_dictionary=["b"],
        )  # fmt: skip
        metadata = parquet.ParquetFile(tmp_path / "a.parquet").metadata
        unpacked = sum(page_sizes(tmp_path / "a.parquet", metadata, ("a",)))
        assert unpacked == pytest.approx(sum(len(value) + 4 for value in values), rel=0.02)
        assert sum(1 for _ in page_sizes(tmp_path / "a.parquet", metadata, "abc")) >= 12


# ---------------------------------------------------------------------------------------- pictures

KINDS = (
    *(("RGBA", "png"), ("RGB", "png"), ("LA", "png"), ("P", "png"), ("L", "png"), ("1", "png")),
    *(("I;16", "png"), ("I;16", "tiff"), ("F", "tiff"), ("I", "tiff"), ("CMYK", "tiff")),
    *(("RGBA", "webp"), ("RGB", "webp"), ("P", "gif"), ("L", "bmp"), ("L", "jpeg")),
)


def picture(mode, rng, height, width):
    """A picture of a mode whose grey grows to the right, with noise."""
    from PIL import Image

    grey = np.linspace(20, 200, width) + rng.integers(0, 20, (height, width))
    if mode in ("I;16", "I", "F"):
        kinds = {"I;16": np.uint16, "I": np.int32, "F": np.float32}
        return Image.fromarray((100 * grey).astype(kinds[mode]))
    made = Image.fromarray(grey.astype(np.uint8))
    if "A" in mode:
        made = made.convert("RGB" if mode == "RGBA" else "L")
        made.putalpha(Image.fromarray(np.clip(grey * 2 - 100, 0, 255).astype(np.uint8)))
        return made
    return made.convert(mode)


@pytest.mark.parametrize(("mode", "kind"), KINDS, ids=str)
def test_large_pictures_are_shrunk_to_the_same_pixels(tmp_path, rng, monkeypatch, mode, kind):
    path = tmp_path / f"a.{kind}"
    options = {"lossless": True} if kind == "webp" else {}
    picture(mode, rng, 150, 211).save(path, **options)
    for shape in ((1, 9, 11), (3, 30, 40)):
        whole = read_image(path, shape).astype(float)
        with monkeypatch.context() as patch:
            patch.setattr(pixels, "LARGE_PIXELS", 1000)
            patch.setattr(image_file, "LARGE_PIXELS", 1000)
            patch.setattr(pixels, "_STRIP_ROWS", 32)
            shrunk = read_image(path, shape)
        assert shrunk.dtype == read_image(path, shape).dtype
        scale = 100 if mode in ("I;16", "I", "F") else 1
        np.testing.assert_allclose(shrunk / scale, whole / scale, atol=60 if mode == "1" else 4)
        assert np.abs((shrunk - whole).mean()) / scale < 0.6


@pytest.mark.slow
@pytest.mark.parametrize(
    ("mode", "kind", "side"),
    [
        *(("RGBA", "png", 9_400), ("F", "tiff", 9_400), ("RGBA", "webp", 7_000)),
        *(("P", "gif", 9_400), ("CMYK", "jpeg", 9_400)),
    ],
    ids=str,
)
def test_blank_pictures_as_large_as_may_be(tmp_path, mode, kind, side):
    from PIL import Image

    if sys.platform != "linux":
        pytest.skip("memory is told as Linux does")
    options = {
        "tiff": {"compression": "tiff_lzw"},
        "jpeg": {"progressive": True, "subsampling": 0},
        "webp": {"lossless": mode == "RGBA", "quality": 1, "method": 0},
    }
    Image.new(mode, (side, side)).save(tmp_path / f"a.{kind}", **options.get(kind, {}))
    code = (
        "import sys, time; from tinycnn.data import read_image\n"
        "start = time.process_time()\n"
        "read_image(sys.argv[1], (3, 8, 8))\n"
        "status = open('/proc/self/status').read()\n"
        "print(time.process_time() - start, status.split('VmHWM:')[1].split()[0])\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path / f"a.{kind}")]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert float(told[0]) < 5
    assert int(told[1]) < 2**20


def test_problems_of_long_names_are_told_shortly(tmp_path):
    pytest.importorskip("PIL")
    inner = tmp_path / ("n" * 250) / ("m" * 250)
    inner.mkdir(parents=True)
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x.png").write_bytes(b"no picture")
    refused(tmp_path, "cannot be read|folder")
