"""Every gradient against central finite differences in float64, function by function and whole."""

import numpy as np
import pytest
from conftest import numeric_gradient, relative_error

from tinycnn import CNN, Conv, Flatten, Linear, MaxPool, ReLU
from tinycnn import functional as F  # noqa: N812
from tinycnn.layered import LayeredPath

TOLERANCE = 1e-7

FUNCTIONS = {
    "conv2d": ([(2, 3, 5, 6), (4, 3, 2, 3)], {}),
    "conv2d with bias": ([(3, 1, 6, 4), (2, 1, 3, 2), (2,)], {}),
    "conv2d padded": ([(2, 3, 4, 5), (2, 3, 3, 2), (2,)], {"padding": (2, 1)}),
    "conv2d of the same size": ([(2, 3, 4, 5), (2, 3, 3, 5), (2,)], {"padding": "same"}),
    "conv2d of the same size, even": ([(2, 2, 5, 4), (2, 2, 4, 2)], {"padding": "same"}),
    "relu": ([(4, 5)], {}),
    "max_pool2d": ([(2, 3, 5, 6)], {}),
    "linear": ([(4, 6), (3, 6)], {}),
    "linear with bias": ([(4, 6), (3, 6), (3,)], {}),
}


@pytest.mark.parametrize("function", FUNCTIONS)
def test_function(rng, function):
    name = function.split()[0]
    forward, backward = getattr(F, f"{name}_forward"), getattr(F, f"{name}_backward")
    shapes, options = FUNCTIONS[function]
    arguments = [rng.normal(size=shape) for shape in shapes]
    out, cache = forward(*arguments, **options)
    dout = rng.normal(size=out.shape)
    gradients = backward(dout, cache)
    gradients = gradients if isinstance(gradients, tuple) else (gradients,)
    assert len(gradients) == len(arguments)

    def loss():
        return float((forward(*arguments, **options)[0] * dout).sum())

    for argument, gradient in zip(arguments, gradients, strict=True):
        assert relative_error(gradient, numeric_gradient(loss, argument)) < TOLERANCE


@pytest.mark.parametrize("weights", [None, [0.5, 0.0, 2.0, 1.0, 3.0]])
@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_cross_entropy(rng, weights, smoothing):
    logits, labels = rng.normal(size=(5, 4)), rng.integers(0, 4, 5)
    _, cache = F.cross_entropy_forward(logits, labels, weights, smoothing)
    expected = numeric_gradient(
        lambda: 2.5 * F.cross_entropy_forward(logits, labels, weights, smoothing)[0], logits
    )
    assert relative_error(F.cross_entropy_backward(2.5, cache), expected) < TOLERANCE


NETWORKS = {
    "one block": ((1, 7, 6), {"channels": (3,), "kernel_size": (3, 2)}),
    "two channels": ((2, 6, 7), {"channels": (4,), "kernel_size": 2}),
    "two blocks": ((1, 12, 13), {"channels": (3, 4), "kernel_size": [(3, 2), 2]}),
    "colour": ((3, 14, 12), {"channels": (2, 3)}),
    "padded": ((2, 6, 5), {"channels": (3, 2), "padding": "same"}),
    "padded apart": ((1, 5, 7), {"channels": (3,), "padding": (2, 1), "hidden": (5, 4)}),
    "bare": (
        (3, 7, 8),
        {"layers": [Conv(3), Conv(2, 2, 1), MaxPool(), ReLU(), Flatten(), Linear(5), Linear(4)]},
    ),
}


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("path", ["own", "layered"])
@pytest.mark.parametrize("network", NETWORKS)
def test_whole_network(rng, network, path, bias):
    image_shape, arguments = NETWORKS[network]
    usual = {} if "layers" in arguments else {"n_classes": 4, "bias": bias}
    net = CNN(image_shape, **arguments, **usual, dtype="float64", seed=3)
    if path == "layered":
        net.path = LayeredPath(net.architecture, net.flat.dtype)
    net.flat += 0.1 * rng.normal(size=net.flat.shape)  # biases too
    net.set_scaling(np.full(image_shape[0], 0.1), np.full(image_shape[0], 0.7))
    images, labels = rng.normal(size=(3, *image_shape)), np.array([0, 3, 1])

    def loss():
        return F.cross_entropy_forward(net.forward(images)[0], labels)[0]

    logits, state = net.forward(images)
    dlogits = F.cross_entropy_backward(1.0, F.cross_entropy_forward(logits, labels)[1])
    gradients = net.backward(dlogits, state)
    assert list(gradients) == list(net.parameters)
    for name, parameter in net.parameters.items():
        assert relative_error(gradients[name], numeric_gradient(loss, parameter)) < TOLERANCE, name
