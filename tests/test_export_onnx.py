"""ONNX files, computed by ONNX Runtime."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from export_cases import (
    AVERAGED,
    AVERAGED_FIRST,
    CASES,
    AvgPool,
    make_images,
    make_net,
    worst_difference,
)

import tinycnn
from tinycnn import Conv, Flatten, Linear, MaxPool, ReLU
from tinycnn.export import to_onnx
from tinycnn.export.onnx import TRANSLATIONS

onnx = pytest.importorskip("onnx")
runtime = pytest.importorskip("onnxruntime")


def session(net: tinycnn.CNN, path: Path, **arguments: Any) -> Any:
    to_onnx(net, path, **arguments)
    return runtime.InferenceSession(path, providers=["CPUExecutionProvider"])


def probabilities(net: tinycnn.CNN, path: Path, images: np.ndarray, **arguments: Any) -> np.ndarray:
    (result,) = session(net, path, **arguments).run(["probabilities"], {"images": images})
    return np.asarray(result)


@pytest.mark.parametrize("scaled", [True, False])
@pytest.mark.parametrize("case", CASES)
def test_probabilities_equal_the_networks(case: str, scaled: bool, tmp_path: Path) -> None:
    net = make_net(case, scaled)
    path = tmp_path / "net.onnx"
    assert worst_difference(lambda x: probabilities(net, path, x), net, make_images(net)) < 1e-5


@pytest.mark.parametrize("case", ["padded block", "colour", "one block"])
def test_floats_and_uint16_enter_as_they_are(case: str, tmp_path: Path) -> None:
    net, path = make_net(case), tmp_path / "net.onnx"
    floats = make_images(net).astype(np.float32) / 255
    given = probabilities(net, path, floats, input="float32")
    np.testing.assert_allclose(given, net.predict_proba(floats), atol=1e-5)
    net.set_scaling(net.input_mean * 65535, net.input_std * 65535)
    wide = make_images(net).astype(np.uint16) * 257
    given = probabilities(net, path, wide, input="uint16")
    np.testing.assert_allclose(given, net.predict_proba(wide), atol=1e-5)


def test_a_mean_between_two_bytes_is_exact_at_the_border(tmp_path: Path) -> None:
    net = make_net("padded block")
    net.set_scaling([0.4567], [0.2])
    path = tmp_path / "net.onnx"
    assert worst_difference(lambda x: probabilities(net, path, x), net, make_images(net)) < 1e-5


def test_a_float64_network_is_computed_in_float32(tmp_path: Path) -> None:
    net, path = make_net("colour", dtype="float64"), tmp_path / "net.onnx"
    assert worst_difference(lambda x: probabilities(net, path, x), net, make_images(net)) < 1e-5


def test_relu_before_all_weights_sees_scaled_pixels(tmp_path: Path) -> None:
    layers = [ReLU(), Conv(3, padding=1), MaxPool(), Flatten(), Linear(4)]
    net = make_net(((3, 6, 6), layers))
    path = tmp_path / "net.onnx"
    assert worst_difference(lambda x: probabilities(net, path, x), net, make_images(net)) < 1e-5


def test_scaling_is_folded_in_without_nodes_of_its_own(tmp_path: Path) -> None:
    to_onnx(make_net("one block"), tmp_path / "net.onnx")
    operators = [node.op_type for node in onnx.load(tmp_path / "net.onnx").graph.node]
    assert operators == ["Cast", "Conv", "Relu", "MaxPool", "Flatten", "Gemm", "Softmax"]


def test_any_number_of_images_and_both_outputs(tmp_path: Path) -> None:
    net = make_net("one block")
    loaded = session(net, tmp_path / "net.onnx")
    for n in (1, 7):
        images = make_images(net, n + 1)[1:]
        logits, _ = loaded.run(["logits", "probabilities"], {"images": images})
        np.testing.assert_allclose(logits, net.logits(images), atol=1e-4)


def test_metadata_hold_class_names_and_the_description(tmp_path: Path) -> None:
    net = make_net("one block", class_names=["cat", 'a "dog"', "größer", "<b>"])
    to_onnx(net, tmp_path / "net.onnx", metadata={"trained": "40 epochs"})
    properties = {p.key: p.value for p in onnx.load(tmp_path / "net.onnx").metadata_props}
    assert json.loads(properties["class_names"]) == ["cat", 'a "dog"', "größer", "<b>"]
    assert json.loads(properties["tinycnn"])["image_shape"] == [1, 12, 11]
    assert properties["trained"] == "40 epochs"


def test_a_layer_of_ones_own_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"avgpool1: AvgPool\(\) has no translation to ONNX"):
        to_onnx(make_net(AVERAGED), tmp_path / "net.onnx")
    assert not list(tmp_path.iterdir())


def test_a_subclass_does_not_pass_for_its_base(tmp_path: Path) -> None:
    class Clipped(ReLU):
        pass

    net = make_net(((1, 6, 6), [Conv(3), Clipped(), Flatten(), Linear(4)]))
    with pytest.raises(ValueError, match="clipped1"):
        to_onnx(net, tmp_path / "net.onnx")


@pytest.mark.parametrize("case", [AVERAGED, AVERAGED_FIRST])
def test_a_layer_brings_its_own_translation(
    case: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TRANSLATIONS, "_of", dict(TRANSLATIONS._of))

    @TRANSLATIONS.register(AvgPool)
    def average(step: Any, parameters: Any, graph: Any) -> None:
        graph.add("AveragePool", name=step.name, kernel_shape=[2, 2], strides=[2, 2])

    net, path = make_net(case), tmp_path / "net.onnx"
    assert worst_difference(lambda x: probabilities(net, path, x), net, make_images(net)) < 1e-5


def test_wrong_arguments_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="input: must be 'uint8'"):
        to_onnx(make_net("one block"), tmp_path / "net.onnx", input="int8")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"net: must be a tinycnn\.CNN"):
        to_onnx("model.npz", tmp_path / "net.onnx")  # type: ignore[arg-type]


@pytest.mark.parametrize("case", ["colour", "even kernel, same", "pooled image"])
def test_another_runtime_computes_the_same(case: str, tmp_path: Path) -> None:
    """ONNX's own evaluator, which is written in NumPy."""
    from onnx.reference import ReferenceEvaluator

    net, path = make_net(case), tmp_path / "net.onnx"
    to_onnx(net, path)

    def evaluate(images: np.ndarray) -> np.ndarray:
        (result,) = ReferenceEvaluator(str(path)).run(["probabilities"], {"images": images})
        return np.asarray(result)

    assert worst_difference(evaluate, net, make_images(net)) < 1e-5
