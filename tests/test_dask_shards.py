"""Shards: where labelled images may be, and what cannot be shards."""

import numpy as np
import pytest
from conftest import halves

pytest.importorskip("distributed")

import dask
import dask.array as da
from dask_cluster import cluster

import tinycnn
from tinycnn.dask import fit, shards, standardize

N, CUTS = 60, (25, 35)


@pytest.fixture(scope="module")
def client():
    with cluster(2) as client:
        yield client


@pytest.fixture
def data(rng):
    images, labels = halves(rng, N)
    return (255 * images.clip(0, 1)).astype(np.uint8), labels, rng.exponential(size=N)


def trained(some, class_names=None):
    """Train a network on shards; return its parameters."""
    net = tinycnn.CNN((1, 6, 6), channels=(2,), n_classes=2, class_names=class_names)
    standardize(net, some)
    fit(net, some, epochs=3, batch_size=40, verbose=False)
    return net.flat


def in_parts(*arrays):
    """Cut arrays as the shards are."""
    return [tuple(each[part] for each in arrays) for part in (slice(0, 25), slice(25, N))]


def make(images, *others):
    return (images, *others)


@pytest.fixture
def expected(client, data):
    """What a network learns from two dask arrays."""
    images, labels, _ = data
    return trained(shards(da.from_array(images, (CUTS, 1, 6, 6)), da.from_array(labels, (CUTS,))))


@pytest.mark.parametrize("chunks", [(CUTS, 1, 3, 6), (CUTS, 1, 6, 2)], ids=["rows", "columns"])
def test_what_is_cut_across_the_images_is_brought_together(data, expected, chunks):
    images, labels, _ = data
    found = trained(shards(da.from_array(images, chunks), labels))
    np.testing.assert_array_equal(found, expected)


def test_labels_are_cut_as_the_images_are(data, expected):
    images, labels, _ = data
    some = shards(da.from_array(images, (CUTS, 1, 6, 6)), da.from_array(labels, 7))
    assert len(some) == 2
    assert repr(some) == "<Shards: 2 parts>"
    np.testing.assert_array_equal(trained(some), expected)


def test_chunks_may_be_of_unknown_sizes(data, expected):
    images, labels, _ = data
    blocks, numbers = zip(*in_parts(images, labels), strict=True)
    unknown = [
        da.concatenate(
            [
                da.from_delayed(dask.delayed(block), (np.nan, *block.shape[1:]), block.dtype)
                for block in some
            ],
            allow_unknown_chunksizes=True,
        )
        for some in (blocks, numbers)
    ]
    np.testing.assert_array_equal(trained(shards(*unknown)), expected)
    with pytest.raises(ValueError, match="labels: the images have 2 chunks of unknown sizes"):
        shards(unknown[0], labels)


@pytest.mark.parametrize("form", ["one", "pair", "list"])
def test_delayed_parts(data, expected, form):
    images, labels, _ = data
    if form == "one":
        parts = [dask.delayed(make)(*part) for part in in_parts(images, labels)]
    else:
        parts = [tuple(map(dask.delayed, part)) for part in in_parts(images, labels)]
        parts = [list(part) for part in parts] if form == "list" else parts
    np.testing.assert_array_equal(trained(shards(parts)), expected)


@pytest.mark.parametrize("form", ["arrays", "delayed"])
def test_weights_belong_to_the_shards(client, data, form):
    images, labels, weights = data
    if form == "arrays":
        some = shards(da.from_array(images, (CUTS, 1, 6, 6)), labels, weights)
    else:
        some = shards([dask.delayed(make)(*part) for part in in_parts(*data)])
    net = tinycnn.CNN((1, 6, 6), channels=(2,), n_classes=2)
    net.standardize(images, weights)
    arguments = {"epochs": 3, "batch_size": N, "verbose": False}
    tinycnn.fit(net, images, labels, sample_weight=weights, **arguments)
    other = tinycnn.CNN((1, 6, 6), channels=(2,), n_classes=2)
    standardize(other, some)
    fit(other, some, **arguments)
    np.testing.assert_allclose(other.flat, net.flat, rtol=0, atol=1e-4)


@pytest.mark.parametrize("read", ["on the workers", "by the user"])
def test_files(data, expected, tmp_path, read):
    paths = []
    for i, (images, labels) in enumerate(in_parts(*data[:2])):
        paths.append(tmp_path / f"{i}.npz")
        np.savez(paths[-1], images=images, labels=labels)
    parts = paths if read == "on the workers" else [dask.delayed(tinycnn.load)(p) for p in paths]
    np.testing.assert_array_equal(trained(shards(parts)), expected)


def test_classes_of_files_are_told_by_their_names(client, data, tmp_path):
    """A file numbers the classes that it has, from 0 on; the network's names say which they are."""
    images, labels, _ = data
    names = np.array(["left", "right"])
    for which in (0, 1):
        chosen = labels == which
        np.savez(
            tmp_path / f"{which}.npz",
            images=images[chosen],
            labels=np.zeros(chosen.sum(), int),
            class_names=names[[which]],
        )
    some = shards([tmp_path / "0.npz", tmp_path / "1.npz"])
    net = tinycnn.CNN((1, 6, 6), channels=(2,), n_classes=2, class_names=names)
    standardize(net, some)
    fit(net, some, epochs=40, batch_size=20, average_every=1, verbose=False)
    assert net.score(images, labels) == 1
    with pytest.raises(ValueError, match="the class right is none of left, wrong"):
        trained(some, ["left", "wrong"])


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((np.zeros((2, 1, 6, 6)), [0, 1]), TypeError, "beside a dask array of images"),
        ((np.zeros((2, 1, 6, 6)),), TypeError, r"for arrays in memory use tinycnn\.fit"),
        (("a.npz",), TypeError, "must be a dask array, or a list of paths"),
        (([],), ValueError, "at least one shard is needed"),
        (([3],), TypeError, r"images\[0\]: a shard is a path, a dask\.delayed, or a pair"),
        ((da.zeros((2, 1, 6, 6)),), TypeError, "labels: a dask array of images needs its labels"),
        ((da.zeros((2, 6, 6)), [0, 1]), ValueError, "images: needs 4 dimensions"),
        ((da.zeros((2, 1, 6, 6)), [0]), ValueError, "labels: 2 images need as many, got 1"),
        ((da.zeros((2, 1, 6, 6)), [[0, 1]]), ValueError, "labels: needs 1 dimension"),
        ((da.zeros((2, 1, 6, 6)), [0, 1], [1]), ValueError, "sample_weight: 2 images need as"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_be_shards_is_told(arguments, error, message):
    with pytest.raises(error, match=message):
        shards(*arguments)
