"""C in floats: compiled, called, and compared with the network."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from export_c import COMPILERS, Library, installed, run
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
from tinycnn.export import to_c
from tinycnn.export.c import TRANSLATIONS

pytestmark = pytest.mark.skipif(not installed("gcc"), reason="needs gcc")


def probabilities(
    net: tinycnn.CNN, folder: Path, images: np.ndarray, **arguments: Any
) -> np.ndarray:
    header = folder / "net.h"
    to_c(net, header, **arguments)
    n_classes = net.architecture.n_classes
    return Library(header, "net").call("predict_proba", images, n_classes, np.float32)


@pytest.mark.parametrize(
    ("case", "scaled"), [*((case, True) for case in CASES), ("colour", False), ("one block", False)]
)
def test_probabilities_equal_the_networks(case: str, scaled: bool, tmp_path: Path) -> None:
    net = make_net(case, scaled)
    assert worst_difference(lambda x: probabilities(net, tmp_path, x), net, make_images(net)) < 1e-5


def test_classes_logits_and_names(tmp_path: Path) -> None:
    names = ['"a"\\', "??/ größer", "*/ \n<b>", "日本"]
    net = make_net("colour", class_names=names)
    to_c(net, tmp_path / "net.h")
    library, images = Library(tmp_path / "net.h", "net"), make_images(net)
    np.testing.assert_array_equal(library.predict(images), net.predict(images))
    logits = library.call("logits", images, 4, np.float32)
    np.testing.assert_allclose(logits, net.logits(images), atol=1e-5)
    assert library.class_names(4) == names


@pytest.mark.parametrize("case", ["padded block", "colour", "one block", "pooled image"])
def test_floats_and_uint16_enter_as_they_are(case: str, tmp_path: Path) -> None:
    net = make_net(case)
    floats = make_images(net).astype(np.float32) / 255
    given = probabilities(net, tmp_path, floats, input="float32")
    np.testing.assert_allclose(given, net.predict_proba(floats), atol=1e-5)
    net.set_scaling(net.input_mean * 65535, net.input_std * 65535)
    wide, folder = make_images(net).astype(np.uint16) * 257, tmp_path / "wide"
    folder.mkdir()
    given = probabilities(net, folder, wide, input="uint16")
    np.testing.assert_allclose(given, net.predict_proba(wide), atol=1e-5)


@pytest.mark.parametrize("case", ["padded block", "pooled image"])
def test_a_mean_between_two_bytes_is_exact_at_the_border(case: str, tmp_path: Path) -> None:
    net = make_net(case)
    net.set_scaling(net.input_mean + 0.0017, net.input_std)
    assert worst_difference(lambda x: probabilities(net, tmp_path, x), net, make_images(net)) < 1e-5


def test_relu_before_all_weights_sees_scaled_pixels(tmp_path: Path) -> None:
    layers = [ReLU(), Conv(3, padding=1), MaxPool(), Flatten(), Linear(4)]
    net = make_net(((3, 6, 6), layers), dtype="float64")
    assert worst_difference(lambda x: probabilities(net, tmp_path, x), net, make_images(net)) < 1e-5


def test_a_block_streamed_into_the_last_layer_needs_no_memory(tmp_path: Path) -> None:
    assert to_c(make_net("one block"), tmp_path / "net.h") == (1816, 0)
    sizes = to_c(make_net("colour"), tmp_path / "net.h")
    text = (tmp_path / "net.h").read_text()
    assert f"#define NET_SCRATCH_BYTES {sizes.scratch_bytes} " in text
    assert f"#define NET_TABLE_BYTES {sizes.table_bytes} " in text


MAIN = """
#include "cats.h"
#include "dogs_test.h"
#include "cats_test.h"
int main(void)
{
    static cats_logit scratch[CATS_SCRATCH_BYTES / sizeof(cats_logit)];
    cats_logit logits[CATS_CLASSES];
    static const cats_pixel image[CATS_PIXELS] = {0};
    cats_logits_in(image, scratch, logits);
    return cats_test() + dogs_test();
}
"""


@pytest.mark.parametrize("quantized", [False, True])
@pytest.mark.parametrize("compiler", COMPILERS)
def test_two_networks_in_one_program_without_warnings(
    compiler: str, quantized: bool, tmp_path: Path
) -> None:
    if not installed(compiler):
        pytest.skip(f"needs {compiler}")
    for name, case in (("cats", "colour"), ("dogs", "no ReLU")):
        net: Any = make_net(case)
        images = make_images(net, 3)
        if quantized:
            net = tinycnn.quantize(net, images)
        to_c(net, tmp_path / f"{name}.h", layout="source", examples=images)
    (tmp_path / "main.c").write_text(MAIN)
    sources = [tmp_path / file for file in ("main.c", "cats.c", "dogs.c")]
    if compiler in ("arm-none-eabi-gcc", "avr-gcc"):
        for source in sources:
            run([compiler, *COMPILERS[compiler], "-Os", "-c", source], folder=tmp_path)
        return
    run([compiler, *COMPILERS[compiler], "-O2", *sources, "-lm", "-o", tmp_path / "main"])
    run([tmp_path / "main"])


def test_a_wrong_weight_fails_the_test_header(tmp_path: Path) -> None:
    net = make_net("colour")
    to_c(net, tmp_path / "cats.h", layout="source", examples=make_images(net, 3))
    net.flat += 0.01
    to_c(net, tmp_path / "cats.h", layout="source")
    (tmp_path / "main.c").write_text(
        '#include "cats_test.h"\nint main(void) {return !cats_test();}'
    )
    run(["gcc", tmp_path / "main.c", tmp_path / "cats.c", "-lm", "-o", tmp_path / "main"])
    run([tmp_path / "main"])


def test_arduino_library_has_its_folders(tmp_path: Path) -> None:
    net = make_net("one block")
    to_c(net, tmp_path / "lib", name="pets", layout="arduino", examples=make_images(net, 2))
    files = sorted(str(p.relative_to(tmp_path / "lib")) for p in tmp_path.rglob("*") if p.is_file())
    assert files == [
        "examples/Predict/Predict.ino",
        "library.properties",
        "src/pets.c",
        "src/pets.h",
        "src/pets_test.h",
    ]


def test_a_layer_of_ones_own_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"avgpool1: AvgPool\(\) has no translation to C"):
        to_c(make_net(AVERAGED), tmp_path / "net.h")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("case", [AVERAGED, AVERAGED_FIRST])
def test_a_layer_brings_its_own_translation(
    case: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TRANSLATIONS, "_of", dict(TRANSLATIONS._of))

    @TRANSLATIONS.register(AvgPool)
    def average(call: Any, writer: Any) -> list[str]:
        (C, H, W), (_, P, Q) = call.source.shape, call.target.shape
        return [
            "int c, p, q;",
            f"for (c = 0; c < {C}; c++)",
            f"    for (p = 0; p < {P}; p++)",
            f"        for (q = 0; q < {Q}; q++) {{",
            f"            const float *v = x + (c * {H} + 2 * p) * {W} + 2 * q;",
            f"            *y++ = (v[0] + v[1] + v[{W}] + v[{W + 1}]) / 4;",
            "        }",
        ]

    net = make_net(case)
    assert worst_difference(lambda x: probabilities(net, tmp_path, x), net, make_images(net)) < 1e-5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "2cats"}, "name: must be an identifier"),
        ({"name": "a__b"}, "name: C.. reserves"),
        ({"name": "größe"}, "name: must be an identifier"),
        ({"layout": "zip"}, "layout: must be"),
        ({"input": "int8"}, "input: must be"),
    ],
)
def test_wrong_arguments_are_refused(arguments: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        to_c(make_net("one block"), tmp_path / "net.h", **arguments)
    assert not list(tmp_path.iterdir())


def test_a_file_name_that_is_no_identifier_asks_for_a_name(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="name: must be an identifier"):
        to_c(make_net("one block"), tmp_path / "my-net.h")
    with pytest.raises(TypeError, match=r"net: must be a tinycnn\.CNN"):
        to_c(3, tmp_path / "net.h")  # type: ignore[arg-type]


def test_tables_too_large_for_an_avr_are_refused_by_its_compiler(tmp_path: Path) -> None:
    if not shutil.which("avr-gcc"):
        pytest.skip("needs avr-gcc")
    net = make_net(((1, 60, 60), [Flatten(), Linear(10)]))
    to_c(net, tmp_path / "net.h", layout="source")
    with pytest.raises(AssertionError, match="a table of 144000 bytes: AVR"):
        run(["avr-gcc", *COMPILERS["avr-gcc"], "-c", tmp_path / "net.c"], folder=tmp_path)
