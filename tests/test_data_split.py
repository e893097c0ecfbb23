"""The bundled digits, and holding images out in proportion."""

from __future__ import annotations

import numpy as np
import pytest

from tinycnn import load_digits, stratified_split


def test_digits_are_what_they_say():
    images, labels = load_digits()
    assert images.shape == (1797, 1, 8, 8)
    assert images.dtype == np.float32
    assert images.flags.c_contiguous
    assert labels.shape == (1797,)
    assert labels.dtype == np.int64
    assert np.unique(labels).tolist() == list(range(10))
    assert np.unique(images * 16).tolist() == list(range(17))


def test_digits_are_those_of_scikit_learn():
    datasets = pytest.importorskip("sklearn.datasets")
    theirs = datasets.load_digits()
    images, labels = load_digits()
    np.testing.assert_array_equal(images[:, 0], theirs.images / 16)
    np.testing.assert_array_equal(labels, theirs.target)


def test_every_call_gives_its_own_digits():
    images, _ = load_digits()
    images[:] = 0
    assert load_digits()[0].max() == 1


def test_both_parts_together_are_all_images(rng):
    for _ in range(50):
        labels = rng.integers(0, rng.integers(1, 12), size=rng.integers(1, 300))
        train, test = stratified_split(labels, rng.uniform(0.001, 0.999), seed=3)
        assert np.all(np.diff(train) > 0)
        assert np.all(np.diff(test) > 0)
        assert train.dtype == test.dtype == np.intp
        np.testing.assert_array_equal(np.sort(np.r_[train, test]), np.arange(len(labels)))


def test_every_class_is_divided_in_proportion(rng):
    for _ in range(100):
        labels = rng.integers(0, 7, size=rng.integers(20, 400))
        fraction = rng.uniform(0.05, 0.6)
        train, test = stratified_split(labels, fraction, seed=0)
        counts = np.bincount(labels, minlength=7)
        held_out = np.bincount(labels[test], minlength=7)
        assert np.all(np.abs(held_out - fraction * counts) < 1)
        assert np.all(np.bincount(labels[train], minlength=7)[counts > 0] > 0)
        if counts.min() > 5:  # then no class is so small that its last image must stay
            assert abs(len(test) - fraction * len(labels)) <= 0.5


@pytest.mark.parametrize("fraction", [0.1, 0.29, 0.3, 0.57])
def test_whole_shares_are_exact(fraction):
    labels = np.repeat(np.arange(4), 100)
    _, test = stratified_split(labels, fraction, seed=1)
    assert np.bincount(labels[test]).tolist() == [round(100 * fraction)] * 4


def test_many_small_classes_still_add_up():
    labels = np.repeat(np.arange(100), 3)
    _, test = stratified_split(labels, 0.1, seed=0)
    assert len(test) == 30
    assert np.bincount(labels[test]).max() == 1


def test_single_images_and_last_images_stay_in_train():
    train, test = stratified_split([7], 0.9, seed=0)
    assert (train.tolist(), test.tolist()) == ([0], [])
    labels = np.array([0] * 10 + [1] + [2] * 2)
    train, test = stratified_split(labels, 0.99, seed=0)
    assert set(labels[train]) == {0, 1, 2}
    assert np.bincount(labels[test]).tolist() == [9, 0, 1]


def test_one_seed_one_split():
    labels = np.arange(200) % 5
    one, again, other = (stratified_split(labels, 0.2, seed)[1] for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, again)
    assert one.tolist() != other.tolist()
    assert len(stratified_split(labels, 0.2, None)[1]) == 40


def test_labels_may_be_names():
    labels = ["dog", "cat"] * 10
    _, test = stratified_split(labels, 0.2, seed=0)
    assert sorted(np.array(labels)[test]) == ["cat", "cat", "dog", "dog"]


@pytest.mark.parametrize("fraction", [0, 1, -0.1, 1.5, float("nan")])
def test_fractions_that_are_none(fraction):
    with pytest.raises(ValueError, match=f"stratified_split: fraction {fraction} must lie between"):
        stratified_split([0, 1], fraction, seed=0)


@pytest.mark.parametrize("labels", [[], [[0, 1]], 3])
def test_labels_that_cannot_be_split(labels):
    with pytest.raises(ValueError, match=r"stratified_split: labels has shape \(.*\): it must be"):
        stratified_split(labels, 0.5, seed=0)
