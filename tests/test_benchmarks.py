"""The benchmark room: its arithmetic, and a small run of the whole."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parent.parent
sys.path.append(str(ROOT))  # last: the benchmarks are no package that is installed

from benchmarks import accuracy, compare, index, plots, report, run, steps  # noqa: E402
from benchmarks.experiments import Ratio, every_experiment  # noqa: E402
from benchmarks.kinds import RESULTS, cpu_kind  # noqa: E402
from benchmarks.measure import FailedError, interleave, ratios, sgemm_share  # noqa: E402
from benchmarks.networks import (  # noqa: E402
    architecture_of,
    blocks,
    two_convs_one_pool,
    useful_flops,
)
from benchmarks.peers import CannotTakePartError, adapter  # noqa: E402
from benchmarks.studies import Recipe, Study  # noqa: E402
from benchmarks.workloads import (  # noqa: E402
    load_data,
    make_images,
    store_data,
)
from tinycnn import Views  # noqa: E402

EPOCH = "epoch-8f3x3-b128"


def run_benchmarks(output, *arguments, modules=None, code=0):
    """Run the command; return its JSON and what it printed. modules come before installed ones."""
    environment = dict(os.environ)
    if modules is not None:
        environment["PYTHONPATH"] = str(modules)
    command = [sys.executable, str(ROOT / "benchmarks" / "run.py"), "--output", str(output)]
    done = subprocess.run(
        [*command, "--images", "300", "--repeats", "1", *arguments],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert done.returncode == code, done.stdout + done.stderr
    return json.loads((output / "latest.json").read_text()), done.stdout


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
    assert results["machine"]["cpu_kind"] == cpu_kind()
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
    assert all(0 < row["error"] < 1e-3 for row in outcome["contestants"])
    rate = useful_flops(architecture_of(blocks([8], 3).description)) * 300 / medians["tinycnn"]
    assert outcome["sgemm"]["fraction"] == pytest.approx(
        rate / (2 * 1024**3 / medians["sgemm 1024^3"])
    )
    assert "sgemm" in printed


def test_markdown_holds_the_same_table(small_run):
    results, _, folder = small_run
    text = (folder / "latest.md").read_text()
    assert results["experiments"][0]["title"] in text
    assert "| tinycnn |" in text
    assert f"| {cpu_kind()} | median |" in text
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
        scale, facts, extra_peak_bytes, page_faults = 1.0, {}, 0, 0

        def __init__(self, contestant, folder):
            self.times = iter([50.0, *seconds[contestant.name]])
            self.run = lambda: next(self.times)
            self.close = self.check = lambda: None

    monkeypatch.setattr(measure, "Worker", Worker)
    monkeypatch.setattr(measure, "why_not_here", lambda contestant: None)
    (experiment,) = (e for e in every_experiment(300) if e.name == "threads-b32")
    outcome = measure.measure_experiment(experiment, tmp_path, 3)
    assert [row["median"] for row in outcome["contestants"]] == [4.0, 2.0]
    assert [row["min"] for row in outcome["contestants"]] == [4.0, 1.0]
    assert outcome["ratios"] == {"1 thread / 2 threads": 2.0}


def flops(network):
    return useful_flops(architecture_of(network.description))


def test_useful_flops_of_a_network_counted_by_hand():
    # 28 -> 26 -> 13: forward 2*8*9 * 4*13*13, weight gradient a quarter, linear 3 * 2*1352*10
    assert flops(blocks([8], 3)) == 97_344 + 24_336 + 81_120
    # 12 -> 8 -> 4, second block: forward 2*16*8*25 * 4*4*4, two gradients of a quarter each
    first = 2 * 8 * 25 * 5 * 12 * 12
    assert flops(blocks([8, 16], 5)) == first + 2 * 16 * 8 * 25 * 6 * 16 + 3 * 2 * 256 * 10
    # padded: 28 -> 28 -> 14
    assert flops(blocks([8], 3, "same")) == 2 * 8 * 9 * 5 * 14 * 14 + 3 * 2 * 8 * 14 * 14 * 10
    # no pool behind the first: all of its 26 * 26 outputs have a gradient; then 24 -> 12
    first, second = 2 * 8 * 9 * 2 * 26 * 26, 2 * 8 * 8 * 9 * 6 * 12 * 12
    assert flops(two_convs_one_pool(8, 3)) == first + second + 3 * 2 * 8 * 12 * 12 * 10


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


def test_who_is_wrong_is_listed_as_failed_and_has_no_times(tmp_path):
    (tmp_path / "sitecustomize.py").write_text(
        "import functools, tinycnn\n"
        "fit = tinycnn.fit\n"
        "tinycnn.fit = functools.wraps(fit)(lambda n, x, y, **more: fit(n, x, y * 0, **more))\n"
    )
    arguments = ("--only", EPOCH, "--peers", "tinycnn", "sgemm")
    results, printed = run_benchmarks(tmp_path / "r", *arguments, modules=tmp_path, code=1)
    [(name, reason)] = results["failed"].items()
    assert name == f"{EPOCH}: tinycnn"
    assert reason.startswith("wrong result: ")
    assert [row["name"] for row in results["experiments"][0]["contestants"]] == ["sgemm 1024^3"]
    assert "failed: tinycnn (wrong result" in printed


INTEL, AMD = "GenuineIntel", "AuthenticAMD"


@pytest.mark.parametrize(
    ("vendor", "numbers", "name", "flags", "kind"),
    [
        (INTEL, "6 207", "Intel(R) Xeon(R) Processor", "avx2 avx512f", "emerald-rapids-avx512"),
        (AMD, "23 49", "AMD EPYC 7B12", "avx2", "zen2-avx2"),
        (AMD, "25 17", "AMD EPYC", "avx2 avx512f", "zen4-avx512"),
        (INTEL, "6 999", "Intel(R) Core(TM) i9 CPU @ 5.00GHz", "avx2", "core-i9-avx2"),
        (AMD, "99 1", "AMD Ryzen 7 9999 8-Core Processor", "sse", "ryzen-7-9999"),
        ("", " ", "Cortex-A72", "asimd", "cortex-a72-neon"),
    ],
)
def test_a_kind_of_cpu_has_a_name(vendor, numbers, name, flags, kind):
    family, model = numbers.split(" ")
    fields = {"vendor_id": vendor, "cpu family": family, "model": model}
    maker = {INTEL: "intel-", AMD: "amd-", "": ""}[vendor]
    assert cpu_kind({**fields, "model name": name, "flags": flags}) == maker + kind


def test_results_of_another_kind_are_not_overwritten(tmp_path, capsys):
    other = {"machine": {"cpu_kind": "intel-4004"}}
    names = ("latest.json", "accuracy-mnist.json", "steps.json")
    for name in names:
        (tmp_path / name).write_text(json.dumps(other))
    with pytest.raises(SystemExit):
        run.main(["--only", EPOCH, "--output", str(tmp_path)])
    with pytest.raises(SystemExit):
        accuracy.main(["mnist", "data", "--output", str(tmp_path)])
    with pytest.raises(SystemExit):
        steps.main(["--output", str(tmp_path)])
    assert capsys.readouterr().err.count("was measured on intel-4004") == len(names)
    report.require_same_kind(tmp_path / "latest.json", "intel-4004")


def test_results_go_to_the_folder_of_the_kind_and_the_index_lists_them():
    assert run.parse([]).output == RESULTS / cpu_kind()
    assert accuracy.parse(["mnist", "data"]).output == RESULTS / cpu_kind()
    results = [*RESULTS.glob("*/latest.json"), *RESULTS.glob("*/steps.json")]
    for path in results:
        assert json.loads(path.read_text())["machine"]["cpu_kind"] == path.parent.name
    assert results
    assert (RESULTS / index.PAGE).read_text() == index.index_text(RESULTS)


def test_scikit_learn_s_estimators_keep_to_their_kind_too(tmp_path, capsys, monkeypatch):
    pytest.importorskip("sklearn")
    from benchmarks import sklearn_estimators

    assert sklearn_estimators.parse(["digits"]).output == RESULTS / cpu_kind()
    (tmp_path / "sklearn-digits.json").write_text('{"machine": {"cpu_kind": "intel-4004"}}')
    with pytest.raises(SystemExit):
        sklearn_estimators.main(["digits", "--output", str(tmp_path)])
    assert "was measured on intel-4004" in capsys.readouterr().err
    row = sklearn_estimators.Row("SVC()", "shuffled folds", [90.0, 92.0], [1.0, 1.0], [2.0, 2.0])
    monkeypatch.setattr(sklearn_estimators, "digits", lambda seeds: [row])
    monkeypatch.setattr(sklearn_estimators, "cpu_kind", lambda: "intel-4004")
    assert sklearn_estimators.main(["digits", "--output", str(tmp_path)]) == 0
    page = (tmp_path / "sklearn-digits.md").read_text()
    assert f"{cpu_kind()} (" in page
    assert "| SVC() | shuffled folds | 91.00 | 90.00, 92.00 | 1.0 | 2.0 |" in page
    results = json.loads((tmp_path / "sklearn-digits.json").read_text())
    assert results["rows"][0]["accuracies"] == [90.0, 92.0]


def test_all_ratios_stand_in_one_table(small_run):
    results, _, folder = small_run
    (outcome,) = results["experiments"]
    row = f"| {outcome['title']} | share of sgemm's rate | {outcome['sgemm']['fraction']:.2f} |"
    assert row in (folder / "latest.md").read_text()
    assert "## All ratios" not in report.markdown({**results, "experiments": []})


def test_networks_for_commits_before_layers():
    assert adapter.as_blocks(blocks([8, 16], 5).description) == {
        "channels": (8, 16),
        "kernel_size": [(5, 5), (5, 5)],
        "n_classes": 10,
        "padding": 0,
    }
    assert adapter.as_blocks(blocks([64], 3, "same").description)["padding"] == 1
    for impossible in (blocks([8, 8], 3, "same"), two_convs_one_pool(8, 3), blocks([8], 2, "same")):
        with pytest.raises(CannotTakePartError, match="before layers"):
            adapter.as_blocks(impossible.description)


def test_before_and_after(monkeypatch, capsys):
    monkeypatch.setattr(compare, "resolve", lambda commit: "0123456789abcdef")
    monkeypatch.setattr(compare, "build", lambda commit, folder: sys.executable)
    small = ("--images", "100", "--rounds", "2", "--repeats", "1", "--only", EPOCH)
    assert compare.main(["before", *small]) == 0
    *_, row, _ = capsys.readouterr().out.splitlines()
    name, _, _, _, _, ratio, *rounds = row.split()
    assert name == EPOCH
    assert len([float(ratio), *map(float, rounds)]) == 4


def test_a_comparison_says_what_it_cannot_do(capsys):
    with pytest.raises(SystemExit, match="git knows no commit 'never'"):
        compare.main(["never"])
    with pytest.raises(SystemExit):
        compare.main(["HEAD", "--only", "import"])
    assert "--only: nothing of tinycnn is in import" in capsys.readouterr().err


def test_a_study_of_accuracy_over_seeds(tmp_path, rng, monkeypatch):
    images = rng.integers(0, 60, (60, 8, 8), dtype=np.uint8)
    labels = (np.arange(60) % 2).astype(np.uint8)
    images[labels == 1, :4] += 150
    write_idx(tmp_path / "train-images-idx3-ubyte", images)
    write_idx(tmp_path / "train-labels-idx1-ubyte", labels)
    recipes = (
        Recipe((4,), 3, 5, 0.05, flip=True),
        Recipe((8,), (3,), 12, 0.05, crop=1, matrix_lr=0.05, views=Views()),
    )
    study = Study("Halves", recipes, n_seeds=3, test_images=20)
    monkeypatch.setitem(accuracy.STUDIES, "halves", study)
    assert accuracy.main(["halves", str(tmp_path), "--output", str(tmp_path)]) == 0
    results = json.loads((tmp_path / "accuracy-halves.json").read_text())
    assert (results["train_images"], results["test_images"]) == (40, 20)
    for row in results["recipes"]:
        assert len(row["runs"]) == 3
        assert row["accuracy_mean"] == row["alone_mean"] == 100
        assert 0 < row["seconds_min"] <= row["seconds_median"]
        assert row["cpu_seconds_median"] > 0
    page = (tmp_path / "accuracy-halves.md").read_text()
    assert "| (4) 3x3, 5 epochs | 114 | 100.00 |" in page
    assert "| (8) 3x3, 12 epochs, Muon, views | 146 | 100.00 |" in page
    assert ("](accuracy-halves.png)" in page) == (tmp_path / "accuracy-halves.png").exists()


def test_a_plot_of_accuracies(tmp_path):
    pytest.importorskip("matplotlib")
    names = {"title": "(4) 3x3, 5 epochs", "accuracy_std": 0.1}
    rows = [{**names, "seconds_median": s, "accuracy_mean": 90.0 + s} for s in (1.0, 2.0)]
    machine = {"cpu_kind": "a-cpu", "date": "2026-11-22T20:00:20+00:00"}
    results = {"recipes": rows, "threads": 2, "machine": machine, "versions": {"tinycnn": "0.1.0"}}
    plots.draw_accuracies(results, tmp_path / "accuracy.png")
    assert (tmp_path / "accuracy.png").read_bytes().startswith(b"\x89PNG")


def write_idx(path, array):
    header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
    path.write_bytes(header + array.tobytes())
