"""Results as pictures: seconds per epoch, and how time and memory grow."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7")  # told apart by the colour-blind
BARS = ("tinycnn", "PyTorch plain", "PyTorch channels_last")

# Which experiment each panel shows, what of a row, the labels of its axes, the scale of the first.
PANELS = (
    ("scaling-images", "time", "images", "microseconds per image", "log"),
    ("scaling-images", "memory", "images", "MB above the images", "log"),
    ("scaling-filters", "time", "filters (3x3)", "microseconds per image", "linear"),
    ("scaling-batches", "time", "batch size", "microseconds per image", "log"),
)


def draw_plots(results: Mapping[str, Any], folder: Path) -> list[str]:
    """Draw what was measured; return the names of the PNG files.

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    """
    import matplotlib

    matplotlib.use("agg")
    outcomes = {outcome["name"]: outcome for outcome in results["experiments"]}
    epochs = [o for o in outcomes.values() if o["group"] == "epochs" and o["contestants"]]
    drawn = []
    if epochs:
        drawn.append(_save(_draw_epochs(epochs, results), folder / "epochs.png"))
    if any(name in outcomes for name, *_ in PANELS):
        drawn.append(_save(_draw_scaling(outcomes, results), folder / "scaling.png"))
    return drawn


def draw_accuracies(results: Mapping[str, Any], path: Path) -> None:
    """Draw what ``accuracy.py`` measured: the accuracy of each recipe against its time.

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    """
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(8, 5), layout="constrained")
    for row in results["recipes"]:
        seconds, accuracy = row["seconds_median"], row["accuracy_mean"]
        axes.errorbar(seconds, accuracy, row["accuracy_std"], fmt="o", capsize=3, color=COLOURS[0])
        axes.annotate(
            row["title"],
            (seconds, accuracy),
            (4, -4),
            textcoords="offset points",
            fontsize=7,
            rotation=-40,
            rotation_mode="anchor",
            va="top",
        )
    axes.margins(x=0.2, y=0.1)
    axes.set_xlabel(f"seconds of training and evaluation, {results['threads']} threads (median)")
    axes.set_ylabel("accuracy on held-out images, % (mean and standard deviation)")
    _tidy(axes, "both")
    figure.suptitle(_machine(results), fontsize=8, color="#555555", x=0.99, ha="right")
    _save(figure, path)


def _save(figure: Figure, path: Path) -> str:
    from matplotlib import pyplot as plt

    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120, facecolor="white")
    plt.close(figure)
    return path.name


def _draw_epochs(epochs: list[dict[str, Any]], results: Mapping[str, Any]) -> Figure:
    """One group of bars for each configuration, the shortest time written beside each bar."""
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(9, 1.2 + 0.9 * len(epochs)), layout="constrained")
    for b, name in enumerate(BARS):
        medians = [_medians(epoch).get(name) for epoch in epochs]
        places = [e + 0.27 * (b - 1) for e, median in enumerate(medians) if median is not None]
        widths = [median for median in medians if median is not None]
        bars = axes.barh(places, widths, height=0.25, color=COLOURS[b], label=name)
        axes.bar_label(bars, fmt="%.2f", padding=3, fontsize=8)
    axes.set_yticks(range(len(epochs)), [_two_lines(epoch) for epoch in epochs])
    axes.invert_yaxis()
    axes.margins(x=0.08)
    axes.set_xlabel(f"seconds per epoch of {results['images']:,} images, one thread (median)")
    axes.legend(frameon=False)
    _tidy(axes, "x")
    figure.suptitle(_machine(results), fontsize=8, color="#555555", x=0.99, ha="right")
    return figure


def _medians(outcome: Mapping[str, Any]) -> dict[str, float]:
    return {row["name"]: row["median"] for row in outcome["contestants"]}


def _two_lines(epoch: Mapping[str, Any]) -> str:
    """Return the name of the configuration, one thing a line."""
    label: str = epoch["label"]
    return label.replace(", ", "\n")


def _draw_scaling(outcomes: Mapping[str, Any], results: Mapping[str, Any]) -> Figure:
    """Four panels of curves."""
    from matplotlib import pyplot as plt

    figure, grid = plt.subplots(2, 2, figsize=(10, 7), layout="constrained")
    for axes, (name, what, xlabel, ylabel, xscale) in zip(grid.flat, PANELS, strict=True):
        axes.set_xscale(xscale)
        if name in outcomes:
            _draw_curves(axes, outcomes[name], _of_row(what))
        axes.set_xlabel(xlabel)
        axes.set_ylabel(ylabel)
        axes.set_ylim(0, 1.15 * axes.get_ylim()[1])
        _tidy(axes, "y")
    figure.suptitle(_machine(results), fontsize=8, color="#555555", x=0.99, ha="right")
    return figure


def _of_row(what: str) -> Callable[[Mapping[str, Any]], float]:
    """Return the function that reads a panel's quantity from a row."""
    if what == "memory":
        return lambda row: row["extra_peak_bytes"] / 1e6
    return lambda row: row["median"] / row["n_images"] * 1e6


def _draw_curves(
    axes: Axes, outcome: Mapping[str, Any], quantity: Callable[[Mapping[str, Any]], float]
) -> None:
    """Draw one curve for each line of an experiment, with its values as ticks."""
    lines = list(dict.fromkeys(row["line"] for row in outcome["contestants"]))
    for line, colour in zip(lines, COLOURS, strict=False):
        rows = [row for row in outcome["contestants"] if row["line"] == line]
        places = [row["value"] for row in rows]
        axes.plot(places, list(map(quantity, rows)), "o-", ms=4, color=colour, label=line)
    ticks = sorted({row["value"] for row in outcome["contestants"]})
    axes.set_xticks(ticks, list(map(_tick, ticks)), fontsize=8)
    axes.minorticks_off()
    if lines:
        axes.legend(frameon=False, fontsize=8)


def _tick(value: int) -> str:
    """Write a number shortly."""
    if value >= 1_000_000:
        return f"{value / 1e6:g}M"
    return f"{value / 1000:g}k" if value % 1000 == 0 else f"{value}"


def _tidy(axes: Axes, grid_axis: str) -> None:
    axes.grid(axis=grid_axis, color="#dddddd", linewidth=0.8)  # type: ignore[arg-type]
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _machine(results: Mapping[str, Any]) -> str:
    machine, versions = results["machine"], results["versions"]
    return f"{machine['cpu_kind']}, tinycnn {versions['tinycnn']}, {machine['date'][:10]}"
