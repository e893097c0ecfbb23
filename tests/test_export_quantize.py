"""Eight-bit networks: as right as the floats, and equal to their C in every bit."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from export_c import Library, installed
from export_cases import AVERAGED, CASES, make_images, make_net

import tinycnn
from tinycnn import Conv, Flatten, Linear, MaxPool, ReLU
from tinycnn.export import to_c


@pytest.mark.parametrize("case", CASES)
def test_probabilities_are_close_to_the_networks(case: str) -> None:
    net = make_net(case)
    images = make_images(net, 100)
    quantized = tinycnn.quantize(net, images)
    np.testing.assert_allclose(
        quantized.predict_proba(images), net.predict_proba(images), atol=0.04
    )
    assert (quantized.predict(images) == net.predict(images)).mean() > 0.9


@pytest.mark.parametrize(
    ("case", "compiler"),
    [
        *((case, "gcc") for case in CASES),
        *((case, compiler) for case in ("colour", "no ReLU") for compiler in ("clang", "g++")),
    ],
)
def test_the_c_gives_the_same_bits(case: str, compiler: str, tmp_path: Path) -> None:
    if not installed(compiler):
        pytest.skip(f"needs {compiler}")
    net = make_net(case)
    images = make_images(net, 100)
    quantized = tinycnn.quantize(net, images[2:10])  # others go beyond what was seen
    to_c(quantized, tmp_path / "net.h")
    library = Library(tmp_path / "net.h", "net", compiler)
    given = library.call("logits", images, net.architecture.n_classes, np.int32)
    np.testing.assert_array_equal(given, quantized.logits(images))
    np.testing.assert_array_equal(library.predict(images), quantized.predict(images))
    chances = library.call("predict_proba", images, net.architecture.n_classes, np.float32)
    np.testing.assert_allclose(chances, quantized.predict_proba(images), atol=1e-5)


def test_digits_are_told_as_well_as_in_floats(digits: Any) -> None:
    images, labels = digits
    pixels = np.round(images * 255).astype(np.uint8)
    net = tinycnn.CNN((1, 8, 8), channels=(8,), padding="same", n_classes=10)
    net.standardize(pixels)
    tinycnn.fit(net, pixels, labels, epochs=3, verbose=False)
    quantized = tinycnn.quantize(net, pixels[:100])
    assert abs(quantized.score(pixels, labels) - net.score(pixels, labels)) < 0.005


def test_dead_filters_and_large_biases(tmp_path: Path) -> None:
    net = make_net("colour")
    net.parameters["conv1.weight"][0] = 0
    net.parameters["conv1.bias"][0] = 0
    net.parameters["conv1.weight"][1] = 1e-9
    net.parameters["conv1.bias"][1] = 50
    net.parameters["conv2.weight"][...] = -1e-3
    net.parameters["conv2.bias"][...] = -1
    images = make_images(net)
    quantized = tinycnn.quantize(net, images)
    to_c(quantized, tmp_path / "net.h")
    given = Library(tmp_path / "net.h", "net").call("logits", images, 4, np.int32)
    np.testing.assert_array_equal(given, quantized.logits(images))


def test_weights_and_bytes_stay_in_their_ranges() -> None:
    net = make_net("no ReLU")
    quantized = tinycnn.quantize(net, make_images(net))
    for stage in quantized.stages:
        assert np.abs(stage.stage.parameters["weight"]).max() == 127
    signs = [stage.requantization and stage.requantization.signed for stage in quantized.stages]
    assert signs == [True, True, True, None]


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        (AVERAGED[1], r"avgpool1: AvgPool\(\) has no form in eight-bit integers"),
        ([ReLU(), Conv(3), Flatten(), Linear(4)], "has no form in eight-bit integers"),
        ([Conv(4), MaxPool(), MaxPool(), Flatten()], "must end in a Conv or Linear"),
    ],
)
def test_what_has_no_form_in_integers_is_refused(layers: Any, message: str) -> None:
    net = make_net(((1, 6, 6), layers) if len(layers) == 4 else ((1, 8, 8), layers))
    with pytest.raises(ValueError, match=message):
        tinycnn.quantize(net, make_images(net))


def test_sums_beyond_32_bits_are_refused() -> None:
    net = tinycnn.CNN((1, 320, 320), [Flatten(), Linear(1)])
    net.parameters["linear1.weight"][...] = 1
    with pytest.raises(ValueError, match="linear1: its sums could reach 3316"):
        tinycnn.quantize(net, np.zeros((1, 1, 320, 320), np.uint8))


def test_wrong_images_are_refused() -> None:
    net = make_net("one block")
    with pytest.raises(TypeError, match="images: an eight-bit network takes bytes"):
        tinycnn.quantize(net, make_images(net) / np.float32(255))
    with pytest.raises(ValueError, match="at least one image is needed"):
        tinycnn.quantize(net, make_images(net)[:0])
    quantized = tinycnn.quantize(net, make_images(net))
    with pytest.raises(ValueError, match="images: this network takes images of shape"):
        quantized.logits(np.zeros((1, 1, 3, 3), np.uint8))
    with pytest.raises(ValueError, match="input: an eight-bit network takes bytes"):
        to_c(quantized, "net.h", input="float32")
    assert "QuantizedCNN(image_shape=(1, 12, 11)" in repr(quantized)
