"""Networks by name."""

import pytest

import tinycnn
from tinycnn.zoo import MODELS, make_layers

# Number of parameters of 10 classes, as PyTorch, Keras and TensorFlow print it for theirs.
PUBLISHED = {
    "lenet": ((1, 28, 28), 61_706),
    "pytorch-mnist": ((1, 28, 28), 1_199_882),
    "pytorch-cifar": ((3, 32, 32), 62_006),
    "keras-mnist": ((1, 28, 28), 34_826),
    "tensorflow-cifar": ((3, 32, 32), 122_570),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_networks_have_as_many_parameters_as_published(name):
    image_shape, n_parameters = PUBLISHED[name]
    assert tinycnn.CNN(image_shape, make_layers(name, 10)).flat.size == n_parameters


@pytest.mark.parametrize("name", MODELS)
def test_every_network_is_documented_and_takes_other_images(name):
    assert MODELS[name].__doc__
    net = tinycnn.CNN((3, 32, 32), make_layers(name, 4))
    assert net.architecture.n_classes == 4


def test_another_name_is_refused_with_those_that_there_are():
    with pytest.raises(ValueError, match=r"one of lenet, .*vgg, got 'resnet'"):
        make_layers("resnet", 10)
