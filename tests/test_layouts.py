"""The same images, labels and weights in any memory layout: the same bits everywhere."""

import copy
import pickle

import numpy as np
import pytest
from conftest import small_net

import tinycnn
from tinycnn.training.gradients import loss_and_gradient


def unaligned(values):
    """Put values one byte behind where they should begin."""
    moved = np.empty(values.nbytes + 1, np.uint8)[1:].view(values.dtype).reshape(values.shape)
    moved[...] = values
    return moved


def read_only(values):
    copied = values.copy()
    copied.flags.writeable = False
    return copied


class Subclass(np.ndarray):
    """An array of a kind of one's own."""


class Foreign:
    """What is no array, but hands one over, as tensors of other libraries do."""

    def __init__(self, values):
        self.values = values

    def __array__(self, dtype=None, copy=None):
        return np.array(self.values, dtype)


LAYOUTS = {
    "fortran": np.asfortranarray,
    "backwards": lambda values: values[::-1].copy()[::-1],
    "big-endian": lambda values: values.astype(values.dtype.newbyteorder(">")),
    "unaligned": unaligned,
    "unaligned big-endian": lambda values: unaligned(values.astype(values.dtype.newbyteorder(">"))),
    "read-only": read_only,
    "subclass": lambda values: values.copy().view(Subclass),
    "every second": lambda values: np.repeat(values, 2, axis=0)[::2],
    "transposed": lambda values: np.ascontiguousarray(values.T).T,
    "list": lambda values: values.tolist(),
    "foreign": Foreign,
}


@pytest.fixture
def data(rng):
    """Images, labels and weights."""
    return rng.random((90, 1, 8, 8)).astype(np.float32), np.arange(90) % 10, rng.random(90)


def trained(images, labels, weights):
    """What comes of training and predicting, as bytes."""
    net = small_net()
    net.standardize(images)
    arguments = {"epochs": 2, "batch_size": 37, "verbose": False, "validation_fraction": 0.1}
    tinycnn.fit(net, images, labels, sample_weight=weights, **arguments)
    loss, gradient = loss_and_gradient(net, images, labels, sample_weight=weights)
    outputs = net.logits(images), net.features(images), net.forward(images)[0]
    return [x.tobytes() for x in (net.flat, *outputs, *gradient.values())], loss


@pytest.mark.parametrize("layout", LAYOUTS)
def test_networks_see_the_same_in_every_layout(data, layout):
    expected = trained(*data)
    for which in range(3):
        given = list(data)
        given[which] = LAYOUTS[layout](given[which])
        if layout == "list" and which == 0:  # whose numbers are float64
            given[0] = data[0].astype(float).tolist()
        assert trained(*given) == expected


@pytest.mark.parametrize("layout", [name for name in LAYOUTS if name != "list"])
def test_bytes_too(data, layout):
    images = (255 * data[0]).astype(np.uint8)
    assert trained(LAYOUTS[layout](images), *data[1:]) == trained(images, *data[1:])


@pytest.mark.parametrize("layout", LAYOUTS)
def test_and_the_contract(rng, layout):
    arrays = (
        rng.normal(size=(20, 1, 9, 8)),
        rng.integers(0, 4, 20),
        rng.normal(size=(3, 1, 3, 3)),
        rng.normal(size=(27, 4)),
    )
    expected = tinycnn.train(*arrays, 0.1, 3)
    changed = tinycnn.train(*map(LAYOUTS[layout], arrays), 0.1, 3)
    np.testing.assert_array_equal(changed, expected)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net))])
@pytest.mark.parametrize("n_threads", [1, 3, 8])
def test_copies_train_to_the_same_bits_on_any_number_of_threads(data, copied, n_threads):
    images, labels, _ = data

    def train(net, n_threads):
        arguments = {"augmentation": tinycnn.Augmentation(1, True), "label_smoothing": 0.1}
        tinycnn.fit(net, images, labels, epochs=2, n_threads=n_threads, verbose=False, **arguments)
        return net.flat.tobytes() + net.logits(images, n_threads).tobytes()

    assert train(copied(small_net()), n_threads) == train(small_net(), 2)
