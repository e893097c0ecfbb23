"""Making one data set fit another, and finding images that are in both."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tinycnn.data import Dataset, conform, duplicates, duplicates_note


@pytest.fixture
def colour(rng: np.random.Generator) -> Dataset:
    """Six images, (3, 5, 4), of the classes ant, bee and cat."""
    images = rng.integers(0, 256, size=(6, 3, 5, 4), dtype=np.uint8)
    return Dataset(images, np.array([0, 1, 2, 2, 1, 0]), ("ant", "bee", "cat"))


def test_colour_becomes_grey_as_pictures_do(colour):
    grey = conform(colour, (1, 5, 4), colour.class_names)
    assert grey.images.shape == (6, 1, 5, 4)
    Image = pytest.importorskip("PIL.Image")
    for image, expected in zip(grey.images, colour.images, strict=True):
        picture = Image.fromarray(expected.transpose(1, 2, 0).copy()).convert("L")
        np.testing.assert_array_equal(image[0], np.asarray(picture))
    floats = conform(replace(colour, images=colour.images / 255), (1, 5, 4), colour.class_names)
    np.testing.assert_allclose(floats.images * 255, grey.images, atol=0.51)


def test_grey_becomes_colour(colour):
    grey = replace(colour, images=colour.images[:, :1])
    images = conform(grey, (3, 5, 4), colour.class_names).images
    np.testing.assert_array_equal(images, np.repeat(colour.images[:, :1], 3, axis=1))


def test_classes_are_numbered_by_their_names(colour):
    names = ("cat", "dog", "bee", "ant")
    fitted = conform(colour, (3, 5, 4), names, np.uint8)
    assert fitted.class_names == names
    assert fitted.labels.tolist() == [3, 2, 0, 0, 2, 3]
    assert fitted.images is colour.images
    empty = replace(colour, class_names=("ant", "bee", "cat", "never seen"))
    assert conform(empty, (3, 5, 4), names).labels.tolist() == [3, 2, 0, 0, 2, 3]


@pytest.mark.parametrize(
    ("image_shape", "names", "dtype", "words"),
    [
        ((3, 5, 5), ("ant", "bee", "cat"), None, r"5 x 4 .* do not fit 5 x 5: .*size=\(5, 5\)"),
        ((2, 5, 4), ("ant", "bee", "cat"), None, "images of 3 channels do not fit 2"),
        ((3, 5, 4), ("ant", "bee"), None, "the class cat is none of ant, bee: a network can only"),
        ((3, 5, 4), ("ant", "bee", "cat"), np.uint16, "images of uint8 do not fit others of uint1"),
    ],
)
def test_what_cannot_be_made_to_fit(colour, image_shape, names, dtype, words):
    with pytest.raises(ValueError, match=words):
        conform(colour, image_shape, names, dtype)


def test_bytes_and_floats_pass_for_each_other(colour):
    assert conform(colour, (3, 5, 4), colour.class_names, np.float32).images is colour.images


def test_duplicates_are_found_pixel_for_pixel(colour):
    other = colour.images[::-1].copy()
    other[1, 0, 0, 0] ^= 1
    pairs = duplicates(colour.images, other)
    assert pairs.tolist() == [[5, 0], [3, 2], [2, 3], [1, 4], [0, 5]]
    assert duplicates(colour.images, other[1:2]).shape == (0, 2)
    assert len(duplicates(colour.images, other.astype(np.uint16))) == 0


def test_duplicates_are_pointed_out(colour):
    train = replace(colour, files=tuple(f"train/{i}.png" for i in range(6)))
    note = duplicates_note(train, colour.take([3, 4]))
    assert note is not None
    assert note.startswith("2 of 2 test images are training images too, pixel for pixel (the first")
    assert "image 0 is train/3.png" in note
    assert duplicates_note(train, replace(colour, images=255 - colour.images)) is None
