"""What exported networks need on small machines, and what eight bits cost.

    python benchmarks/export_sizes.py /usr/share/datasets/fashion-mnist

Two networks are trained on Fashion-MNIST and exported to C, in floats and in eight-bit integers:
accuracy on the 10,000 test images, bytes of weights and of scratch memory, instructions of an image
on a Cortex-M4 (QEMU, gcc -O2); of the small one also flash memory, RAM with the image in it, and
time of an image on an ATmega328P at 16 MHz (simavr, avr-gcc -Os). Test images must give the logits
that tinycnn computes. The Debian packages that it needs are named in tests/export_devices.py.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

import tinycnn
from tinycnn.data import Dataset
from tinycnn.export import to_c

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from export_devices import build_avr, run_avr, run_cortex_m, sizes
from test_export_devices import AVR_PREDICT

NETWORKS: dict[str, dict[str, Any]] = {
    "one block: 8": {"channels": (8,)},
    "three blocks: 32, 64, 128": {"channels": (32, 64, 128), "padding": [1, 0, 0]},
}
CALIBRATION_IMAGES, TEST_IMAGES = 100, 3
AVR_FLASH_BYTES, AVR_HZ = 32_768, 16e6


def main() -> None:
    """Print some lines for each network."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("data", help="the folder of Fashion-MNIST's IDX files")
    parser.add_argument("--epochs", type=int, default=8)
    arguments = parser.parse_args()
    train, test = tinycnn.load(arguments.data, "train"), tinycnn.load(arguments.data, "test")
    for name, description in NETWORKS.items():
        net = tinycnn.CNN((1, 28, 28), n_classes=10, **description)
        net.standardize(train.images)
        tinycnn.fit(net, train.images, train.labels, epochs=arguments.epochs, verbose=False)
        print(f"{name}: {net.flat.size:,} parameters")
        report("floats", net, test)
        report("8 bits", tinycnn.quantize(net, train.images[:CALIBRATION_IMAGES]), test)


def report(kind: str, net: tinycnn.CNN | tinycnn.QuantizedCNN, test: Dataset) -> None:
    """Print what a network needs."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        header, images = folder / "net.h", test.images[:TEST_IMAGES]
        needs = to_c(net, header, layout="source", examples=images)
        m4 = run_cortex_m(folder, "net", "M4")
        assert m4.failed == 0
        print(
            f"  {kind}: accuracy {net.score(test.images, test.labels):.2%}; "
            f"{needs.table_bytes:,} bytes of weights, {needs.scratch_bytes:,} of scratch memory; "
            f"{m4.cost:,} instructions on a Cortex-M4",
            flush=True,
        )
        if isinstance(net, tinycnn.QuantizedCNN) and needs.table_bytes < AVR_FLASH_BYTES:
            avr = run_avr(folder, "net")
            assert avr.failed == 0
            flash, ram = sizes(build_avr(folder, "net", AVR_PREDICT), "avr-size")
            print(
                f"    ATmega328P: {flash:,} bytes of flash memory, {ram:,} of RAM with the image, "
                f"{avr.cost / AVR_HZ:.2f} s",
                flush=True,
            )


if __name__ == "__main__":
    main()
