"""The benchmark room: its arithmetic, and a small run of the whole."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import tinycnn

ROOT = Path(__file__).parent.parent
sys.path.append(str(ROOT))  # last: the benchmarks are no package that is installed

from benchmarks import accuracy, plots  # noqa: E402
from benchmarks.experiments import Ratio, every_experiment  # noqa: E402
from benchmarks.measure import FailedError, interleave, ratios, sgemm_share  # noqa: E402
from benchmarks.peers import numpy_reference  # noqa: E402
from benchmarks.studies import Recipe, Study  # noqa: E402
from benchmarks.workloads import (  # noqa: E402
    Network,
    as_floats,
    initial_parameters,
    load_data,
    make_images,
    store_data,
    useful_flops,
)

EPOCH = "epoch-8f3x3-b128"


def run_benchmarks(output, *arguments, modules=None):
    """Run the command; return its JSON and what it printed. modules come before installed ones."""
    environment = dict(os.environ)
    if modules is not None:
        environment["PYTHONPATH"] = str(modules)
    command = [sys.executable, str(ROOT / "benchmarks" / "run.py"), "--output", str(output)]
    run = subprocess.run(
        [*command, "--images", "300", "--repeats", "1", *arguments],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    return json.loads((output / "latest.json").read_text()), run.stdout


@pytest.fixture(scope="module")
def small_run(tmp_path_factory):
    """An epoch of tinycnn beside sgemm, with the folder of the results."""
    folder = tmp_path_factory.mktemp("results")
    results, printed = run_benchmarks(folder, "--only", EPOCH, "--peers", "tinycnn", "sgemm")
    return results, printed, folder


def test_json_holds_what_is_promised(small_run):
    results, _, _ = small_run
    assert results["failed"] == {}
    assert results["command"].startswith("python benchmarks/run.py --output")
    assert results["images"] == 300
    assert results["versions"]["numpy"] == np.__version__
    assert {"date", "cpu_model", "cpus_available", "architecture"} <= results["machine"].keys()
    (outcome,) = results["experiments"]
    assert outcome["name"] == EPOCH
    assert [row["name"] for row in outcome["contestants"]] == ["tinycnn", "sgemm 1024^3"]
    for row in outcome["contestants"]:
        assert len(row["seconds"]) == outcome["repeats"] == 1
        assert row["median"] == row["min"] == row["seconds"][0] > 0
        assert row["threads"] == 1


def test_the_epoch_was_run_and_is_compared_with_sgemm(small_run):
    results, printed, _ = small_run
    (outcome,) = results["experiments"]
    medians = {row["name"]: row["median"] for row in outcome["contestants"]}
    assert 0 < outcome["contestants"][0]["check"] <= 1
    rate = useful_flops(Network((8,), 3)) * 300 / medians["tinycnn"]
    assert outcome["sgemm"]["fraction"] == pytest.approx(
        rate / (2 * 1024**3 / medians["sgemm 1024^3"])
    )
    assert "sgemm" in printed


def test_markdown_holds_the_same_table(small_run):
    results, _, folder = small_run
    text = (folder / "latest.md").read_text()
    assert results["experiments"][0]["title"] in text
    assert "| tinycnn |" in text
    assert results["command"] in text


def test_a_missing_peer_is_skipped_and_named(tmp_path):
    (tmp_path / "torch.py").write_text("raise ImportError('torch is not there')")
    results, printed = run_benchmarks(
        tmp_path / "results",
        *("--only", EPOCH, "--peers", "pytorch", "sgemm"),
        modules=tmp_path,
    )
    for name in ("PyTorch plain", "PyTorch channels_last"):
        assert results["skipped"][name] == "torch is not there"
    assert "skipped: PyTorch plain; PyTorch channels_last (torch is not there)" in printed


def test_all_run_once_in_each_repeat_in_rotating_order():
    order = []

    def runner(name):
        return lambda: order.append(name) or float(len(order))

    seconds = interleave({name: runner(name) for name in "abc"}, 3, {})
    assert "".join(order) == "abc" + "bca" + "cab" + "abc"  # the first to warm up
    assert seconds == {"a": [6.0, 8.0, 10.0], "b": [4.0, 9.0, 11.0], "c": [5.0, 7.0, 12.0]}


def test_who_fails_drops_out_and_is_named():
    def fail():
        raise FailedError("too hot")

    failed = {}
    assert interleave({"a": fail, "b": lambda: 1.0}, 2, failed) == {"b": [1.0, 1.0]}
    assert failed == {"a": "too hot"}


def test_ratios_take_the_best_variant_and_leave_out_what_was_not_measured():
    wanted = (Ratio("best", ("x", "y"), ("z",)), Ratio("never", ("w",), ("z",)))
    assert ratios(wanted, {"x": 6.0, "y": 3.0, "z": 2.0}) == {"best": 1.5}
    assert sgemm_share(100, {"tinycnn": 1.0}) == {}


def test_ratios_are_ratios_of_medians(monkeypatch, tmp_path):
    from benchmarks import measure

    seconds = {"1 thread": [4.0, 4.0, 100.0], "2 threads": [1.0, 2.0, 2.0]}

    class Worker:
        scale, facts, extra_peak_bytes, page_faults, check = 1.0, {}, 0, 0, None

        def __init__(self, contestant, folder):
            self.times = iter([50.0, *seconds[contestant.name]])
            self.run = lambda: next(self.times)
            self.close = lambda: None

    monkeypatch.setattr(measure, "Worker", Worker)
    monkeypatch.setattr(measure, "why_not_here", lambda contestant: None)
    (experiment,) = (e for e in every_experiment(300) if e.name == "threads-b32")
    outcome = measure.measure_experiment(experiment, tmp_path, 3)
    assert [row["median"] for row in outcome["contestants"]] == [4.0, 2.0]
    assert [row["min"] for row in outcome["contestants"]] == [4.0, 1.0]
    assert outcome["ratios"] == {"1 thread / 2 threads": 2.0}


def test_useful_flops_of_a_network_counted_by_hand():
    # 28 -> 26 -> 13: forward 2*8*9 * 4*13*13, weight gradient a quarter, linear 3 * 2*1352*10
    assert useful_flops(Network((8,), 3)) == 97_344 + 24_336 + 81_120
    # 12 -> 8 -> 4, second block: forward 2*16*8*25 * 4*4*4, two gradients of a quarter each
    first = 2 * 8 * 25 * 5 * 12 * 12
    assert useful_flops(Network((8, 16), 5)) == first + 2 * 16 * 8 * 25 * 6 * 16 + 3 * 2 * 256 * 10


def test_names_of_experiments_differ_and_so_do_those_of_contestants():
    for n_images in (300, 1024, 60_000):
        experiments = every_experiment(n_images)
        assert len({e.name for e in experiments}) == len(experiments)
        for experiment in experiments:
            names = [contestant.name for contestant in experiment.contestants]
            assert len(set(names)) == len(names)


def test_generated_images_are_half_empty_and_repeat_beyond_their_number(tmp_path):
    images, labels = make_images(500)
    assert images.shape == (500, 1, 28, 28)
    assert 0.4 < np.mean(images == 0) < 0.6
    assert set(labels) == set(range(10))
    assert store_data(tmp_path, 500, None) == 500
    more_images, more_labels = load_data(tmp_path, 1100)
    np.testing.assert_array_equal(more_images[500:1000], images)
    np.testing.assert_array_equal(more_labels[1000:], labels[:100])


@pytest.mark.parametrize("network", [Network((4,), 3), Network((3, 5), 5)])
def test_the_numpy_reference_trains_as_tinycnn_does(network):
    images, labels = make_images(40)
    expected = initial_parameters(network)
    numpy_reference.run_part(expected, network, as_floats(images), labels, 40)
    net = tinycnn.CNN((1, 28, 28), network.channels, network.kernel_size, 10)
    for name, value in initial_parameters(network).items():
        net.parameters[name][...] = value
    optimizer = tinycnn.SGD(lr=0.05, momentum=0.0)
    tinycnn.fit(net, images, labels, epochs=1, batch_size=40, optimizer=optimizer, verbose=False)
    for name, value in net.parameters.items():
        np.testing.assert_allclose(value, expected[name], rtol=1e-4, atol=1e-5)


def test_a_study_of_accuracy_over_seeds(tmp_path, rng, monkeypatch):
    images = rng.integers(0, 60, (60, 8, 8), dtype=np.uint8)
    labels = (np.arange(60) % 2).astype(np.uint8)
    images[labels == 1, :4] += 150
    write_idx(tmp_path / "train-images-idx3-ubyte", images)
    write_idx(tmp_path / "train-labels-idx1-ubyte", labels)
    study = Study("Halves", (Recipe((4,), 3, 5, 0.05, flip=True),), n_seeds=3, test_images=20)
    monkeypatch.setitem(accuracy.STUDIES, "halves", study)
    assert accuracy.main(["halves", str(tmp_path), "--output", str(tmp_path)]) == 0
    results = json.loads((tmp_path / "accuracy-halves.json").read_text())
    assert (results["train_images"], results["test_images"]) == (40, 20)
    [row] = results["recipes"]
    assert len(row["runs"]) == 3
    assert row["accuracy_mean"] == 100
    page = (tmp_path / "accuracy-halves.md").read_text()
    assert "| (4) 3x3, 5 epochs | 114 | 100.00 |" in page
    assert ("](accuracy-halves.png)" in page) == (tmp_path / "accuracy-halves.png").exists()


def test_a_plot_of_accuracies(tmp_path):
    pytest.importorskip("matplotlib")
    names = {"title": "(4) 3x3, 5 epochs", "accuracy_std": 0.1}
    rows = [{**names, "seconds_median": s, "accuracy_mean": 90.0 + s} for s in (1.0, 2.0)]
    machine = {"cpu_model": "A CPU", "date": "2026-11-22T20:00:20+00:00"}
    results = {"recipes": rows, "threads": 2, "machine": machine, "versions": {"tinycnn": "0.1.0"}}
    plots.draw_accuracies(results, tmp_path / "accuracy.png")
    assert (tmp_path / "accuracy.png").read_bytes().startswith(b"\x89PNG")


def write_idx(path, array):
    header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
    path.write_bytes(header + array.tobytes())
