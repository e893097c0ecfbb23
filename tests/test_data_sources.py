"""``load`` and ``parts`` on every source, and the checks all images and labels pass."""

from __future__ import annotations

import gzip
import re
import struct
from pathlib import Path

import numpy as np
import pytest

import tinycnn.data
from tinycnn import data
from tinycnn.data import Dataset, load, parts
from tinycnn.data.reader import Options
from tinycnn.data.sources import READERS


def write_idx(path: Path, values: np.ndarray) -> Path:
    """Write bytes as an IDX file, packed by gzip if its name ends so."""
    header = bytes([0, 0, 8, values.ndim]) + struct.pack(f">{values.ndim}i", *values.shape)
    content = header + values.astype(np.uint8).tobytes()
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


IMAGES = np.arange(6 * 5 * 4).reshape(6, 5, 4).astype(np.uint8)
LABELS = np.array([3, 0, 1, 1, 2, 0])


def save(path: Path, images: object = IMAGES, labels: object = LABELS, **more: object) -> Path:
    """Write an NPZ archive of images and labels."""
    np.savez(path, images=images, labels=labels, **more)
    return path


def test_all_public_names_are_there():
    for name in tinycnn.data.__all__:
        assert getattr(tinycnn.data, name).__doc__


def test_every_reader_says_what_it_reads_and_which_options_it_heeds():
    words = [reader.words for reader in READERS]
    assert len(set(words)) == len(words)
    assert all(reader.options <= set(Options._fields) for reader in READERS)


@pytest.mark.parametrize(
    ("images_name", "labels_name"),
    [
        ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
        ("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"),
        ("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte"),
        ("train-images-idx3-ubyte", "train-labels-idx1-ubyte.gz"),
        ("train-images.idx3-ubyte", "train-labels.idx1-ubyte"),
        ("train-images.idx3-ubyte", "train-labels-idx1-ubyte.gz"),
        ("t10k-images-idx4-ubyte", "t10k-labels-idx1-ubyte"),
        ("my-images", "my-labels"),
    ],
)
def test_labels_of_an_idx_file_are_found_beside_it(tmp_path, images_name, labels_name):
    path = write_idx(tmp_path / images_name, IMAGES)
    write_idx(tmp_path / labels_name, LABELS)
    dataset = load(path)
    assert isinstance(dataset, Dataset)
    np.testing.assert_array_equal(dataset.images, IMAGES[:, None])
    np.testing.assert_array_equal(dataset.labels, LABELS)
    assert dataset.labels.dtype == np.int64
    assert dataset.class_names == ("0", "1", "2", "3")
    assert parts(path) == ("train",)


def test_idx_file_without_labels(tmp_path):
    path = write_idx(tmp_path / "train-images-idx3-ubyte.gz", IMAGES)
    words = (
        "train-images-idx3-ubyte.gz has no labels beside it: looked for "
        "train-labels-idx1-ubyte.gz, train-labels-idx1-ubyte, train-labels.idx1-ubyte.gz, "
    )
    with pytest.raises(FileNotFoundError, match=re.escape(words)):
        load(path)


def test_idx_file_of_labels(tmp_path):
    path = write_idx(tmp_path / "train-labels-idx1-ubyte", LABELS)
    with pytest.raises(ValueError, match="train-labels-idx1-ubyte is an IDX file without 'images'"):
        load(path)


def test_idx_files_that_do_not_fit_name_both(tmp_path):
    path = write_idx(tmp_path / "images", IMAGES)
    write_idx(tmp_path / "labels", LABELS[:5])
    with pytest.raises(ValueError, match=r"images holds 6 images but .*labels holds 5 labels"):
        load(path)


def test_damaged_labels_are_named(tmp_path):
    path = write_idx(tmp_path / "images", IMAGES)
    labels_path = write_idx(tmp_path / "labels", LABELS)
    labels_path.write_bytes(labels_path.read_bytes()[:-1])
    with pytest.raises(ValueError, match=f"^{re.escape(str(labels_path))} is truncated"):
        load(path)


@pytest.mark.parametrize("test_name", ["t10k", "test"])
def test_folder_of_idx_files(tmp_path, test_name):
    write_idx(tmp_path / "train-images-idx3-ubyte.gz", IMAGES)
    write_idx(tmp_path / "train-labels-idx1-ubyte.gz", LABELS)
    assert parts(tmp_path) == ("train",)
    write_idx(tmp_path / f"{test_name}-images.idx3-ubyte", IMAGES[:3])
    write_idx(tmp_path / f"{test_name}-labels.idx1-ubyte", LABELS[:3])
    (tmp_path / "README.txt").write_text("left alone")
    assert parts(str(tmp_path)) == ("train", "test")
    np.testing.assert_array_equal(load(tmp_path).images, IMAGES[:, None])
    np.testing.assert_array_equal(load(tmp_path, "test").images, IMAGES[:3, None])
    np.testing.assert_array_equal(load(tmp_path, "test").labels, LABELS[:3])


def test_folder_of_test_images_alone(tmp_path):
    write_idx(tmp_path / "t10k-images-idx3-ubyte", IMAGES)
    write_idx(tmp_path / "t10k-labels-idx1-ubyte", LABELS)
    assert parts(tmp_path) == ("test",)
    with pytest.raises(ValueError, match=r"part 'train' is not in .*: there is 'test'"):
        load(tmp_path)


def test_plain_file_goes_before_its_gzip_twin(tmp_path):
    write_idx(tmp_path / "train-labels-idx1-ubyte", LABELS)
    write_idx(tmp_path / "train-images-idx3-ubyte", IMAGES)
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(b"damaged")
    np.testing.assert_array_equal(load(tmp_path).images, IMAGES[:, None])


def test_several_files_for_one_part(tmp_path):
    write_idx(tmp_path / "t10k-images-idx3-ubyte", IMAGES)
    write_idx(tmp_path / "test-images-idx3-ubyte", IMAGES)
    words = "several files for the test images: t10k-images-idx3-ubyte, test-images-idx3-ubyte; "
    with pytest.raises(ValueError, match=words):
        load(tmp_path, "test")


@pytest.mark.parametrize("part", ["test", "validation", ""])
def test_part_that_is_not_there(tmp_path, part):
    path = save(tmp_path / "a.npz")
    words = f"load: part '{part}' is not in .*a.npz, an NPZ archive: there is 'train'$"
    with pytest.raises(ValueError, match=words):
        load(path, part)


def test_size_is_for_image_folders(tmp_path):
    with pytest.raises(
        ValueError, match=r"load: size=\(8, 8\) .*a\.npz is an NPZ archive with images of"
    ):
        load(save(tmp_path / "a.npz"), size=(8, 8))
    assert load(tmp_path / "a.npz", size=(5, 4)).images.shape == (6, 1, 5, 4)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        (
            "a.csv",
            b"file,label\na.png,cat\n",
            r"is a table without pixels: .* labels_from='a\.csv'; a table",
        ),
        ("a.txt", b"a,b,c\n1,2,3\n", "is nothing load can read: it begins with bytes 61 2c 62"),
        ("empty", b"", r"is nothing load can read: it begins with bytes \(none\)"),
        (
            "a.npy",
            b"\x93NUMPY\1\0",
            r"is a single array, and no labels are beside it: .*np\.savez_compressed",
        ),
        ("a.npz", b"\x93NUMPY\1\0", "is no NPZ archive: it does not begin as a zip file"),
        ("a.png", b"\x89PNG\r\n\x1a\n", "is one image: load needs a folder .*read_image"),
        ("a.jpg", b"\xff\xd8\xff\xe0" + bytes(9), "is one image"),
        (
            "images.tgz",
            gzip.compress(b"a tar archive", mtime=0),
            "is a gzip file, but no IDX file: unpack it first",
        ),
    ],
)
def test_what_is_no_source_is_named(tmp_path, name, content, words):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"^{re.escape(str(path))} ({words})"):
        load(path)


def test_missing_path_is_file_not_found(tmp_path):
    for read in (load, parts):
        with pytest.raises(FileNotFoundError, match="nowhere"):
            read(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("stored", "returned"),
    [
        ("uint8", "uint8"),
        ("int8", "uint8"),
        ("int64", "uint8"),
        ("bool", "uint8"),
        (">u2", "uint16"),
        ("float16", "float32"),
        ("float32", "float32"),
        (">f4", "float32"),
        ("float64", "float64"),
        ("longdouble", "float64"),
    ],
)
def test_dtypes_of_images(tmp_path, stored, returned):
    images = np.array([0, 1]).astype(stored).reshape(1, 1, 1, 2)
    dataset = load(save(tmp_path / "a.npz", images, [0]))
    assert dataset.images.dtype == returned
    assert dataset.images.dtype.isnative
    assert dataset.images.tolist() == [[[[0, 255 if stored == "bool" else 1]]]]


@pytest.mark.parametrize(
    ("images", "words"),
    [
        (IMAGES[0], r"holds 5 images but .* holds 6 labels"),
        (IMAGES.reshape(6, 20), r"has shape \(6, 20\): 20 values make no square image; reshape"),
        (IMAGES[None, None], r"has shape \(1, 1, 6, 5, 4\): images must be"),
        (IMAGES[:0], r"holds no images: its shape is \(0, 5, 4\)"),
        (IMAGES.transpose(1, 2, 0), r"with the images along the last axis: save np\.moveaxis"),
        (IMAGES.astype(complex), "has dtype complex128: save plain numbers"),
        (np.full((6, 5, 4), np.inf), "holds floats from inf to inf: all must be finite"),
        (np.full((6, 5, 4), np.nan), "holds floats from nan to nan"),
    ],
)
def test_images_that_are_none(tmp_path, images, words):
    with pytest.raises(ValueError, match=rf"a\.npz: 'images' .*{words}"):
        load(save(tmp_path / "a.npz", images))


def test_three_rows_of_three_pixels_are_no_channels(tmp_path):
    images = np.zeros((6, 3, 5, 3), dtype=np.uint8)
    dataset = load(save(tmp_path / "a.npz", images))
    assert dataset.images.shape == (6, 3, 5, 3)
    assert any("is read as (N, C, H, W), 3 channels of 5 x 3" in note for note in dataset.notes)


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int8", ">i4", "uint64", "float16", "float64"])
def test_labels_of_any_dtype(tmp_path, dtype):
    labels = np.array([0, 1, 1, 0, 1, 0])
    dataset = load(save(tmp_path / "a.npz", labels=labels.astype(dtype)))
    assert dataset.labels.dtype == np.int64
    np.testing.assert_array_equal(dataset.labels, labels)
    assert dataset.class_names == ("0", "1")


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (LABELS[:5], "'images' holds 6 images but .*'labels' holds 5 labels"),
        (np.eye(6) + np.eye(6)[::-1], r"'labels' has shape \(6, 6\): .*one-hot.*several labels"),
        (LABELS[:, None, None], r"'labels' has shape \(6, 1, 1\): labels must be \(N,\)"),
        (LABELS[:0], "'labels' holds no labels"),
        (LABELS - 1, "'labels': label -1 at index 1 is negative: number the classes 0, 1, 2"),
        (LABELS - 1.0, r"label -1\.0 at index 1 is negative"),
        (LABELS / 2, r"label 1\.5 at index 0 is not a whole number"),
        (np.array([0, np.nan, 0, 0, 0, 0]), "label nan at index 1 is not a whole number"),
        (np.array([0, np.inf, 0, 0, 0, 0]), "label inf at index 1 is too large"),
        (np.array([0, -np.inf, 0, 0, 0, 0]), "label -inf at index 1 is negative"),
        (LABELS * 10**12, r"label 3000000000000 at index 0 is too large: .*np\.unique"),
        (np.array([0, 2**64 - 1] * 3, dtype="u8"), "label 18446744073709551615 at index 1"),
    ],
)
def test_labels_that_are_none(tmp_path, labels, words):
    with pytest.raises(ValueError, match=rf"a\.npz: {words}|a\.npz: 'labels': {words}"):
        load(save(tmp_path / "a.npz", labels=labels))


def test_more_names_than_labels_are_fine(tmp_path):
    names = ["a", "b", "c", "d", "never seen"]
    assert load(save(tmp_path / "a.npz", class_names=names)).class_names == tuple(names)


@pytest.mark.parametrize("value", [None, 3, ["a"], {}, np.zeros((2, 2))], ids=repr)
@pytest.mark.parametrize(
    "function", [data.load, data.parts, data.read_idx, data.is_idx, data.load_image_folder]
)
def test_what_is_no_path_is_told(function, value):
    with pytest.raises(
        TypeError, match=f"{function.__name__}: path: must be a path, got"
    ) as caught:
        function(value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"part": 3}, ValueError, "part 3 is not in"),
        ({"part": np.zeros(2)}, ValueError, "part array.* is not in"),
        ({"labels_from": 3}, TypeError, "labels_from: must be a text, got 3"),
        ({"progress": 3}, TypeError, "progress: must be a function, got 3"),
    ],
)
def test_arguments_of_the_wrong_kind(tmp_path, arguments, error, words):
    np.savez(tmp_path / "a.npz", images=np.zeros((4, 6, 6), np.uint8), labels=[0, 1, 0, 1])
    with pytest.raises(error, match=words):
        data.load(tmp_path / "a.npz", **arguments)


def test_taking_what_is_not_there(tmp_path):
    np.savez(tmp_path / "a.npz", images=np.zeros((4, 6, 6), np.uint8), labels=[0, 1, 0, 1])
    dataset = data.load(tmp_path / "a.npz")
    assert dataset.take(3).labels.tolist() == [1]
    for index in (4, [0, 9], [True], ["a"], 1.5):
        with pytest.raises(ValueError, match="take: index: must be whole numbers below 4"):
            dataset.take(index)


def test_what_is_no_data_set_conforms_to_nothing():
    with pytest.raises(TypeError, match="conform: dataset: must be what load gave, got 3"):
        data.conform(3, (1, 6, 6), ("a",))
    with pytest.raises(TypeError, match="stream_images: sources: must be paths or arrays, got 3"):
        data.stream_images(3, (1, 6, 6))
