"""What reaches the terminal: safe, quiet in a pipe, and no reason to lose work."""

import errno
import io
import os
import subprocess
import sys
import time

import numpy as np
import pytest
from cli_helpers import halves, run, run_apart, save_pictures, write_idx

import tinycnn
from tinycnn.cli import streams
from tinycnn.training.progress import ProgressBar, ProgressLines, progress

QUICK = ("--channels", "2", "--epochs", "3")
POSIX = pytest.mark.skipif(os.name == "nt", reason="speaks bash")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with data to train on, a model, and many images to predict."""
    folder = tmp_path_factory.mktemp("streams")
    images, labels = halves(40, np.random.default_rng(0))
    np.savez(folder / "d.npz", images=images, labels=labels)
    write_idx(folder / "x-images", np.zeros((20_000, 8, 8), np.uint8))
    assert run("train", folder / "d.npz", "-o", folder / "m.npz", "-q", *QUICK) == 0
    return folder


def shell(command, folder, **options):
    """Run a command in bash, where `tinycnn` runs this one; return how it ended."""
    script = f'tinycnn() {{ "{sys.executable}" -m tinycnn "$@"; }}; {command}'
    return subprocess.run(
        ["bash", "-c", script], cwd=folder, capture_output=True, text=True, timeout=120, **options
    )


# ------------------------------------------------------------------------------- names as they are


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain wörds 苹果", "plain wörds 苹果"),
        ("two\nlines\r\t", "two\\nlines\\r\\t"),
        ("\x1b[2J\x07\x7f\x9b", "\\x1b[2J\\x07\\x7f\\x9b"),
        ("right\u202eleft\u2066", "right\\u202eleft\\u2066"),
        ("caf\udce9", "caf\\xe9"),
        ("\U000e0001\u2028", "\\U000e0001\\u2028"),
    ],
)
def test_what_is_not_printable_is_escaped(text, shown):
    assert streams.visible(text) == shown
    assert streams.visible(text).isprintable()


@pytest.fixture
def evil(tmp_path):
    """A model whose classes have evil names."""
    names = ["\x1b[2Jcat\nfake.png: dog (99.9%)\r", "b\u202egnp.exe"]
    net = tinycnn.CNN((1, 8, 8), channels=(2,), n_classes=2, class_names=names)
    tinycnn.save_model(net, tmp_path / "evil.npz")
    return tmp_path / "evil.npz"


@pytest.mark.parametrize("form", [(), ("--csv",), ("--json",)])
def test_names_reach_the_terminal_harmless(evil, tmp_path, rng, capsys, form):
    write_idx(tmp_path / "x-images", rng.integers(0, 255, (2, 8, 8), dtype=np.uint8))
    os.rename(tmp_path / "x-images", tmp_path / "x\x1b[2J\n-images")
    for arguments in (
        ("predict", evil, tmp_path / "x\x1b[2J\n-images", *form),
        ("predict", evil, tmp_path / "none\x1b[2J\n.png"),
        ("info", evil),
        ("info", tmp_path / "none\x1b[2J\n.npz"),
    ):
        run(*arguments)
        output = capsys.readouterr()
        assert output.out + output.err != ""
        for line in (output.out + output.err).splitlines():
            assert line.isprintable(), line


@POSIX
@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8:strict"])
def test_a_narrow_encoding_escapes_and_never_crashes(tmp_path, rng, encoding):
    names = ("苹果", "caf\udce9")
    pictures = save_pictures(tmp_path / "p", *halves(16, rng), names=names)
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    for arguments in (
        ("train", pictures, "-o", tmp_path / "模型.npz", "-q", *QUICK),
        ("evaluate", tmp_path / "模型.npz", pictures),
        ("info", tmp_path / "模型.npz"),
        ("predict", tmp_path / "模型.npz", pictures),
        ("predict", tmp_path / "模型.npz", pictures, "--csv"),
    ):
        output = run_apart(*arguments, env=environment)
        assert (output.returncode, output.stderr) == (0, b"")
        text = output.stdout.decode("cp1252" if encoding == "cp1252" else "utf-8")
        assert "caf\\xe9" in text or arguments[0] == "train"
        assert ("\\u82f9\\u679c" in text) == (not encoding.startswith("utf-8"))


# ---------------------------------------------------------------------------------------- in a pipe


@POSIX
@pytest.mark.parametrize("reader", ["true", "head -1"])
def test_predict_ends_quietly_when_nobody_reads(folder, reader):
    output = shell(f"tinycnn predict m.npz x-images | {reader}; exit ${{PIPESTATUS[0]}}", folder)
    assert (output.returncode, output.stderr) == (141, "")
    assert len(output.stdout.splitlines()) == (reader == "head -1")


@POSIX
@pytest.mark.parametrize(
    ("command", "code"), [("info m.npz", 141), ("evaluate m.npz d.npz", 141), ("train --help", 0)]
)
def test_other_commands_too(folder, command, code):
    reader, writer = os.pipe()
    os.close(reader)  # before the command begins, not while it runs
    usual = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    output = run_apart(*command.split(), cwd=folder, stdout=writer, env=usual)
    os.close(writer)
    assert (output.returncode, output.stderr) == (code, b"")


@POSIX
@pytest.mark.parametrize(
    "redirections",
    ["| true", "2>&1 | true", "2>&1 | head -c 10", "2> >(head -c 10)", "2>&-", ">&-", ">&- 2>&-"],
)
def test_train_saves_its_model_whoever_reads(folder, tmp_path, redirections):
    output = shell(f"tinycnn train d.npz -o {tmp_path / 'm.npz'} --epochs 3 {redirections}", folder)
    assert "Traceback" not in output.stderr
    assert tinycnn.load_model(tmp_path / "m.npz").architecture.n_classes == 2


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full")
@pytest.mark.parametrize("command", ["info m.npz", "predict m.npz x-images", "train d.npz -q"])
def test_a_full_disk_is_told(folder, tmp_path, command):
    model = f"-o {tmp_path / 'm.npz'} --epochs 1" if command.startswith("train") else ""
    output = shell(f"tinycnn {command} {model} > /dev/full", folder)
    assert output.returncode == 2
    assert output.stderr.startswith("tinycnn: error: ")
    assert "No space left on device" in output.stderr
    assert output.stderr.count("\n") == 1
    assert (tmp_path / "m.npz").exists() == bool(model)


# ------------------------------------------------------------------------------------ the display


class Dying(io.StringIO):
    """A stream that fails after some writes."""

    def __init__(self, limit, error):
        super().__init__()
        self.left, self.error = limit, error

    def write(self, text):
        self.left -= 1
        if self.left < 0:
            raise self.error
        return super().write(text)


@pytest.mark.parametrize("display", ["bar", "lines"])
@pytest.mark.parametrize("limit", [0, 1, 3])
@pytest.mark.parametrize(
    "error",
    [BrokenPipeError(errno.EPIPE, "Broken pipe"), ValueError("closed"), OSError(errno.EIO, "gone")],
)
def test_a_display_that_dies_does_not_end_the_training(digits, monkeypatch, display, limit, error):
    if display == "bar":
        pytest.importorskip("tqdm")
    else:
        monkeypatch.setitem(sys.modules, "tqdm", None)
    monkeypatch.setattr(sys, "stderr", Dying(limit, error))
    net = tinycnn.CNN((1, 8, 8), channels=(2,), n_classes=10)
    history = tinycnn.fit(net, digits[0][:200], digits[1][:200], epochs=9)
    assert len(history.train_loss) == 9


def test_without_a_stderr_nothing_is_shown(digits, monkeypatch):
    monkeypatch.setattr(sys, "stderr", None)
    net = tinycnn.CNN((1, 8, 8), channels=(2,), n_classes=10)
    assert len(tinycnn.fit(net, digits[0][:64], digits[1][:64], epochs=2).train_loss) == 2
    assert not isinstance(progress(), ProgressBar | ProgressLines)


class Terminal(io.StringIO):
    """A stream that says that it is a terminal."""

    def isatty(self):
        return True


def test_reading_is_counted_on_a_terminal_where_it_takes_long(monkeypatch):
    monkeypatch.setattr(streams, "FIRST_COUNT", 0.0)
    monkeypatch.setattr(sys, "stderr", Terminal())
    with streams.counting("reading pho\x1btos") as show:
        show(1, 30)
        show(2, 30)  # too soon after the first
        time.sleep(streams.NEXT_COUNT * 1.5)
        show(3, 30)
    shown = sys.stderr.getvalue()
    assert "\rreading pho\\x1btos: 1 of 30" in shown
    assert "2 of 30" not in shown
    assert "3 of 30" in shown
    assert shown.endswith(f"\r{streams.CLEAR_LINE}")
    for stream in (io.StringIO(), None):
        monkeypatch.setattr(sys, "stderr", stream)
        with streams.counting("reading") as show:
            show(1, 30)
        assert stream is None or stream.getvalue() == ""
