"""The example scripts run, as they stand, on data made here."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"


def test_own_images(tmp_path, rng):
    image_module = pytest.importorskip("PIL.Image")
    for label, name in enumerate(("upper", "lower")):
        (tmp_path / "pictures" / name).mkdir(parents=True)
        for i in range(20):
            picture = rng.integers(0, 60, (40, 36, 3), dtype=np.uint8)
            picture[20 * label : 20 * label + 20] += 150
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


def run_with_sklearn(name, folder, *arguments):
    """Run an example that needs scikit-learn; return what it prints."""
    pytest.importorskip("sklearn", minversion="1.6")
    result = subprocess.run(
        [sys.executable, EXAMPLES / name, *arguments],
        cwd=folder,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},  # on a busy machine, two hinder each other
        capture_output=True,
        text=True,
        check=True,
    )
    return result.stdout


def test_sklearn_digits(tmp_path):
    lines = run_with_sklearn("sklearn_digits.py", tmp_path).splitlines()
    accuracy = {line.split()[0]: float(line.split()[1].rstrip("%")) for line in lines}
    assert max(accuracy, key=accuracy.get) == "CNNClassifier"
    assert accuracy["CNNClassifier"] > 96


def test_sklearn_grid_search(tmp_path):
    output = run_with_sklearn("sklearn_grid_search.py", tmp_path)
    assert "best of 4: {" in output
    assert "'channels': (32,)" in output


@pytest.mark.slow
def test_sklearn_dask_search(tmp_path):
    pytest.importorskip("distributed")
    assert "best of 4: {" in run_with_sklearn("sklearn_dask_search.py", tmp_path)


def test_sklearn_calibration(tmp_path):
    pytest.importorskip("sklearn", minversion="1.8", reason="temperature scaling came with 1.8")
    before, after = run_with_sklearn("sklearn_calibration.py", tmp_path).splitlines()
    assert float(after.split()[-1]) < float(before.split()[-1])


def test_sklearn_plots(tmp_path):
    pytest.importorskip("matplotlib")
    output = run_with_sklearn("sklearn_plots.py", tmp_path, "picture.png")
    assert "digits are misclassified" in output
    assert (tmp_path / "picture.png").stat().st_size > 10_000


def test_plot_result(tmp_path):
    pytest.importorskip("matplotlib")
    subprocess.run(
        [sys.executable, EXAMPLES / "plot_result.py"],
        cwd=tmp_path,
        env={**os.environ, "MPLBACKEND": "Agg"},
        capture_output=True,
        check=True,
    )


@pytest.mark.parametrize("script", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.stem)
def test_every_example_has_a_test(script):
    assert f"test_{script.stem}" in globals()
