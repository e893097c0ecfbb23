"""Predictions with Dask: those of the network, wherever the images are."""

import copy
import os

import numpy as np
import pytest
from conftest import small_net

pytest.importorskip("distributed")

import dask
import dask.array as da
from dask_cluster import cluster

import tinycnn
import tinycnn.dask

FUNCTIONS = ["predict", "predict_proba", "features"]


@pytest.fixture
def net():
    return small_net((1, 12, 12), seed=1)


@pytest.fixture
def images(rng):
    return rng.integers(0, 256, (90, 1, 12, 12), dtype=np.uint8)


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize(
    "chunks", [(30, 1, 12, 12), ((7, 0, 83), 1, 12, 12), (50, 1, 5, 12)], ids=str
)
def test_predictions_of_an_array_are_those_of_the_network(net, images, function, chunks):
    expected = getattr(net, function)(images)
    result = getattr(tinycnn.dask, function)(net, da.from_array(images, chunks=chunks))
    assert (result.shape, result.dtype) == (expected.shape, expected.dtype)
    assert result.chunks[0] == da.from_array(images, chunks=chunks).chunks[0]
    assert result.chunks[1:] == tuple((size,) for size in expected.shape[1:])
    np.testing.assert_array_equal(result.compute(), expected)


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("lengths", [[40, 50], None], ids=str)
def test_predictions_of_delayed_blocks(net, images, function, lengths):
    blocks = [dask.delayed(images[:40]), dask.delayed(images[40:])]
    expected = getattr(net, function)(images)
    result = getattr(tinycnn.dask, function)(net, blocks, lengths=lengths)
    assert result.dtype == expected.dtype
    assert result.shape[1:] == expected.shape[1:]
    if lengths:
        assert result.chunks[0] == (40, 50)
    else:
        assert np.isnan(result.shape[0])
    np.testing.assert_array_equal(result.compute(), expected)


def test_predictions_of_files_of_arrays(net, images, tmp_path):
    np.save(tmp_path / "a.npy", images[:40])
    np.savez(tmp_path / "b.npz", images=images[40:60])
    np.save(tmp_path / "c.npy", images[60:])
    blocks = [tmp_path / "a.npy", [str(tmp_path / "b.npz"), tmp_path / "c.npy"]]
    result = tinycnn.dask.predict_proba(net, blocks)
    np.testing.assert_array_equal(result.compute(), net.predict_proba(images))
    assert result.compute_chunk_sizes().chunks[0] == (40, 50)


def test_predictions_of_pictures(net, images, tmp_path):
    image_module = pytest.importorskip("PIL.Image")
    paths = [tmp_path / f"{i}.png" for i in range(6)]
    for path, image in zip(paths, images, strict=False):
        image_module.fromarray(image[0]).save(path)
    result = tinycnn.dask.predict(net, [paths[:4], paths[4:]], lengths=[4, 2])
    np.testing.assert_array_equal(result.compute(), net.predict(images[:6]))


def test_predictions_of_images_of_sixteen_bits(net, tmp_path, rng):
    images = rng.integers(0, 65536, (9, 1, 12, 12), dtype=np.uint16)
    net.standardize(images)
    np.save(tmp_path / "deep.npy", images)
    deep = tinycnn.dask.predict_proba(net, [tmp_path / "deep.npy"], dtype="uint16")
    np.testing.assert_array_equal(deep.compute(), net.predict_proba(images))
    with pytest.raises(ValueError, match="no scale is common"):
        tinycnn.dask.predict(net, [tmp_path / "deep.npy"]).compute()


def test_the_network_may_be_trained_before_the_result_is_computed(net, images):
    expected = net.predict_proba(images)
    result = tinycnn.dask.predict_proba(net, da.from_array(images, chunks=(30, 1, 12, 12)))
    net.flat += 1
    np.testing.assert_array_equal(result.compute(scheduler="sync"), expected)


def counted_loads():
    return os.environ["LOADS"]


def count_loads(net):
    """Count on a worker how often the network arrives there."""
    old = type(net).__setstate__
    os.environ["LOADS"] = "0"

    def counting(self, state):
        os.environ["LOADS"] = str(int(os.environ["LOADS"]) + 1)
        old(self, state)

    type(net).__setstate__ = counting


@pytest.mark.slow
def test_the_network_travels_once_to_each_worker_and_has_one_thread_there(net, images):
    many = da.concatenate([da.from_array(images, chunks=(5, 1, 12, 12))] * 10)
    with cluster(2, processes=True) as client:
        client.run(count_loads, net)
        result = tinycnn.dask.predict(net, many).compute()
        loads = client.run(counted_loads).values()
        started = client.run(threads_started).values()
    np.testing.assert_array_equal(result, np.tile(net.predict(images), 10))
    assert sorted(loads) == ["1", "1"]
    assert set(started) == {0}


def threads_started():
    from tinycnn.fast import threads

    return threads._shared.n_started


def test_on_a_cluster_within_the_process(net, images):
    with cluster(2):
        result = tinycnn.dask.features(net, da.from_array(images, chunks=(30, 1, 12, 12)))
        np.testing.assert_array_equal(result.compute(), net.features(images))


@pytest.mark.parametrize(
    ("images", "arguments", "error", "message"),
    [
        (np.zeros((2, 1, 12, 12)), {}, TypeError, "for arrays in memory use net.predict"),
        ("a.npy", {}, TypeError, "must be a dask array, or a list of paths"),
        ([], {}, ValueError, "at least one block is needed"),
        ([3], {}, TypeError, r"images\[0\]: a block is a path, a list of paths or a dask.delayed"),
        (["a.npy"], {"lengths": [1, 2]}, ValueError, "lengths: 1 blocks need as many, got 2"),
        (["a.npy"], {"lengths": [-1]}, ValueError, r"lengths\[0\]: must be a whole number"),
        (da.zeros((2, 1, 12, 12)), {"lengths": [2]}, ValueError, "a dask array knows its own"),
        (da.zeros((2, 1, 12, 13)), {}, ValueError, "takes images of shape"),
        (da.zeros((2, 12, 12)), {}, ValueError, "images: needs 4 dimensions"),
        (da.zeros((2, 1, 12, 12), dtype="int32"), {}, TypeError, "neither bytes"),
        (da.zeros((2, 1, 12, 12)), {"n_threads": 0}, ValueError, "n_threads: must be a whole"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_be_predicted_is_told_at_once(net, images, arguments, error, message):
    with pytest.raises(error, match=message):
        tinycnn.dask.predict(net, images, **arguments)


def test_only_networks_predict(images):
    with pytest.raises(TypeError, match=r"net: must be a tinycnn.CNN"):
        tinycnn.dask.predict(tinycnn.CNN, da.from_array(images))


@pytest.mark.parametrize(
    ("block", "lengths", "message"),
    [
        (
            dask.delayed(np.zeros((3, 1, 12, 12))),
            [4],
            r"images\[0\] has 3 images, its length says 4",
        ),
        (dask.delayed(np.zeros((3, 1, 9, 9))), None, "takes images of shape"),
        (dask.delayed(np.full((3, 1, 12, 12), np.nan)), None, "all values must be finite"),
        (
            "nowhere.npy",
            None,
            "nowhere.npy: there is no such file or folder; a block with an image",
        ),
    ],
    ids=["too-few", "shape", "nan", "missing"],
)
def test_what_is_wrong_with_a_block_is_told_when_it_is_computed(net, block, lengths, message):
    result = tinycnn.dask.predict(net, [block], lengths=lengths)
    with pytest.raises(ValueError, match=message):
        result.compute(scheduler="sync")


def test_a_picture_that_cannot_be_read_is_not_left_out(net, images, tmp_path):
    image_module = pytest.importorskip("PIL.Image")
    image_module.fromarray(images[0, 0]).save(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(b"no picture")
    result = tinycnn.dask.predict(net, [[tmp_path / "a.png", tmp_path / "b.png"]])
    with pytest.raises(ValueError, match=r"b\.png.*has no result"):
        result.compute(scheduler="sync")


def test_the_images_tell_where_they_are_unusual(net, images):
    net = copy.deepcopy(net)
    net.standardize(images)
    with pytest.warns(tinycnn.UnusualImagesWarning):
        tinycnn.dask.predict(net, da.from_array(images * 1e3)).compute(scheduler="sync")
