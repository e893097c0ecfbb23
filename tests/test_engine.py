"""The fast path against the layer-by-layer one, on every shape, dtype, thread count and build."""

import os
import subprocess
import sys
import threading
import time
import weakref

import numpy as np
import pytest
from conftest import relative_error
from tinycnn.engine import BatchGradients

import tinycnn
from tinycnn import CNN, _dispatch, _parallel
from tinycnn.functional import cross_entropy_backward, cross_entropy_forward

TOLERANCE = {"float32": 2e-6, "float64": 1e-13}

# image shape, filters, kernels, classes, bias, N: nothing is a multiple of anything.
NETWORKS = [
    ((1, 2, 2), (1,), 1, 1, True, 1),
    ((1, 9, 8), (3,), (3, 2), 4, True, 17),
    ((3, 29, 31), (7,), 4, 10, True, 37),
    ((1, 28, 28), (8,), 3, 10, True, 130),
    ((2, 13, 21), (5,), (1, 6), 2, False, 65),
    ((2, 14, 15), (5,), (3, 5), 3, True, 20),
    ((3, 30, 26), (5, 6), [3, (2, 4)], 3, False, 150),
    ((2, 30, 33), (1, 2, 9), [3, 2, 2], 11, True, 100),
    ((1, 27, 24), (11, 3), [2, (3, 5)], 5, True, 50),
    ((1, 24, 22), (8, 4, 2), [3, (4, 3), 1], 3, True, 40),
    ((1, 18, 16), (16, 67), [3, (2, 3)], 3, True, 20),
]


def random_network(rng, shape, channels, kernel_size, n_classes, bias, dtype):
    """Make a network whose biases are not zero."""
    net = CNN(shape, channels, kernel_size, n_classes, bias, dtype)
    net.flat += (0.1 * rng.normal(size=net.flat.shape)).astype(dtype)
    return net


def layered(net, images, labels):
    """Return logits, loss and flat gradient, computed layer by layer."""
    logits, cache = net.forward(images)
    loss, loss_cache = cross_entropy_forward(logits, labels)
    gradients = net.backward(cross_entropy_backward(1.0, loss_cache), cache)
    return logits, loss, np.concatenate([g.reshape(-1) for g in gradients.values()])


def fast(net, images, labels, n_threads=1, order=None):
    """Return loss and flat gradient of the fast path."""
    with BatchGradients(net.engine, net.flat, n_threads) as gradients:
        batches = gradients.over(net.pixels(images), np.asarray(labels), order)
        loss, gradient, _ = batches.differentiate()
        return loss, gradient.copy()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("pixel", ["uint8", "float32", "float64", "float16", ">f4"])
@pytest.mark.parametrize("network", NETWORKS)
def test_it_computes_what_the_layers_compute(rng, network, pixel, dtype):
    shape, channels, kernel_size, n_classes, bias, N = network
    net = random_network(rng, shape, channels, kernel_size, n_classes, bias, dtype)
    images = (255 * rng.random((N, *shape))).astype(np.uint8)
    images = images if pixel == "uint8" else (images / np.float32(256)).astype(pixel)
    labels = rng.integers(0, n_classes, N)
    logits, loss, gradient = layered(net, images, labels)
    assert relative_error(net.logits(images, n_threads=1), logits) < TOLERANCE[dtype]
    fast_loss, fast_gradient = fast(net, images, labels)
    assert fast_loss == pytest.approx(loss, rel=TOLERANCE[dtype], abs=1e-12)
    assert relative_error(fast_gradient, gradient) < TOLERANCE[dtype] or not gradient.any()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_ties_and_dead_windows(rng, dtype):
    net = CNN((1, 12, 11), (6,), 3, 5, dtype=dtype)
    conv = net.parameters["conv1.weight"]
    conv[...] = rng.integers(-1, 2, conv.shape)
    conv[0] = 0  # windows of four exact zeros
    conv[1] = -1  # windows that ReLU closes
    images = rng.integers(0, 3, (40, 1, 12, 11)).astype(dtype)
    images[:5] = 1  # windows of four equal values
    labels = rng.integers(0, 5, 40)
    _, _, gradient = layered(net, images, labels)
    assert relative_error(fast(net, images, labels)[1], gradient) < TOLERANCE[dtype]


def test_images_are_taken_in_any_order(rng):
    net = CNN((1, 9, 9), n_classes=3, dtype="float64")
    images, labels = rng.random((50, 1, 9, 9)), rng.integers(0, 3, 50)
    order = rng.permutation(np.arange(50, dtype=np.int64))[:33]
    one = fast(net, images, labels, order=order)
    other = fast(net, images[order], labels[order])
    assert one[0] == other[0]
    np.testing.assert_array_equal(one[1], other[1])


def test_batches_are_slices_of_the_order(rng):
    net = CNN((1, 9, 9), n_classes=3, dtype="float64")
    images, labels = rng.random((50, 1, 9, 9)), rng.integers(0, 3, 50)
    weights, order = rng.random(50), rng.permutation(np.arange(50, dtype=np.int64))[:40]
    with BatchGradients(net.engine, net.flat, 1) as gradients:
        batches = gradients.over(net.pixels(images), labels, order, weights)
        for i in (0, 15, 30):  # the last one ends with the order
            part = order[i : i + 15]
            loss, gradient, weight = batches.differentiate(i, i + 15)
            gradient = gradient.copy()
            alone = gradients.over(net.pixels(images[part]), labels[part], None, weights[part])
            expected_loss, expected, _ = alone.differentiate()
            assert loss == expected_loss
            assert weight == pytest.approx(weights[part].sum(), rel=1e-14)
            np.testing.assert_array_equal(gradient, expected)


@pytest.mark.parametrize("batch", [(50, 60), (40, 50), (-1, 5), (5, 5), (6, 5), (0, 0), (0, -1)])
def test_a_batch_without_images_is_refused(rng, batch):
    net, labels = CNN((1, 6, 6), n_classes=2), rng.integers(0, 2, 50)
    with BatchGradients(net.engine, net.flat, 1) as gradients:
        batches = gradients.over(
            net.pixels(rng.random((50, 1, 6, 6))), labels, np.arange(40, dtype=np.int64)
        )
        with pytest.raises(IndexError, match="40 images"):
            batches.differentiate(*batch)


def test_each_batch_sees_the_parameters_and_the_order_of_its_time(rng):
    net = CNN((1, 6, 6), n_classes=2)
    images, labels, order = (
        rng.random((50, 1, 6, 6)),
        rng.integers(0, 2, 50),
        np.arange(50, dtype=np.int64),
    )
    with BatchGradients(net.engine, net.flat, 2) as gradients:
        batches = gradients.over(net.pixels(images), labels, order)
        batches.differentiate(0, 20)
        net.flat *= 2
        rng.shuffle(order)
        loss, gradient, _ = batches.differentiate(0, 20)
        gradient = gradient.copy()
        expected = gradients.over(net.pixels(images), labels, order).differentiate(0, 20)
    assert loss == expected[0]
    np.testing.assert_array_equal(gradient, expected[1])


def test_batches_keep_the_arrays_that_they_read(rng):
    net = CNN((3, 33, 33), n_classes=2)
    images, labels = rng.random((200, 3, 33, 33)), rng.integers(0, 2, 200)
    weights, moves = np.ones(200), np.zeros((200, 3), np.int8)
    with BatchGradients(net.engine, net.flat, 1) as gradients:
        arrays = (
            images.copy(),
            labels.copy(),
            np.arange(200, dtype=np.int64),
            weights.copy(),
            moves.copy(),
        )
        references = [weakref.ref(array) for array in arrays]
        batches = gradients.over(net.pixels(arrays[0]), *arrays[1:])
        del arrays
        assert all(reference() is not None for reference in references)
        loss, _, _ = batches.differentiate()
        del batches
        assert not any(reference() is not None for reference in references)
    assert loss == fast(net, images, labels)[0]


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("labels", np.zeros(50, np.int32)),
        ("labels", np.zeros(100, np.int64)[::2]),
        ("order", np.arange(50.0)),
        ("order", np.arange(50, dtype=np.int64)[::-1]),
        ("weights", np.ones(50, np.float32)),
        ("weights", np.ones((50, 1))),
        ("moves", np.zeros((50, 3), np.int64)),
        ("moves", np.zeros((3, 50), np.int8).T),
    ],
)
def test_arrays_of_another_kind_are_refused(rng, name, wrong):
    net = CNN((1, 6, 6), n_classes=2)
    arguments = {"labels": rng.integers(0, 2, 50), name: wrong}
    with (
        BatchGradients(net.engine, net.flat, 1) as gradients,
        pytest.raises(ValueError, match=r"Buffer|contiguous"),
    ):
        gradients.over(net.pixels(rng.random((50, 1, 6, 6))), **arguments)


@pytest.mark.parametrize("N", [1, 16, 63, 64, 65, 96, 97, 128, 129, 160, 300, 1024, 1025, 1500])
def test_every_image_is_in_one_group(rng, N):
    net = CNN((1, 6, 6), (3,), n_classes=4, dtype="float64")
    images, labels = rng.random((N, 1, 6, 6)), rng.integers(0, 4, N)
    logits, loss, expected = layered(net, images, labels)
    fast_loss, gradient = fast(net, images, labels, 2)
    assert fast_loss == pytest.approx(loss, rel=1e-12)
    assert relative_error(gradient, expected) < 1e-12
    np.testing.assert_allclose(net.logits(images, 2), logits, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize(
    ("N", "tasks"), [(64, 1), (65, 2), (129, 4), (192, 4), (300, 6), (1500, 16)]
)
def test_two_threads_get_the_same_number_of_tasks(N, tasks):
    net = CNN((1, 6, 6), (3,), n_classes=4)
    pixels, labels = net.pixels(np.zeros((N, 1, 6, 6), np.uint8)), np.zeros(N, np.int64)
    with BatchGradients(net.engine, net.flat, 1) as gradients:
        gradients._losses.fill(np.nan)
        gradients.over(pixels, labels).differentiate()
        assert np.isfinite(gradients._losses).sum() == tasks


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("N", [1, 9, 17, 33, 300])
def test_no_group_is_empty_where_only_one_lane_block_fits(rng, monkeypatch, N, dtype):
    monkeypatch.setattr("tinycnn.engine.GROUP_BYTES", 1)
    net = CNN((1, 6, 6), (3,), n_classes=4, dtype=dtype)
    assert net.engine.group == 1
    images, labels = rng.random((N, 1, 6, 6)), rng.integers(0, 4, N)
    _, loss, expected = layered(net, images, labels)
    fast_loss, gradient = fast(net, images, labels, 2)
    assert fast_loss == pytest.approx(loss, rel=TOLERANCE[dtype])
    assert relative_error(gradient, expected) < TOLERANCE[dtype]


@pytest.mark.parametrize("channels", [(8,), (4, 6)])
@pytest.mark.parametrize("N", [1, 64, 65, 300, 1500])
def test_the_number_of_threads_changes_no_bit(rng, channels, N):
    net = CNN((1, 16, 16), channels, 3, seed=5)
    images = rng.integers(0, 256, (N, 1, 16, 16), dtype=np.uint8)
    labels = rng.integers(0, 10, N)
    loss, gradient = fast(net, images, labels, 1)
    logits = net.logits(images, 1)
    for n_threads in (2, 3, 8):
        for _ in range(3):
            other_loss, other_gradient = fast(net, images, labels, n_threads)
            assert other_loss == loss
            np.testing.assert_array_equal(other_gradient, gradient)
            np.testing.assert_array_equal(net.logits(images, n_threads), logits)


def test_a_trained_network_is_the_same_for_any_number_of_threads(digits):
    images, labels = digits

    def trained(n_threads):
        net = CNN((1, 8, 8))
        tinycnn.fit(net, images, labels, epochs=1, verbose=False, n_threads=n_threads)
        return net.flat

    expected = trained(1)
    for n_threads in (2, 3, 8, None):
        np.testing.assert_array_equal(trained(n_threads), expected)


def test_float32_stays_near_float64_over_ten_steps(digits):
    images, labels = digits

    def trained(dtype):
        net = CNN((1, 8, 8), dtype="float64", seed=1)
        start = net.flat
        net = CNN((1, 8, 8), dtype=dtype)
        net.flat[...] = start
        tinycnn.fit(net, images[:1280], labels[:1280], epochs=1, batch_size=128, verbose=False)
        return net.flat

    assert relative_error(trained("float32"), trained("float64")) < 1e-5


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(
    "where", ["image", "conv1.weight", "conv1.bias", "conv2.weight", "fc.bias"]
)
def test_nan_and_infinities_spread_as_in_the_layers(rng, where, value, dtype):
    net = random_network(rng, (1, 14, 14), (3, 4), 3, 3, True, dtype)
    images = rng.random((20, 1, 14, 14))
    if where == "image":
        images[3, 0, 5, 6] = value
    else:
        net.parameters[where].reshape(-1)[0] = value
    with np.errstate(all="ignore"):
        expected, _ = net.forward(images)
    actual, all_finite = net.engine.logits(net.flat, net.pixels(images), 1)
    assert all_finite == (where != "image")
    np.testing.assert_array_equal(np.isnan(actual), np.isnan(expected))
    rest = np.isfinite(expected)
    np.testing.assert_allclose(actual[rest], expected[rest], rtol=1e-4)


def test_overflow_on_the_way_is_nan_like_in_the_layers(rng):
    net = random_network(rng, (1, 8, 8), (4,), 3, 3, False, "float32")
    net.parameters["conv1.weight"][...] *= 1e38
    images = 100 * rng.random((9, 1, 8, 8)).astype(np.float32)
    with np.errstate(all="ignore"):
        expected, _ = net.forward(images)
    np.testing.assert_array_equal(np.isnan(net.logits(images)), np.isnan(expected))


def test_a_larger_pool_takes_the_place_of_a_smaller_one(rng):
    net, images = CNN((1, 8, 8)), rng.random((2000, 1, 8, 8))
    expected = net.logits(images, 1)
    for n_threads in range(2, 12):
        np.testing.assert_array_equal(net.logits(images, n_threads), expected)
    deadline = time.monotonic() + 10
    while True:  # the workers of the smaller pools end
        workers = [t for t in threading.enumerate() if t.name.startswith("tinycnn-")]
        if len(workers) < 12 or time.monotonic() > deadline:
            break
        time.sleep(0.01)
    assert len(workers) < 12


def test_predicting_on_more_threads_during_a_training_leaves_its_threads_alone(digits):
    images, labels = digits

    class Predict(tinycnn.Callback):
        def on_batch_end(self, state):
            pools.add(id(_parallel._pool))
            state.net.predict(images, n_threads=5)
            pools.add(id(_parallel._pool))

    def trained(callbacks):
        net = CNN((1, 8, 8))
        tinycnn.fit(net, images, labels, verbose=False, n_threads=2, callbacks=callbacks, epochs=1)
        return net.flat

    expected, pools = trained([]), set()
    _parallel._forget_pool()  # so that the training starts with a pool of its own size
    np.testing.assert_array_equal(trained([Predict()]), expected)
    assert len(pools) == 1


def test_two_trainings_at_once_do_not_disturb_each_other(digits):
    images, labels = digits

    def train(results, i):
        net = CNN((1, 8, 8), seed=i % 2)
        tinycnn.fit(net, images, labels, epochs=2, verbose=False, n_threads=2)
        results[i] = net.flat

    results = [None] * 4
    threads = [threading.Thread(target=train, args=(results, i)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    np.testing.assert_array_equal(results[0], results[2])
    np.testing.assert_array_equal(results[1], results[3])


FORK_SCRIPT = """
import os
import numpy as np
import tinycnn

images, labels = tinycnn.load_digits()

def trained():
    net = tinycnn.CNN((1, 8, 8))
    tinycnn.fit(net, images, labels, epochs=1, verbose=False, n_threads=3)
    return net.flat

expected = trained()
child = os.fork()
if child == 0:
    os._exit(0 if (trained() == expected).all() else 1)
_, status = os.waitpid(child, 0)
assert os.waitstatus_to_exitcode(status) == 0
assert (trained() == expected).all()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_training_goes_on_in_parent_and_child_after_a_fork():
    subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORK_SCRIPT], check=True, timeout=60
    )  # Python 3.12 warns of any fork with threads


LEVEL_SCRIPT = """
import numpy as np, sys
import tinycnn
from tinycnn import _dispatch

assert _dispatch.LEVEL == sys.argv[1], _dispatch.LEVEL
rng = np.random.default_rng(0)
images = rng.integers(0, 256, (75, 2, 17, 14), dtype=np.uint8)
labels = rng.integers(0, 4, 75)
harder = dict(
    augmentation=tinycnn.Augmentation(3, flip=True),
    sample_weight=rng.integers(0, 3, 75),
    label_smoothing=0.1,
)
out = {}
for dtype in ("float32", "float64"):
    for hidden, arguments in ((0, {}), (9, harder)):
        net = tinycnn.CNN(
            (2, 17, 14), (5, 3), [3, (2, 3)], 4, dtype=dtype, seed=1, hidden=hidden
        )
        if hidden:
            net.standardize(images)
        tinycnn.fit(net, images, labels, epochs=2, batch_size=40, verbose=False, **arguments)
        forward, _ = net.forward(images)
        np.testing.assert_allclose(net.logits(images), forward, rtol=1e-4, atol=1e-5)
        out[f"{dtype} {hidden}"] = net.flat
np.savez(sys.argv[2], **out)
"""


@pytest.mark.parametrize("level", _dispatch.supported_levels())
def test_every_build_gives_the_same_numbers(tmp_path, level):
    for name in ("baseline", level):
        subprocess.run(
            [sys.executable, "-c", LEVEL_SCRIPT, name, tmp_path / f"{name}.npz"],
            env=os.environ | {"TINYCNN_CPU_LEVEL": name},
            check=True,
        )
    with np.load(tmp_path / "baseline.npz") as baseline, np.load(tmp_path / f"{level}.npz") as mine:
        assert len(mine) == 4
        for name, flat in baseline.items():
            assert relative_error(mine[name], flat) < (1e-4 if "float32" in name else 1e-12)


def test_an_unknown_level_is_refused_with_the_known_ones():
    result = subprocess.run(
        [sys.executable, "-c", "import tinycnn"],
        env=os.environ | {"TINYCNN_CPU_LEVEL": "v9"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode != 0
    assert "TINYCNN_CPU_LEVEL" in result.stderr
    assert "got 'v9'" in result.stderr


def test_without_numpys_feature_table_the_baseline_is_taken(monkeypatch):
    monkeypatch.delenv("TINYCNN_CPU_LEVEL", raising=False)
    monkeypatch.setattr(_dispatch, "cpu_features", dict)
    assert _dispatch.choose_level() == "baseline"


@pytest.mark.parametrize(
    ("missing", "level"), [("AVX512_SKX", "v3"), ("FMA3", "baseline"), ("AVX2", "baseline")]
)
def test_a_level_is_taken_only_with_all_of_its_features(monkeypatch, missing, level):
    features = dict.fromkeys(("AVX2", "FMA3", "AVX512_SKX"), True) | {missing: False}
    monkeypatch.delenv("TINYCNN_CPU_LEVEL", raising=False)
    monkeypatch.setattr(_dispatch, "cpu_features", lambda: features)
    monkeypatch.setattr(_dispatch, "_is_built", lambda level: True)
    assert _dispatch.choose_level() == level


@pytest.mark.parametrize("wrong", [0, -1, 1.5, "2"])
def test_a_wrong_number_of_threads_is_refused(rng, wrong):
    with pytest.raises((ValueError, TypeError), match="n_threads"):
        CNN((1, 8, 8)).predict(rng.random((2, 1, 8, 8)), n_threads=wrong)
