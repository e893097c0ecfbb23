"""The fast path against the readable one, on every shape, dtype, thread count and build."""

import os
import subprocess
import sys
import threading
import weakref

import numpy as np
import pytest
from conftest import relative_error, small_net

import tinycnn
from tinycnn import Conv, Dropout, Flatten, Layer, Linear, MaxPool, ReLU
from tinycnn.architecture import Architecture, make_blocks
from tinycnn.fast import dispatch, plan
from tinycnn.fast.dispatch import kernels
from tinycnn.fast.engine import FastPath
from tinycnn.fast.plan import NoPlan, make_table, require_fitting
from tinycnn.functional import cross_entropy_backward, cross_entropy_forward
from tinycnn.inputs import Examples, Inputs
from tinycnn.layered import LayeredPath
from tinycnn.parameters import Parameters

TOLERANCE = {"float32": 4e-6, "float64": 1e-13}


def both_paths(image_shape, layers, dtype="float64"):
    """Make the fast and the readable path of the same network."""
    architecture = Architecture(image_shape, layers)
    return FastPath(architecture, np.dtype(dtype)), LayeredPath(architecture, np.dtype(dtype))


def small_paths(dtype="float64", image_shape=(1, 9, 9), channels=(8,), n_classes=3):
    return both_paths(image_shape, make_blocks(channels, n_classes), dtype)


def draw_flat(rng, path, scale=0.3):
    """Draw all parameters of a path's network, so that no bias is 0."""
    return (scale * rng.normal(size=path.architecture.n_parameters)).astype(path.dtype)


def as_inputs(images, scale=1.0, shift=0.0):
    C = images.shape[1]
    return Inputs(images, np.full(C, scale), np.full(C, shift))


def draw_inputs(rng, image_shape, N, pixel="float64"):
    """Draw images of a dtype, with another scale and shift for each channel."""
    C = image_shape[0]
    scale, shift = rng.random(C) + 0.5, rng.normal(size=C)
    images = (255 * rng.random((N, *image_shape))).astype(np.uint8)
    if pixel == "uint8":
        return Inputs(images, scale / 255, shift)
    return Inputs((images / np.float32(256)).astype(pixel), scale, shift)


def gradient_of(path, flat, examples, n_threads=1, smoothing=0.0, rng=None):
    """Return loss, flat gradient and weight of all examples."""
    gradients = path.gradients(flat, n_threads, smoothing)
    loss, gradient, weight = gradients.over(examples, rng).differentiate()
    return loss, gradient.copy(), weight


# ------------------------------------------------------------------------ fast against readable

# Image shape, layers before Flatten and after it: nothing is a multiple of anything, and of each
# kind of border one that differs in rows and columns.
NETWORKS = {
    "smallest": ((1, 2, 2), [Conv(1, 1), ReLU(), MaxPool()], [Linear(2)]),
    "3x2": ((1, 9, 8), [Conv(3, (3, 2)), ReLU(), MaxPool()], [Linear(4)]),
    "4x4, colour": ((3, 29, 31), [Conv(7, 4), ReLU(), MaxPool()], [Linear(10)]),
    "3x3": ((1, 28, 28), [Conv(8), ReLU(), MaxPool()], [Linear(10)]),
    "1x6, no bias": (
        (2, 13, 21),
        [Conv(5, (1, 6), bias=False), ReLU(), MaxPool()],
        [Linear(2, bias=False)],
    ),
    "5 columns": ((2, 14, 15), [Conv(5, (3, 5)), ReLU(), MaxPool()], [Linear(3)]),
    "pool before ReLU": ((2, 14, 15), [Conv(5, (3, 5)), MaxPool(), ReLU()], [Linear(3)]),
    "two blocks": (
        (3, 30, 26),
        [Conv(5), ReLU(), MaxPool(), Conv(6, (2, 4), bias=False), ReLU(), MaxPool()],
        [Linear(3)],
    ),
    "three blocks": (
        (2, 30, 33),
        [layer for K, R in ((1, 3), (2, 2), (9, 2)) for layer in (Conv(K, R), ReLU(), MaxPool())],
        [Linear(11)],
    ),
    "many filters": (
        (1, 18, 16),
        [Conv(16), ReLU(), MaxPool(), Conv(67, (2, 3)), ReLU(), MaxPool()],
        [Linear(3)],
    ),
    "padded first": ((2, 12, 9), [Conv(5, 3, 1), ReLU(), MaxPool()], [Linear(3)]),
    "padded second": (
        (1, 13, 12),
        [Conv(5), ReLU(), MaxPool(), Conv(6, 3, (2, 1)), ReLU(), MaxPool()],
        [Linear(3)],
    ),
    "same, even kernels": (
        (2, 12, 11),
        [Conv(5, 4, "same"), ReLU(), MaxPool(), Conv(17, (2, 3), "same"), ReLU(), MaxPool()],
        [Linear(3)],
    ),
    "only rows, only columns": (
        (1, 8, 7),
        [Conv(4, 3, (1, 0)), ReLU(), MaxPool(), Conv(6, 1, (0, 2)), ReLU(), MaxPool()],
        [Linear(3)],
    ),
    "wide border": ((1, 3, 2), [Conv(3, 5, 4), ReLU(), MaxPool()], [Linear(3)]),
    "hidden": ((1, 9, 9), [Conv(5), ReLU(), MaxPool()], [Linear(13), ReLU(), Linear(4)]),
    "LeNet": (
        (1, 28, 28),
        [Conv(6, 5, 2), ReLU(), MaxPool(), Conv(16, 5), ReLU(), MaxPool()],
        [Linear(120), ReLU(), Linear(84), ReLU(), Linear(10)],
    ),
    "linear on linear": (
        (1, 9, 9),
        [Conv(5), ReLU(), MaxPool()],
        [Linear(7, bias=False), Linear(9), ReLU(), Linear(6), Linear(4, bias=False)],
    ),
    "convs without pool": (
        (2, 11, 8),
        [Conv(5, 3, 1), ReLU(), Conv(7, (2, 3), "same"), Conv(4), ReLU(), MaxPool(), Conv(6, 2)],
        [Linear(3)],
    ),
    "one conv without pool": ((1, 9, 9), [Conv(3, 4, 5), ReLU()], [Linear(4)]),
    "no conv": ((3, 5, 4), [], [Linear(11), ReLU(), Linear(3)]),
    "softmax regression": ((3, 5, 4), [], [Linear(3)]),
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("pixel", ["uint8", "float32", "float64", "float16", ">f4"])
@pytest.mark.parametrize("name", NETWORKS)
def test_it_computes_what_the_layers_compute(rng, name, pixel, dtype):
    image_shape, maps, vectors = NETWORKS[name]
    fast, layered = both_paths(image_shape, [*maps, Flatten(), *vectors], dtype)
    N, flat = int(rng.integers(1, 150)), draw_flat(rng, fast)
    inputs = draw_inputs(rng, image_shape, N, pixel)
    expected, layered_state = layered.forward(flat, inputs)
    logits, state = fast.forward(flat, inputs, 1)
    assert relative_error(logits, expected) < TOLERANCE[dtype]
    np.testing.assert_array_equal(fast.logits(flat, inputs, 1)[0], logits)
    features, expected = fast.features(flat, inputs, 1)[0], layered.features(flat, inputs)[0]
    assert relative_error(features, expected) < TOLERANCE[dtype]
    for n in (1, 3):  # few images, each by itself, have the bits that they have among others
        some = inputs._replace(images=inputs.images[-n:])
        np.testing.assert_array_equal(fast.logits(flat, some, 1)[0], logits[-n:])
        np.testing.assert_array_equal(fast.features(flat, some, 1)[0], features[-n:])

    dlogits = rng.normal(size=logits.shape).astype(dtype)
    expected = layered.backward(dlogits, layered_state)
    assert relative_error(fast.backward(dlogits, state), expected) < TOLERANCE[dtype]

    examples = Examples(inputs, rng.integers(0, logits.shape[1], N), weights=rng.random(N))
    loss, gradient, weight = gradient_of(fast, flat, examples, smoothing=0.1)
    expected_loss, expected, expected_weight = gradient_of(layered, flat, examples, smoothing=0.1)
    assert loss == pytest.approx(expected_loss, rel=TOLERANCE[dtype], abs=1e-7)
    assert weight == pytest.approx(expected_weight)
    np.testing.assert_allclose(gradient, expected, atol=TOLERANCE[dtype] * np.abs(expected).max())


def draw_dropout(rng):
    return [Dropout(float(rng.choice([0, 0.3, 0.8])))] if rng.random() < 0.25 else []


def random_layers(rng):
    """Draw a list of layers that the kernels have operations for; it may not fit an image."""
    layers: list[Layer] = []
    for _ in range(rng.integers(4)):
        kernel = tuple(map(int, rng.integers(1, 6, 2)))
        padding = rng.choice(["same", "one", "two"])
        if padding != "same":
            padding = tuple(map(int, rng.integers(0, 4, 2))) if padding == "two" else 1
        layers += draw_dropout(rng)
        layers.append(Conv(int(rng.integers(1, 20)), kernel, padding, bool(rng.integers(2))))
        behind = ([ReLU(), MaxPool()], [MaxPool(), ReLU()], [ReLU()], [])
        layers += behind[rng.choice(4, p=(0.4, 0.2, 0.3, 0.1))]
    layers.append(Flatten())
    for _ in range(rng.integers(3)):
        layers += draw_dropout(rng)
        layers.append(Linear(int(rng.integers(1, 40)), bool(rng.integers(2))))
        layers += [ReLU()] if rng.integers(3) else []
    return [*layers, *draw_dropout(rng), Linear(int(rng.integers(2, 14)), bool(rng.integers(2)))]


@pytest.mark.parametrize("seed", range(40))
def test_random_networks_are_computed_as_layer_by_layer(seed):
    rng = np.random.default_rng(seed)
    while True:
        image_shape = (int(rng.integers(1, 4)), *map(int, rng.integers(4, 24, 2)))
        try:
            fast, layered = both_paths(image_shape, random_layers(rng))
        except ValueError:
            continue
        break
    N, flat = int(rng.integers(1, 100)), draw_flat(rng, fast)
    inputs, labels = draw_inputs(rng, image_shape, N), rng.integers(0, fast.plan.n_classes, N)
    limits = np.minimum(3, np.array(image_shape[1:]) - 1)
    moves = np.column_stack([rng.integers(-limits, limits + 1, (N, 2)), rng.integers(0, 2, N)])
    logits, state = fast.forward(flat, inputs, 2, np.random.default_rng(seed))
    expected, layered_state = layered.forward(flat, inputs, 1, np.random.default_rng(seed))
    assert relative_error(logits, expected) < 1e-13
    dlogits = rng.normal(size=logits.shape)
    expected = layered.backward(dlogits, layered_state)
    assert relative_error(fast.backward(dlogits, state), expected) < 1e-12
    examples = Examples(inputs, labels, moves=moves.astype(np.int8))
    generators = [np.random.default_rng(seed) for _ in range(2)]
    _, gradient, _ = gradient_of(fast, flat, examples, 2, rng=generators[0])
    expected = gradient_of(layered, flat, examples, rng=generators[1])[1]
    assert relative_error(gradient, expected) < 1e-12
    assert generators[0].random() == generators[1].random()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("padding", [0, 1])
def test_ties_and_dead_windows(rng, dtype, padding):
    layers = [Conv(6, padding=padding), ReLU(), MaxPool(), Flatten(), Linear(5)]
    fast, layered = both_paths((1, 12, 11), layers, dtype)
    flat = draw_flat(rng, fast)
    conv = flat[:54].reshape(6, 9)
    conv[...] = rng.integers(-1, 2, conv.shape)
    conv[0] = 0  # windows of four exact zeros
    conv[1] = -1  # windows that ReLU closes
    flat[54:60] = 0
    images = rng.integers(0, 3, (40, 1, 12, 11)).astype(dtype)
    images[:5] = 1  # windows of four equal values
    examples = Examples(as_inputs(images), rng.integers(0, 5, 40))
    expected = gradient_of(layered, flat, examples)[1]
    assert relative_error(gradient_of(fast, flat, examples)[1], expected) < TOLERANCE[dtype]


def test_the_border_is_zero_after_scaling(rng):
    # A filter of ones on an image that is equal to the shift sees nothing, at the border either.
    fast, _ = both_paths((1, 6, 6), [Conv(1, 3, 1, False), ReLU(), MaxPool(), Flatten(), Linear(2)])
    inputs = as_inputs(np.full((3, 1, 6, 6), 50, np.uint8), 0.5, -25.0)
    features, _ = fast.features(np.ones(fast.plan.n_parameters), inputs)
    np.testing.assert_array_equal(features, np.zeros((3, 9)))


def dropping_paths():
    layers = [Conv(5, 3, 1), ReLU(), MaxPool(), Dropout(0.3), Flatten(), Linear(7), ReLU()]
    return both_paths((1, 10, 9), [Dropout(0.1), *layers, Dropout(0.5), Linear(3)])


def test_what_is_dropped_depends_on_the_place_in_the_order_alone(rng):
    fast, layered = dropping_paths()
    flat = draw_flat(rng, fast)
    order = rng.permutation(150)
    examples = Examples(draw_inputs(rng, (1, 10, 9), 150), rng.integers(0, 3, 150), order)

    def mean(path, n_threads, *parts):
        batches = path.gradients(flat, n_threads).over(examples, np.random.default_rng(5))
        return sum(weight * g for _, g, weight in (batches.differentiate(*p) for p in parts)) / 150

    whole = mean(fast, 1, (0, 150))
    np.testing.assert_array_equal(mean(fast, 3, (0, 150)), whole)
    parts = (0, 37), (37, 101), (101, 150)
    for other in (mean(fast, 2, *parts), mean(layered, 1, (0, 150)), mean(layered, 1, *parts)):
        assert relative_error(other, whole) < 1e-12
    undropped = fast.gradients(flat).over(examples).differentiate()[1]
    assert relative_error(undropped, whole) > 0.1


def test_who_drops_disturbs_nobody_who_does_not(rng):
    fast, _ = dropping_paths()
    flat, inputs = draw_flat(rng, fast), draw_inputs(rng, (1, 10, 9), 70)
    examples = Examples(inputs, rng.integers(0, 3, 70))
    expected = fast.logits(flat, inputs, 1)[0]
    dropped, _ = fast.forward(flat, inputs, 1, np.random.default_rng(1))
    assert relative_error(dropped, expected) > 0.1
    np.testing.assert_array_equal(fast.logits(flat, inputs, 1)[0], expected)
    gradients = fast.gradients(flat)
    generators = None, np.random.default_rng(2), np.random.default_rng(3)
    batches = [gradients.over(examples, generator) for generator in generators]
    first, again = ([b.differentiate()[1].copy() for b in batches] for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert relative_error(first[1], first[0]) > 0.1 < relative_error(first[1], first[2])


@pytest.mark.parametrize("n_keys", [0, 2, 4])
def test_keys_that_are_not_as_many_as_dropouts_are_refused(rng, monkeypatch, n_keys):
    fast, _ = dropping_paths()
    flat, inputs = draw_flat(rng, fast), draw_inputs(rng, (1, 10, 9), 5)
    monkeypatch.setattr(fast, "draw_dropouts", lambda rng: np.zeros(n_keys, np.uint64))
    with pytest.raises(ValueError, match=f"3 dropouts, {n_keys} keys"):
        fast.gradients(flat).over(Examples(inputs, np.zeros(5, np.int64)))
    with pytest.raises(ValueError, match=f"3 dropouts, {n_keys} keys"):
        fast.forward(flat, inputs)


# ------------------------------------------------------------------------------------- the plan


def table_of(image_shape, layers):
    return make_table(Architecture(image_shape, layers))


def test_a_plan_is_a_table_of_operations():
    layers: list[Layer] = [Dropout(0.25), Conv(4, (3, 2), "same"), ReLU(), MaxPool()]
    layers += [Conv(5, 3, bias=False), MaxPool(), ReLU(), Conv(3, (2, 1), "same"), ReLU()]
    layers += [Dropout(), Conv(2, 1), Flatten(), Linear(7), ReLU(), Linear(6, bias=False)]
    layers += [Dropout(0), Linear(3)]
    table = table_of((2, 10, 13), layers)
    rows = [
        # kind C  H   W   inner     border K  R  S  P  Q  weight bias dropout rate
        (plan.BLOCK, 2, 12, 14, 10, 13, 1, 0, 4, 3, 2, 5, 6, 0, 48, 0, 0.25),
        (plan.BLOCK, 4, 5, 6, 5, 6, 0, 0, 5, 3, 3, 1, 2, 52, -1, -1, 0.0),
        (plan.CONV_RELU, 5, 3, 2, 1, 2, 0, 0, 3, 2, 1, 1, 2, 232, 262, -1, 0.0),
        (plan.CONV, 3, 2, 2, 1, 2, 0, 0, 2, 1, 1, 1, 2, 265, 271, 1, 0.5),
        (plan.LINEAR_RELU, 2, 1, 2, 1, 2, 0, 0, 7, 1, 1, 1, 1, 273, 301, -1, 0.0),
        (plan.LINEAR, 7, 1, 1, 1, 1, 0, 0, 6, 1, 1, 1, 1, 308, -1, -1, 0.0),
        (plan.LINEAR, 6, 1, 1, 1, 1, 0, 0, 3, 1, 1, 1, 1, 350, 368, 2, 0.0),
    ]
    assert table.dtype == plan.OPERATION
    assert table.tolist() == rows


class Doubled(Linear):
    """A Linear with a forward pass of its own."""

    def forward(self, x, parameters, rng=None):
        out, cache = super().forward(x, parameters, rng)
        return 2 * out, cache


BLOCK = [Conv(2), ReLU(), MaxPool()]


@pytest.mark.parametrize(
    ("layers", "reason"),
    [
        (
            [*BLOCK, Dropout(), Flatten(), Dropout(), Linear(2)],
            "no fast operation for two Dropouts in a row, at dropout2",
        ),
        (
            [*BLOCK, Flatten(), Linear(2), Dropout()],
            "no fast operation for Dropout at dropout1, the end",
        ),
        ([MaxPool(), *BLOCK, Flatten(), Linear(2)], "no fast operation for MaxPool at maxpool1"),
        ([*BLOCK, ReLU(), Flatten(), Linear(2)], "no fast operation for ReLU at relu2"),
        ([*BLOCK, MaxPool(), Flatten(), Linear(2)], "no fast operation for MaxPool at maxpool2"),
        ([*BLOCK, Flatten(), Doubled(2)], "no fast operation for Doubled at doubled1"),
        ([*BLOCK, Flatten(), Linear(2), ReLU()], "no fast operation for ReLU at relu2, the end"),
        ([*BLOCK, Flatten()], "no fast operation for Flatten at flatten1, the end"),
        (
            [*BLOCK, Flatten(), *(Linear(2) for _ in range(32))],
            "33 operations are more than the 32 of a plan",
        ),
        (
            [Conv(2**10), ReLU(), MaxPool(), *BLOCK, Flatten(), Linear(2)],
            "maps of 1024 x 511 x 511 have more than the 134,217,728 values of a fast operation",
        ),
    ],
)
def test_without_an_operation_for_a_layer_there_is_no_plan(layers, reason):
    shape = (1, 1024, 1024) if layers[0] == Conv(2**10) else (1, 12, 12)
    with pytest.raises(NoPlan) as error:
        table_of(shape, layers)
    assert str(error.value) == reason


def changed(table, row, **values):
    table = table.copy()
    for name, value in values.items():
        table[row][name] = value
    return table


@pytest.mark.parametrize(
    ("row", "values"),
    [
        (0, {"H": 11}),
        (0, {"W": 10}),
        (0, {"top": 3}),
        (0, {"left": -1}),
        (0, {"P": 6}),
        (0, {"K": 3}),
        (0, {"R": 0}),
        (0, {"weight_at": -1}),
        (0, {"weight_at": 2**40}),
        (0, {"bias_at": 10**6}),
        (0, {"kind": plan.LINEAR}),
        (0, {"kind": plan.CONV, "P": 11}),
        (0, {"kind": -1}),
        (0, {"rate": 1.0}),
        (0, {"rate": np.nan}),
        (0, {"dropout": -2}),
        (0, {"dropout": 10**6}),
        (1, {"C": 5}),
        (1, {"inner_H": 4}),
        (1, {"kind": 7}),
        (2, {"K": 10**6}),
        (2, {"kind": plan.LINEAR_RELU}),
        (2, {"kind": plan.BLOCK}),
    ],
)
def test_a_table_that_would_lead_outside_memory_is_refused(row, values):
    layers = [Conv(4, 3, 1), *BLOCK[1:], Conv(5, 3, 1), *BLOCK[1:], Flatten(), Linear(3)]
    architecture = Architecture((2, 10, 13), layers)
    table, n = make_table(architecture), architecture.n_parameters
    require_fitting(table, n)
    with pytest.raises(ValueError, match="plan"):
        require_fitting(changed(table, row, **values), n)
    for wrong in (table[:0], table[:-1]):
        with pytest.raises(ValueError, match="plan"):
            require_fitting(wrong, n)
    with pytest.raises(ValueError, match="plan"):
        require_fitting(table, n - 1)
    for rows, item in ((table[:0], 4), (np.tile(table, 11), 4), (table, 3)):
        with pytest.raises(ValueError, match="plan"):
            kernels.Plan(rows, n, item, 64, 2**24)


# -------------------------------------------------------------------------- batches of examples


def test_images_are_taken_in_any_order(rng):
    path, _ = small_paths()
    flat, images, labels = draw_flat(rng, path), rng.random((50, 1, 9, 9)), rng.integers(0, 3, 50)
    order = rng.permutation(np.arange(50))[:33]
    one = gradient_of(path, flat, Examples(as_inputs(images), labels, order))
    other = gradient_of(path, flat, Examples(as_inputs(images[order]), labels[order]))
    assert one[0] == other[0]
    np.testing.assert_array_equal(one[1], other[1])


def test_batches_are_slices_of_the_order(rng):
    path, _ = small_paths()
    flat, images, labels = draw_flat(rng, path), rng.random((50, 1, 9, 9)), rng.integers(0, 3, 50)
    weights, order = rng.random(50), rng.permutation(np.arange(50))[:40]
    gradients = path.gradients(flat, 1)
    batches = gradients.over(Examples(as_inputs(images), labels, order, weights))
    for i in (0, 15, 30):  # the last one ends with the order
        part = order[i : i + 15]
        loss, gradient, weight = batches.differentiate(i, i + 15)
        alone = Examples(as_inputs(images[part]), labels[part], None, weights[part])
        expected_loss, expected, _ = gradients.over(alone).differentiate()
        assert loss == expected_loss
        assert weight == pytest.approx(weights[part].sum(), rel=1e-14)
        np.testing.assert_array_equal(gradient, expected)


@pytest.mark.parametrize("batch", [(50, 60), (40, 50), (-1, 5), (5, 5), (6, 5), (0, 0), (0, -1)])
def test_a_batch_without_images_is_refused(rng, batch):
    path, _ = small_paths()
    inputs, labels = as_inputs(rng.random((50, 1, 9, 9))), rng.integers(0, 3, 50)
    gradients = path.gradients(draw_flat(rng, path), 1)
    batches = gradients.over(Examples(inputs, labels, np.arange(40)))
    with pytest.raises(IndexError, match="40 images"):
        batches.differentiate(*batch)


def test_each_batch_sees_the_parameters_of_its_time(rng):
    path, _ = small_paths()
    flat = draw_flat(rng, path)
    examples = Examples(as_inputs(rng.random((50, 1, 9, 9))), rng.integers(0, 3, 50))
    gradients = path.gradients(flat, 2)
    batches = gradients.over(examples)
    batches.differentiate(0, 20)
    flat *= 2
    loss, gradient, _ = batches.differentiate(0, 20)
    expected = gradients.over(examples).differentiate(0, 20)
    assert loss == expected[0]
    np.testing.assert_array_equal(gradient, expected[1])


def test_batches_keep_the_images_that_they_read(rng):
    path, _ = small_paths(image_shape=(3, 33, 33))
    flat, images, labels = draw_flat(rng, path), rng.random((200, 3, 33, 33)), np.zeros(200, int)
    gradients = path.gradients(flat, 1)
    copied = images.copy()
    reference = weakref.ref(copied)
    batches = gradients.over(Examples(as_inputs(copied), labels))
    del copied
    assert reference() is not None
    loss, _, _ = batches.differentiate()
    del batches
    assert reference() is None
    assert loss == gradient_of(path, flat, Examples(as_inputs(images), labels))[0]


@pytest.mark.parametrize("N", [1, 16, 63, 64, 65, 96, 97, 128, 129, 160, 300, 1024, 1025, 1500])
def test_every_image_is_in_one_group(rng, N):
    path, layered = small_paths(image_shape=(1, 6, 6), n_classes=4)
    flat = draw_flat(rng, path)
    examples = Examples(as_inputs(rng.random((N, 1, 6, 6))), rng.integers(0, 4, N))
    loss, gradient, _ = gradient_of(path, flat, examples, 2)
    expected_loss, expected, _ = gradient_of(layered, flat, examples)
    assert loss == pytest.approx(expected_loss, rel=1e-12)
    assert relative_error(gradient, expected) < 1e-12
    logits, _ = layered.forward(flat, examples.inputs)
    for actual in (path.logits(flat, examples.inputs, 2), path.forward(flat, examples.inputs, 2)):
        np.testing.assert_allclose(actual[0], logits, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("N", [1, 9, 17, 33, 300])
def test_no_group_is_empty_where_only_one_lane_block_fits(rng, monkeypatch, N, dtype):
    monkeypatch.setattr(plan, "GROUP_BYTES", 1)
    path, layered = small_paths(dtype)
    assert path.plan.group_images == path.plan.lanes
    flat = draw_flat(rng, path)
    examples = Examples(as_inputs(rng.random((N, 1, 9, 9))), rng.integers(0, 3, N))
    loss, gradient, _ = gradient_of(path, flat, examples, 2)
    expected_loss, expected, _ = gradient_of(layered, flat, examples)
    assert loss == pytest.approx(expected_loss, rel=TOLERANCE[dtype])
    assert relative_error(gradient, expected) < TOLERANCE[dtype]


# ------------------------------------------------------------- forward, a loss in Python, backward


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ["3x3", "same, even kernels", "LeNet", "no conv"])
def test_the_two_halves_make_the_fused_step(rng, name, dtype):
    image_shape, maps, vectors = NETWORKS[name]
    path, _ = both_paths(image_shape, [*maps, Flatten(), *vectors], dtype)
    flat, inputs = draw_flat(rng, path), draw_inputs(rng, image_shape, 200)
    labels = rng.integers(0, path.plan.n_classes, 200)
    expected_loss, expected, _ = gradient_of(path, flat, Examples(inputs, labels), 2)
    logits, state = path.forward(flat, inputs, 2)
    loss, cache = cross_entropy_forward(logits, labels)
    gradient = path.backward(cross_entropy_backward(1.0, cache), state)
    assert loss == pytest.approx(expected_loss, rel=TOLERANCE[dtype])
    assert relative_error(gradient, expected) < TOLERANCE[dtype]


def test_backward_uses_the_parameters_and_images_of_the_forward_pass(rng):
    path, layered = small_paths()
    flat, images = draw_flat(rng, path), rng.random((30, 1, 9, 9))
    dlogits = rng.normal(size=(30, 3))
    expected = layered.backward(dlogits, layered.forward(flat, as_inputs(images.copy()))[1])
    _, state = path.forward(flat, as_inputs(images))
    flat[...] = np.nan
    images[...] = np.nan
    other = path.forward(np.ones_like(flat), as_inputs(rng.random((40, 1, 9, 9))))
    for _ in range(2):  # a state can be used more than once
        assert relative_error(path.backward(dlogits, state), expected) < 1e-12
    del other


def test_dlogits_may_have_any_layout(rng):
    path, _ = small_paths()
    _, state = path.forward(draw_flat(rng, path), as_inputs(rng.random((30, 1, 9, 9))))
    dlogits = rng.normal(size=(30, 3))
    expected = path.backward(dlogits, state)
    for same in (np.asfortranarray(dlogits), np.repeat(dlogits, 2, axis=0)[::2]):
        np.testing.assert_array_equal(path.backward(same, state), expected)


@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros((30, 3), np.float32),
        np.zeros((29, 3)),
        np.zeros((30, 4)),
        np.zeros((30, 3), ">f8"),
        np.zeros((30, 3), np.int64),
    ],
    ids=str,
)
def test_dlogits_of_another_size_or_dtype_are_refused(rng, wrong):
    path, _ = small_paths()
    _, state = path.forward(draw_flat(rng, path), as_inputs(rng.random((30, 1, 9, 9))))
    with pytest.raises(ValueError, match="90 floats of 8 bytes"):
        path.backward(wrong, state)


def test_a_state_of_another_path_or_number_of_images_is_refused(rng):
    path, _ = small_paths()
    other, _ = small_paths(channels=(9,))
    flat, images = draw_flat(rng, path), as_inputs(rng.random((30, 1, 9, 9)))
    _, state = path.forward(flat, images)
    with pytest.raises(ValueError, match="state"):
        other.backward(np.zeros((30, 3)), state)
    with pytest.raises(TypeError):
        path.backward(np.zeros((30, 3)), state._replace(kept=None))
    unfilled = state._replace(kept=kernels.State(path.plan, flat, 30))
    with pytest.raises(ValueError, match="filled"):
        path.backward(np.zeros((30, 3)), unfilled)
    with pytest.raises(ValueError, match="0 images"):
        kernels.State(path.plan, flat, 0)
    with pytest.raises((ValueError, MemoryError)):
        kernels.State(path.plan, flat, 2**60)


@pytest.mark.parametrize("wrong", [np.zeros(3), np.zeros(274, np.float32), np.zeros((2, 137))])
def test_parameters_of_another_size_or_dtype_are_refused(rng, wrong):
    path, _ = small_paths(channels=(4,))
    inputs, labels = as_inputs(rng.random((5, 1, 9, 9))), np.zeros(5, np.int64)
    assert path.plan.n_parameters == 151
    for call in (path.logits, path.features, path.forward):
        with pytest.raises(ValueError, match="151 floats of 8 bytes"):
            call(wrong, inputs)
    with pytest.raises(ValueError, match="151 floats of 8 bytes"):
        path.gradients(wrong, 1).over(Examples(inputs, labels))


def test_images_of_another_shape_are_refused(rng):
    path, _ = small_paths()
    flat = draw_flat(rng, path)
    for shape in ((5, 1, 9, 8), (5, 2, 9, 9)):
        with pytest.raises(ValueError, match="channels"):
            path.logits(flat, as_inputs(rng.random(shape)))
    logits, all_finite = path.logits(flat, as_inputs(np.empty((0, 1, 9, 9))))
    assert logits.shape == (0, 3)
    assert all_finite


def test_work_space_and_memory_of_states_are_used_again(rng):
    path, _ = small_paths()
    flat, inputs = draw_flat(rng, path), as_inputs(rng.random((300, 1, 9, 9)))
    expected, state = path.forward(flat, inputs, 1)
    gradient = path.backward(np.ones((300, 3)), state)
    for n_threads in (1, 3, 2, 1):
        logits, state = path.forward(flat, inputs, n_threads)
        other = path.forward(2 * flat, inputs, n_threads)
        np.testing.assert_array_equal(logits, expected)
        np.testing.assert_array_equal(path.backward(np.ones((300, 3)), state), gradient)
        del other, state


def test_the_paths_of_several_threads_do_not_disturb_each_other(rng):
    path, _ = small_paths()
    flat, inputs = draw_flat(rng, path), as_inputs(rng.random((500, 1, 9, 9)))

    def compute(scale):
        _, state = path.forward(scale * flat, inputs, 2)
        return path.backward(np.ones((500, 3)), state)

    def check(i):
        good[i] = all((compute(i) == expected[i]).all() for _ in range(20))

    expected, good = [compute(i) for i in range(6)], [False] * 6
    workers = [threading.Thread(target=check, args=(i,)) for i in range(6)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert all(good)


def test_a_slab_of_images_is_some_groups():
    path, _ = small_paths(image_shape=(1, 28, 28))
    assert path.slab_images % path.plan.group_images == 0
    assert path.slab_images > 0


# --------------------------------------------------------------------------------------- threads


@pytest.mark.parametrize("channels", [(8,), (4, 6)])
@pytest.mark.parametrize("N", [1, 64, 65, 300, 1500])
def test_the_number_of_threads_changes_no_bit(rng, channels, N):
    path, _ = both_paths((1, 16, 16), make_blocks(channels, 10, padding="same"), "float32")
    flat, images = draw_flat(rng, path), rng.integers(0, 256, (N, 1, 16, 16), dtype=np.uint8)
    inputs, labels = as_inputs(images, 1 / 255), rng.integers(0, 10, N)
    dlogits = rng.normal(size=(N, 10)).astype(np.float32)

    def everything(n_threads):
        loss, gradient, _ = gradient_of(path, flat, Examples(inputs, labels), n_threads)
        logits, state = path.forward(flat, inputs, n_threads)
        return loss, gradient, logits, path.logits(flat, inputs)[0], path.backward(dlogits, state)

    expected = everything(1)
    for n_threads in (2, 3, 8):
        for _ in range(3):
            for actual, value in zip(everything(n_threads), expected, strict=True):
                np.testing.assert_array_equal(actual, value)


def test_a_trained_network_is_the_same_for_any_number_of_threads(digits):
    images, labels = digits

    def trained(n_threads):
        net = small_net()
        tinycnn.fit(net, images, labels, epochs=1, verbose=False, n_threads=n_threads)
        return net.flat

    expected = trained(1)
    for n_threads in (2, 3, 8, None):
        np.testing.assert_array_equal(trained(n_threads), expected)


def test_float32_stays_near_float64_over_ten_steps(digits):
    images, labels = digits

    def trained(dtype):
        start = small_net(dtype="float64", seed=1).flat
        net = small_net(dtype=dtype)
        net.flat[...] = start
        tinycnn.fit(net, images[:1280], labels[:1280], epochs=1, batch_size=128, verbose=False)
        return net.flat

    assert relative_error(trained("float32"), trained("float64")) < 1e-5


# --------------------------------------------------------------------------------- strict numbers


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(
    "where", ["image", "conv1.weight", "conv1.bias", "conv2.weight", "linear1.bias"]
)
@pytest.mark.parametrize("padding", [0, "same"])
def test_nan_and_infinities_spread_as_in_the_layers(rng, where, value, dtype, padding):
    fast, layered = both_paths((1, 14, 14), make_blocks((3, 4), 3, padding=padding), dtype)
    flat, images = draw_flat(rng, fast), rng.random((20, 1, 14, 14))
    if where == "image":
        images[3, 0, 5, 6] = value
    else:
        parameters = Parameters(flat, fast.architecture.parameter_shapes)
        parameters[where].reshape(-1)[0] = value
    with np.errstate(all="ignore"):
        expected, _ = layered.forward(flat, as_inputs(images))
    actual, all_finite = fast.logits(flat, as_inputs(images), 1)
    assert all_finite == (where != "image")
    np.testing.assert_array_equal(np.isnan(actual), np.isnan(expected))
    rest = np.isfinite(expected)
    np.testing.assert_allclose(actual[rest], expected[rest], rtol=1e-4)
    np.testing.assert_array_equal(fast.forward(flat, as_inputs(images), 2)[0], actual)
    alone, all_finite = fast.logits(flat, as_inputs(images[3:4]))
    assert all_finite == (where != "image")
    np.testing.assert_array_equal(alone, actual[3:4])


def test_overflow_on_the_way_is_nan_like_in_the_layers(rng):
    fast, layered = small_paths("float32", (1, 8, 8), (4,))
    flat = draw_flat(rng, fast)
    flat[:36] *= 1e38
    inputs = as_inputs(100 * rng.random((9, 1, 8, 8)).astype(np.float32))
    with np.errstate(all="ignore"):
        expected, _ = layered.forward(flat, inputs)
    np.testing.assert_array_equal(np.isnan(fast.logits(flat, inputs)[0]), np.isnan(expected))
    alone = fast.logits(flat, inputs._replace(images=inputs.images[:1]))[0]
    np.testing.assert_array_equal(np.isnan(alone), np.isnan(expected[:1]))


def test_parameters_may_change_from_one_prediction_to_the_next(rng):
    fast, layered = small_paths("float64", (1, 14, 14), (4, 5))
    inputs = as_inputs(rng.random((1, 1, 14, 14)))
    flat = draw_flat(rng, fast)
    for i in (0, len(flat) // 2, -1):
        flat[i] += 1
        expected = layered.forward(flat, inputs)[0]
        assert relative_error(fast.logits(flat, inputs)[0], expected) < 1e-12


def test_gradients_next_to_the_subnormal_numbers_count_as_none(rng):
    path, _ = small_paths("float32")
    _, state = path.forward(draw_flat(rng, path), as_inputs(rng.random((30, 1, 9, 9))))
    assert not path.backward(np.full((30, 3), 1e-35, np.float32), state).any()


# ---------------------------------------------------------------------------- the pool of threads


def test_two_trainings_at_once_do_not_disturb_each_other(digits):
    images, labels = digits

    def train(results, i):
        net = small_net(seed=i % 2)
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
    net = tinycnn.CNN((1, 8, 8), channels=(8,), n_classes=10)
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
from tinycnn.fast import dispatch

assert dispatch.LEVEL == sys.argv[1], dispatch.LEVEL
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
    for hidden, arguments in (((), {}), ((9, 6), harder)):
        net = tinycnn.CNN(
            (2, 17, 14), channels=(5, 3), kernel_size=[3, (2, 3)], padding=[0, "same"],
            hidden=hidden, n_classes=4, dtype=dtype, seed=1,
        )
        assert bool(net.why_layered) == (sys.argv[1] == "reference")
        if hidden:
            net.standardize(images)
        tinycnn.fit(net, images, labels, epochs=2, batch_size=40, verbose=False, **arguments)
        forward, _ = net.forward(images)
        np.testing.assert_allclose(net.logits(images), forward, rtol=1e-4, atol=1e-5)
        out[f"{dtype} {hidden}"] = net.flat
np.savez(sys.argv[2], **out)
"""


@pytest.mark.parametrize("level", [*dispatch.supported_levels(), dispatch.REFERENCE])
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
    monkeypatch.setattr(dispatch, "cpu_features", dict)
    assert dispatch.choose_level() == "baseline"


@pytest.mark.parametrize(
    ("missing", "level"), [("AVX512_SKX", "v3"), ("FMA3", "baseline"), ("AVX2", "baseline")]
)
def test_a_level_is_taken_only_with_all_of_its_features(monkeypatch, missing, level):
    features = dict.fromkeys(("AVX2", "FMA3", "AVX512_SKX"), True) | {missing: False}
    monkeypatch.delenv("TINYCNN_CPU_LEVEL", raising=False)
    monkeypatch.setattr(dispatch, "cpu_features", lambda: features)
    monkeypatch.setattr(dispatch, "_is_built", lambda level: True)
    assert dispatch.choose_level() == level


@pytest.mark.parametrize("wrong", [0, -1, 1.5, "2"])
def test_a_wrong_number_of_threads_is_refused(rng, wrong):
    with pytest.raises((ValueError, TypeError), match="n_threads"):
        small_net().predict(rng.random((2, 1, 8, 8)), n_threads=wrong)
