"""The example scripts run, as they stand, on data made here."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"


def test_own_images(tmp_path, rng):
    image_module = pytest.importorskip("PIL.Image")
    for label, name in enumerate(("left", "right")):
        (tmp_path / "pictures" / name).mkdir(parents=True)
        for i in range(20):
            picture = rng.integers(0, 60, (40, 36, 3), dtype=np.uint8)
            picture[:, 18 * label : 18 * label + 18] += 150
            image_module.fromarray(picture).save(tmp_path / "pictures" / name / f"{i}.png")
    result = subprocess.run(
        [sys.executable, EXAMPLES / "own_images.py", tmp_path / "pictures"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "accuracy on 8 images held out: 100.0%" in result.stdout
    assert (tmp_path / "own_images.npz").exists()


def test_colour_shapes(tmp_path):
    options = ["--pictures", "400", "--epochs", "2"]
    result = subprocess.run(
        [sys.executable, EXAMPLES / "colour_shapes.py", *options],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    names = [line[:16].strip() for line in result.stdout.splitlines()[1:]]
    assert names == ["in colour", "in grey", "pixels shuffled"]


@pytest.mark.parametrize("script", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.stem)
def test_every_example_has_a_test(script):
    assert f"test_{script.stem}" in globals()
