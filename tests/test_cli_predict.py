"""``tinycnn predict``: what it takes and writes, and how it goes on after a bad file."""

import csv
import io
import json
import subprocess
import sys
import time

import numpy as np
import pytest
from cli_helpers import (
    halves,
    network_of_halves,
    only_line,
    run,
    run_apart,
    save_pictures,
    write_idx,
)

import tinycnn


@pytest.fixture(scope="module")
def net():
    """A network that tells bright left halves from bright right ones."""
    net = network_of_halves(epochs=12, class_names=["left", "right"])
    images, labels = halves(60, np.random.default_rng(0))
    assert net.score(images[:, None], labels) == 1
    return net


@pytest.fixture
def model(net, tmp_path):
    tinycnn.save_model(net, tmp_path / "m.npz")
    return tmp_path / "m.npz"


@pytest.fixture
def pictures(tmp_path, rng):
    """A folder with left/000.png, right/001.png, left/002.png, ..., twelve in all."""
    return save_pictures(tmp_path / "pictures", *halves(12, rng))


def lines_of(capsys):
    return capsys.readouterr().out.splitlines()


def test_a_line_an_image(model, pictures, capsys):
    files = [pictures / "left" / "000.png", pictures / "right" / "001.png"]
    assert run("predict", model, *files) == 0
    for line, file, name in zip(lines_of(capsys), files, ("left", "right"), strict=True):
        assert line.startswith(f"{file}: {name} (")
        assert line.endswith("%)")


def test_folders_and_patterns(model, pictures, capsys, monkeypatch):
    monkeypatch.chdir(pictures.parent)
    for source, n in (("pictures", 12), ("pictures/left", 6), ("pictures/*/00*.png", 10)):
        assert run("predict", model, source) == 0
        lines = lines_of(capsys)
        assert len(lines) == n
        assert all(line.startswith("pictures/") for line in lines)
        assert all(line.split("/")[1] == line.split(": ")[1].split()[0] for line in lines)


def test_pictures_of_another_size_and_in_colour(model, tmp_path, rng, capsys):
    images, labels = halves(4, rng, side=16)
    save_pictures(tmp_path / "p", images[..., None].repeat(3, -1), labels)
    assert run("predict", model, tmp_path / "p") == 0
    assert [line.split(": ")[1].split()[0] for line in lines_of(capsys)] == [
        *("left", "left", "right", "right")
    ]


def test_arrays_with_labels_and_without(model, tmp_path, rng, capsys):
    images, labels = halves(20, rng)
    write_idx(tmp_path / "some-images-idx3-ubyte", images)
    np.save(tmp_path / "some.npy", images)
    np.savez(tmp_path / "some.npz", images=images, labels=labels)
    for name in ("some-images-idx3-ubyte", "some.npy", "some.npz"):
        assert run("predict", model, tmp_path / name) == 0
        lines = lines_of(capsys)
        assert lines[1].startswith(f"{tmp_path / name}[1]: right (")
        assert len(lines) == 20


@pytest.mark.parametrize("name", ["-", "/dev/stdin"])
def test_a_picture_on_standard_input(model, pictures, name):
    if name != "-" and sys.platform != "linux":
        pytest.skip("there is no /dev/stdin")
    picture = (pictures / "right" / "001.png").read_bytes()
    output = run_apart("predict", model, name, input=picture)
    assert output.stdout.decode().startswith("-: right (")
    assert output.returncode == 0


def test_names_on_standard_input(model, pictures):
    names = "\n".join(str(path) for path in sorted(pictures.rglob("*.png")))
    output = run_apart("predict", model, "-", input=names.encode())
    assert len(output.stdout.splitlines()) == 12


# ------------------------------------------------------------------------------------------ forms


def test_the_likeliest_classes(model, pictures, capsys):
    assert run("predict", model, pictures / "left" / "000.png", "--top", 5) == 0
    line = only_line(capsys.readouterr().out)
    assert line.split(": ")[1].startswith("left (")
    assert ", right (" in line


def test_csv_holds_what_the_network_says(model, net, pictures, capsys):
    assert run("predict", model, pictures, "--csv") == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    for row in rows:
        picture = tinycnn.data.read_image(row["image"], (1, 8, 8))
        expected = net.predict_proba(picture[None])[0]
        assert row["class"] == net.class_names[expected.argmax()]
        assert float(row["probability"]) == pytest.approx(expected.max(), rel=1e-5)
    assert len(rows) == 12
    assert run("predict", model, pictures, "--csv", "--top", 2) == 0
    header = lines_of(capsys)[0]
    assert header == "image,class_1,probability_1,class_2,probability_2"


def test_json_is_one_document(model, pictures, capsys):
    assert run("predict", model, pictures, "--json", "--top", 2) == 0
    told = json.loads(capsys.readouterr().out)
    assert [each["class"] for each in told] == ["left"] * 6 + ["right"] * 6
    for each in told:
        assert each["top"][0] == {"class": each["class"], "probability": each["probability"]}
        assert sum(part["probability"] for part in each["top"]) == pytest.approx(1)


@pytest.mark.parametrize("option", ["--csv", "--json"])
def test_csv_and_json_go_on_after_bad_files(model, pictures, capsys, option):
    (pictures / "left" / "001.png").write_bytes(b"no picture")
    assert run("predict", model, pictures, option) == 1
    output = capsys.readouterr()
    n = len(json.loads(output.out)) if option == "--json" else len(output.out.splitlines()) - 1
    assert n == 12
    assert len(output.err.splitlines()) == 2


def test_into_a_file(model, pictures, tmp_path, capsys):
    for name, parse in (
        ("p.json", json.loads),
        ("p.csv", str.splitlines),
        ("p.txt", str.splitlines),
    ):
        for _ in range(2):  # a file of predictions may be written again
            assert run("predict", model, pictures, "-o", tmp_path / name) == 0
            assert capsys.readouterr().out == ""
            assert len(parse((tmp_path / name).read_text())) == 12 + (name == "p.csv")


def test_a_file_of_another_kind_is_not_overwritten(model, pictures, tmp_path, capsys):
    for name, content in (("labels.csv", b"file,label\na,b\n"), ("a.png", b"\x89PNG\r\n")):
        (tmp_path / name).write_bytes(content)
        assert run("predict", model, pictures, "-o", tmp_path / name) == 2
        assert "exists and holds no predictions" in only_line(capsys.readouterr().err)
        assert (tmp_path / name).read_bytes() == content
    assert run("predict", model, pictures, "-o", tmp_path / "no" / "p.csv") == 2


def test_an_interrupted_file_is_not_there(model, pictures, tmp_path, capsys, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(tinycnn.CNN, "predict_proba", interrupted)
    assert run("predict", model, pictures, "-o", tmp_path / "p.csv") == 130
    assert only_line(capsys.readouterr().err).endswith("nothing was written")
    assert not list(tmp_path.glob("*p.csv*"))


# ------------------------------------------------------------------------------------ bad files


def test_what_cannot_be_read_is_named_and_counted(model, pictures, capsys):
    bad = pictures / "left" / "bad.png"
    bad.write_bytes(b"\x89PNG\r\n\x1a\nno")
    assert run("predict", model, pictures / "none.png", pictures, pictures / "*.jpg") == 1
    output = capsys.readouterr()
    assert len(output.out.splitlines()) == 12
    first, second, third, last = output.err.splitlines()
    assert f"{pictures / 'none.png'}: there is no such file" in first
    assert str(bad) in second
    assert "no file fits this pattern" in third
    assert last == "tinycnn: 3 of 15 could not be read"


def test_if_nothing_can_be_read_it_is_an_error(model, tmp_path, capsys):
    assert run("predict", model, tmp_path / "a.png") == 2
    assert "a.png" in only_line(capsys.readouterr().err)
    assert run("predict", model, tmp_path / "a.png", tmp_path / "b.png") == 2
    *each, last = capsys.readouterr().err.splitlines()
    assert [line.split(": ")[2] for line in each] == [str(tmp_path / n) for n in ("a.png", "b.png")]
    assert last == "tinycnn: error: none of 2 could be read"


def test_ink_on_paper_for_a_network_of_light_on_dark_is_warned_of(tmp_path, digits, capsys):
    image_module = pytest.importorskip("PIL.Image")
    net = tinycnn.CNN((1, 8, 8), channels=(2,), n_classes=10)
    net.standardize(digits[0])
    tinycnn.save_model(net, tmp_path / "m.npz")
    page = np.full((8, 8), 255, np.uint8)
    page[2:6, 4] = 0
    image_module.fromarray(page).save(tmp_path / "one.png")
    assert run("predict", tmp_path / "m.npz", *[tmp_path / "one.png"] * 3) == 0
    assert "black for white" in only_line(capsys.readouterr().err)


# ---------------------------------------------------------------------------------- many of them


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="measures memory as Linux tells it")
def test_ten_thousand_pictures_in_bounded_memory_at_2000_a_second(model, tmp_path, rng):
    image_module = pytest.importorskip("PIL.Image")
    (tmp_path / "many").mkdir()
    for i in range(10_000):
        pixels = rng.integers(0, 256, (28, 28), dtype=np.uint8)
        image_module.fromarray(pixels).save(tmp_path / "many" / f"{i:05}.png")
    code = (
        "import sys, time; from tinycnn.cli import main; start = time.process_time();"
        "code = main(sys.argv[1:]); status = open('/proc/self/status').read().split();"
        "peak = status[status.index('VmHWM:') + 1];"  # ru_maxrss begins at the parent's peak
        "print(time.process_time() - start, peak, file=sys.stderr); sys.exit(code)"
    )
    start = time.perf_counter()
    output = subprocess.run(
        [sys.executable, "-c", code, "predict", model, tmp_path / "many"],
        capture_output=True,
        text=True,
        check=True,
    )
    cpu_seconds, peak = map(float, output.stderr.split())
    assert len(output.stdout.splitlines()) == 10_000
    assert peak < 200_000, f"{peak} KB"
    # Of two CPUs; a busy machine makes the wall clock wait.
    assert cpu_seconds / 2 < 5, f"{cpu_seconds} s of CPU, {time.perf_counter() - start} s"
