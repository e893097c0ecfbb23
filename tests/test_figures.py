"""Figures in README.md and the documents are those of the results they were taken from.

Each sentence below is made from the results and must stand in its page, word for word. When
results change, the test says which sentence the page needs. A number with a unit that is in no
such sentence, and not named in ELSEWHERE with its source, fails the test too.
"""

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
sys.path.append(str(ROOT))  # last: the benchmarks are no package that is installed

from benchmarks.real_data import row_text  # noqa: E402

RESULTS = ROOT / "benchmarks" / "results"
PAGES = [
    "README.md",
    "benchmarks/README.md",
    *(f"docs/{p.name}" for p in (ROOT / "docs").glob("*.md")),
]

# What was measured, by its unit or its place in a table: 0.19 s, 92.4%, 16 times, | 16.7 |.
FIGURE = re.compile(
    r"(?<=\| )\d+\.\d+|\d[\d.,]*(?: to \d[\d.,]*)?"
    r"(?:%|-?\s?(?:s|ms|us|MB|KB|GFLOP/s|times|(?:micro|milli)?seconds)\b)"
)

# Figures with another source than benchmarks/results, by page: a piece of text, and the source.
ELSEWHERE = {
    "README.md": {
        "is trained in 0.03 s of CPU time": "process_time of fit as docs/_ext/drawings.py calls it",
        "the test accuracy is 98.1% to 99.2%, 98.7% on average": "tinycnn train, --seed 0 to 7",
    },
    "benchmarks/README.md": {
        "filters 255 times smaller": "a definition",
    },
    "docs/results.md": {
        "99.04% in 0.76 s on a GTX 1660 Ti": "the study's own page",
        "98.4% of 2,000 test pictures are right (98.1% to 98.8% with": "examples/colour_shapes.py",
        "in grey 28.0%, and 34.6% with their pixels shuffled": "examples/colour_shapes.py",
    },
    "docs/building.md": {
        "no more than 1 MB, 2.2 MB installed": "a limit, which tools/check_wheels.py checks",
        "1.1 to 1.3 times as long": "historical: epochs of a build by clang 19",
    },
    "docs/fast-path.md": {
        "64 images took one thread 8%": "historical: epochs at batch 64, timed in 2026-11",
        "longer and 32 images 13%": "historical: epochs at batch 32, timed in 2026-11",
        "of which about 3 MB are kept": "SLAB_BYTES in fast/engine.py",
        "some 300 microseconds": "epoch-8f3x3-b128 divided by its 469 steps, rounded",
        "takes 5 microseconds": "historical: timeit of optimizer.step, 2026-11-22",
    },
    "docs/one-page.md": {
        "k = 1, r = 1, s = 1": "an index",
        "k = 0, r = 2, s = 1": "an index",
        "k = 1, r = 2, s = 2": "an index",
    },
    "docs/understand.md": {
        "A network says 97%.": "an example",
        "an accuracy of 97% means: of all such images, between some 95% and 98%": "an example",
        "the 95% interval": "a definition",
        "90% is nothing": "an example",
    },
    "docs/layers.md": {
        "prints an accuracy of 97%": "the example above it, which tests/test_layers_guide.py runs",
    },
}


class Kind:
    """The results of one kind of CPU."""

    def __init__(self, kind: str, run: str = "latest") -> None:
        self.folder = RESULTS / kind
        experiments = self.read(run)["experiments"]
        self.experiments = {outcome["name"]: outcome for outcome in experiments}

    def read(self, name: str) -> Any:
        """Return what a JSON file of the folder holds."""
        return json.loads((self.folder / f"{name}.json").read_text(encoding="utf-8"))

    def row(self, experiment: str, contestant: str = "tinycnn") -> dict[str, Any]:
        """Return the row of a contestant."""
        rows = self.experiments[experiment]["contestants"]
        return next(row for row in rows if row["name"] == contestant)

    def median(self, experiment: str, contestant: str = "tinycnn") -> float:
        """Return the median of a contestant, in seconds."""
        return self.row(experiment, contestant)["median"]

    def best_pytorch(self, experiment: str) -> float:
        """Return the lowest median of PyTorch's variants, in seconds."""
        return min(self.median(experiment, f"PyTorch {x}") for x in ("plain", "channels_last"))

    def ratio(self, experiment: str, label: str) -> float:
        """Return one of an experiment's ratios."""
        return self.experiments[experiment]["ratios"][label]

    def sgemm(self, experiment: str, what: str = "fraction") -> float:
        """Return what an experiment says of the work of tinycnn and sgemm."""
        return self.experiments[experiment]["sgemm"][what]

    def accuracy(self, study: str, title: str) -> dict[str, Any]:
        """Return what a study says of one of its recipes."""
        recipes = self.read(f"accuracy-{study}")["recipes"]
        return next(row for row in recipes if row["title"] == title)

    def cell(self, page: str, row: str, column: str) -> float:
        """Return a number from the table of a page, by the start of its row."""
        lines = (self.folder / page).read_text(encoding="utf-8").splitlines()
        tables = [line for line in lines if line.startswith("|")]
        position = [cell.strip() for cell in tables[0].split("|")].index(column)
        found = next(line for line in tables if line.startswith(f"| {row} |"))
        return float(found.split("|")[position])


def readme_sentences() -> list[str]:
    """Return what README.md says."""
    kind, first = Kind("intel-emerald-rapids-avx512"), "epoch-8f3x3-b128"
    mnist = kind.accuracy("mnist-record", "(8, 40) 5x5, 3x3, 3 epochs, Muon, views")
    network, perceptron = (
        kind.cell("sklearn-fashion.md", f"{model}() | 60,000 images of 28x28", "accuracy")
        for model in ("CNNClassifier", "MLPClassifier")
    )
    return [
        f"one thread | **{kind.median(first):.2f} s** | "
        f"PyTorch at its best {kind.best_pytorch(first):.1f} s |",
        f"after {mnist['seconds_median']:.1f} s on two cores, evaluation and all | "
        f"{mnist['accuracy_mean']:.2f}% right |",
        f"as it stands | {network:.1f}% right | "
        f"scikit-learn's `MLPClassifier()` {perceptron:.1f}% |",
    ]


def study_on_zen4(name: str) -> Any:
    """Return what a study of accuracies gave on AMD's Zen 4."""
    path = RESULTS / "amd-zen4-avx512" / f"accuracy-{name}.json"
    return json.loads(path.read_text(encoding="utf-8"))


def views_sentences() -> list[str]:
    """Return what docs/understand.md says of views."""
    fashion, mnist = study_on_zen4("fashion-views"), study_on_zen4("mnist-record")
    (wide,) = fashion["recipes"]
    title = "(6, 40) 5x5, 3x3, 1 epoch, Muon, views"
    (short,) = (row for row in mnist["recipes"] if row["title"] == title)
    return [
        f"were right in {wide['accuracy_mean']:.1f}% with views and in "
        f"{wide['alone_mean']:.1f}% without, on MNIST, after one epoch, in "
        f"{short['accuracy_mean']:.2f}% and {short['alone_mean']:.2f}%",
    ]


def record_sentences() -> list[str]:
    """Return what docs/results.md says of MNIST in a moment."""
    amd, intel = (
        Kind(kind).read("accuracy-mnist-record")["recipes"]
        for kind in ("amd-zen4-avx512", "intel-emerald-rapids-avx512")
    )
    return [
        f"| {here['title']} | {here['accuracy_mean']:.2f}% | {here['alone_mean']:.2f}% | "
        f"{here['seconds_median']:.2f} s | {there['seconds_median']:.2f} s |"
        for here, there in zip(amd, intel, strict=True)
    ]


def results_sentences() -> list[str]:
    """Return what docs/results.md says."""
    kind, first = Kind("intel-emerald-rapids-avx512"), "epoch-8f3x3-b128"
    mnist = [
        kind.accuracy("mnist", recipe)
        for recipe in ("(8, 16) 5x5, 2 epochs", "(8, 32) 5x5, 2 epochs", "(8, 32) 5x5, 4 epochs")
    ]
    share, seconds = ([row[k] for row in mnist] for k in ("accuracy_mean", "seconds_median"))
    small = kind.accuracy("fashion-small", "(8) 3x3, 60 epochs")["accuracy_mean"]
    wide = kind.accuracy("fashion", "(64) 3x3, 20 epochs")["accuracy_mean"]
    deep = kind.accuracy("fashion", "(32, 64, 128) 3x3, 15 epochs")
    folds = [
        kind.cell("sklearn-digits.md", f"{model} | shuffled folds", "accuracy")
        for model in ("CNNClassifier()", "MLPClassifier()", "SVC(gamma=0.001)")
    ]
    fashion = [
        kind.cell("sklearn-fashion.md", f"{model} | 60,000 images of 28x28", "accuracy")
        for model in ("CNNClassifier()", "MLPClassifier()")
    ]
    return [
        f"**{kind.median(first):.2f} s**, where PyTorch at its best takes "
        f"{kind.best_pytorch(first):.1f} s on the same core and scikit-learn's multilayer "
        f"perceptron, a network without convolution, "
        f"{kind.median(first, 'scikit-learn MLP'):.1f} s.",
        f"On two cores, {share[0]:.2f}% of MNIST's digits after {seconds[0]:.1f} seconds, "
        f"{share[1]:.2f}% after {seconds[1]:.1f} and {share[2]:.2f}% after {seconds[2]:.1f}",
        f"on Fashion-MNIST {small:.1f}% with one block of 8 filters, {wide:.1f}% with 64, and "
        f"{deep['accuracy_mean']:.1f}% with three blocks and {deep['parameters']:,} parameters",
        f"in five shuffled folds and eight seeds, `CNNClassifier()` is right in {folds[0]:.1f}% "
        f"(scikit-learn's "
        f"`MLPClassifier()` {folds[1]:.1f}%, `SVC(gamma=0.001)` {folds[2]:.1f}%)",
        f"of the 10,000 test images of Fashion-MNIST in {fashion[0]:.1f}% ({fashion[1]:.1f}%)",
        *record_sentences(),
        *real_data_rows(),
    ]


def real_data_rows() -> list[str]:
    """Return the rows of the table on real pictures."""
    path = RESULTS / "amd-zen4-avx512" / "real-data.json"
    tasks = json.loads(path.read_text(encoding="utf-8"))["tasks"]
    return [row_text(task) for task in tasks.values()]


def benchmarks_sentences() -> list[str]:
    """Return what benchmarks/README.md says: a column for each kind of CPU."""
    intel, amd = "intel-emerald-rapids-avx512", "amd-zen4-avx512"
    kinds, levels = (Kind(intel), Kind(amd)), (Kind(intel, "levels/latest"), Kind(amd))
    studied = (Kind(intel, "studied/latest"), Kind(amd))
    epochs = {
        "epoch-8f3x3-b128": "8 filters 3x3, batch 128",
        "epoch-16f5x5-b128": "16 filters 5x5, batch 128",
        "epoch-32f3x3-b256": "32 filters 3x3, batch 256",
        "epoch-8f3x3-b32": "8 filters 3x3, batch 32",
        "epoch-8-16f5x5-b128": "two blocks, 8 and 16 filters 5x5, batch 128",
        "epoch-8-16f3x3-b128": "two blocks, 8 and 16 filters 3x3, batch 128",
    }
    best = "best PyTorch / tinycnn"
    networks = {
        "studied-64f3x3-same": "64 filters 3x3, padded, 2 threads",
        "studied-32-64-128f3x3-same": "three blocks, 32, 64 and 128 filters 3x3, padded, 2 threads",
    }
    rates = [
        f"{min(found):.0f} to {max(found):.0f}"
        for found in ([kind.sgemm(n, "sgemm_gflops_per_second") for n in epochs] for kind in kinds)
    ]

    def row(label: str, cells: list[str]) -> str:
        return f"| {label} | {' | '.join(cells)} |"

    def ratios(of: tuple[Kind, Kind], names: list[str], label: str) -> list[str]:
        return ["; ".join(f"{kind.ratio(name, label):.1f}" for name in names) for kind in of]

    two = ["levels-8f3x3-b128", "levels-16f5x5-b128"]
    threads = ["threads-b128", "threads-b1024", "threads-full", "threads-16f5x5-b128"]
    first = ["epoch-8f3x3-b128"]
    memory = [
        "; ".join(f"{kind.row('memory', f'x of {x}')['extra_peak_bytes'] / 1e6:.0f} MB" for x in of)
        for kind, of in ((kind, ("float32", "uint8")) for kind in kinds)
    ]
    predict = [
        f"{kind.ratio('predict', 'best ONNX Runtime / tinycnn'):.1f}; "
        f"{kind.ratio('predict-one', 'ONNX Runtime / tinycnn'):.2f}"
        for kind in kinds
    ]
    compared = {
        "scikit-learn's MLP with 100 hidden units / tinycnn, 8 filters 3x3": (
            kinds,
            first,
            "scikit-learn MLP / tinycnn",
        ),
        "1 thread / 2 threads, batch 128; 1024; all in one batch; 16 filters 5x5": (
            kinds,
            threads,
            "1 thread / 2 threads",
        ),
        "build for AVX2 / build for AVX-512, 8 filters 3x3; 16 filters 5x5": (
            levels,
            two,
            "v3 / v4",
        ),
        "best PyTorch (AVX-512) / the build for AVX2": (levels, two, f"{best} v3"),
        "best PyTorch (AVX-512) / the build for any x86-64": (levels, two, f"{best} baseline"),
    }
    imports = [f"{1e3 * k.median('import', 'import tinycnn, after numpy'):.0f} ms" for k in kinds]
    return [
        *(
            row(
                label,
                [
                    f"{kind.median(name):#.3g} s | {kind.best_pytorch(name):#.3g} s | "
                    f"{kind.ratio(name, best):.1f} | {kind.sgemm(name):.2f}"
                    for kind in kinds
                ],
            )
            for name, label in epochs.items()
        ),
        *(
            row(label, [f"{kind.ratio(name, best):.1f}" for kind in studied])
            for name, label in networks.items()
        ),
        row("extra memory of `train`, 60,000 images in one batch; of bytes", memory),
        row("ONNX Runtime / tinycnn, 10,000 predictions; one prediction", predict),
        *(row(label, ratios(*found)) for label, found in compared.items()),
        row("import of tinycnn above NumPy's", imports),
        f"{rates[0]} and {rates[1]} GFLOP/s",
    ]


def many_machines_sentences() -> list[str]:
    """Return what docs/many-machines.md says."""
    path = RESULTS / "amd-zen4-avx512" / "many-machines.json"
    found = json.loads(path.read_text(encoding="utf-8"))
    asked = {(row["workers"], row["parameters"]): row["median"] for row in found["rounds"]["rows"]}
    workers, sizes = (sorted({key[i] for key in asked}) for i in (0, 1))
    rate, full = round(found["rounds"]["images_per_second"], -4), found["full batch"]
    least = round(asked[2, sizes[0]] * rate * 2, -3)
    mean, load = found["averages"]["mean"], found["rounds"]["machine"]["load_average_start"]
    return [
        f"| workers | {' | '.join(f'{size:,} parameters' for size in sizes)} |",
        *(
            f"| {n} | {' | '.join(f'{1e3 * asked[n, size]:.0f} ms' for size in sizes)} |"
            for n in workers
        ),
        f"A thread there trains {rate:,.0f} images a second with one block of 8 filters, so that "
        f"two workers gain from batches of {least:,.0f} images on.",
        f"took {full['ratio']:.2f} times as long as `train` on two threads, and "
        f"{full['ratio_of_cpu']:.2f} times the CPU time",
        *(
            f"| {row['network']} | {round(row['images_per_cpu_second']['one process'], -3):,.0f} | "
            f"{round(row['images_per_cpu_second']['dask.predict'], -3):,.0f} | "
            f"{row['ratio']:.2f} | {row['worker_peak_mb']:.0f} MB |"
            for row in found["predictions"]["rows"]
        ),
        f"(Zen 4), at a load average of {load:.0f}",
        f"| one process | {mean['one process']:.1f}% |",
        f"| 4 shards, shuffled | {mean['shuffled']:.1f}% |",
        f"| 4 shards, sorted by label | {mean['sorted by label']:.1f}% |",
    ]


SENTENCES = {
    "README.md": readme_sentences,
    "docs/many-machines.md": many_machines_sentences,
    "docs/results.md": results_sentences,
    "docs/understand.md": views_sentences,
    "benchmarks/README.md": benchmarks_sentences,
}


def text_of(page: str) -> str:
    """Return a page without the output of its examples, on one line."""
    text = (ROOT / page).read_text(encoding="utf-8")
    return " ".join(re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE).split())


@pytest.mark.parametrize("page", SENTENCES)
def test_figures_are_those_of_the_results(page: str) -> None:
    text = text_of(page)
    for sentence in SENTENCES[page]():
        assert sentence in text, f"{page} must say: {sentence}"


@pytest.mark.parametrize("page", PAGES)
def test_there_is_no_figure_without_a_source(page: str) -> None:
    text = text_of(page)
    for sentence in SENTENCES.get(page, list)():
        text = text.replace(sentence, "")
    for piece, source in ELSEWHERE.get(page, {}).items():
        assert piece in text, (
            f"{page} no longer says {piece!r} ({source}): take it out of ELSEWHERE"
        )
        text = text.replace(piece, "")
    around = [text[max(0, f.start() - 60) : f.end() + 20] for f in FIGURE.finditer(text)]
    assert not around, f"{page}: make these from results, or name their source in ELSEWHERE"


def test_what_the_current_benchmark_did_not_measure_is_called_historical() -> None:
    for path in RESULTS.glob("**/latest.json"):
        rows = [r for e in json.loads(path.read_text())["experiments"] for r in e["contestants"]]
        if not all("error" in row for row in rows):
            assert "historical" in path.with_suffix(".md").read_text(), path


def test_a_wrong_figure_would_be_noticed() -> None:
    text = "An epoch takes 0.19 s, twice 92.4%, 1.1 to 1.3 times or 5 microseconds; 3x3 | 16.7 |"
    found = ["0.19 s", "92.4%", "1.1 to 1.3 times", "5 microseconds", "16.7"]
    assert FIGURE.findall(text) == found
