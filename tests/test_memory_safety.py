"""Nothing public leads the kernels outside arrays, whatever is changed behind their backs.

On a build with sanitizers each of these would end the process if it did.
"""

import threading
import time

import numpy as np
import pytest
from conftest import small_net

import tinycnn
from tinycnn import functional

IMAGES = np.random.default_rng(0).random((64, 1, 8, 8)).astype(np.float32)
LABELS = np.arange(64) % 10
X = np.ones((2, 3, 8, 8), np.float32)


def fit(net=None, **arguments):
    defaults = {"epochs": 3, "batch_size": 8, "verbose": False, "labels": LABELS.copy()}
    return tinycnn.fit(net or small_net(), IMAGES, **{**defaults, **arguments})


def callback(**methods):
    """Make a callback of functions."""
    made = tinycnn.Callback()
    vars(made).update(methods)
    return made


def set_order(value):
    def change(state):
        state.order[...] = value

    return change


def set_argument(name, value):
    def change(state):
        state.arguments[name][...] = value

    return change


def set_attribute(name, value):
    return lambda state: setattr(state, name, value)


@pytest.mark.parametrize("method", ["on_batch_end", "on_epoch_end", "on_fit_begin"])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (set_order(10**12), "order: must be indices of 64 images"),
        (set_order(-(10**12)), "order: must be indices of 64 images"),
        (set_attribute("order", np.full(64, 0.5)), "order: must be indices of 64 images"),
        (set_attribute("order", np.arange(65)), "order: must be indices|must begin among"),
        (set_argument("labels", 10**12), r"labels: must be 64 whole numbers in \[0, 10\)"),
        (set_argument("labels", -1), r"labels: must be 64 whole numbers in \[0, 10\)"),
        (set_attribute("batches_per_epoch", 100), "must begin among the 64 images"),
    ],
)
def test_what_a_callback_changes_is_checked_again(method, change, message):
    with pytest.raises((ValueError, IndexError), match=message):
        fit(callbacks=callback(**{method: change}), epochs=3)


def test_a_callback_that_changes_the_order_within_an_epoch_changes_only_later_ones():
    expected, net = small_net(), small_net()
    fit(expected, epochs=1, schedule=None)
    with pytest.raises(ValueError, match="order"):
        fit(net, schedule=None, callbacks=callback(on_batch_end=set_order(10**9)))
    np.testing.assert_array_equal(net.flat, expected.flat)


@pytest.mark.parametrize(
    "moves",
    [
        np.full((64, 3), 100, np.int8),
        np.full((64, 3), -100, np.int8),
        np.zeros((1, 3), np.int8),
        np.zeros(64, np.int8),
    ],
)
def test_an_augmentation_of_ones_own_may_not_move_images_out_of_sight(moves):
    class Own(tinycnn.Augmentation):
        def draw(self, n, rng):
            return moves

    with pytest.raises(ValueError, match="moves: must be 64 rows"):
        fit(augmentation=Own(1))


@pytest.mark.parametrize("name", ["architecture", "layers", "input_mean", "input_std"])
def test_what_describes_a_network_cannot_be_replaced(name):
    net = small_net()
    with pytest.raises(AttributeError, match=name):
        setattr(net, name, getattr(small_net((3, 9, 9)), name))
    for value in (net.input_mean, net.input_std):
        with pytest.raises(ValueError, match="read-only"):
            value[...] = 3


def test_parameters_cannot_be_resized():
    net = small_net()
    for array in (net.flat, net.parameters["conv1.weight"]):
        with pytest.raises(ValueError, match="resize"):
            array.resize(3, refcheck=False)


@pytest.mark.parametrize("mean", [np.zeros(0), np.zeros(1), np.zeros(4), 0.5, np.zeros((3, 1, 1))])
def test_a_scaling_of_another_length_is_refused(mean):
    with pytest.raises(ValueError, match="one number for each of 3 channels"):
        small_net((3, 8, 8)).set_scaling(mean, mean)


def test_a_changed_max_pool_cache_is_refused():
    out, cache = functional.max_pool2d_forward(X)
    forged = (
        cache._replace(x_shape=(2, 3, 2, 2)),
        cache._replace(winner=np.zeros((1, 1, 1, 1), np.uint8)),
        cache._replace(winner=cache.winner.astype(np.int64)),
        cache._replace(winner=np.full_like(cache.winner, 4)),
        cache._replace(winner=3.0),
    )
    for each in forged:
        with pytest.raises(ValueError, match="max_pool2d: the cache was changed"):
            functional.max_pool2d_backward(out, each)
    cache.winner[...] = 255
    with pytest.raises(ValueError, match="max_pool2d: the cache was changed"):
        functional.max_pool2d_backward(out, cache)


def test_a_changed_conv_cache_is_refused():
    out, cache = functional.conv2d_forward(X, np.ones((4, 3, 3, 3), np.float32))
    forged = (
        cache._replace(weight=np.ones((4, 50, 3, 3), np.float32)),
        cache._replace(weight=np.ones((4, 3, 3, 3))),
        cache._replace(x=X[:1]),
        cache._replace(x=None),
    )
    for each in forged:
        with pytest.raises((ValueError, TypeError), match=r"conv2d|dtype"):
            functional.conv2d_backward(out, each)


def test_a_changed_relu_cache_is_read_as_it_stands(rng):
    x = rng.normal(size=(4, 6))
    dout = rng.normal(size=(6, 4))
    dx = functional.relu_backward(dout, x.T)
    np.testing.assert_array_equal(dx, np.where(x.T > 0, dout, 0))
    with pytest.raises(TypeError, match="relu: cache"):
        functional.relu_backward(dout, None)


def test_a_state_of_another_network_is_refused():
    net, other = small_net(), small_net(channels=(9,))
    logits, state = other.forward(IMAGES)
    for wrong in (state, None, state._replace(path_state=None), logits):
        with pytest.raises((ValueError, TypeError), match="state"):
            net.backward(logits, wrong)


def test_labels_that_change_while_train_runs_are_seen_or_do_nothing():
    x, y = np.zeros((2000, 1, 8, 8), np.float32), np.zeros(2000, np.int64)
    weights = np.ones((2, 1, 3, 3), np.float32), np.ones((18, 10), np.float32)

    def change():
        time.sleep(0.05)
        y[...] = 2**40

    thread = threading.Thread(target=change)
    thread.start()
    with pytest.raises(ValueError, match="labels must be whole numbers"):
        tinycnn.train(x, y, *weights, 0.1, 10_000)
    thread.join()
