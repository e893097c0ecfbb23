"""Every gradient against central finite differences in float64, layer by layer and whole."""

import numpy as np
import pytest
from conftest import numeric_gradient, relative_error

from tinycnn import CNN
from tinycnn import functional as F  # noqa: N812

TOLERANCE = 1e-7

LAYERS = {
    "conv2d": [(2, 3, 5, 6), (4, 3, 2, 3)],
    "conv2d with bias": [(3, 1, 6, 4), (2, 1, 3, 2), (2,)],
    "relu": [(4, 5)],
    "max_pool2d": [(2, 3, 5, 6)],
    "linear": [(4, 6), (3, 6)],
    "linear with bias": [(4, 6), (3, 6), (3,)],
}


@pytest.mark.parametrize("layer", LAYERS)
def test_layer(rng, layer):
    name = layer.split()[0]
    forward, backward = getattr(F, f"{name}_forward"), getattr(F, f"{name}_backward")
    arguments = [rng.normal(size=shape) for shape in LAYERS[layer]]
    out, cache = forward(*arguments)
    dout = rng.normal(size=out.shape)
    gradients = backward(dout, cache)
    gradients = gradients if isinstance(gradients, tuple) else (gradients,)
    assert len(gradients) == len(arguments)
    for argument, gradient in zip(arguments, gradients, strict=True):
        expected = numeric_gradient(lambda: float((forward(*arguments)[0] * dout).sum()), argument)
        assert relative_error(gradient, expected) < TOLERANCE


def test_cross_entropy(rng):
    logits, labels = rng.normal(size=(5, 4)), rng.integers(0, 4, 5)
    _, cache = F.cross_entropy_forward(logits, labels)
    expected = numeric_gradient(lambda: 2.5 * F.cross_entropy_forward(logits, labels)[0], logits)
    assert relative_error(F.cross_entropy_backward(2.5, cache), expected) < TOLERANCE


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(
    ("image_shape", "channels", "kernel_size"),
    [
        ((1, 7, 6), (3,), (3, 2)),
        ((2, 6, 7), (4,), 2),
        ((1, 12, 13), (3, 4), [(3, 2), 2]),
        ((3, 14, 12), (2, 3), 3),
    ],
)
def test_whole_network(rng, image_shape, channels, kernel_size, bias):
    net = CNN(image_shape, channels, kernel_size, n_classes=4, bias=bias, dtype="float64", seed=3)
    net.flat += 0.1 * rng.normal(size=net.flat.shape)  # biases too
    images, labels = rng.normal(size=(3, *image_shape)), np.array([0, 3, 1])

    def loss():
        return F.cross_entropy_forward(net.forward(images)[0], labels)[0]

    logits, cache = net.forward(images)
    dlogits = F.cross_entropy_backward(1.0, F.cross_entropy_forward(logits, labels)[1])
    gradients = net.backward(dlogits, cache)
    assert list(gradients) == list(net.parameters)
    for name, parameter in net.parameters.items():
        assert relative_error(gradients[name], numeric_gradient(loss, parameter)) < TOLERANCE, name
