"""The report: one page that stands alone, says what is so, and shows nothing that it should not."""

import base64
import html
import io
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from browser_checks import NOTHING, WAYS, look_at
from conftest import QUICK, small_net
from PIL import Image

import tinycnn
from tinycnn.cli import main
from tinycnn.evaluation import assess
from tinycnn.files.model import load_notes
from tinycnn.inspection import multiply_adds
from tinycnn.report import Background, write_report
from tinycnn.report.charts import curves
from tinycnn.report.markup import as_bytes, png

VOID = {"meta", "img", "br", "link", "input", "hr"}
HISTORY = {
    "train_loss": [2.0, 0.5, 0.25],
    "validation_loss": [2.1, 0.7, 0.75],
    "validation_accuracy": [0.5, 0.9, 0.875],
}


class Page(HTMLParser):
    """A page's elements and texts; notices what is opened and not closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())


@pytest.fixture(scope="module")
def trained(digits):
    images, labels = digits
    net = small_net()
    tinycnn.fit(net, images[:600], labels[:600], **QUICK)
    return net, images[600:800], labels[600:800]


def write(tmp_path: Path, net, images, labels, background=None) -> Page:
    write_report(net, images, labels, tmp_path / "report.html", background=background)
    return Page((tmp_path / "report.html").read_text(encoding="utf-8"))


def test_the_page_says_what_was_measured(tmp_path, trained):
    net, *_ = trained
    page, result = write(tmp_path, *trained), assess(*trained)
    low, high = result.interval
    assert f"{result.accuracy:.1%} of 200 test images are right" in page.text
    assert f"{low:.1%} to {high:.1%}, with 95% confidence" in page.text
    assert f"{result.majority_share:.1%}" in page.text
    [matrix] = re.findall(
        r'<table class="matrix">.*?</table>', (tmp_path / "report.html").read_text()
    )
    fields = np.array([int(n) for n in re.findall(r">(\d+)</td>", matrix)])
    np.testing.assert_array_equal(fields.reshape(10, 10), result.confusion())
    n_wrong = result.n_images - result.n_right
    pictures = [each["alt"] for each in page.all("img")]
    assert sum("taken for" in alt for alt in pictures) == min(24, n_wrong)
    work = sum(multiply_adds(step) for step in net.architecture.steps)
    assert f"{net.flat.size:,} {work:,}" in page.text


def test_precision_and_recall_are_those_of_scikit_learn(tmp_path, trained):
    metrics = pytest.importorskip("sklearn.metrics")
    net, images, labels = trained
    text = write(tmp_path, *trained).text
    predicted = net.predict(images)
    precision = metrics.precision_score(labels, predicted, average=None)
    recall = metrics.recall_score(labels, predicted, average=None)
    for label in range(10):
        row = f"{label} {(labels == label).sum()} {precision[label]:.1%} {recall[label]:.1%}"
        assert row in text


def test_the_page_stands_alone(tmp_path, trained):
    page = write(tmp_path, *trained)
    sources = [each.get("src", "") for tag in ("img", "script", "iframe") for each in page.all(tag)]
    assert all(source.startswith("data:") for source in sources if source)
    assert page.all("link") == []
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert not re.search(r"(?:src|href)=\"(?!data:|#)|url\(|@import", text)


def test_names_from_strangers_stay_text(tmp_path, trained):
    net, images, labels = trained
    evil = ['<script>alert("1")</script>', "a\u202eb", "&amp;", "'", "\n", *"56789"]
    background = Background(
        title=evil[0],
        data=evil[0],
        training={evil[0]: evil[0]},
        command=evil[0],
        cautions=[evil[0]],
        notes=[evil[0]],
        model=evil[0],
    )
    before, net.class_names = net.class_names, tuple(evil)
    try:
        page = write(tmp_path, net, images, labels, background)
    finally:
        net.class_names = before
    assert page.all("script") == []
    assert "\u202e" not in (tmp_path / "report.html").read_text(encoding="utf-8")
    assert evil[0] in page.text


def test_everything_it_is_told_stands_there(tmp_path, trained):
    background = Background(
        title="Numbers",
        model="numbers.npz",
        data="my digits",
        measured_on="the test part",
        training={"epochs": "6"},
        command="tinycnn train my-digits",
        history=HISTORY,
        cautions=["only one writer"],
        notes=["3 files were passed over"],
        learned_from=np.array([4, 7]),
    )
    page = write(tmp_path, *trained, background)
    for said in (
        "Numbers",
        "numbers.npz",
        "my digits",
        "the test part",
        "tinycnn train my-digits",
        "only one writer",
        "3 files were passed over",
        "2 test images are, pixel for pixel",
    ):
        assert said in page.text
    labels = [each["aria-label"] for each in page.all("svg")]
    assert "Loss by epoch: training ends at 0.25; validation ends at 0.75" in labels


def test_curves_go_where_the_numbers_are():
    drawing = curves({"training": [4.0, 2.0, 0.0]}, "Loss")
    [points] = re.findall(r'<polyline class="line0" points="([^"]*)"', drawing)
    (x0, y0), (x1, y1), (x2, y2) = (map(float, point.split(",")) for point in points.split())
    assert x1 - x0 == x2 - x1
    assert y1 - y0 == pytest.approx(y2 - y1, abs=0.2)
    assert y0 < y1 < y2
    assert [float(n) for n in re.findall(r'text-anchor="end">([\d.]+)<', drawing)] == [
        0,
        1,
        2,
        3,
        4,
    ]


@pytest.mark.parametrize("values", [[0.5], [0.5, 0.5], [0.0, 0.0], [np.nan, 1.0], [1e-9, 1e9]])
def test_curves_of_few_or_strange_numbers(values):
    assert "nan" not in re.sub(r'aria-label="[^"]*"', "", curves({"a": values}, "Loss"))


def test_many_classes_are_listed_by_their_confusions(tmp_path, rng):
    net = small_net(n_classes=40)
    page = write(tmp_path, net, rng.random((80, 1, 8, 8)), np.arange(80) % 40)
    assert "The most frequent confusions" in page.text
    assert not any(each.get("class") == "matrix" for each in page.all("table"))


def test_a_network_that_is_always_right(tmp_path, trained):
    net, images, _ = trained
    page = write(tmp_path, net, images[:30], net.predict(images[:30]))
    assert "There are none." in page.text


def test_a_layer_that_the_live_page_does_not_know(tmp_path, rng):
    own = pytest.importorskip("own_layers")
    layers = [tinycnn.Conv(4), own.LeakyReLU(), tinycnn.Flatten(), tinycnn.Linear(3)]
    net = tinycnn.CNN((1, 6, 6), layers)
    page = write(tmp_path, net, rng.random((9, 1, 6, 6)), np.arange(9) % 3)
    assert "There is no live page of this network" in page.text
    assert page.all("iframe") == []


@pytest.mark.parametrize("channels", [1, 2, 3])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_images_of_every_kind_are_shown(channels, dtype, tmp_path, rng):
    images = rng.integers(0, 200, (6, channels, 5, 7)).astype(dtype)
    net = small_net((channels, 5, 7), n_classes=2)
    net.standardize(images)
    page = write(tmp_path, net, images, [0, 1] * 3)
    shown = [each["src"] for each in page.all("img")]
    assert shown
    image_module = pytest.importorskip("PIL.Image")
    for source in shown:
        content = base64.b64decode(source.removeprefix("data:image/png;base64,"))
        with image_module.open(io.BytesIO(content)) as picture:
            assert picture.size == (7, 5)
            assert picture.mode == ("RGB" if channels == 3 else "L")


def test_pictures_have_the_pixels_of_the_image(rng):
    image_module = pytest.importorskip("PIL.Image")
    for channels in (1, 3):
        image = rng.integers(0, 256, (channels, 5, 7), dtype=np.uint8)
        with image_module.open(io.BytesIO(png(as_bytes(image)))) as picture:
            pixels = np.asarray(picture).reshape(5, 7, channels)
        np.testing.assert_array_equal(pixels, image.transpose(1, 2, 0))


def test_what_does_not_fit_is_refused(tmp_path, trained):
    net, images, labels = trained
    with pytest.raises(ValueError, match="images need as many labels"):
        write(tmp_path, net, images, labels[:-1])
    with pytest.raises(ValueError, match=r"labels must be whole numbers in \[0, 10\)"):
        write(tmp_path, net, images, labels + 5)
    assert not (tmp_path / "report.html").exists()


# --------------------------------------------------------------------------------- tinycnn report


@pytest.fixture
def model(tmp_path, monkeypatch, capsys) -> Path:
    monkeypatch.chdir(tmp_path)
    options = "--epochs 3 --channels 4 --patience 3 --seed 5 --lr 0.02 --threads 1"
    assert main(["train", "-q", *options.split(), "-o", "model.npz"]) == 0
    capsys.readouterr()
    return Path("model.npz")


def test_a_report_of_a_model(model, capsys):
    assert main(["report", str(model)]) == 0
    assert "report on 359 images of the bundled digits written to report.html" in (
        capsys.readouterr().out
    )
    page = Page(Path("report.html").read_text(encoding="utf-8"))
    assert "what training held out" in page.text
    assert "No test image is, pixel for pixel" in page.text
    assert "1438 images of the bundled digits" in page.text
    assert sum("by epoch" in each["aria-label"] for each in page.all("svg")) == 2


def test_its_command_repeats_the_training_bit_for_bit(model):
    assert main(["report", str(model)]) == 0
    [command] = re.findall(r"<code>(tinycnn train .*?)</code>", Path("report.html").read_text())
    before = tinycnn.load_model(model).flat
    words = html.unescape(command).split()[1:]
    assert main([*words, "-q", "--threads", "1"]) == 0
    np.testing.assert_array_equal(tinycnn.load_model(model).flat, before)


def test_its_command_tells_how_the_data_were_read(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("photos").mkdir()
    for i in range(20):
        grey = 30 * (i % 2) + i
        Image.new("L", (8, 8), grey).save(f"photos/{i}_{'dark' if i % 2 else 'light'}.png")
    rule = ["--labels-from", "*_{label}.png"]
    assert main(["train", "photos", *rule, "-q", "--epochs", "1", "-o", "model.npz"]) == 0
    assert main(["report", "model.npz", "photos", *rule]) == 0
    [command] = re.findall(r"<code>(tinycnn train .*?)</code>", Path("report.html").read_text())
    assert "--labels-from '*_{label}.png' " in html.unescape(command)


def test_the_model_file_keeps_the_curves(model):
    history = load_notes(model)["history"]
    assert set(history) == {"train_loss", "validation_loss", "validation_accuracy"}
    assert {len(values) for values in history.values()} == {3}


def test_data_that_the_model_learned_from_are_found_again(tmp_path, monkeypatch, digits, capsys):
    monkeypatch.chdir(tmp_path)
    images, labels = digits
    np.savez("mine.npz", images=(images[:200] * 255).astype(np.uint8), labels=labels[:200])
    options = ["--epochs", "1", "--channels", "4", "-o", "model.npz"]
    assert main(["train", "mine.npz", "-q", *options]) == 0
    assert main(["report", "model.npz", "-o", "page.html"]) == 0
    assert "images of mine.npz written to page.html" in capsys.readouterr().out
    assert "--image-size 8 8" in Path("page.html").read_text()


def test_a_model_without_notes(tmp_path, monkeypatch, trained):
    monkeypatch.chdir(tmp_path)
    tinycnn.save_model(trained[0], "plain.npz")
    assert main(["report", "plain.npz"]) == 0
    text = Page(Path("report.html").read_text(encoding="utf-8")).text
    assert "does not tell how it was trained" in text
    assert "nobody can say" in text


def test_a_report_is_written_over_and_nothing_else(model, capsys):
    Path("letter.html").write_text("<p>Dear Ada</p>")
    assert main(["report", str(model), "-o", "letter.html"]) == 2
    assert "letter.html exists and is no report; choose another name" in capsys.readouterr().err
    assert Path("letter.html").read_text() == "<p>Dear Ada</p>"
    assert main(["report", str(model), "-o", "nowhere/report.html"]) == 2
    assert main(["report", str(model)]) == main(["report", str(model)]) == 0


# ------------------------------------------------------------------------------------ in a browser


@pytest.mark.slow
@pytest.mark.parametrize(("shade", "width"), WAYS)
def test_axe_finds_nothing_and_nothing_is_cut_off(shade, width, tmp_path, trained):
    background = Background(history=HISTORY, command="tinycnn train " + "--option value " * 20)
    write_report(*trained, tmp_path / "report.html", background=background)
    found = look_at(tmp_path / "report.html", shade, width)
    assert found == NOTHING


def test_a_report_needs_nothing_optional(model):
    blocked = ["matplotlib", "PIL", "sklearn", "onnx", "safetensors", "tqdm", "scipy"]
    code = (
        f"import sys; sys.modules.update(dict.fromkeys({blocked}))\n"
        "from tinycnn.cli import main; sys.exit(main(['report', 'model.npz']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
