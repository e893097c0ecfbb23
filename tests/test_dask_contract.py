"""``tinycnn.dask.train`` is ``tinycnn.train``, on images in parts."""

import numpy as np
import pytest

pytest.importorskip("distributed")

import dask.array as da
from dask_cluster import cluster

import tinycnn
import tinycnn.dask

N = 1100


@pytest.fixture(scope="module")
def client():
    with cluster(2) as client:
        yield client


def case(rng, dtype, pixel="float32", shape=(9, 8)):
    """Arguments of train."""
    x = rng.integers(0, 256, (N, 1, *shape)).astype(pixel)
    x = x / x.dtype.type(256) if x.dtype.kind == "f" else x
    P, Q = (shape[0] - 2) // 2, (shape[1] - 1) // 2
    w_conv, w_fc = rng.normal(0, 0.3, (3, 1, 3, 2)), rng.normal(0, 0.1, (3 * P * Q, 4))
    scale = 0.1 if x.dtype.kind == "f" else 1e-5
    return x, rng.integers(0, 4, N), w_conv.astype(dtype), w_fc.astype(dtype), scale, 4


def in_chunks(x, y, chunks):
    return da.from_array(x, (chunks, *x.shape[1:])), da.from_array(y, (chunks,))


@pytest.mark.parametrize("chunks", [(N,), (512, 588), (100, 400, 0, 333, 267)], ids=str)
@pytest.mark.parametrize("pixel", ["float32", "float64", "uint8"])
def test_float32_weights_come_out_the_same_to_the_bit(client, rng, chunks, pixel):
    x, y, *others = case(rng, np.float32, pixel)
    expected = tinycnn.train(x, y, *others)
    found = tinycnn.dask.train(*in_chunks(x, y, chunks), *others)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("chunks", [(N,), (512, 588), (100, 400, 0, 333, 267)], ids=str)
def test_float64_weights_are_those_of_train(client, rng, chunks):
    x, y, *others = case(rng, np.float64)
    expected = tinycnn.train(x, y, *others)
    found = tinycnn.dask.train(*in_chunks(x, y, chunks), *others)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)


@pytest.mark.slow
def test_60_000_images(client, rng):
    shape, chunks = (60_000, 1, 28, 28), (20_000, 1, 28, 28)
    some = da.random.default_rng(0).random(shape, dtype=np.float32, chunks=chunks)
    x = some.compute()
    y = rng.integers(0, 10, 60_000)
    w_conv, w_fc = rng.normal(0, 0.3, (4, 1, 3, 3)), rng.normal(0, 0.03, (4 * 13 * 13, 10))
    for dtype, tolerance in ((np.float32, 0), (np.float64, 1e-12)):
        weights = w_conv.astype(dtype), w_fc.astype(dtype)
        expected = tinycnn.train(x, y, *weights, 0.1, 3)
        found = tinycnn.dask.train(some, y, *weights, 0.1, 3)
        np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance)


def test_labels_may_be_floats_in_other_chunks_or_none(client, rng):
    x, y, *others = case(rng, np.float32)
    expected = tinycnn.train(x, y, *others)
    some = da.from_array(x, (400, 1, 5, 8))
    for labels in (y.astype(float), list(y), da.from_array(y.astype(float), 77)):
        np.testing.assert_array_equal(tinycnn.dask.train(some, labels, *others), expected)


@pytest.mark.parametrize(("lr", "n_epochs"), [(0.1, 0), (0, 3)])
def test_without_a_step_the_weights_come_back(client, rng, lr, n_epochs):
    x, y, w_conv, w_fc, *_ = case(rng, np.float64)
    found = tinycnn.dask.train(*in_chunks(x, y, (600, 500)), w_conv, w_fc, lr, n_epochs)
    np.testing.assert_array_equal(found, w_fc)
    assert found is not w_fc


@pytest.mark.parametrize(
    ("spoil", "error", "message"),
    [
        (lambda a: a.update(x=np.zeros(3)), TypeError, "x: must be a dask array"),
        (lambda a: a.update(x=a["x"][:, 0]), ValueError, "x: needs 4 dimensions"),
        (lambda a: a.update(y=a["y"][1:]), ValueError, "y: 1100 images need as many, got 1099"),
        (lambda a: a.update(y=a["y"] + 1), ValueError, r"y: labels must be whole numbers in \[0"),
        (lambda a: a.update(w_fc=a["w_fc"][1:]), ValueError, "w_fc: needs C_out"),
        (lambda a: a.update(lr=-1), ValueError, "lr: must be finite and not negative"),
        (lambda a: a.update(n_epochs=0.5), ValueError, "n_epochs: must be a whole number"),
        (
            lambda a: a.update(
                x=da.where(da.arange(N)[:, None, None, None] == 700, np.nan, a["x"])
            ),
            ValueError,
            r"x: all values must be finite as float32, got x\[700, 0, 0, 0\] = nan",
        ),
        (lambda a: a.update(x=a["x"][a["y"] > 0]), ValueError, "its chunks have unknown sizes"),
        (lambda a: a.update(timeout=-1), ValueError, "timeout: must be finite and not negative"),
    ],
    ids=["numpy", "ndim", "lengths", "labels", "w_fc", "lr", "n_epochs", "nan", "unknown", "time"],
)
def test_bad_arguments_are_told(client, rng, spoil, error, message):
    x, y, w_conv, w_fc, lr, n_epochs = case(rng, np.float32)
    x, y = in_chunks(x, y, (600, 500))
    arguments = {"x": x, "y": y, "w_conv": w_conv, "w_fc": w_fc, "lr": lr, "n_epochs": n_epochs}
    spoil(arguments)
    with pytest.raises(error, match=message):
        tinycnn.dask.train(**arguments)
