"""``tinycnn train``: what it says, saves, keeps and refuses."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from cli_helpers import halves, only_line, run, save_pictures, write_idx

import tinycnn
from tinycnn.files.model import load_notes

QUICK = ("-q", "--channels", 2, "--epochs", 8)


@pytest.fixture
def data(tmp_path, rng):
    """An archive of 60 images without a test part."""
    images, labels = halves(60, rng)
    np.savez(tmp_path / "data.npz", images=images, labels=labels)
    return tmp_path / "data.npz"


def save_parts(path, rng, **sizes):
    """Save an archive with parts of so many images: train=40, test=20."""
    arrays = {}
    for part, n in sizes.items():
        arrays[f"x_{part}"], arrays[f"y_{part}"] = halves(n, rng)
    np.savez(path, **arrays)
    return path


def test_train_says_how_it_went_and_what_to_try_next(tmp_path, data, capsys):
    path = tmp_path / "m.npz"
    assert run("train", data, "-o", path, *QUICK) == 0
    output = capsys.readouterr()
    assert "training on 48 images" in output.out
    assert "12 held out" in output.out
    assert re.search(r"test accuracy 100\.00% after \d+\.\d s of training", output.out)
    assert "of 12 images; 95% interval 75.8% to 100.0%; always answering 0 is right in 50.0%" in (
        output.out
    )
    assert re.search(r"accuracy on the training images \d+\.\d+%", output.out)
    assert re.search(r"  0  100\.00% of 6\n  1  100\.00% of 6\n", output.out)
    assert f"model saved to {path}" in output.out
    assert output.err == ""


def test_progress_goes_to_stderr_a_line_an_epoch(tmp_path, data, capsys):
    assert run("train", data, "-o", tmp_path / "m.npz", "--channels", 2, "--epochs", 3) == 0
    assert len(re.findall(r"epoch \d/3  loss [\d.]+  [\d.]+ s\n", capsys.readouterr().err)) == 3


def test_train_on_the_bundled_digits_reaches_97_5_percent(tmp_path, capsys):
    assert run("train", "-q", "-o", tmp_path / "digits.npz") == 0
    accuracy = re.search(r"test accuracy ([\d.]+)%", capsys.readouterr().out)[1]
    assert float(accuracy) >= 97.5


@pytest.mark.parametrize("names", [("photos", "m.npz"), ("my photos; ls", "my model's.npz")])
def test_the_proposed_command_works_as_printed(tmp_path, rng, names):
    pictures = save_pictures(tmp_path / names[0], *halves(30, rng))
    save_pictures(tmp_path / names[0], *halves(6, rng, side=12), names=("left", "right"))
    command = [sys.executable, "-m", "tinycnn", "train", pictures.name, "--image-size", "8", "8"]
    output = subprocess.run(
        [*command, "-o", names[1], *map(str, QUICK)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    proposed = output.splitlines()[-1].removeprefix("next, try:  ")
    environment = {**os.environ, "PATH": f"{os.path.dirname(sys.executable)}:{os.environ['PATH']}"}
    result = subprocess.run(
        proposed, shell=True, cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    accuracy = re.search(r"test accuracy ([\d.]+%)", output)[1]
    assert f"accuracy {accuracy}" in result.stdout.splitlines()[0]


def test_what_is_proposed_is_a_command_that_the_shell_finds(tmp_path, monkeypatch):
    from tinycnn.cli.next_command import command_line, this_command

    script = tmp_path / "bin" / "tinycnn"
    script.parent.mkdir()
    script.touch(0o755)
    monkeypatch.setattr(sys, "argv", [str(script), "train"])
    monkeypatch.setenv("PATH", str(tmp_path))
    assert this_command() == [str(script)]
    monkeypatch.setenv("PATH", str(script.parent))
    assert this_command() == ["tinycnn"]
    assert command_line("evaluate", "a b") == "tinycnn evaluate 'a b'"
    monkeypatch.setattr(sys, "argv", [str(tmp_path / "__main__.py")])
    assert this_command() == [sys.executable, "-m", "tinycnn"]


@pytest.mark.skipif(os.name == "nt", reason="quotes for POSIX shells")
@pytest.mark.parametrize("name", ["two\nlines", "caf\udce9", "bell\x07 'x' $HOME", "-dash", "`a`"])
def test_names_of_any_kind_are_quoted_so_that_bash_reads_them_back(name):
    from tinycnn.cli.next_command import _quoted, as_argument

    quoted = _quoted(as_argument(name))
    assert quoted.isprintable()
    read = subprocess.run(
        ["bash", "-c", f"printf %s {quoted}"], capture_output=True, check=True
    ).stdout
    assert os.path.normpath(os.fsdecode(read)) == name


def test_the_model_remembers_what_it_learned_from(tmp_path, data):
    assert run("train", data, "-o", tmp_path / "m.npz", *QUICK) == 0
    notes = load_notes(tmp_path / "m.npz")
    assert notes["dtype"] == "uint8"
    assert notes["n_images"] == 48
    assert notes["split"]["fraction"] == 0.2
    assert notes["split"]["n_images"] == 60
    assert notes["training"]["channels"] == [2]
    assert notes["result"]["n_images"] == 12
    assert notes["version"] == tinycnn.__version__


def test_the_same_command_writes_the_same_bytes(tmp_path, data):
    for name in ("a.npz", "b.npz"):
        assert run("train", data, "-o", tmp_path / name, *QUICK) == 0
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


# ------------------------------------------------------------------------------------- the parts


def test_parts_of_the_data_are_used_as_such(tmp_path, rng, capsys):
    path = save_parts(tmp_path / "d.npz", rng, train=40, val=20, test=10)
    assert run("train", path, "-o", tmp_path / "m.npz", "--channels", 2, "--epochs", 8) == 0
    output = capsys.readouterr()
    assert "training on 40 images" in output.out
    assert "10 of the test part" in output.out
    assert "test accuracy" in output.out
    assert "of 10 images" in output.out
    assert "validation loss" in output.err


def test_a_validation_part_alone_is_what_is_measured(tmp_path, rng, capsys):
    path = save_parts(tmp_path / "d.npz", rng, train=40, val=30)
    options = ("-o", tmp_path / "m.npz", *QUICK)
    assert run("train", path, *options) == 0
    output = capsys.readouterr().out
    assert "training on 40 images" in output
    assert "validation accuracy" in output
    assert "of 30 images" in output
    assert run("train", path, *options, "--patience", 3) == 0
    assert "the best epoch was chosen by the images it was tested on" in capsys.readouterr().out


def test_grey_and_colour_parts_become_alike_before_training(tmp_path, rng, capsys):
    images, labels = halves(40, rng)
    colour = images[..., None].repeat(3, axis=-1)
    for train, test in ((images, colour), (colour, images)):
        folder = tmp_path / f"{train.ndim}"
        save_pictures(folder / "train", train, labels)
        save_pictures(folder / "test", test[:20], labels[:20])
        assert run("train", folder, "-o", tmp_path / "m.npz", *QUICK) == 0
        assert "test accuracy 100.00%" in capsys.readouterr().out


@pytest.mark.parametrize("kind", ["size", "classes"])
def test_a_test_part_that_does_not_fit_is_told_before_training(
    tmp_path, rng, kind, capsys, monkeypatch
):
    x_train, y_train = halves(40, rng)
    x_test, y_test = halves(10, rng, side=10 if kind == "size" else 8)
    if kind == "classes":
        y_test = np.arange(10)
    np.savez(tmp_path / "d.npz", x_train=x_train, y_train=y_train, x_test=x_test, y_test=y_test)
    monkeypatch.setattr("tinycnn.cli.run.fit", lambda *_, **__: pytest.fail("it trained"))
    assert run("train", tmp_path / "d.npz", "-o", tmp_path / "m.npz") == 2
    line = only_line(capsys.readouterr().err)
    assert ("test part beside the training part: images of 10 x 10" in line) == (kind == "size")
    assert not (tmp_path / "m.npz").exists()


def test_images_in_both_parts_are_pointed_out(tmp_path, rng, capsys):
    images, labels = halves(40, rng)
    np.savez(
        tmp_path / "d.npz", x_train=images, y_train=labels, x_test=images[:4], y_test=labels[:4]
    )
    assert run("train", tmp_path / "d.npz", "-o", tmp_path / "m.npz", *QUICK) == 0
    assert "4 of 4 test images are training images too" in capsys.readouterr().out


def test_the_model_is_saved_before_it_is_tested(tmp_path, data, capsys, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("tinycnn.cli.train.assess", interrupted)
    assert run("train", data, "-o", tmp_path / "m.npz", *QUICK) == 130
    line = only_line(capsys.readouterr().err)
    assert line.endswith(f"while the model was tested; it is saved to {tmp_path / 'm.npz'}")
    assert tinycnn.load_model(tmp_path / "m.npz").architecture.n_classes == 2


# ------------------------------------------------------------------------------------- the options


def test_options_reach_the_network(tmp_path, data):
    path = tmp_path / "m.npz"
    options = ("--channels", 2, 3, "--kernel-size", 2, "--padding", 1, "--hidden", 7, 5)
    assert run("train", data, "-o", path, "-q", "--epochs", 1, *options) == 0
    net = tinycnn.load_model(path)
    shapes = {name: value.shape for name, value in net.parameters.items() if "weight" in name}
    assert shapes["conv1.weight"] == (2, 1, 2, 2)
    assert shapes["conv2.weight"] == (3, 2, 2, 2)
    assert [shapes[f"linear{i}.weight"][0] for i in (1, 2, 3)] == [7, 5, 2]
    assert net.layers[0].padding == (1, 1)


def test_a_filter_larger_than_the_image_is_refused(tmp_path, data, capsys):
    path, options = tmp_path / "m.npz", ("-q", "--epochs", 1)
    assert run("train", data, "-o", path, *options, "--kernel-size", 9) == 2
    line = only_line(capsys.readouterr().err)
    assert "--kernel-size: 9 is larger than the images, which have 8 x 8 pixels; " in line
    assert not path.exists()
    assert run("train", data, "-o", path, *options, "--kernel-size", 8) == 0


@pytest.mark.parametrize(
    ("options", "largest"),
    [(("--hidden", 40_000), "linear1.weight"), (("--channels", 8, 5_000, 5_000), "conv3.weight")],
)
def test_more_parameters_than_can_be_trained_are_refused(tmp_path, data, capsys, options, largest):
    path = tmp_path / "m.npz"
    assert run("train", data, "-o", path, "-q", *options) == 2
    line = only_line(capsys.readouterr().err)
    assert re.search(rf"have \d+,\d+,\d+ parameters, .* in {largest}, and at most 50,000,", line)
    assert not path.exists()


def test_a_network_by_its_name(tmp_path, rng):
    images, labels = halves(20, rng, side=28)
    np.savez(tmp_path / "d.npz", images=images, labels=labels)
    options = ("-q", "--epochs", 1, "--model", "lenet")
    assert run("train", tmp_path / "d.npz", "-o", tmp_path / "m.npz", *options) == 0
    layers = tinycnn.load_model(tmp_path / "m.npz").layers
    assert list(layers) == tinycnn.zoo.make_layers("lenet", 2)


def test_options_reach_the_training(tmp_path, data, monkeypatch):
    given = {}

    def spy(net, *arguments, **options):
        given.update(options)
        return tinycnn.fit(net, *arguments, **options)

    monkeypatch.setattr("tinycnn.cli.run.fit", spy)
    options = ("--optimizer", "sgd", "--lr", 0.02, "--weight-decay", 0.1, "--shift", 2, "--flip")
    more = ("--class-weight", "balanced", "--label-smoothing", 0.1, "--threads", 1, "--seed", 5)
    command = ("train", data, "-o", tmp_path / "m.npz", "-q", "--batch-size", 16)
    assert run(*command, "--epochs", 2, *options, *more) == 0
    assert isinstance(given["optimizer"], tinycnn.SGD)
    assert given["optimizer"].settings()["lr"] == 0.02
    assert given["optimizer"].weight_decay == 0.1
    assert (given["augmentation"].shift, given["augmentation"].flip) == (2, True)
    assert (given["class_weight"], given["label_smoothing"]) == ("balanced", 0.1)
    assert (given["n_threads"], given["seed"]) == (1, 5)
    assert (given["batch_size"], given["epochs"]) == (16, 2)


def test_what_is_left_open_follows_the_recipe_of_fit(tmp_path, data):
    path = tmp_path / "m.npz"
    assert run("train", data, "-o", path, "-q", "--epochs", 2) == 0
    with np.load(data) as archive:
        images, labels = archive["images"][:, None], archive["labels"]
    train_index, _ = tinycnn.stratified_split(labels, 0.2, 0)
    saved = tinycnn.load_model(path)
    net = tinycnn.CNN((1, 8, 8), saved.layers)
    net.standardize(images[train_index])
    tinycnn.fit(net, images[train_index], labels[train_index], epochs=2, verbose=False)
    assert np.array_equal(net.flat, saved.flat)


def test_labels_in_names(tmp_path, rng, capsys):
    images, labels = halves(30, rng)
    folder = save_pictures(tmp_path, images, labels).joinpath("flat")
    folder.mkdir()
    for name in ("left", "right"):
        for i, file in enumerate(sorted((tmp_path / name).iterdir())):
            file.rename(folder / f"{name}.{i}.png")
        (tmp_path / name).rmdir()
    options = ("-o", tmp_path / "m.npz", *QUICK)
    assert run("train", folder, *options) == 2
    assert "--labels-from name" in only_line(capsys.readouterr().err)
    assert run("train", folder, *options, "--labels-from", "name") == 0
    proposed = shlex.split(capsys.readouterr().out.splitlines()[-1])
    assert proposed[-2:] == ["--labels-from", "name"]
    assert run(*proposed[proposed.index("evaluate") :]) == 0


def test_broken_pictures_are_passed_over_if_asked(tmp_path, rng, capsys):
    folder = save_pictures(tmp_path / "p", *halves(30, rng))
    (folder / "left" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nnot really")
    options = ("-o", tmp_path / "m.npz", *QUICK)
    assert run("train", folder, *options) == 2
    assert "broken.png" in only_line(capsys.readouterr().err)
    assert run("train", folder, *options, "--skip-broken") == 0
    output = capsys.readouterr().out
    assert re.search(r"note: .*broken\.png", output)
    assert output.splitlines()[-1].endswith("--skip-broken")


def test_advice_names_the_options_of_the_command_line(tmp_path, rng, capsys):
    broken = b"\x89PNG\r\n\x1a\nnot really"
    sizes = save_pictures(tmp_path / "sizes", *halves(30, rng))
    save_pictures(tmp_path / "sizes", *halves(8, rng, side=7))
    damaged = save_pictures(tmp_path / "damaged", *halves(30, rng))
    for side in ("left", "right"):
        (damaged / side / "broken.png").write_bytes(broken)
    named = tmp_path / "named"
    named.mkdir()
    for i in range(6):
        (named / f"{'cat' if i % 2 else 'dog'}{i}.png").write_bytes(broken)
    advice = {sizes: "give --image-size 8 8", named: "--labels-from name"}
    for folder, words in (advice | {damaged: "pass over them with --skip-broken"}).items():
        assert run("train", folder, "-o", tmp_path / "m.npz", *QUICK) == 2
        line = only_line(capsys.readouterr().err)
        assert line.endswith(words)
        assert "=" not in line.removeprefix(f"tinycnn: error: {tmp_path}")


def test_everything_as_json(tmp_path, data, capsys):
    assert run("train", data, "-o", tmp_path / "m.npz", *QUICK, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["model"] == str(tmp_path / "m.npz")
    assert (told["n_train"], told["test"]["n_images"]) == (48, 12)
    assert told["test"]["accuracy"] == 1.0
    assert told["test"]["interval_95"][1] == 1.0
    assert (told["epochs"], told["best_epoch"]) == (8, 8)


# ------------------------------------------------------------------------------- honest warnings


def test_a_training_that_did_nothing_is_said(tmp_path, rng, capsys):
    images = rng.integers(0, 256, (600, 8, 8), dtype=np.uint8)  # nothing to be learned
    np.savez(tmp_path / "d.npz", images=images, labels=np.arange(600) % 2)
    options = ("-o", tmp_path / "m.npz", "-q", "--channels", 2)
    assert run("train", tmp_path / "d.npz", *options, "--epochs", 0) == 0
    assert "the network was not trained: --epochs 0" in capsys.readouterr().out
    assert run("train", tmp_path / "d.npz", *options, "--epochs", 1, "--lr", 1e-9) == 0
    output = capsys.readouterr().out
    assert "the network has learned next to nothing" in output
    assert "try another --lr than 1e-09, or more --epochs" in output
    assert "not clearly better than always answering 0" in output


def test_a_training_that_diverges_is_an_error_and_saves_nothing(tmp_path, data, capsys):
    path = tmp_path / "m.npz"
    options = ("--optimizer", "sgd", "--lr", 1e30, "--epochs", 3)
    assert run("train", data, "-o", path, "-q", *options) == 2
    line = only_line(capsys.readouterr().err)
    assert "training diverged and nothing was saved; try a lower --lr than 1e+30" in line
    assert not path.exists()


def test_images_that_show_nothing_are_said(tmp_path, rng, capsys):
    labels = np.arange(60) % 2
    plain = np.full((60, 8, 8), 3, np.uint8)
    same = np.broadcast_to(rng.integers(0, 256, (8, 8), dtype=np.uint8), (60, 8, 8))
    dark = (rng.random((60, 8, 8)) < 0.1).astype(np.uint8)
    for images, words in (
        (plain, "all pixels of all training images are the same, 3"),
        (same, "all training images are the same"),
        (dark, "nearly constant: pixels of 0 to 1"),
    ):
        np.savez(tmp_path / "d.npz", images=images, labels=labels)
        assert run("train", tmp_path / "d.npz", "-o", tmp_path / "m.npz", *QUICK) == 0
        assert words in capsys.readouterr().out


def test_dim_images_of_16_bits_keep_their_levels(tmp_path, rng, capsys):
    bright, labels = halves(80, rng)
    counts = (200 + bright.astype(np.uint16)) // 2  # 100 to 227 of 65,535
    np.savez(tmp_path / "d.npz", images=counts, labels=labels)
    assert run("train", tmp_path / "d.npz", "-o", tmp_path / "m.npz", *QUICK) == 0
    output = capsys.readouterr().out
    assert "test accuracy 100.00%" in output
    assert "nearly constant" not in output
    assert load_notes(tmp_path / "m.npz")["dtype"] == "uint16"
    assert run("info", tmp_path / "m.npz") == 0
    assert "uint16, on the scale of the training images" in capsys.readouterr().out


def test_a_class_without_images_is_said(tmp_path, rng, capsys):
    images, labels = halves(40, rng)
    names = np.array(["left", "middle", "right"])
    np.savez(tmp_path / "d.npz", images=images, labels=labels * 2, class_names=names)
    assert run("train", tmp_path / "d.npz", "-o", tmp_path / "m.npz", *QUICK) == 0
    output = capsys.readouterr().out
    assert "careful: no training images, so never the answer: middle" in output
    assert "careful: middle: no test images, so nothing is known about them" in output


def test_one_class_is_nothing_to_tell_apart(tmp_path, rng, capsys):
    images, _ = halves(20, rng)
    np.savez(tmp_path / "d.npz", images=images, labels=np.zeros(20, int))
    assert run("train", tmp_path / "d.npz", "-o", tmp_path / "m.npz", *QUICK) == 0
    assert "there is one class alone, 0: nothing can be told apart" in capsys.readouterr().out


# ------------------------------------------------------------------------------------ interrupted


@pytest.mark.parametrize("patience", [(), ("--patience", 9)])
def test_an_interrupted_training_is_resumed_to_the_same_model(
    tmp_path, data, capsys, monkeypatch, patience
):
    class Interrupted(tinycnn.Checkpoint):
        def after_epoch(self, state):
            super().after_epoch(state)
            if state.epoch == 4:
                raise KeyboardInterrupt

    whole, model, checkpoint = (tmp_path / name for name in ("whole.npz", "m.npz", "run.npz"))
    options = ("train", data, "-q", "--epochs", 9, "--lr", 0.0003, *patience)
    assert run(*options, "-o", whole) == 0
    capsys.readouterr()

    options = (*options, "-o", model, "--checkpoint", checkpoint, "--resume")
    monkeypatch.setattr("tinycnn.cli.run.Checkpoint", Interrupted)
    assert run(*options) == 130
    message = rf"interrupted: the model as of epoch \d of 9 is saved to {model}; to go on"
    assert re.search(f"{message}, add --resume$", capsys.readouterr().err)
    assert model.read_bytes() != whole.read_bytes()
    monkeypatch.undo()
    assert run(*options) == 0
    assert model.read_bytes() == whole.read_bytes()
    assert run(*options) == 0  # there is nothing left to do
    assert model.read_bytes() == whole.read_bytes()


def test_resuming_another_training_is_refused(tmp_path, data, capsys):
    options = ("-o", tmp_path / "m.npz", "--checkpoint", tmp_path / "c.npz", *QUICK)
    assert run("train", data, *options) == 0
    before = (tmp_path / "m.npz").read_bytes()
    capsys.readouterr()
    assert run("train", data, *options, "--resume", "--seed", 1) == 2
    assert "seed" in only_line(capsys.readouterr().err)
    assert (tmp_path / "m.npz").read_bytes() == before


def test_ctrl_c_while_reading_says_that_nothing_was_saved(tmp_path, data, capsys, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("tinycnn.data.load", interrupted)
    assert run("train", data, "-o", tmp_path / "m.npz") == 130
    words = "tinycnn: interrupted: while the data were read; nothing was saved"
    assert only_line(capsys.readouterr().err) == words


@pytest.mark.skipif(os.name == "nt", reason="sends a POSIX signal")
def hear_interrupts():
    """Let a child end by Ctrl-C, also where a shell has started these tests in the background."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def test_ctrl_c_keeps_the_last_epoch(tmp_path):
    path, checkpoint = tmp_path / "m.npz", tmp_path / "run.npz"
    options = ["--epochs", "100000", "-o", path, "--checkpoint", checkpoint]
    process = subprocess.Popen(
        [sys.executable, "-m", "tinycnn", "train", *options],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        preexec_fn=hear_interrupts,
    )
    while process.poll() is None and not checkpoint.exists():
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in errors
    assert re.search(r"interrupted: the model as of epoch \d+ of 100000 is saved to", errors)
    assert tinycnn.load_model(path).architecture.n_classes == 10


def test_a_folder_of_idx_files(tmp_path, rng, capsys):
    for part, n in [("train", 80), ("t10k", 20)]:
        images, labels = halves(n, rng)
        write_idx(tmp_path / f"{part}-images-idx3-ubyte", images)
        write_idx(tmp_path / f"{part}-labels-idx1-ubyte", labels)
    assert run("train", tmp_path, "-o", tmp_path / "m.npz", *QUICK) == 0
    assert "20 of the test part" in capsys.readouterr().out
