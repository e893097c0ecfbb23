"""Each layer: shapes, refusals, first parameters, both passes against independent formulas.

The formulas are those of ``tinycnn.lesson``, or plain NumPy; gradients are compared with finite
differences of these, so that an error that forward and backward share shows.
"""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from conftest import numeric_gradient, relative_error
from own_layers import AvgPool, BatchNorm, LeakyReLU, Residual, Scale

import tinycnn
from tinycnn import CNN, Conv, Dropout, Flatten, Layer, Linear, MaxPool, ReLU, lesson
from tinycnn.layers import LAYERS, describe_layer, make_layer, register

TOLERANCE = 1e-7

STANDARD = (Conv, ReLU, MaxPool, Dropout, Flatten, Linear)


def padded(x: np.ndarray, padding, kernel: tuple[int, int]) -> np.ndarray:
    """Put zeros around maps one by one, by the rule of PyTorch."""
    if padding == "same":
        above, left = (kernel[0] - 1) // 2, (kernel[1] - 1) // 2
        below, right = kernel[0] - 1 - above, kernel[1] - 1 - left
    else:
        (above, left) = (below, right) = padding
    N, C, H, W = x.shape
    out = np.zeros((N, C, above + H + below, left + W + right))
    out[:, :, above : above + H, left : left + W] = x
    return out


def conv(layer: Conv, x: np.ndarray, weight: np.ndarray, bias: np.ndarray | float = 0.0):
    bias = np.reshape(bias, (-1, 1, 1))
    return lesson.conv2d(padded(x, layer.padding, layer.kernel_size), weight) + bias


def linear(layer: Linear, x: np.ndarray, weight: np.ndarray, bias: np.ndarray | float = 0.0):
    return np.einsum("nf,uf->nu", x, weight) + bias


def flatten(layer: Flatten, x: np.ndarray):
    return np.array([list(image.flat) for image in x])


FORMULAS = {
    "conv": conv,
    "relu": lambda layer, x: np.where(x > 0, x, 0),
    "maxpool": lambda layer, x: lesson.max_pool(x)[0],
    "dropout": lambda layer, x: x,
    "flatten": flatten,
    "linear": linear,
}

CASES = [
    (Conv(4), (3, 5, 6), (4, 3, 4)),
    (Conv(4, bias=False), (1, 5, 5), (4, 3, 3)),
    (Conv(2, (2, 5)), (3, 4, 7), (2, 3, 3)),
    (Conv(2, (5, 2)), (3, 7, 4), (2, 3, 3)),
    (Conv(2, 1), (3, 3, 4), (2, 3, 4)),
    (Conv(1, (4, 6)), (2, 4, 6), (1, 1, 1)),
    (Conv(3, 3, 1), (2, 4, 5), (3, 4, 5)),
    (Conv(3, 3, (2, 0)), (2, 4, 5), (3, 6, 3)),
    (Conv(2, (3, 2), (0, 3)), (3, 4, 3), (2, 2, 8)),
    (Conv(2, 5, 4), (1, 1, 2), (2, 5, 6)),
    (Conv(3, 3, "same"), (3, 5, 4), (3, 5, 4)),
    (Conv(3, (5, 3), "same", False), (2, 3, 4), (3, 3, 4)),
    (Conv(2, 2, "same"), (3, 4, 5), (2, 4, 5)),
    (Conv(2, (4, 6), "same"), (1, 5, 4), (2, 5, 4)),
    (ReLU(), (3, 4, 5), (3, 4, 5)),
    (ReLU(), (7,), (7,)),
    (MaxPool(), (3, 4, 6), (3, 2, 3)),
    (MaxPool(), (3, 5, 7), (3, 2, 3)),
    (MaxPool(), (1, 2, 3), (1, 1, 1)),
    (Dropout(0.4), (3, 4, 5), (3, 4, 5)),
    (Dropout(0.4), (7,), (7,)),
    (Flatten(), (3, 4, 5), (60,)),
    (Flatten(), (7,), (7,)),
    (Linear(4), (7,), (4,)),
    (Linear(1, bias=False), (7,), (1,)),
]

every_case = pytest.mark.parametrize(("layer", "input_shape", "output_shape"), CASES, ids=str)


def drawn(layer: Layer, input_shape: tuple[int, ...], rng: np.random.Generator, N: int = 3):
    """Draw an input and parameters in float64."""
    shapes = layer.parameter_shapes(input_shape)
    parameters = {name: rng.normal(size=shape) for name, shape in shapes.items()}
    return rng.normal(size=(N, *input_shape)), parameters


@every_case
def test_shapes(layer, input_shape, output_shape, rng):
    assert layer.output_shape(input_shape) == output_shape
    x, parameters = drawn(layer, input_shape, rng)
    out, _ = layer.forward(x, parameters)
    assert out.shape == (3, *output_shape)


@every_case
@pytest.mark.parametrize("N", [1, 3])
def test_forward_is_the_formula(layer, input_shape, output_shape, N, rng):
    x, parameters = drawn(layer, input_shape, rng, N)
    out, _ = layer.forward(x, parameters)
    expected = FORMULAS[layer.kind](layer, x, **parameters)
    assert relative_error(out, expected) < 1e-12


@every_case
def test_backward_is_the_slope_of_the_formula(layer, input_shape, output_shape, rng):
    x, parameters = drawn(layer, input_shape, rng)
    out, cache = layer.forward(x, parameters)
    dout = rng.normal(size=out.shape)

    dx, gradients = layer.backward(dout, cache)

    def loss() -> float:
        return float((FORMULAS[layer.kind](layer, x, **parameters) * dout).sum())

    assert relative_error(dx, numeric_gradient(loss, x)) < TOLERANCE
    assert gradients.keys() == parameters.keys()
    for name, parameter in parameters.items():
        assert relative_error(gradients[name], numeric_gradient(loss, parameter)) < TOLERANCE, name
    alone = layer.backward_parameters(dout, cache)
    assert alone.keys() == gradients.keys()
    for name in gradients:
        np.testing.assert_array_equal(alone[name], gradients[name])


@every_case
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_dtype_stays_and_nothing_is_written_to(layer, input_shape, output_shape, dtype, rng):
    x, parameters = drawn(layer, input_shape, rng)
    x, parameters = x.astype(dtype), {k: v.astype(dtype) for k, v in parameters.items()}
    for array in (x, *parameters.values()):
        array.setflags(write=False)
    for generator in (None, rng):
        out, cache = layer.forward(x, parameters, generator)
        dout = np.ones_like(out)
        dout.setflags(write=False)
        dx, gradients = layer.backward(dout, cache)
        assert {array.dtype.name for array in (out, dx, *gradients.values())} == {dtype}
        assert dx.shape == x.shape


@every_case
def test_no_images_give_no_outputs(layer, input_shape, output_shape, rng):
    x, parameters = drawn(layer, input_shape, rng, 0)
    out, cache = layer.forward(x, parameters)
    assert out.shape == (0, *output_shape)
    dx, gradients = layer.backward(out, cache)
    assert dx.shape == x.shape
    assert not any(gradient.any() for gradient in gradients.values())


@pytest.mark.parametrize("value", [-1.0, 0.0, 2.0])
def test_one_of_equals_gets_a_windows_gradient(value):
    x = np.full((2, 3, 5, 4), value)
    out, cache = MaxPool().forward(x, {})
    np.testing.assert_array_equal(out, np.full((2, 3, 2, 2), value))
    dx, _ = MaxPool().backward(np.ones_like(out), cache)
    np.testing.assert_array_equal(dx[:, :, :4:2, ::2], 1)  # the first in row-major order
    assert dx.sum() == out.size


def test_relu_has_no_slope_at_zero():
    x = np.array([[-1.0, -0.0, 0.0, 1e-300, 1.0]])
    _, cache = ReLU().forward(x, {})
    dx, _ = ReLU().backward(np.ones_like(x), cache)
    np.testing.assert_array_equal(dx, [[0, 0, 0, 1, 1]])


def test_windows_of_zeros_behind_relu_learn_nothing():
    x = np.zeros((2, 1, 4, 4))
    positive, relu_cache = ReLU().forward(x, {})
    pooled, pool_cache = MaxPool().forward(positive, {})
    dx, _ = MaxPool().backward(np.ones_like(pooled), pool_cache)
    dx, _ = ReLU().backward(dx, relu_cache)
    assert not dx.any()


# --- Dropout ---------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_dropout_zeroes_its_share_and_keeps_the_mean(rate, dtype, rng):
    x = np.ones((200, 500), dtype)
    out, _ = Dropout(rate).forward(x, {}, rng)
    # Five standard deviations of the share among 100,000 values.
    assert np.mean(out == 0) == pytest.approx(rate, abs=5 * np.sqrt(rate * (1 - rate) / x.size))
    np.testing.assert_allclose(out[out != 0], 1 / (1 - rate), rtol=1e-6)


def test_dropout_zeroes_values_independently_of_each_other(rng):
    out, _ = Dropout(0.5).forward(np.ones((300, 2, 20, 20)), {}, rng)
    dropped = (out == 0).astype(float) - 0.5
    for axis in range(4):
        neighbours = dropped * np.roll(dropped, 1, axis)
        assert abs(neighbours.mean()) < 5 * 0.25 / np.sqrt(out.size)


def test_dropout_hands_gradients_to_what_it_kept(rng):
    x = rng.normal(size=(4, 3, 5, 5))
    out, cache = Dropout(0.3).forward(x, {}, rng)
    dout = rng.normal(size=x.shape)
    dx, _ = Dropout(0.3).backward(dout, cache)
    np.testing.assert_allclose(dx, np.where(out == 0, 0, dout / 0.7))


def test_dropout_does_nothing_in_prediction_nor_at_rate_0(rng):
    x = rng.normal(size=(4, 6))
    for layer, generator in ((Dropout(0.9), None), (Dropout(0), rng)):
        out, cache = layer.forward(x, {}, generator)
        np.testing.assert_array_equal(out, x)
        np.testing.assert_array_equal(layer.backward(x, cache)[0], x)


def make_dropout_net() -> CNN:
    layers = [Conv(4), ReLU(), MaxPool(), Dropout(0.3), Flatten(), Linear(10)]
    return CNN((1, 8, 8), layers, seed=1)


def train(net: CNN, digits, **arguments) -> CNN:
    images, labels = (part[:200] for part in digits)
    arguments = {"epochs": 4, "seed": 3, "verbose": False, **arguments}
    tinycnn.fit(net, images, labels, **arguments)
    return net


def test_the_seed_of_fit_fixes_what_is_dropped(digits):
    flat = train(make_dropout_net(), digits).flat
    np.testing.assert_array_equal(train(make_dropout_net(), digits).flat, flat)
    assert (train(make_dropout_net(), digits, seed=4).flat != flat).any()


def test_every_batch_and_epoch_drops_other_values(digits):
    masks = []

    class Watched(Dropout):
        def forward(self, x, parameters, rng=None):
            out, mask = super().forward(x, parameters, rng)
            masks.append(mask)
            return out, mask

    layers = [
        Watched() if isinstance(each, Dropout) else each for each in make_dropout_net().layers
    ]
    train(CNN((1, 8, 8), layers), digits, epochs=2, batch_size=100, augmentation=None)
    assert len(masks) == 4
    assert all((one != other).any() for i, one in enumerate(masks) for other in masks[:i])


def test_a_resumed_fit_drops_what_the_whole_one_drops(digits, tmp_path):
    whole = train(make_dropout_net(), digits)

    class Stop(tinycnn.Callback):
        def on_epoch_end(self, state):
            return state.epoch == 2

    path = tmp_path / "half.npz"
    train(make_dropout_net(), digits, callbacks=[tinycnn.Checkpoint(path), Stop()])
    resumed = make_dropout_net()
    train(resumed, digits, callbacks=tinycnn.Checkpoint(path, resume=True))
    np.testing.assert_array_equal(resumed.flat, whole.flat)


def test_prediction_and_validation_drop_nothing(digits):
    net = train(make_dropout_net(), digits)
    without = CNN((1, 8, 8), [each for each in net.layers if not isinstance(each, Dropout)])
    without.flat = net.flat
    np.testing.assert_allclose(
        net.logits(digits[0]), without.logits(digits[0]), rtol=1e-5, atol=1e-5
    )
    np.testing.assert_allclose(
        tinycnn.evaluate(net, *digits), tinycnn.evaluate(without, *digits), rtol=1e-5
    )


# --- What is refused, in which words ---------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (
            lambda: Conv(0),
            ValueError,
            r"Conv: filters: must be a whole number of at least 1, got 0",
        ),
        (lambda: Conv(2.5), ValueError, r"Conv: filters: .*got 2.5"),
        (lambda: Conv("8"), TypeError, r"Conv: filters: must be a real number, got '8'"),
        (lambda: Conv(8, 0), ValueError, r"Conv: kernel_size: .*at least 1, got 0"),
        (
            lambda: Conv(8, (3, 3, 3)),
            ValueError,
            r"kernel_size: must be one whole number or \(rows",
        ),
        (lambda: Conv(8, "3"), TypeError, r"Conv: kernel_size: .*got '3'"),
        (lambda: Conv(8, 3, -1), ValueError, r"Conv: padding: .*at least 0, got -1"),
        (lambda: Conv(8, 3, "valid"), ValueError, r"Conv: padding: must be 'same', .*got 'valid'"),
        (lambda: Conv(8, 3, (1, 2, 3)), ValueError, r"Conv: padding: must be one whole number or"),
        (lambda: Conv(8, bias=1), TypeError, r"Conv: bias: must be True or False, got 1"),
        (lambda: Linear(0), ValueError, r"Linear: units: .*at least 1, got 0"),
        (lambda: Linear("ten"), TypeError, r"Linear: units: must be a real number, got 'ten'"),
        (lambda: Linear(3, bias=None), TypeError, r"Linear: bias: must be True or False, got None"),
        (lambda: Dropout(1), ValueError, r"Dropout: rate: must be in \[0, 1\), got 1"),
        (lambda: Dropout(-0.1), ValueError, r"Dropout: rate: must be in \[0, 1\), got -0.1"),
        (lambda: Dropout(float("nan")), ValueError, r"Dropout: rate: .*got nan"),
        (lambda: Dropout("half"), TypeError, r"Dropout: rate: must be a real number, got 'half'"),
    ],
)
def test_bad_arguments(make, error, words):
    with pytest.raises(error, match=words):
        make()


@pytest.mark.parametrize(
    ("layers", "words"),
    [
        (
            [Conv(4), Conv(4, 7), Flatten(), Linear(2)],
            r"layers: conv2: its 7 x 7 kernel does not fit maps of 6 x 4; use a smaller kernel,",
        ),
        (
            [MaxPool(), MaxPool(), MaxPool(), Flatten(), Linear(2)],
            r"layers: maxpool3: maps of 2 x 1 leave no 2x2 window to pool; use fewer layers, smal",
        ),
        (
            [Conv(4), ReLU(), Linear(2)],
            r"layers: linear1: it takes vectors, not maps of 4 x 6 x 4; put Flatten\(\) before it",
        ),
        (
            [Flatten(), Conv(4), Linear(2)],
            r"layers: conv1: it takes maps \(C, H, W\), not vectors of 144; put it before Flatten",
        ),
        ([Flatten(), MaxPool()], r"layers: maxpool1: it takes maps"),
        ([Conv(4), ReLU()], r"the last one must give one value for each class, relu1 gives \(4, 6"),
        ([], r"layers: needs at least one layer, got none"),
    ],
)
def test_layers_that_do_not_fit(layers, words):
    with pytest.raises(ValueError, match=words):
        CNN((3, 8, 6), layers)


@pytest.mark.parametrize(
    ("layers", "words"),
    [
        ([Conv(4), ReLU, Flatten()], r"layers\[1\]: must be a layer.*class ReLU; call it: ReLU\("),
        ([Conv(4), "relu"], r"layers\[1\]: must be a layer, such as Conv\(8\).*got 'relu'"),
        (Linear(2), r"layers: must be a list of layers, got Linear"),
        (7, r"layers: must be a list of layers, got 7"),
    ],
)
def test_what_is_no_list_of_layers(layers, words):
    with pytest.raises(TypeError, match=words):
        CNN((3, 8, 6), layers)


# --- First parameters ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("layers", "name", "variance"),
    [
        ([Conv(200, (3, 4)), ReLU(), Flatten(), Linear(2)], "conv1", 2 / 36),
        ([Conv(200, (3, 4)), MaxPool(), ReLU(), Flatten(), Linear(2)], "conv1", 2 / 36),
        ([Conv(200, (3, 4)), Dropout(), ReLU(), Flatten(), Linear(2)], "conv1", 2 / 36),
        ([Conv(200, (3, 4)), Flatten(), Linear(2), ReLU()], "conv1", 1 / 36),
        ([Conv(200, (3, 4)), Conv(1), ReLU(), Flatten(), Linear(2)], "conv1", 1 / 36),
        ([Flatten(), Linear(50), ReLU(), Linear(2)], "linear1", 2 / 300),
        ([Flatten(), Linear(50), Dropout(), Linear(2)], "linear1", 1 / 300),
        ([Flatten(), Linear(50), ReLU(), Linear(200)], "linear2", 1 / 50),
    ],
)
def test_weights_start_with_the_variance_that_keeps_signals(layers, name, variance):
    net = CNN((3, 10, 10), layers, dtype="float64", seed=5)
    weight = net.parameters[f"{name}.weight"]
    assert weight.var() == pytest.approx(variance, rel=5 * np.sqrt(2 / weight.size))
    assert abs(weight.mean()) < 5 * np.sqrt(variance / weight.size)
    assert not net.parameters[f"{name}.bias"].any()


def test_layers_of_ones_own_say_how_the_layer_before_starts():
    def first_weight(*between):
        layers = [Conv(8), *between, Flatten(), Linear(2)]
        return CNN((1, 10, 10), layers, seed=1).parameters["conv1.weight"]

    he, plain = first_weight(ReLU()), first_weight()
    np.testing.assert_allclose(he, plain * np.sqrt(2), rtol=1e-6)
    np.testing.assert_array_equal(first_weight(AvgPool(), LeakyReLU()), he)
    np.testing.assert_array_equal(first_weight(AvgPool()), plain)
    np.testing.assert_array_equal(first_weight(BatchNorm(), ReLU()), plain)


def test_names_do_not_meet():
    class Pool(ReLU):
        pass

    class Pool2(ReLU):
        pass

    net = CNN((1, 4, 4), [*(Pool() for _ in range(21)), Pool2(), Flatten()])
    names = [step.name for step in net.architecture.steps]
    assert names[20:] == ["pool21", "pool2_1", "flatten1"]
    assert len(set(names)) == len(names)


def test_the_seed_decides_the_first_parameters():
    def flat(seed):
        return CNN((1, 8, 8), channels=(4,), n_classes=3, seed=seed).flat

    np.testing.assert_array_equal(flat(1), flat(1))
    assert (flat(1) != flat(2)).any()
    assert (flat(None) != flat(None)).any()


# --- Descriptions ----------------------------------------------------------------------------


@pytest.mark.parametrize("layer", [layer for layer, _, _ in CASES], ids=str)
def test_a_description_survives_json(layer):
    described = json.loads(json.dumps(describe_layer(layer)))
    assert described["kind"] == layer.kind
    made = make_layer(described)
    assert made == layer
    assert hash(made) == hash(layer)
    assert repr(made) == repr(layer)
    assert eval(repr(layer), {cls.__name__: cls for cls in STANDARD}) == layer


def test_numpys_numbers_and_layers_inside_are_described_too():
    layer = Residual((Scale(np.float32(0.5)), Conv(np.int64(3), padding="same")))
    described = json.loads(json.dumps(describe_layer(layer)))
    assert described["main"][0] == {"kind": "scale", "factor": 0.5}
    assert make_layer(described) == layer


@pytest.mark.parametrize("value", [np.ones(2), len, 1j, {"a": 1}, [1, 2]], ids=str)
def test_what_no_file_can_hold_is_named(value):
    with pytest.raises(TypeError, match=r"Scale: factor: a file can hold numbers, .*got "):
        describe_layer(Residual((Scale(value),)))


def test_all_standard_layers_are_registered():
    assert {layer.kind: layer for layer in STANDARD}.items() <= LAYERS.items()


@pytest.mark.parametrize("layer", [layer for layer, _, _ in CASES], ids=str)
def test_layers_are_frozen(layer):
    for field in dataclasses.fields(layer):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(layer, field.name, 1)
    with pytest.raises((dataclasses.FrozenInstanceError, TypeError)):
        layer.anything = 1


def test_arguments_have_one_form():
    assert Conv(8) == Conv(8, (3, 3)) == Conv(np.int64(8), [3, 3], (0, 0)) == Conv(8.0)
    assert Dropout(0) == Dropout(0.0)
    assert type(Conv(np.int64(8)).filters) is int


@pytest.mark.parametrize(
    ("description", "error", "words"),
    [
        (
            {"kind": "softplus"},
            ValueError,
            r"no layer is called 'softplus'; import .*known are conv,",
        ),
        ({}, ValueError, r"no layer is called None"),
        ({"kind": ["conv"]}, ValueError, r"no layer is called"),
        ({"kind": "conv"}, TypeError, r"filters"),
        ({"kind": "conv", "filters": 8, "stride": 2}, TypeError, r"stride"),
        ({"kind": "conv", "filters": 0}, ValueError, r"filters"),
    ],
)
def test_descriptions_of_nothing_known(description, error, words):
    with pytest.raises(error, match=words):
        make_layer(description)


@pytest.mark.parametrize("value", [7, "conv", dict, Conv(8)])
def test_only_classes_of_layers_are_registered(value):
    with pytest.raises(TypeError, match=r"needs a subclass of tinycnn\.layers\.Layer, got"):
        register(value)


def test_no_other_class_takes_a_registered_name():
    impostor = type("ReLU", (Layer,), {"__qualname__": "somewhere.ReLU"})
    with pytest.raises(ValueError, match=r"is called 'relu' already; rename this one"):
        register(impostor)
    assert LAYERS["relu"] is ReLU
    assert register(ReLU) is ReLU


@pytest.mark.parametrize("method", ["forward", "backward"])
def test_the_base_says_what_a_layer_must_define(method):
    class Half(Layer):
        pass

    with pytest.raises(NotImplementedError, match=f"Half must define {method}"):
        getattr(Half(), method)(np.ones((1, 2)), {})


def test_what_is_no_layer_is_not_described():
    with pytest.raises(TypeError, match="layer: must be a layer, such as ReLU"):
        describe_layer(3)
    with pytest.raises(TypeError, match="description: must be what describe_layer gave"):
        make_layer(["relu"])
    with pytest.raises(TypeError, match=r"padding: must be a real number, got array\(\[1, 1\]\)"):
        Conv(3, padding=np.array([1, 1]))
