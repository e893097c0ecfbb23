"""Exported C on emulated microcontrollers: the logits that tinycnn computes, in every bit."""

from pathlib import Path
from typing import Any

import pytest
from export_cases import make_images, make_net
from export_devices import (
    ARM_TOOLS,
    AVR_TOOLS,
    CORTEX_M,
    build_avr,
    installed,
    run_avr,
    run_cortex_m,
    sizes,
)

import tinycnn
from tinycnn.export import to_c

needs_arm = pytest.mark.skipif(not installed(*ARM_TOOLS), reason=f"needs {', '.join(ARM_TOOLS)}")
needs_avr = pytest.mark.skipif(not installed(*AVR_TOOLS), reason=f"needs {', '.join(AVR_TOOLS)}")

CASES = ["colour", "no ReLU", "hidden layers", "pool before ReLU"]

# An image of 784 bytes in RAM, and its class.
AVR_PREDICT = """
#include "{name}.h"
static {name}_pixel image[{upper}_PIXELS];
int main(void) {{ return {name}_predict(image); }}
"""


def write(case: Any, folder: Path, quantized: bool) -> None:
    net: Any = make_net(case)
    images = make_images(net, 8)
    if quantized:
        net = tinycnn.quantize(net, images[2:5])  # others go beyond what was seen
    to_c(net, folder / "net.h", layout="source", examples=images)


@needs_arm
@pytest.mark.parametrize("core", CORTEX_M)
@pytest.mark.parametrize("case", CASES)
def test_integers_on_cortex_m(case: str, core: str, tmp_path: Path) -> None:
    write(case, tmp_path, quantized=True)
    report = run_cortex_m(tmp_path, "net", core)
    assert (report.failed, report.images) == (0, 8)


@needs_arm
@pytest.mark.parametrize("core", ["M4", "M7"])
def test_floats_on_cortex_m(core: str, tmp_path: Path) -> None:
    write("colour", tmp_path, quantized=False)
    assert run_cortex_m(tmp_path, "net", core).failed == 0


@needs_avr
@pytest.mark.parametrize("case", CASES)
def test_integers_on_avr(case: str, tmp_path: Path) -> None:
    write(case, tmp_path, quantized=True)
    report = run_avr(tmp_path, "net")
    assert (report.failed, report.images) == (0, 8)


@needs_arm
def test_instructions_of_an_image_do_not_grow(tmp_path: Path) -> None:
    """One block of 8 filters on 28 x 28 pixels; they depend on the weights through zeros alone."""
    net = tinycnn.CNN((1, 28, 28), channels=(8,), n_classes=10)
    images = make_images(net, 3)
    to_c(net, tmp_path / "net.h", layout="source", examples=images)
    assert run_cortex_m(tmp_path, "net", "M4").cost < 264_000


@needs_avr
def test_a_one_block_network_fits_a_small_avr(tmp_path: Path) -> None:
    net = tinycnn.CNN((1, 28, 28), channels=(8,), n_classes=10)
    assert net.flat.size == 13_610
    quantized = tinycnn.quantize(net, make_images(net))
    assert to_c(quantized, tmp_path / "net.h", layout="source").scratch_bytes == 0
    flash, ram = sizes(build_avr(tmp_path, "net", AVR_PREDICT), "avr-size")
    assert flash < 24_000
    assert ram < 1_200
