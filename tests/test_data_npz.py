"""NPZ archives: both ways to name the arrays, and the words for damage and for mischief."""

from __future__ import annotations

import io
import struct
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest

from tinycnn.data import load, parts

FUZZ_MEMORY = 8 << 20  # bytes; the valid archives of these tests hold a few thousand


def npy_bytes(array: np.ndarray) -> bytes:
    """Make an array a member of an archive."""
    stream = io.BytesIO()
    np.lib.format.write_array(stream, array)
    return stream.getvalue()


def npy_header(descr: object, shape: object, version: tuple[int, int] = (1, 0)) -> bytes:
    """Make the start of a member, announcing whatever it is told to."""
    header = repr({"descr": descr, "fortran_order": False, "shape": shape}).encode() + b"\n"
    size = struct.pack("<H" if version == (1, 0) else "<I", len(header))
    return b"\x93NUMPY" + bytes(version) + size + header


def write_zip(path: Path, compression: int = zipfile.ZIP_DEFLATED, **members: bytes) -> Path:
    """Write a zip archive with each member under its key, as np.savez names it."""
    with zipfile.ZipFile(path, "w", compression) as archive:
        for key, content in members.items():
            archive.writestr(f"{key}.npy", content)
    return path


@pytest.fixture
def images(rng: np.random.Generator) -> np.ndarray:
    """Bytes, (6, 5, 4)."""
    return rng.integers(0, 256, size=(6, 5, 4), dtype=np.uint8)


LABELS = np.array([0, 1, 2, 2, 1, 0])


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_images_and_labels(tmp_path, images, save):
    save(tmp_path / "a.npz", images=images, labels=LABELS)
    dataset = load(tmp_path / "a.npz")
    assert dataset.images.shape == (6, 1, 5, 4)
    assert dataset.images.dtype == np.uint8
    assert dataset.labels.dtype == np.int64
    assert dataset.class_names == ("0", "1", "2")
    np.testing.assert_array_equal(dataset.images[:, 0], images)
    np.testing.assert_array_equal(dataset.labels, LABELS)
    assert parts(tmp_path / "a.npz") == ("train",)


def test_class_names_are_read(tmp_path, images):
    names = ["shirt", "Stiefel", "größer"]
    np.savez(tmp_path / "a.npz", images=images, labels=LABELS, class_names=names)
    assert load(tmp_path / "a.npz").class_names == tuple(names)


def test_the_names_of_keras_divide_in_two_parts(tmp_path, images):
    path = tmp_path / "mnist.npz"
    np.savez(path, x_train=images, y_train=LABELS, x_test=images[:2], y_test=LABELS[:2])
    assert parts(path) == ("train", "test")
    np.testing.assert_array_equal(load(path).images[:, 0], images)
    np.testing.assert_array_equal(load(path, "test").images[:, 0], images[:2])
    np.testing.assert_array_equal(load(path, part="test").labels, LABELS[:2])


def test_half_of_the_names_of_keras(tmp_path, images):
    np.savez(tmp_path / "a.npz", x_train=images, y_train=LABELS)
    assert parts(tmp_path / "a.npz") == ("train",)
    np.savez(tmp_path / "b.npz", x_test=images, y_test=LABELS, x_train=images)
    assert parts(tmp_path / "b.npz") == ("test",)


def test_any_layout_in_memory_comes_back_the_same(tmp_path, rng):
    images = rng.random((6, 2, 5, 4))
    for n, stored in enumerate(
        [np.asfortranarray(images), images.astype(">f8"), images[::-1][::-1], images]
    ):
        np.savez(tmp_path / f"{n}.npz", images=stored, labels=LABELS.astype(">i4"))
        loaded = load(tmp_path / f"{n}.npz")
        assert loaded.images.flags.c_contiguous
        assert loaded.images.dtype.isnative
        assert loaded.labels.dtype == np.int64
        np.testing.assert_array_equal(loaded.images, images)


def test_headers_of_every_version_are_read(tmp_path, images):
    for version in [(1, 0), (2, 0), (3, 0)]:
        path = write_zip(
            tmp_path / "a.npz",
            images=npy_header("|u1", images.shape, version) + images.tobytes(),
            labels=npy_bytes(LABELS),
        )
        np.testing.assert_array_equal(load(path).images[:, 0], images)


def test_header_of_python_2_is_read(tmp_path, images):
    header = b"{'descr': '|u1', 'fortran_order': False, 'shape': (6L, 5L, 4L), }\n"
    member = b"\x93NUMPY\1\0" + struct.pack("<H", len(header)) + header + images.tobytes()
    path = write_zip(tmp_path / "a.npz", images=member, labels=npy_bytes(LABELS))
    np.testing.assert_array_equal(load(path).images[:, 0], images)


def test_missing_keys_name_what_was_found(tmp_path, images):
    np.savez(tmp_path / "a.npz", pictures=images, labels=LABELS)
    with pytest.raises(ValueError, match=r"a\.npz has the keys labels, pictures: .*'images' and"):
        load(tmp_path / "a.npz")
    np.savez(tmp_path / "b.npz")
    with pytest.raises(ValueError, match=r"b\.npz (has the keys no arrays|cannot be read)"):
        parts(tmp_path / "b.npz")


def test_no_zip_is_told(tmp_path):
    (tmp_path / "a.npz").write_bytes(b"not a zip archive")
    with pytest.raises(ValueError, match=r"a\.npz is no NPZ archive: it does not begin as a zip"):
        load(tmp_path / "a.npz")
    (tmp_path / "b.npz").write_bytes(b"PK\3\4 and no more")
    with pytest.raises(ValueError, match=r"b\.npz cannot be read as an NPZ \(zip\) archive: .*zip"):
        load(tmp_path / "b.npz")


def test_object_arrays_are_refused(tmp_path, images):
    objects = np.array(["a", "b", "c"], dtype=object)
    np.savez(tmp_path / "a.npz", images=images, labels=LABELS, class_names=objects)
    with pytest.raises(
        ValueError, match=r"a\.npz: 'class_names' is an array of Python objects \(pickled\).*str"
    ):
        load(tmp_path / "a.npz")
    np.savez(tmp_path / "b.npz", images=images, labels=LABELS.astype(object))
    with pytest.raises(ValueError, match="'labels' is an array of Python objects"):
        load(tmp_path / "b.npz")


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (np.array([["a", "b", "c"]]), r"'class_names' has shape \(1, 3\) and dtype <U1"),
        (np.array([1.0, 2, 3]), "'class_names' has shape .* and dtype float64: it must be a 1-D"),
        (np.array(["a", "b"]), "'labels' goes up to label 2 but there are 2 class names"),
        (np.array([b"a", b"b", b"c"]), r"'class_names' has dtype \|S1: save plain numbers"),
        (np.zeros(3, "V4"), r"'class_names' has dtype \|V4: save plain numbers"),
    ],
)
def test_class_names_that_do_not_fit(tmp_path, images, names, words):
    np.savez(tmp_path / "a.npz", images=images, labels=LABELS, class_names=names)
    with pytest.raises(ValueError, match=rf"a\.npz: {words}"):
        load(tmp_path / "a.npz")


def test_class_names_of_impossible_characters(tmp_path, images):
    names = npy_header("<U1", (3,)) + b"\xff\xff\xff\x7f" * 3
    path = write_zip(
        tmp_path / "a.npz", images=npy_bytes(images), labels=npy_bytes(LABELS), class_names=names
    )
    with pytest.raises(ValueError, match="'class_names' is damaged: it holds characters that do"):
        load(path)


@pytest.mark.parametrize(
    ("member", "words"),
    [
        (b"", "does not begin as an NPY array"),
        (b"\x93NUMPX\1\0" + bytes(50), "does not begin as an NPY array: .*magic"),
        (npy_header("|u1", (6, 5, 4))[:30], "does not begin as an NPY array: .*string literal"),
        (npy_header("|u1", (6, 5, 4), (2, 0))[:8] + b"\xff" * 60, "does not begin as an NPY"),
        (npy_header("nonsense", (6, 5, 4)), "does not begin as an NPY array"),
        (npy_header([1, 2], (6, 5, 4)), "does not begin as an NPY array"),
        (npy_header("|u1", "(6, 5, 4)"), "does not begin as an NPY array: .*its shape is"),
        (npy_header("|u1", (6, -5, 4)), r"announces the shape \(6, -5, 4\), which no array has"),
        (
            npy_header("|u1", (0, 10**30, 4)),
            r"announces the shape \(0, 10{30}, 4\): no memory holds",
        ),
        (npy_header("|u1", ()) + b"\1", r"has shape \(\): images must be \(N, H, W\), "),
        (npy_header("|u1", (1,) * 65) + b"\1", r"announces the shape .*, which no array has"),
        (npy_header("|u1", (0, 28, 28)), r"holds no images: its shape is \(0, 28, 28\)"),
        (npy_header("<U0", (10**12,)), "has dtype <U0: save plain numbers"),
        (npy_header("<M8[s]", (1,)) + bytes(8), r"has dtype datetime64\[s\]: save plain numbers"),
        (
            npy_header("|u1", (6, 5, 4)) + bytes(119),
            r"is damaged: its header announces \(6, 5, 4\) uint8, 120 bytes of data, .* holds 119",
        ),
        (
            npy_header("<f4", (6, 5, 4)) + bytes(481),
            ".*announces .*480 bytes of data, but the archive holds 481",
        ),
    ],
)
def test_damaged_members_are_told_with_their_key(tmp_path, member, words):
    path = write_zip(tmp_path / "a.npz", images=member, labels=npy_bytes(LABELS))
    with pytest.raises(ValueError, match=rf"a\.npz: 'images' {words}"):
        load(path)


def test_deeply_nested_header_is_told(tmp_path):
    nested = b"(" * 4000 + b")" * 4000
    member = b"\x93NUMPY\1\0" + struct.pack("<H", len(nested)) + nested
    path = write_zip(tmp_path / "a.npz", images=member, labels=npy_bytes(LABELS))
    with pytest.raises(ValueError, match="'images' does not begin as an NPY array"):
        load(path)


def test_other_compression_is_told(tmp_path, images):
    pytest.importorskip("lzma")
    path = write_zip(
        tmp_path / "a.npz", zipfile.ZIP_LZMA, images=npy_bytes(images), labels=npy_bytes(LABELS)
    )
    with pytest.raises(ValueError, match=r"'images' is compressed by zip method 14: .*np.savez"):
        load(path)


def test_encrypted_archive_is_told(tmp_path, images):
    path = write_zip(
        tmp_path / "a.npz", zipfile.ZIP_STORED, images=npy_bytes(images), labels=npy_bytes(LABELS)
    )
    content = bytearray(path.read_bytes())
    content[content.index(b"PK\3\4") + 6] |= 1  # the flags in the first member's own header
    content[content.index(b"PK\1\2") + 8] |= 1  # and in the archive's directory
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.npz: 'images' cannot be read .*encrypted"):
        load(path)


def test_wrong_checksum_is_told(tmp_path, images):
    path = write_zip(
        tmp_path / "a.npz", zipfile.ZIP_STORED, images=npy_bytes(images), labels=npy_bytes(LABELS)
    )
    content = path.read_bytes()
    path.write_bytes(content.replace(images.tobytes(), bytes(images.size)))
    with pytest.raises(ValueError, match=r"a\.npz: 'images' cannot be read .*Bad CRC-32"):
        load(path)


def peak_of_refusing(path: Path, words: str) -> int:
    """Bytes allocated at most while `load` refuses an archive in these words."""
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=words):
            load(path)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_header_of_terabytes_allocates_nothing(tmp_path):
    member = npy_header("<f8", (2**20, 1024, 1024)) + bytes(100)
    path = write_zip(tmp_path / "a.npz", images=member, labels=npy_bytes(LABELS))
    words = "8,796,093,022,208 bytes from|8796093022208 bytes of data, but the archive holds 100"
    assert peak_of_refusing(path, words) < FUZZ_MEMORY


def test_archive_that_lies_along_with_the_header_allocates_nothing(tmp_path):
    data_bytes = 2**31  # what a zip archive can announce in its ordinary fields
    member = npy_header("|u1", (2**11, 1024, 1024)) + bytes(100)
    path = write_zip(tmp_path / "a.npz", images=member, labels=npy_bytes(LABELS))
    content = bytearray(path.read_bytes())
    size = struct.pack("<I", len(member) - 100 + data_bytes)
    directory = content.index(b"PK\1\2")
    content[directory + 24 : directory + 28] = size
    content[22:26] = size
    path.write_bytes(content)
    words = f"{data_bytes} bytes of data, but the archive holds 100|cannot be read|compress so well"
    assert peak_of_refusing(path, words) < FUZZ_MEMORY


def damage(content: bytes, rng: np.random.Generator) -> bytes:
    """Cut a file short, or change one to three of its bytes."""
    if rng.random() < 0.2:
        return content[: rng.integers(0, len(content))]
    changed = bytearray(content)
    for _ in range(rng.integers(1, 4)):
        changed[rng.integers(0, len(content))] = rng.choice([0, 1, 0x7F, 0xFF, rng.integers(256)])
    return bytes(changed)


def load_or_refuse(path: Path, n_values: int) -> str:
    """Load a damaged archive: give the words of its refusal, or check how much was read."""
    try:
        dataset = load(path)
    except ValueError as error:
        return str(error)
    assert dataset.images.size == n_values
    return f"{path} was read"


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_damaged_archives_read_as_such_or_say_so(tmp_path, rng, images, save):
    save(tmp_path / "whole.npz", images=images, labels=LABELS, class_names=["a", "b", "c"])
    whole = (tmp_path / "whole.npz").read_bytes()
    path = tmp_path / "damaged.npz"
    tracemalloc.start()
    try:
        for _ in range(300):
            path.write_bytes(damage(whole, rng))
            assert str(path) in load_or_refuse(path, images.size)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < FUZZ_MEMORY


def test_damaged_headers_read_as_such_or_say_so(tmp_path, rng, images):
    # The archive's checksum hides such damage from the test above; a hostile one has it right.
    whole = npy_bytes(images)
    tracemalloc.start()
    try:
        for _ in range(300):
            changed = damage(whole[:128], rng)
            path = write_zip(
                tmp_path / "a.npz",
                images=changed + whole[len(changed) :],
                labels=npy_bytes(LABELS),
            )
            assert str(path) in load_or_refuse(path, images.size)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < FUZZ_MEMORY
