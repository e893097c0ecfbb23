"""``tinycnn export``, run as people run it."""

import ast
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from export_c import Library, installed

import tinycnn
from tinycnn import cli
from tinycnn.cli.export import OPTIONS, TARGETS


def run(*arguments: Any) -> int:
    return cli.main([str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A model and its data: bright left halves are class "left", bright right halves "right"."""
    folder = tmp_path_factory.mktemp("trained")
    rng = np.random.default_rng(0)
    labels = np.arange(120) % 2
    images = rng.integers(0, 50, (120, 1, 8, 8), np.uint8)
    for image, label in zip(images, labels, strict=True):
        image[:, :, 4 * label : 4 * label + 4] += 200
    names = np.array(["left", "right"])
    np.savez(folder / "data.npz", images=images, labels=labels, class_names=names)
    arguments = ["--channels", 4, "--epochs", 3, "-q", "-o", folder / "halves.npz"]
    assert run("train", folder / "data.npz", *arguments) == 0
    return folder / "halves.npz", folder / "data.npz"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def printed(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().out


def test_onnx(trained: Any, here: Path, capsys: Any) -> None:
    onnx = pytest.importorskip("onnx")
    assert run("export", trained[0], "--to", "onnx", "-o", "halves.onnx", "--input", "float32") == 0
    assert "takes images (N, 1, 8, 8) of float32" in printed(capsys)
    properties = {p.key: p.value for p in onnx.load("halves.onnx").metadata_props}
    assert '"epochs": 3' in properties["trained"]
    assert "digests" not in properties["trained"]


@pytest.mark.skipif(not installed("gcc"), reason="needs gcc")
def test_c_in_integers_tells_accuracy_flash_and_ram(trained: Any, here: Path, capsys: Any) -> None:
    arguments = ["--to", "c", "--int8", "--name", "pets", "--test", "-o", "a.h"]
    assert run("export", *trained, *arguments) == 0
    out = printed(capsys)
    assert re.search(
        r"accuracy 100.00% in floats, 100.00% in eight-bit integers, of 12 images", out
    )
    assert re.search(r"a.h: [\d,]+ bytes of weights in flash memory, .* \d+ bytes of RAM", out)
    with np.load(trained[1]) as data:
        classes = Library(here / "a.h", "pets").predict(data["images"])
        assert (classes == data["labels"]).mean() > 0.9
    assert "pets_test(void)" in (here / "a_test.h").read_text()


def test_page_shows_examples_of_each_class(trained: Any, here: Path, capsys: Any) -> None:
    assert run("export", *trained, "--to", "html", "-o", "page.html", "--title", "Halves") == 0
    assert "a page with 20 examples" in printed(capsys)
    page = (here / "page.html").read_text()
    assert "<title>Halves</title>" in page
    assert page.count('"label": "left"') == page.count('"label": "right"') == 10


def test_page_without_data(trained: Any, here: Path, capsys: Any) -> None:
    assert run("export", trained[0], "--to", "html", "-o", "page.html") == 0
    assert "no examples" in printed(capsys)


def test_pytorch_and_safetensors(trained: Any, here: Path, capsys: Any) -> None:
    pytest.importorskip("safetensors")
    assert run("export", trained[0], "--to", "pytorch", "-o", "halves.py") == 0
    ast.parse((here / "halves.py").read_text())
    assert (here / "halves.safetensors").exists()
    printed(capsys)
    assert run("export", trained[0], "--to", "safetensors", "-o", "halves.safetensors") == 0
    assert "network.load_state_dict(load_file('halves.safetensors'))" in printed(capsys)


def test_files_are_named_as_the_model_and_stand_beside_it(
    trained: Any, here: Path, capsys: Any
) -> None:
    net = tinycnn.load_model(trained[0])
    tinycnn.save_model(net, here / "mine.npz")
    assert run("export", "mine.npz", "--to", "c") == 0
    assert run("export", "mine.npz", "--to", "c", "--layout", "arduino") == 0
    assert (here / "mine.h").is_file()
    assert (here / "mine" / "src" / "mine.h").is_file()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--to", "onnx", "--int8"], "--int8: is for --to c, not for onnx"),
        (["--to", "c", "--int8"], "--int8: to see how large values become, it needs images"),
        (["--to", "c", "--test"], "--test: it needs images"),
        (["--to", "c", "-o", "no/such.h"], "--output: there is no folder no"),
        (["--to", "c", "-o", "my-net.h"], "name: must be an identifier of C"),
        (["--to", "gguf"], "argument --to: invalid choice: 'gguf'"),
    ],
)
def test_what_cannot_be_is_told_in_a_line(
    arguments: list[str], message: str, trained: Any, here: Path, capsys: Any
) -> None:
    with pytest.raises(SystemExit, match="2"):
        raise SystemExit(run("export", trained[0], *arguments))
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert message in err
    assert not list(here.iterdir())


def test_a_model_is_never_written_over(trained: Any, here: Path, capsys: Any) -> None:
    assert run("export", trained[0], "--to", "onnx", "-o", trained[0]) == 2
    assert "is a tinycnn model; choose another name" in capsys.readouterr().err
    tinycnn.load_model(trained[0])


def test_every_option_names_targets_that_exist() -> None:
    assert {target for targets in OPTIONS.values() for target in targets} <= set(TARGETS)
