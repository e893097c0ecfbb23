"""Pages: their engine in Node, and whole in a headless browser."""

import html
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from export_c import installed
from export_cases import (
    AVERAGED,
    AVERAGED_FIRST,
    CASES,
    AvgPool,
    make_images,
    make_net,
    worst_difference,
)
from export_page import browser, probabilities_of, visit

import tinycnn
from tinycnn.export import to_html
from tinycnn.export.html import TRANSLATIONS, PageLayer

needs_node = pytest.mark.skipif(not installed("node"), reason="needs node")
needs_browser = pytest.mark.skipif(not browser(), reason="needs chromium")


def as_floats(images: np.ndarray) -> np.ndarray:
    return images.astype(np.float32) / np.float32(255)


def computed(net: tinycnn.CNN, folder: Path, images: np.ndarray) -> np.ndarray:
    to_html(net, folder / "net.html")
    return probabilities_of(folder / "net.html", as_floats(images))


@needs_node
@pytest.mark.parametrize("case", CASES)
def test_probabilities_equal_the_networks(case: str, tmp_path: Path) -> None:
    net = make_net(case)
    assert worst_difference(lambda x: computed(net, tmp_path, x), net, make_images(net)) < 1e-5


@needs_node
@pytest.mark.parametrize("case", [AVERAGED, AVERAGED_FIRST])
def test_a_layer_brings_its_own_translation(
    case: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    net = make_net(case)
    with pytest.raises(ValueError, match=r"avgpool1: AvgPool\(\) has no translation to a page"):
        to_html(net, tmp_path / "net.html")
    monkeypatch.setattr(TRANSLATIONS, "_of", dict(TRANSLATIONS._of))

    @TRANSLATIONS.register(AvgPool)
    def average(step: Any) -> PageLayer:
        forward = """(x, { inputShape: [, H, W], outputShape: [C, P, Q] }) =>
          Float32Array.from({ length: C * P * Q }, (_, at) => {
            const c = Math.floor(at / (P * Q)), p = Math.floor(at / Q) % P, q = at % Q;
            const v = (c * H + 2 * p) * W + 2 * q;
            return (x[v] + x[v + 1] + x[v + W] + x[v + W + 1]) / 4;
          })"""
        return PageLayer("the mean of each 2 × 2 window", forward=forward)

    assert worst_difference(lambda x: computed(net, tmp_path, x), net, make_images(net)) < 1e-5


# Every layer, in grey and in colour; the last has names that must not end the script.
NAMES = ["</script><script>alert(1)</script>", "&lt;", "größer", '"']
PAGES: dict[str, Any] = {
    "one block": {},
    "colour": {"class_names": NAMES},
    "hidden layers": {},
    "convs without pool": {},
    "pooled image": {},
}


@needs_browser
@pytest.mark.parametrize("case", PAGES)
def test_the_page_tests_itself_and_asks_for_nothing(case: str, tmp_path: Path) -> None:
    net = make_net(case, **PAGES[case])
    images = make_images(net, 5)
    to_html(
        net, tmp_path / "net.html", title="<b> & co", examples=images, labels=net.predict(images)
    )
    visited = visit(tmp_path / "net.html", tmp_path)
    assert visited.text("self-test").startswith("self-test passed: 5 images")
    assert visited.requests == []
    assert "&lt;b&gt; &amp; co" in visited.html
    best = net.class_names[int(net.predict(images[:1])[0])]
    assert html.unescape(visited.text("verdict")).startswith(best)


@needs_browser
def test_a_page_of_other_weights_says_that_it_failed(tmp_path: Path) -> None:
    net = make_net("one block")
    to_html(net, tmp_path / "net.html")
    page = (tmp_path / "net.html").read_text()
    bias = re.search(r'"bias": "([^"]*)"', page)
    assert bias
    (tmp_path / "net.html").write_text(page.replace(bias.group(1), "AACAPwAAgD8AAIA/AACAPwAAgD8="))
    assert visit(tmp_path / "net.html", tmp_path).text("self-test").startswith("self-test FAILED")


@needs_browser
def test_requests_would_be_seen(tmp_path: Path) -> None:
    (tmp_path / "net.html").write_text('<body><img src="http://example.invalid/x.png"></body>')
    assert visit(tmp_path / "net.html", tmp_path).requests == ["http://example.invalid/x.png"]


@needs_browser
def test_every_value_of_every_layer_can_be_looked_into(tmp_path: Path) -> None:
    net = make_net("colour")
    to_html(net, tmp_path / "net.html", examples=make_images(net, 2))
    script = """
      setTimeout(() => {
        const wrong = [];
        cards.forEach((card, layer) => {
          if (hidden(card)) return;
          const [K, H, W] = card.isMaps ? card.shape : [card.shape[0], 1, 1];
          for (let k = 0; k < K; k++) for (let i = 0; i < H; i++) for (let j = 0; j < W; j++) {
            choose({ layer, k, i, j });
            const shown = document.querySelector(".inspector .result b").textContent;
            const value = number(state.outputs[layer][(k * H + i) * W + j]);
            if (shown !== value && layer) wrong.push([layer, k, i, j, shown, value]);
          }
        });
        document.getElementById("colophon").textContent = "wrong: " + JSON.stringify(wrong);
      }, 500);
    """
    visited = visit(tmp_path / "net.html", tmp_path, script)
    assert visited.text("colophon") == "wrong: []"


@needs_browser
def test_maps_are_walked_with_the_keyboard(tmp_path: Path) -> None:
    net = make_net("colour")
    to_html(net, tmp_path / "net.html", examples=make_images(net, 2))
    script = """
      const canvas = cards[1].maps[2].canvas;
      for (const key of ["Enter", "ArrowRight", "ArrowDown", "ArrowDown"])
        canvas.dispatchEvent(new KeyboardEvent("keydown", { key }));
      const title = document.querySelector(".inspector h3").textContent;
      document.getElementById("colophon").textContent = title;
    """
    text = visit(tmp_path / "net.html", tmp_path, script).text("colophon")
    assert text == "conv1: map 3, row 6, column 7"


@needs_browser
def test_the_parts_that_the_inspector_shows_add_up(tmp_path: Path) -> None:
    """Conv: what is summed in the browser, in double precision, is what the layer gave."""
    net = make_net("two paddings")
    to_html(net, tmp_path / "net.html", examples=make_images(net, 2))
    script = """
      setTimeout(() => {
        choose({ layer: 4, k: 2, i: 0, j: 3 });
        const text = document.querySelector(".inspector .result").textContent;
        document.getElementById("colophon").textContent = text;
      }, 500);
    """
    text = visit(tmp_path / "net.html", tmp_path, script).text("colophon")
    total, bias, value = (float(number) for number in re.findall(r"-?\d+\.\d+", text))
    assert total + bias == pytest.approx(value, abs=0.011)


# Each ends in an image that is neither the black paper nor the example.
WAYS_IN = {
    "drawn with the mouse": """
      const at = (type, x, y) => pad.dispatchEvent(new PointerEvent(type, {
        pointerId: 1, clientX: box.left + x * box.width, clientY: box.top + y * box.height }));
      pad.setPointerCapture = () => {};
      at("pointerdown", 0.2, 0.2); at("pointermove", 0.8, 0.8); at("pointerup", 0.8, 0.8);""",
    "drawn with the keyboard": """
      for (let i = 0; i < 4; i++)
        pad.dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowRight", shiftKey: true }));""",
    "dropped": """
      const canvas = element("canvas", { width: 40, height: 30 });
      canvas.getContext("2d").fillStyle = "#c04080";
      canvas.getContext("2d").fillRect(5, 5, 20, 20);
      canvas.toBlob((blob) => {
        const files = new DataTransfer();
        files.items.add(new File([blob], "picture.png", { type: "image/png" }));
        document.dispatchEvent(new DragEvent("drop", { dataTransfer: files }));
      });""",
}


@needs_browser
@pytest.mark.parametrize("way", WAYS_IN)
def test_images_come_in(way: str, tmp_path: Path) -> None:
    net = make_net("colour")
    to_html(net, tmp_path / "net.html")
    script = f"""
      const pad = document.getElementById("pad"), box = pad.getBoundingClientRect();
      {WAYS_IN[way]}
      setInterval(() => {{  // a busy machine takes its time to decode a picture
        const seen = document.getElementById("seen").getContext("2d");
        const {{ data }} = seen.getImageData(0, 0, 12, 9);
        document.getElementById("colophon").textContent = String(new Set(data).size);
      }}, 200);
    """
    # On a busy machine the page may end before the browser has decoded the picture.
    visits = (visit(tmp_path / "net.html", tmp_path, script) for _ in range(4))
    assert any(int(page.text("colophon")) > 2 for page in visits)


@needs_browser
def test_pictures_are_resized_as_pillow_does_it(tmp_path: Path) -> None:
    from PIL import Image

    net = make_net(((3, 9, 12), [tinycnn.Flatten(), tinycnn.Linear(4)]))
    to_html(net, tmp_path / "net.html")
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 256, (31, 50, 3), np.uint8)
    expected = np.asarray(Image.fromarray(picture).resize((12, 9), Image.Resampling.BILINEAR))
    script = f"""
      const bytes = Uint8Array.from({picture[:, :, 0].reshape(-1).tolist()});
      document.getElementById("colophon").textContent = Array.from(resized(bytes, 31, 50, 9, 12));
    """
    given = visit(tmp_path / "net.html", tmp_path, script).text("colophon").split(",")
    np.testing.assert_array_equal(np.array(given, int).reshape(9, 12), expected[:, :, 0])


@needs_browser
@pytest.mark.parametrize("scale", [1.0, 5000.0])
def test_examples_of_floats_are_kept_as_they_are(scale: float, tmp_path: Path) -> None:
    net = make_net("one block")
    net.set_scaling(net.input_mean * scale, net.input_std * scale)
    images = as_floats(make_images(net, 4)) * np.float32(scale)
    to_html(net, tmp_path / "net.html", examples=images)
    assert visit(tmp_path / "net.html", tmp_path).text("self-test").startswith("self-test passed")


def test_wrong_examples_are_refused(tmp_path: Path) -> None:
    net = make_net("one block")
    images = make_images(net, 61)
    for arguments, message in (
        ({"examples": images}, "examples: a page takes 60 at most, got 61"),
        ({"examples": images[:, :, :3]}, "examples: this network takes images of shape"),
        ({"examples": images[:2], "labels": [1]}, "labels: 2 images need as many labels"),
        ({"examples": images[:1], "labels": [9]}, "labels: labels must be whole numbers"),
        ({"labels": [1]}, "labels: there are no examples"),
    ):
        with pytest.raises(ValueError, match=message):
            to_html(net, tmp_path / "net.html", **arguments)  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())


def test_the_page_allows_no_request(tmp_path: Path) -> None:
    to_html(make_net("one block"), tmp_path / "net.html")
    page = (tmp_path / "net.html").read_text()
    assert "default-src 'none'" in page
    assert "http://" not in page
    assert "https://" not in page
    model = re.search(r'type="application/json">(.*?)</script>', page, re.S)
    assert model
    assert json.loads(model.group(1))["imageShape"] == [1, 12, 11]
