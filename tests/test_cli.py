"""The command line, run as people run it."""

import os
import re
import signal
import struct
import subprocess
import sys
import time

import numpy as np
import pytest

import tinycnn
from tinycnn import cli
from tinycnn.cli.app import COMMANDS
from tinycnn.cli.parser import build_parser


def run(*arguments):
    """Run a command in this process; return its exit code."""
    return cli.main([str(argument) for argument in arguments])


def write_idx(path, array):
    """Write a uint8 array as an IDX file."""
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
    path.write_bytes(header + array.tobytes())


@pytest.fixture
def idx_folder(tmp_path, rng):
    """A folder as MNIST has it: bright left halves are class 0, bright right halves class 1."""
    folder = tmp_path / "data"
    folder.mkdir()
    for part, n in [("train", 80), ("t10k", 20)]:
        labels = (np.arange(n) % 2).astype(np.uint8)
        images = rng.integers(0, 50, (n, 8, 8), dtype=np.uint8)
        for image, label in zip(images, labels, strict=True):
            image[:, 4 * label : 4 * label + 4] += 200
        write_idx(folder / f"{part}-images-idx3-ubyte", images)
        write_idx(folder / f"{part}-labels-idx1-ubyte", labels)
    return folder


@pytest.fixture
def model(tmp_path, idx_folder, capsys):
    path = tmp_path / "m.npz"
    assert run("train", idx_folder, "-o", path, "-q") == 0
    capsys.readouterr()
    return path


def test_train_says_how_it_went_and_what_to_try_next(tmp_path, idx_folder, capsys):
    path = tmp_path / "m.npz"
    assert run("train", idx_folder, "-o", path, "--epochs", 3) == 0
    output = capsys.readouterr()
    assert "training on 80 images" in output.out
    assert "20 held out" in output.out
    assert re.search(r"test accuracy 100\.00% after \d+\.\d s of training", output.out)
    assert f"model saved to {path}" in output.out
    assert "loss" in output.err
    next_command = output.out.splitlines()[-1].split("tinycnn ")[1].split()
    assert run(*next_command) == 0


def test_train_on_the_bundled_digits_reaches_98_5_percent(tmp_path, capsys):
    assert run("train", "-q", "-o", tmp_path / "digits.npz") == 0
    accuracy = re.search(r"test accuracy ([\d.]+)%", capsys.readouterr().out)[1]
    assert float(accuracy) >= 98.5
    # evaluate holds out the same images as train did.
    assert run("evaluate", tmp_path / "digits.npz") == 0
    assert f"359 images, loss 0.0712, accuracy {accuracy}%" in re.sub(
        r"loss [\d.]+", "loss 0.0712", capsys.readouterr().out
    )


@pytest.mark.parametrize("patience", [(), ("--patience", 9)])
def test_an_interrupted_training_is_resumed_to_the_same_model(
    tmp_path, idx_folder, capsys, monkeypatch, patience
):
    class Interrupted(tinycnn.Checkpoint):
        def after_epoch(self, state):
            super().after_epoch(state)
            if state.epoch == 4:
                raise KeyboardInterrupt

    whole, model, checkpoint = (tmp_path / name for name in ("whole.npz", "m.npz", "run.npz"))
    options = ("train", idx_folder, "-q", "--epochs", 9, "--lr", 0.0003, *patience)
    assert run(*options, "-o", whole) == 0
    told = re.search(r"^epoch \d was the best$", capsys.readouterr().out, re.MULTILINE)
    assert bool(told) == bool(patience)

    options = (*options, "-o", model, "--checkpoint", checkpoint)
    monkeypatch.setattr("tinycnn.cli.train.Checkpoint", Interrupted)
    assert run(*options) == 130
    message = rf"epoch \d is saved to {model}; to go on, add --resume"
    assert re.search(message, capsys.readouterr().err)
    assert model.read_bytes() != whole.read_bytes()
    monkeypatch.undo()
    assert run(*options, "--resume") == 0
    assert model.read_bytes() == whole.read_bytes()


def test_evaluate_prints_all_and_each_class(model, idx_folder, capsys):
    assert run("evaluate", model, idx_folder) == 0
    lines = capsys.readouterr().out.splitlines()
    assert re.search(r"20 images, loss 0\.\d+, accuracy 100\.00%", lines[0])
    assert [line.split() for line in lines[1:]] == [
        ["0", "100.00%", "of", "10"],
        ["1", "100.00%", "of", "10"],
    ]


def test_predict_takes_image_files_and_idx_files(model, idx_folder, tmp_path, capsys):
    assert run("predict", model, idx_folder / "t10k-images-idx3-ubyte") == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 20
    assert re.fullmatch(r".*t10k-images-idx3-ubyte\[1\]: 1 \(\d+\.\d%\)", lines[1])

    image_module = pytest.importorskip("PIL.Image")
    picture = np.zeros((16, 16, 3), np.uint8)  # of another size and in colour
    picture[:, 8:] = 220
    image_module.fromarray(picture).save(tmp_path / "right.png")
    assert run("predict", model, tmp_path / "right.png") == 0
    assert re.search(r"right\.png: 1 \(\d+\.\d%\)", capsys.readouterr().out)


def test_info_describes_the_model(model, capsys):
    assert run("info", model) == 0
    output = capsys.readouterr().out
    assert re.search(r"conv1 +filters=64, kernel_size=\(3, 3\).* -> 64 x 8 x 8", output)
    assert re.search(r"linear1 +units=2.* -> 2\n", output)
    assert re.search(r"classes +0, 1\n", output)
    assert re.search(r"runs +(on the fast path|layer by layer: .+)\n", output)


def test_classes_are_matched_by_name(model, tmp_path, rng, capsys):
    images = rng.integers(0, 255, (6, 8, 8), dtype=np.uint8)
    np.savez(tmp_path / "one.npz", images=images, labels=np.zeros(6, int), class_names=["1"])
    assert run("evaluate", model, tmp_path / "one.npz") == 0
    assert "of 6" in capsys.readouterr().out.splitlines()[1]
    np.savez(tmp_path / "other.npz", images=images, labels=np.zeros(6, int), class_names=["cat"])
    assert run("evaluate", model, tmp_path / "other.npz") == 2
    assert "classes that the model does not know: cat" in capsys.readouterr().err


def test_bad_input_is_one_line_and_exit_code_2(model, idx_folder, tmp_path, capsys):
    (tmp_path / "text.txt").write_text("hello, world")
    for arguments, words in [
        (("train", tmp_path / "nowhere"), "nowhere"),
        (("train", tmp_path / "text.txt"), "text.txt"),
        (("train", idx_folder, "--epochs", -1), "epochs: must be a whole number"),
        (("train", idx_folder, "--lr", "nan"), "lr: must be finite"),
        (("train", idx_folder, "--kernel-size", 10, "--padding", 0), "conv1: its 10 x 10 kernel"),
        (("train", idx_folder, "-o", tmp_path / "no" / "m.npz"), "there is no folder"),
        (("train", idx_folder, "-o", tmp_path / "text.txt"), "is not a tinycnn model"),
        (("train", idx_folder, "--checkpoint", tmp_path / "text.txt"), "--checkpoint: "),
        (("train", idx_folder, "-o", model, "--checkpoint", model), "is where the model is saved"),
        (("train", idx_folder, "--resume"), "needs --checkpoint FILE"),
        (("train", idx_folder, "--patience", 0), "patience: must be a whole number"),
        (("evaluate", tmp_path / "text.txt"), "text.txt"),
        (("evaluate", model), "classes that the model does not know: 2, 3"),
        (("predict", model, tmp_path / "text.txt"), "text.txt"),
        (("info", tmp_path / "none.npz"), "none.npz"),
    ]:
        assert run(*arguments, *(["-q"] if arguments[0] == "train" else [])) == 2, arguments
        output = capsys.readouterr()
        assert output.err.startswith("tinycnn: error: "), output.err
        assert words in output.err
        assert output.err.count("\n") == 1


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command, capsys):
    with pytest.raises(SystemExit) as stop:
        run(command, "--help")
    assert stop.value.code == 0
    text = capsys.readouterr().out
    assert len(text.splitlines()) > 5
    parser = build_parser(COMMANDS)._subparsers._group_actions[0].choices[command]
    for action in parser._actions:
        assert action.help, f"{command} {action.dest} has no help"


def test_wrong_usage_is_exit_code_2(capsys):
    for arguments in ([], ["no-such-command"], ["train", "--no-such-option"]):
        with pytest.raises(SystemExit) as stop:
            run(*arguments)
        assert stop.value.code == 2
        assert "usage: tinycnn" in capsys.readouterr().err


def test_version_and_module_entry():
    output = subprocess.run(
        [sys.executable, "-m", "tinycnn", "--version"], capture_output=True, text=True, check=True
    )
    assert output.stdout == f"tinycnn {tinycnn.__version__}\n"


@pytest.mark.skipif(os.name == "nt", reason="sends a POSIX signal")
def test_ctrl_c_keeps_the_last_epoch(tmp_path):
    path, checkpoint = tmp_path / "m.npz", tmp_path / "run.npz"
    options = ["--epochs", "100000", "-o", path, "--checkpoint", checkpoint]
    process = subprocess.Popen(
        [sys.executable, "-m", "tinycnn", "train", *options],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    while process.poll() is None and not checkpoint.exists():
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "Traceback" not in errors
    assert re.search(r"interrupted: the model as of epoch \d+ is saved to", errors)
    assert tinycnn.load_model(path).architecture.n_classes == 10
