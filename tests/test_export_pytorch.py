"""safetensors files, the PyTorch source, and the way back into a network."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from export_cases import AVERAGED, CASES, AvgPool, make_images, make_net

from tinycnn.export import pytorch_source, to_safetensors
from tinycnn.export.pytorch import TRANSLATIONS

GOLDEN = Path(__file__).parent / "golden" / "export_pytorch.npz"


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_safetensors_hold_all_parameters_and_the_description(dtype: str, tmp_path: Path) -> None:
    safetensors = pytest.importorskip("safetensors")
    from safetensors.numpy import load_file

    net = make_net("colour", dtype=dtype, class_names=["a", "b", "ß", "d"])
    path = tmp_path / "net.safetensors"
    to_safetensors(net, path)
    read = load_file(path)
    assert list(read) == sorted(net.parameters)
    for name, values in net.parameters.items():
        assert read[name].dtype == values.dtype
        np.testing.assert_array_equal(read[name], values)
    with safetensors.safe_open(path, "np") as file:
        metadata = file.metadata()
    assert json.loads(metadata["class_names"]) == ["a", "b", "ß", "d"]
    assert json.loads(metadata["tinycnn"])["input_std"] == net.input_std.tolist()


def test_parameters_come_back(tmp_path: Path) -> None:
    pytest.importorskip("safetensors")
    from safetensors.numpy import load_file

    net, other = make_net("hidden layers"), make_net("hidden layers", seed=5)
    to_safetensors(net, tmp_path / "net.safetensors")
    other.load_parameters(load_file(tmp_path / "net.safetensors"))
    np.testing.assert_array_equal(net.flat, other.flat)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p: p.pop("conv1.bias"), "missing: conv1.bias"),
        (lambda p: p.update(fc=np.zeros(3)), "unknown: fc"),
        (lambda p: p.update({"conv1.bias": np.zeros(4)}), r"conv1.bias: needs shape \(5,\)"),
        (lambda p: p.update({"linear1.bias": np.full(4, np.nan)}), "linear1.bias: all values must"),
    ],
)
def test_parameters_that_do_not_fit_change_nothing(change: Any, message: str) -> None:
    net = make_net("one block")
    before, parameters = net.flat.copy(), {k: v + 1 for k, v in net.parameters.items()}
    change(parameters)
    with pytest.raises(ValueError, match=message):
        net.load_parameters(parameters)
    np.testing.assert_array_equal(net.flat, before)


def test_load_parameters_needs_a_mapping() -> None:
    with pytest.raises(TypeError, match="values: must be a mapping"):
        make_net("one block").load_parameters([1, 2])  # type: ignore[arg-type]


def test_source_names_layers_as_the_parameters_are_named() -> None:
    source = pytorch_source(make_net("no bias"))
    assert "('conv1', nn.Conv2d(3, 8, (3, 3), padding=(1, 1), bias=False))" in source
    assert "('linear1', nn.Linear(128, 4, bias=False))" in source
    assert "load_file('model.safetensors')" in source


def test_a_layer_of_ones_own_is_refused_until_it_brings_a_translation(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(TRANSLATIONS, "_of", dict(TRANSLATIONS._of))
    net = make_net(AVERAGED)
    with pytest.raises(ValueError, match=r"avgpool1: AvgPool\(\) has no translation to PyTorch"):
        pytorch_source(net)
    TRANSLATIONS.register(AvgPool)(lambda step: "nn.AvgPool2d(2)")
    assert "('avgpool1', nn.AvgPool2d(2))" in pytorch_source(net)


@pytest.mark.parametrize("case", CASES)
def test_pytorch_computed_these_probabilities(case: str) -> None:
    """What PyTorch gave for the source, stored by golden/make_export_cases.py."""
    with np.load(GOLDEN) as golden:
        expected, source = golden[case], str(golden[f"{case}: source"])
    net = make_net(case)
    assert pytorch_source(net) == source, "run tests/golden/make_export_cases.py again"
    np.testing.assert_allclose(net.predict_proba(make_images(net)), expected, atol=1e-5)


def test_source_runs_where_pytorch_is_installed(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    net = make_net("colour")
    to_safetensors(net, tmp_path / "model.safetensors")
    np.save(tmp_path / "images.npy", make_images(net))
    run = (
        "import numpy\nimages = torch.from_numpy(numpy.load('images.npy'))\n"
        "numpy.save('probabilities.npy', predict_proba(images).numpy())\n"
    )
    (tmp_path / "net.py").write_text(pytorch_source(net) + run)
    subprocess.run([sys.executable, "net.py"], check=True, cwd=tmp_path, env=dict(os.environ))
    given = np.load(tmp_path / "probabilities.npy")
    np.testing.assert_allclose(given, net.predict_proba(make_images(net)), atol=1e-5)
