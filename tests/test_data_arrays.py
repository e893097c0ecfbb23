"""Arrays as people store them: layouts, scales, labels, and the names by which they are found."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tinycnn.data import Dataset, load, parts

LABELS = np.array([1, 0, 1, 2, 2, 0])


@pytest.fixture
def grey(rng: np.random.Generator) -> np.ndarray:
    """Bytes, (6, 8, 8), of which no two axes may be exchanged unseen."""
    return rng.integers(0, 256, size=(6, 8, 8), dtype=np.uint8)


@pytest.fixture
def colour(rng: np.random.Generator) -> np.ndarray:
    """Bytes, (6, 7, 9, 3)."""
    return rng.integers(0, 256, size=(6, 7, 9, 3), dtype=np.uint8)


def load_npz(folder: Path, **arrays: object) -> Dataset:
    """Load arrays by way of an NPZ archive."""
    np.savez(folder / "a.npz", **arrays)
    return load(folder / "a.npz")


def test_channels_last_are_told_from_channels_first(tmp_path, colour):
    expected = colour.transpose(0, 3, 1, 2)
    for images in (colour, expected):
        dataset = load_npz(tmp_path, images=images, labels=LABELS)
        np.testing.assert_array_equal(dataset.images, expected)
        assert dataset.images.flags.c_contiguous
        assert dataset.notes == ()


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((6, 28, 28, 1), (6, 1, 28, 28)),
        ((6, 4, 4, 3), (6, 3, 4, 4)),
        ((6, 3, 4, 4), (6, 3, 4, 4)),
        ((6, 1, 3, 3), (6, 1, 3, 3)),
        ((6, 9, 8, 4), (6, 4, 9, 8)),
        ((6, 5, 28, 28), (6, 5, 28, 28)),
        ((6, 28, 28, 5), (6, 5, 28, 28)),
        ((6, 2, 28, 28), (6, 2, 28, 28)),
        ((6, 1, 1, 1), (6, 1, 1, 1)),
        ((6, 4, 4, 4), (6, 4, 4, 4)),
        ((6, 28, 28, 28), (6, 28, 28, 28)),
    ],
)
def test_axis_of_the_channels(tmp_path, shape, expected):
    images = np.arange(np.prod(shape)).reshape(shape).astype(np.uint8)
    dataset = load_npz(tmp_path, images=images, labels=LABELS)
    assert dataset.images.shape == expected
    moved = images if shape == expected else images.transpose(0, 3, 1, 2)
    np.testing.assert_array_equal(dataset.images, moved)
    uncertain = shape in {(6, 28, 28, 5), (6, 4, 4, 4), (6, 28, 28, 28)}
    assert len(dataset.notes) == uncertain


def test_flat_images_are_squares(tmp_path, grey):
    dataset = load_npz(tmp_path, images=grey.reshape(6, 64), labels=LABELS)
    np.testing.assert_array_equal(dataset.images[:, 0], grey)
    assert "64 values an image are read as 8 x 8 pixels" in dataset.notes[0]


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int64", "uint32", ">i2"])
def test_whole_numbers_up_to_255_are_bytes_however_stored(tmp_path, grey, dtype):
    images = load_npz(tmp_path, images=grey.astype(dtype), labels=LABELS).images
    assert images.dtype == np.uint8
    np.testing.assert_array_equal(images[:, 0], grey)


def test_digits_of_scikit_learn_are_faint_bytes(tmp_path, grey):
    dataset = load_npz(tmp_path, data=(grey // 16).reshape(6, 64).astype(float), target=LABELS)
    np.testing.assert_array_equal(dataset.images[:, 0], grey // 16)
    assert any("whole numbers up to 15 are taken for bytes" in note for note in dataset.notes)


def test_more_than_8_bits_keep_their_values(tmp_path, grey):
    counts = grey.astype(np.uint16) * 16 + 3
    for images in (counts, counts.astype(">u2"), counts.astype(np.int64)):
        loaded = load_npz(tmp_path, images=images, labels=LABELS).images
        assert loaded.dtype == np.uint16
        assert loaded.dtype.isnative
        np.testing.assert_array_equal(loaded[:, 0], counts)
    few = load_npz(tmp_path, images=grey.astype(np.uint16), labels=LABELS).images
    assert few.dtype == np.uint16  # whatever is in them: the scale is not that of bytes


@pytest.mark.parametrize(
    ("images", "dtype"),
    [
        (np.linspace(-1, 1, 6 * 64).astype(np.float32), np.float32),
        (np.linspace(0, 254.5, 6 * 64), np.float64),
        (np.arange(6 * 64) - 200, np.float32),
        (np.arange(6 * 64) + 70_000, np.float32),
        (np.arange(6 * 64) + 2**30, np.float64),
    ],
)
def test_other_scales_are_floats_with_a_note(tmp_path, images, dtype):
    dataset = load_npz(tmp_path, images=images.reshape(6, 8, 8), labels=LABELS)
    assert dataset.images.dtype == dtype
    np.testing.assert_array_equal(dataset.images.ravel(), images)
    assert "keep their values" in dataset.notes[0]


def test_bools_are_black_and_white(tmp_path, grey):
    images = load_npz(tmp_path, images=grey > 100, labels=LABELS).images
    np.testing.assert_array_equal(images[:, 0], np.where(grey > 100, 255, 0))


@pytest.mark.parametrize("stored", ["column", "one-hot", "one-hot of floats", "floats"])
def test_labels_in_any_form(tmp_path, grey, stored):
    labels = {
        "column": LABELS[:, None],
        "one-hot": np.eye(3, dtype=np.uint8)[LABELS],
        "one-hot of floats": np.eye(3)[LABELS],
        "floats": LABELS.astype(np.float32),
    }[stored]
    dataset = load_npz(tmp_path, images=grey, labels=labels)
    np.testing.assert_array_equal(dataset.labels, LABELS)
    assert dataset.class_names == ("0", "1", "2")


def test_labels_may_be_names(tmp_path, grey):
    names = np.array(["ant", "bee", "cat"])
    for labels in (names[LABELS], names[LABELS][:, None]):
        dataset = load_npz(tmp_path, images=grey, labels=labels)
        assert dataset.class_names == ("ant", "bee", "cat")
        np.testing.assert_array_equal(dataset.labels, LABELS)
    ordered = load_npz(
        tmp_path, images=grey, labels=names[LABELS], class_names=["cat", "emu", "bee", "ant"]
    )
    assert ordered.class_names == ("cat", "emu", "bee", "ant")
    assert [ordered.class_names[label] for label in ordered.labels] == names[LABELS].tolist()
    with pytest.raises(ValueError, match="label 'cat' is none of the class names"):
        load_npz(tmp_path, images=grey, labels=names[LABELS], class_names=["ant", "bee"])


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        (LABELS + 1, ("1", "2", "3")),
        (LABELS * 7, ("0", "7", "14")),
        (np.array([3, 3, 5, 5, 4, 3]), ("3", "4", "5")),
        (np.array([-1, 1, 1, -1, 1, 1]), ("-1", "1")),
    ],
)
def test_labels_with_gaps_are_named_classes(tmp_path, grey, labels, names):
    dataset = load_npz(tmp_path, images=grey, labels=labels)
    assert dataset.class_names == names
    assert [int(names[label]) for label in dataset.labels] == labels.tolist()
    assert any("each is a class named by its number" in note for note in dataset.notes) == (
        names != ("-1", "1")
    )


def test_labels_from_1_find_their_names(tmp_path, grey):
    dataset = load_npz(tmp_path, images=grey, labels=LABELS + 1, class_names=["a", "b", "c"])
    np.testing.assert_array_equal(dataset.labels, LABELS)


def test_classes_without_images_are_noted(tmp_path, grey):
    names = ["a", "b", "c", "d", "e"]
    dataset = load_npz(tmp_path, images=grey, labels=LABELS, class_names=names)
    assert dataset.class_names == tuple(names)
    assert any("2 of 5 classes have no images: d, e" in note for note in dataset.notes)


def test_the_training_part_numbers_the_classes(tmp_path, grey):
    np.savez(tmp_path / "a.npz", x_train=grey, y_train=LABELS * 2, x_test=grey[:2], y_test=[4, 0])
    test = load(tmp_path / "a.npz", "test")
    assert test.class_names == load(tmp_path / "a.npz").class_names == ("0", "2", "4")
    assert test.labels.tolist() == [2, 0]
    np.savez(tmp_path / "b.npz", x_train=grey, y_train=LABELS, x_test=grey[:2], y_test=[1, 9])
    with pytest.raises(ValueError, match=r"'y_test': label 9 at index 1 does not occur in the tra"):
        load(tmp_path / "b.npz", "test")


@pytest.mark.parametrize(
    ("images", "labels"),
    [
        ("images", "labels"),
        ("X", "y"),
        ("x", "Y"),
        ("data", "target"),
        ("imgs", "labels"),
        ("x_train", "y_train"),
        ("train_x", "train_y"),
        ("Xtrain", "ytrain"),
        ("trainX", "trainY"),
        ("train_images", "train_labels"),
        ("training_images", "training_labels"),
    ],
)
def test_names_of_the_arrays(tmp_path, grey, images, labels):
    dataset = load_npz(tmp_path, **{images: grey, labels: LABELS})
    np.testing.assert_array_equal(dataset.images[:, 0], grey)
    np.testing.assert_array_equal(dataset.labels, LABELS)
    assert parts(tmp_path / "a.npz") == ("train",)


def test_pair_saved_without_names(tmp_path, grey):
    np.savez(tmp_path / "a.npz", grey, LABELS)
    dataset = load(tmp_path / "a.npz")
    np.testing.assert_array_equal(dataset.images[:, 0], grey)
    np.testing.assert_array_equal(dataset.labels, LABELS)


def test_names_of_medmnist(tmp_path, colour):
    arrays = {}
    for n, part in ((6, "train"), (5, "val"), (4, "test")):
        arrays[f"{part}_images"] = colour[:n]
        arrays[f"{part}_labels"] = LABELS[:n, None]
    np.savez_compressed(tmp_path / "pathmnist.npz", **arrays)
    assert parts(tmp_path / "pathmnist.npz") == ("train", "validation", "test")
    for n, part in ((6, "train"), (5, "validation"), (4, "test")):
        dataset = load(tmp_path / "pathmnist.npz", part)
        np.testing.assert_array_equal(dataset.images, colour[:n].transpose(0, 3, 1, 2))
        np.testing.assert_array_equal(dataset.labels, LABELS[:n])


def test_names_that_could_mean_two_arrays(tmp_path, grey):
    with pytest.raises(ValueError, match="several arrays that could be the labels: 'fine_labels'"):
        load_npz(tmp_path, images=grey, fine_labels=LABELS, coarse_labels=LABELS)


def test_a_dataset_unpacks_and_is_taken_apart(tmp_path, grey):
    dataset = load_npz(tmp_path, images=grey, labels=LABELS)
    images, labels, class_names = dataset
    assert images is dataset.images
    assert labels is dataset.labels
    assert class_names == ("0", "1", "2")
    assert len(dataset) == 6
    some = dataset.take([4, 1])
    np.testing.assert_array_equal(some.images[:, 0], grey[[4, 1]])
    assert some.labels.tolist() == [2, 0]
    assert dataset.take(LABELS == 2).labels.tolist() == [2, 2]
    assert repr(dataset) == "<Dataset: 6 images (1, 8, 8) of uint8, 3 classes, 0 notes>"
