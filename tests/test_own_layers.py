"""A layer of one's own does all that tinycnn's do, and so does an exporter: no line changes for it.

The layers here are written in this file or in ``own_layers.py``; nothing in the package knows them.
"""

from __future__ import annotations

import copy
import pickle
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from conftest import numeric_gradient, relative_error
from own_layers import (
    GELU,
    AvgPool,
    BatchNorm,
    Depthwise,
    Dropout2d,
    GlobalAvgPool,
    LeakyReLU,
    Residual,
    Scale,
    Sigmoid,
    Subsample,
    Tanh,
    WindowAvgPool,
    WindowMaxPool,
)

import tinycnn
from tinycnn import CNN, Conv, Dropout, Flatten, Layer, Linear, MaxPool, ReLU
from tinycnn.functional import cross_entropy_backward, cross_entropy_forward
from tinycnn.layers import LAYERS, describe_layer, make_layer, register

PACKAGE = Path(tinycnn.__file__).parent


@register
@dataclass(frozen=True)
class Swish(Layer):
    """``x * sigmoid(beta * x)``, with a beta that each channel learns."""

    first_beta: float = 1.0

    def parameter_shapes(self, input_shape):
        return {"beta": input_shape[:1]}

    def initial_parameters(self, input_shape, rng, feeds_relu=False):
        return {"beta": self.first_beta}

    def forward(self, x, parameters, rng=None):
        beta = parameters["beta"].reshape(-1, *[1] * (x.ndim - 2))
        share = 1 / (1 + np.exp(-beta * x))
        return x * share, (x, beta, share)

    def backward(self, dout, cache):
        x, beta, share = cache
        slope = dout * x * share * (1 - share)
        axes = (0, *range(2, x.ndim))
        return dout * share + slope * beta, {"beta": (slope * x).sum(axes)}


def layers() -> list[Layer]:
    """A layer that nothing in the package knows, twice, in all company."""
    return [
        Conv(6), Swish(), AvgPool(), Residual((Conv(6, 3, 1), BatchNorm(), Swish(0.5))),
        Dropout(0.2), Flatten(), Linear(10),
    ]  # fmt: skip


def make_net(dtype: str = "float32") -> CNN:
    return CNN(
        (1, 8, 8), layers(), dtype=dtype, seed=2, class_names=[f"digit {i}" for i in range(10)]
    )


def everything(digits) -> dict:
    """All that a training can be asked for at once."""
    images, labels = digits
    return {
        "images": images[:300],
        "labels": labels[:300],
        "epochs": 4,
        "augmentation": tinycnn.Augmentation(shift=1),
        "sample_weight": np.arange(300) % 3,
        "class_weight": "balanced",
        "label_smoothing": 0.1,
        "validation_fraction": 0.2,
        "seed": 5,
        "verbose": False,
    }


def trained(digits, **arguments) -> CNN:
    net = make_net()
    net.standardize(digits[0])
    tinycnn.fit(net, **everything(digits) | arguments)
    return net


def test_nothing_in_the_package_knows_the_layer() -> None:
    sources = [path for path in PACKAGE.rglob("*.py*") if path.suffix in {".py", ".pyx", ".pyi"}]
    assert len(sources) > 30
    for path in sources:
        assert "swish" not in path.read_text(encoding="utf-8").lower(), path


def test_its_parameters_are_named_and_start_as_all_others() -> None:
    net = make_net()
    assert list(net.parameters) == [
        "conv1.weight", "conv1.bias", "swish1.beta",
        "residual1.main.conv1.weight", "residual1.main.conv1.bias",
        "residual1.main.batchnorm1.weight", "residual1.main.batchnorm1.bias",
        "residual1.main.batchnorm1.running_mean", "residual1.main.batchnorm1.running_var",
        "residual1.main.swish1.beta", "linear1.weight", "linear1.bias",
    ]  # fmt: skip
    np.testing.assert_array_equal(net.parameters["swish1.beta"], np.ones(6))
    np.testing.assert_array_equal(net.parameters["residual1.main.swish1.beta"], np.full(6, 0.5))


@pytest.mark.parametrize("training", [False, True])
def test_its_gradients_are_right(rng, training) -> None:
    net = CNN((1, 6, 6), layers(), dtype="float64", seed=2)
    net.set_scaling([0.2], [0.5])
    images, labels = rng.normal(size=(4, 1, 6, 6)), np.array([0, 3, 1, 9])

    def loss() -> float:
        generator = np.random.default_rng(0) if training else None
        return cross_entropy_forward(net.forward(images, rng=generator)[0], labels)[0]

    logits, state = net.forward(images, rng=np.random.default_rng(0) if training else None)
    _, cache = cross_entropy_forward(logits, labels)
    gradients = net.backward(cross_entropy_backward(1.0, cache), state)
    for name, parameter in net.parameters.items():
        if training and "running" in name:
            assert not gradients[name].any()
        elif "running" not in name:
            # Before a batch norm, a bias has no slope in training, but rounding.
            expected = numeric_gradient(loss, parameter)
            scale = max(np.abs(expected).max(), 1e-3)
            assert np.abs(gradients[name] - expected).max() < 1e-6 * scale, name


def test_it_learns_with_everything_that_fit_has(digits) -> None:
    net = trained(digits, epochs=20)
    assert net.score(digits[0][300:], digits[1][300:]) > 0.6
    assert (net.parameters["swish1.beta"] != 1).all()
    assert (net.parameters["residual1.main.batchnorm1.running_mean"] != 0).all()


def test_it_is_saved_and_loaded(digits, tmp_path) -> None:
    net = trained(digits)
    tinycnn.save_model(net, tmp_path / "own.npz")
    loaded = tinycnn.load_model(tmp_path / "own.npz")
    assert loaded.layers == net.layers
    assert loaded.class_names == net.class_names
    np.testing.assert_array_equal(loaded.flat, net.flat)
    np.testing.assert_array_equal(loaded.logits(digits[0]), net.logits(digits[0]))


def test_a_model_file_with_it_needs_the_class(digits, tmp_path, monkeypatch) -> None:
    tinycnn.save_model(make_net(), tmp_path / "own.npz")
    monkeypatch.delitem(LAYERS, "swish")
    with pytest.raises(ValueError, match=r"own\.npz.*no layer is called 'swish'.*register"):
        tinycnn.load_model(tmp_path / "own.npz")


def test_it_goes_on_after_a_break_as_without(digits, tmp_path) -> None:
    class Stop(tinycnn.Callback):
        def on_epoch_end(self, state):
            return state.epoch == 2

    whole, path = trained(digits), tmp_path / "half.npz"
    trained(digits, callbacks=[tinycnn.Checkpoint(path), Stop()])
    resumed = trained(digits, callbacks=tinycnn.Checkpoint(path, resume=True))
    np.testing.assert_array_equal(resumed.flat, whole.flat)


def test_its_best_parameters_come_back(digits) -> None:
    net = trained(digits, callbacks=tinycnn.EarlyStopping(patience=1))
    assert np.isfinite(net.flat).all()


@pytest.mark.parametrize(
    "copied", [copy.copy, copy.deepcopy, lambda n: pickle.loads(pickle.dumps(n))]
)
def test_it_is_copied_and_pickled(digits, copied) -> None:
    net = trained(digits, epochs=1)
    np.testing.assert_array_equal(copied(net).logits(digits[0]), net.logits(digits[0]))


def test_it_is_printed_with_the_reason_why_it_runs_layer_by_layer() -> None:
    net = make_net()
    assert "Swish(first_beta=1.0), AvgPool()" in repr(net)
    assert net.why_layered
    assert net.why_layered in repr(net)


def test_threads_and_slabs_do_not_change_what_it_predicts(digits) -> None:
    net = make_net()
    logits = net.logits(digits[0])
    np.testing.assert_array_equal(net.logits(digits[0], n_threads=2), logits)
    np.testing.assert_allclose(net.logits(digits[0][:7]), logits[:7], rtol=1e-4, atol=1e-5)
    assert net.features(digits[0][:7]).shape == (7, net.architecture.n_features)


# --- Each layer of own_layers.py against finite differences -----------------------------------


@pytest.mark.parametrize(
    ("layer", "input_shape"),
    [
        (AvgPool(), (3, 5, 6)),
        (GlobalAvgPool(), (3, 5, 4)),
        (LeakyReLU(0.2), (3, 4, 5)),
        (BatchNorm(), (3, 4, 5)),
        (BatchNorm(), (6,)),
        (Tanh(), (7,)),
        (Sigmoid(), (7,)),
        (GELU(), (7,)),
        (Scale(0.3), (7,)),
        (Subsample(2), (2, 5, 4)),
        (Subsample(3), (1, 7, 7)),
        (Dropout2d(0.4), (5, 3, 3)),
        (Depthwise(3), (3, 4, 5)),
        (WindowMaxPool(3, 2), (2, 7, 8)),
        (WindowMaxPool(2, 2, ceil=True), (2, 5, 7)),
        (WindowAvgPool(3, 2, ceil=True), (2, 6, 8)),
        (Residual((Conv(3, 3, 1), BatchNorm(), Tanh()), ()), (3, 4, 4)),
        (Residual((Conv(2, 3, 1), Subsample(2)), (Conv(2, 1), Subsample(2))), (3, 5, 4)),
        (Swish(0.7), (3, 4, 4)),
    ],
    ids=str,
)
@pytest.mark.parametrize("training", [False, True])
def test_gradients_of_each(layer, input_shape, training, rng) -> None:
    shapes = layer.parameter_shapes(input_shape)
    parameters = {name: 1 + rng.random(shape) for name, shape in shapes.items()}
    x = rng.normal(size=(3, *input_shape))

    def run():
        return layer.forward(x, parameters, np.random.default_rng(0) if training else None)

    out, cache = run()
    assert out.shape == (3, *layer.output_shape(input_shape))
    dout = rng.normal(size=out.shape)
    dx, gradients = layer.backward(dout, cache)

    def loss() -> float:
        return float((run()[0] * dout).sum())

    learned = {name: p for name, p in parameters.items() if "running" not in name}
    for gradient, array in [(dx, x), *((gradients[name], p) for name, p in learned.items())]:
        expected = numeric_gradient(loss, array)
        assert np.abs(gradient - expected).max() < 1e-6 * max(np.abs(expected).max(), 1e-2)


@pytest.mark.parametrize("layer", layers(), ids=str)
def test_layers_inside_layers_are_described(layer) -> None:
    assert make_layer(describe_layer(layer)) == layer


# --- What a newcomer gets wrong ---------------------------------------------------------------


def run_once(layer: Layer, dtype: str = "float32") -> None:
    net = CNN((1, 6, 6), [Conv(2), layer, Flatten(), Linear(2)], dtype=dtype)
    logits, state = net.forward(np.ones((3, 1, 6, 6), dtype))
    net.backward(np.ones_like(logits), state)


class Wide(Layer):
    """Computes in another dtype than it is given."""

    def forward(self, x, parameters, rng=None):
        return x * np.float64(2), None

    def backward(self, dout, cache):
        return dout * np.float64(2), {}


class Cropped(Layer):
    """Does not say that it changes the shape."""

    def forward(self, x, parameters, rng=None):
        return x[:, :, 1:], None


class Forgetful(Swish):
    """Has no gradient for its parameter."""

    def backward(self, dout, cache):
        return dout, {}


class Misnamed(Swish):
    """Gives its gradient another name."""

    def backward(self, dout, cache):
        dx, gradients = super().backward(dout, cache)
        return dx, {"dbeta": gradients["beta"]}


class Shrunk(Tanh):
    """Loses an axis on the way back."""

    def backward(self, dout, cache):
        return super().backward(dout, cache)[0].sum(axis=1), {}


@pytest.mark.parametrize(
    ("layer", "words"),
    [
        (
            Wide(),
            r"wide1: forward: out: must have .* dtype float32, got \(3, 2, 4, 4\) and float64",
        ),
        (Cropped(), r"cropped1: forward: out: must have shape \(3, 2, 4, 4\).*got \(3, 2, 3, 4\)"),
        (
            Forgetful(),
            r"forgetful1: backward: needs a gradient for each of \['forgetful1.beta'\], g",
        ),
        (Misnamed(), r"misnamed1: backward: needs .*got \['misnamed1.dbeta'\]; give 0 for what no"),
        (Shrunk(), r"shrunk1: backward: dx: must have shape \(3, 2, 4, 4\).*got \(3, 4, 4\)"),
    ],
    ids=lambda value: value.kind if isinstance(value, Layer) else "",
)
def test_a_layer_that_does_not_keep_its_word_is_named(layer, words) -> None:
    with pytest.raises(ValueError, match=words):
        run_once(layer)


# --- An exporter is one walk over the steps ---------------------------------------------------

TEXT = {
    "conv": "x = conv(x, {layer.border}, p['{name}.weight'], p['{name}.bias'])",
    "relu": "x = np.maximum(x, 0)",
    "maxpool": "x = corners(x).max(0)",
    "avgpool": "x = corners(x).mean(0)",
    "swish": "x = x / (1 + np.exp(-p['{name}.beta'][:, None, None] * x))",
    "dropout": "pass",
    "flatten": "x = x.reshape(len(x), -1)",
    "linear": "x = x @ p['{name}.weight'].T + p['{name}.bias']",
}

PROGRAM = """\
import numpy as np

def conv(x, border, weight, bias):
    x = np.pad(x, ((0, 0), (0, 0), *border))
    (R, S), (I, J) = weight.shape[2:], (n - m + 1 for n, m in zip(x.shape[2:], weight.shape[2:]))
    taps = [(x[:, :, r : r + I, s : s + J], weight[:, :, r, s]) for r in range(R) for s in range(S)]
    return sum(np.einsum("ncij,kc->nkij", seen, w) for seen, w in taps) + bias[:, None, None]

def corners(x):
    P, Q = x.shape[2] // 2, x.shape[3] // 2
    return np.stack([x[:, :, r : 2 * P : 2, s : 2 * Q : 2] for r in (0, 1) for s in (0, 1)])

def logits(x, p):
"""


def numpy_program(net: CNN) -> str:
    """Write a program of NumPy that computes the logits: the whole exporter."""
    lines = [TEXT[step.layer.kind].format(**step._asdict()) for step in net.architecture.steps]
    return PROGRAM + "".join(f"    {line}\n" for line in [*lines, "return x"])


@pytest.mark.parametrize(
    "layers",
    [
        [Conv(4), ReLU(), MaxPool(), Flatten(), Linear(10)],
        [Conv(4, 5, "same"), ReLU(), Conv(3, (2, 3), 1), ReLU(), Flatten(), Linear(8), Linear(10)],
        [Conv(4), Swish(), AvgPool(), Dropout(), Flatten(), Linear(10)],
    ],
    ids=str,
)
def test_an_exporter_of_ones_own(layers, rng) -> None:
    net = CNN((3, 9, 8), layers, dtype="float64")
    net.flat += 0.1 * rng.normal(size=net.flat.shape)
    images, names = rng.random((4, 3, 9, 8)), {}
    exec(numpy_program(net), names)
    assert relative_error(names["logits"](images, net.parameters), net.logits(images)) < 1e-12
