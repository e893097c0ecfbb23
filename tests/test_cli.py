"""The command line as a whole: its commands, their help, and how errors are told."""

import json
import re

import numpy as np
import pytest
from cli_helpers import halves, only_line, run, run_apart, save_pictures, write_idx

import tinycnn
from tinycnn.cli.app import COMMANDS
from tinycnn.cli.parser import build_parser


@pytest.fixture
def data(tmp_path, rng):
    """An archive of 40 images without a test part."""
    images, labels = halves(40, rng)
    np.savez(tmp_path / "data.npz", images=images, labels=labels)
    return tmp_path / "data.npz"


@pytest.fixture
def model(tmp_path, data, capsys):
    path = tmp_path / "m.npz"
    assert run("train", data, "-o", path, "-q", "--channels", 4, "--epochs", 4) == 0
    capsys.readouterr()
    return path


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command, capsys):
    with pytest.raises(SystemExit) as stop:
        run(command, "--help")
    assert stop.value.code == 0
    assert len(capsys.readouterr().out.splitlines()) > 5
    parser = build_parser(COMMANDS)._subparsers._group_actions[0].choices[command]
    for action in parser._actions:
        assert action.help, f"{command} {action.dest} has no help"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "COMMAND"),
        (["no-such-command"], "invalid choice"),
        (["train", "--no-such-option"], "--no-such-option"),
        (["train", "--image-size", "32"], "expected 2 arguments"),
        (["train", "--epochs", "many"], "--epochs: invalid int value: 'many'"),
        (["predict", "m.npz"], "IMAGE"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(arguments, words, capsys):
    with pytest.raises(SystemExit) as stop:
        run(*arguments)
    assert stop.value.code == 2
    line = only_line(capsys.readouterr().err)
    assert line.startswith("tinycnn: error: ")
    assert words in line
    assert "usage: tinycnn" in line
    assert "--help" in line


def test_version_and_module_entry():
    output = run_apart("--version")
    assert output.stdout.decode().split() == ["tinycnn", tinycnn.__version__]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--epochs", -1], "--epochs: must be a whole number of at least 0, got -1"),
        (["--batch-size", 0], "--batch-size: must be"),
        (["--lr", "nan"], "--lr: must be finite"),
        (["--weight-decay", -1], "--weight-decay: must be finite and not negative"),
        (["--label-smoothing", 1], "--label-smoothing: must be in [0, 1), got 1.0"),
        (["--channels", 8, 0], "--channels: must be"),
        (["--hidden", 0], "--hidden: must be"),
        (["--kernel-size", 0], "--kernel-size: must be"),
        (["--padding", "valid"], "--padding: must be a number or 'same', got 'valid'"),
        (["--shift", 300], "shift: must be at most"),
        (["--patience", 0], "--patience: must be"),
        (["--seed", -1], "--seed: must be"),
        (["--threads", 0], "--threads: must be"),
        (["--image-size", 0, 8], "--image-size: must be"),
        (["--model", "lenet", "--hidden", 8], "--model: lenet has its own layers"),
        (["--resume"], "--resume: needs --checkpoint FILE"),
        (["-o", "no/m.npz"], "--output: there is no folder no; make it first"),
        (["-o", "text.txt"], "--output: text.txt exists and is not a tinycnn model"),
        (["--checkpoint", "text.txt"], "--checkpoint: text.txt exists"),
        (["-o", "m.npz", "--checkpoint", "m.npz"], "is where the model is saved"),
    ],
)
def test_options_are_checked_before_data_are_read(options, words, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.txt").write_text("hello, world")
    assert run("train", "no-such-data", *options) == 2
    line = only_line(capsys.readouterr().err)
    assert line.startswith("tinycnn: error: ")
    assert words in line
    assert (tmp_path / "text.txt").read_text() == "hello, world"
    assert [path.name for path in tmp_path.iterdir()] == ["text.txt"]


def test_bad_input_is_one_line_and_exit_code_2(model, data, tmp_path, capsys):
    (tmp_path / "text.txt").write_text("hello, world")
    np.savez(tmp_path / "other.npz", images=np.zeros((6, 8, 8), np.uint8), labels=np.arange(6))
    np.savez(tmp_path / "large.npz", images=np.zeros((6, 9, 9), np.uint8), labels=np.arange(6) % 2)
    before = model.read_bytes()
    for arguments, words in [
        (("train", tmp_path / "nowhere"), "nowhere"),
        (("train", tmp_path / "text.txt"), "text.txt"),
        (("train", data, "--shift", 8), "shift: must be less than 8"),
        (("train", data, "--kernel-size", 10, "--padding", 0), "--kernel-size: 10 is larger than"),
        (("train", data, "--model", "lenet"), "conv2: its 5 x 5 kernel does not fit"),
        (("train", tmp_path / "other.npz"), "too few to hold any out"),
        (("evaluate", tmp_path / "text.txt"), "is no model that"),
        (("evaluate", tmp_path / "other.npz", data), "is no model that"),
        (("evaluate", tmp_path / "none.npz"), "none.npz: No such file"),
        (("evaluate", model, tmp_path / "other.npz"), "the class 2 is none of 0, 1"),
        (("evaluate", model, tmp_path / "large.npz"), "images of 9 x 9 pixels"),
        (("predict", model, tmp_path / "large.npz"), "images of 9 x 9 pixels"),
        (("evaluate", model, data, "--threads", 0), "--threads: must be"),
        (("predict", model, tmp_path / "text.txt"), "text.txt"),
        (("predict", model, tmp_path / "none.png"), "none.png"),
        (("predict", model, data, "--top", 0), "--top: must be"),
        (("predict", data, model), "the model comes first"),
        (("info", tmp_path / "none.npz"), "none.npz: No such file"),
        (("info", tmp_path), "Is a directory"),
    ]:
        extra = ["-q", "-o", model] if arguments[0] == "train" else []
        assert run(*arguments, *extra) == 2, arguments
        line = only_line(capsys.readouterr().err)
        assert line.startswith("tinycnn: error: "), line
        assert words in line
    assert model.read_bytes() == before


def test_no_memory_is_told_with_the_way_out(model, data, capsys, monkeypatch):
    def no_memory(*_):
        raise MemoryError("Unable to allocate 16.8 TiB")

    monkeypatch.setattr("tinycnn.cli.evaluate.read_test_data", no_memory)
    assert run("evaluate", model, data) == 2
    line = only_line(capsys.readouterr().err)
    assert "not enough memory (Unable to allocate 16.8 TiB); use smaller images" in line


def test_info_describes_the_model(model, data, capsys):
    assert run("info", model) == 0
    output = capsys.readouterr().out
    for words in (
        "conv1 .*filters=4, kernel_size=\\(3, 3\\).* -> 4 x 8 x 8",
        "linear1 .*units=2.* -> 2\n",
        "classes +0, 1\n",
        "runs +(on the fast path|layer by layer: .+)\n",
        f"learned from +32 images of {data}\n",
        "training .*epochs 4, .*optimizer adamw",
        "tested +100.00% of 8 images\n",
    ):
        assert re.search(words, output), words


def test_info_as_json(model, capsys):
    assert run("info", model, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert [layer["kind"] for layer in told["layers"]][:3] == ["conv", "relu", "maxpool"]
    assert told["n_parameters"] == tinycnn.load_model(model).flat.size
    assert told["notes"]["split"]["n_images"] == 40


def test_info_of_a_model_without_notes(tmp_path, capsys):
    tinycnn.save_model(tinycnn.CNN((1, 4, 4), channels=(2,), n_classes=2), tmp_path / "m.npz")
    assert run("info", tmp_path / "m.npz") == 0
    assert "learned from" not in capsys.readouterr().out


def test_idx_folders_and_pictures_are_data_too(tmp_path, rng, capsys):
    images, labels = halves(30, rng)
    folder = tmp_path / "idx"
    folder.mkdir()
    for part in ("train", "t10k"):
        write_idx(folder / f"{part}-images-idx3-ubyte", images)
        write_idx(folder / f"{part}-labels-idx1-ubyte", labels)
    pictures = save_pictures(tmp_path / "pictures", images, labels)
    for data in (folder, pictures):
        quick = ("-q", "--channels", 2, "--epochs", 8)
        assert run("train", data, "-o", tmp_path / "m.npz", *quick) == 0
        assert "test accuracy 100.00%" in capsys.readouterr().out
