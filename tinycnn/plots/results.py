"""Plots of a result: what was taken for what, and how far probabilities can be trusted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tinycnn._checks import as_array, as_count, as_labels, require_ndim, require_same_length
from tinycnn.inspection import confident_mistakes, margins, reliability
from tinycnn.plots.drawing import (
    as_picture,
    draw_tiles,
    font_size,
    ink,
    new_axes_unless,
    rising,
    shortened,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_LABELLED = 20  # classes; of more, their names would overlap
MOST_COUNTED = 12  # classes; of more, the counts would overlap


def confusion_matrix(
    labels: npt.ArrayLike,
    predictions: npt.ArrayLike,
    class_names: Sequence[str] | None = None,
    *,
    ax: Axes | None = None,
) -> Axes:
    """Draw how many images of each class were taken for which.

    The colour of a field is its share of the row: of the images that are of that class.

    Parameters
    ----------
    labels : (N,)
        What the images are.
    predictions : (N,)
        What they were taken for.
    class_names : sequence of str, optional
        Their numbers by default.
    ax : matplotlib.axes.Axes, optional
        New ones by default.

    Returns
    -------
    ax : matplotlib.axes.Axes
    """
    names = _class_names(class_names, labels, predictions)
    M = len(names)
    true, taken = (
        as_labels(name, values, M).astype(np.intp)
        for name, values in (("labels", labels), ("predictions", predictions))
    )
    require_same_length(true, taken, "labels", "predictions")
    counts = np.bincount(true * M + taken, minlength=M * M).reshape(M, M)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    ax = new_axes_unless(ax)
    ax.imshow(shares, cmap=rising(ax), vmin=0, vmax=1)
    if M <= MOST_COUNTED:
        _write_counts(ax, counts, shares)
    if M <= MOST_LABELLED:
        letters = [shortened(name) for name in names]
        size = font_size(ax, 1.2 * M, 2)
        ax.set_yticks(range(M), letters, fontsize=size)
        turned: dict[str, Any] = {"rotation": 45, "ha": "right", "rotation_mode": "anchor"}
        is_long = max(map(len, letters)) > 2
        ax.set_xticks(range(M), letters, fontsize=size, **(turned if is_long else {}))
    ax.set(xlabel="taken for", ylabel="is")
    return ax


def mistakes(
    images: npt.ArrayLike,
    labels: npt.ArrayLike,
    probabilities: npt.ArrayLike,
    class_names: Sequence[str] | None = None,
    *,
    most: int = 12,
    ax: Axes | None = None,
) -> Axes:
    """Draw the most confident mistakes, with what they are and what they were taken for.

    Parameters
    ----------
    images : (N, C, H, W)
    labels : (N,)
        What the images are.
    probabilities : (N, n_classes)
        From :meth:`tinycnn.CNN.predict_proba` or any other classifier.
    class_names : sequence of str, optional
        Their numbers by default.
    most : int
        How many mistakes are drawn.
    ax : matplotlib.axes.Axes, optional
        New ones by default.

    Returns
    -------
    ax : matplotlib.axes.Axes
    """
    pictures, rows = as_array("images", images), as_array("probabilities", probabilities)
    require_ndim("images", pictures, 4, "(N, C, H, W)")
    wrong = confident_mistakes(rows, labels)[: as_count("most", most, 1)]
    require_same_length(pictures, rows, "images", "probabilities")
    names = _class_names(class_names, np.arange(rows.shape[1]))
    true = as_array("labels", labels)[wrong].astype(np.intp)
    pairs = zip(true, rows[wrong].argmax(axis=1), rows[wrong].max(axis=1), strict=True)
    titles = [
        f"{shortened(names[is_])},\nnot {shortened(names[taken_for])}: {share:.0%}"
        for is_, taken_for, share in pairs
    ]
    ax = new_axes_unless(ax)
    if len(wrong) == 0:
        ax.text(0.5, 0.5, "no mistakes", ha="center", va="center")
        ax.set_axis_off()
        return ax
    columns = min(6, len(wrong))
    return draw_tiles(ax, [as_picture(pictures[i]) for i in wrong], columns, titles=titles)


def reliability_diagram(
    probabilities: npt.ArrayLike,
    labels: npt.ArrayLike,
    *,
    n_bins: int = 10,
    ax: Axes | None = None,
) -> Axes:
    """Draw whether a network is right as often as it says.

    Each bar is the accuracy of the predictions of about that confidence; on the dotted line, both
    are the same. Bars of few images are pale.

    Parameters
    ----------
    probabilities : (N, n_classes)
        From :meth:`tinycnn.CNN.predict_proba` or any other classifier.
    labels : (N,)
        What the images are.
    n_bins : int
        Bins of confidence, all of the same width.
    ax : matplotlib.axes.Axes, optional
        New ones by default.

    Returns
    -------
    ax : matplotlib.axes.Axes
    """
    bins = reliability(probabilities, labels, n_bins)
    ax = new_axes_unless(ax)
    for left, right, height, count in zip(
        bins.edges, bins.edges[1:], bins.accuracy, bins.counts, strict=False
    ):
        if count:
            alpha = 0.25 + 0.75 * min(1.0, count / 30)
            ax.bar(left, height, right - left, align="edge", color="C0", alpha=alpha, ec=ink())
    ax.plot([0, 1], [0, 1], ":", color=ink())
    ax.set(xlabel="confidence", ylabel="accuracy", xlim=(0, 1), ylim=(0, 1), aspect="equal")
    title = f"calibration error {bins.calibration_error:.1%}"
    ax.set_title(title, fontsize=font_size(ax, 1, len(title)))
    return ax


def accuracy_by_margin(
    probabilities: npt.ArrayLike, labels: npt.ArrayLike, *, ax: Axes | None = None
) -> Axes:
    """Draw how accuracy rises if predictions with a small margin are left to somebody else.

    The margin is by how much the likeliest class is ahead of the next one. Against the least margin
    that is asked for, the curves show the share of images that are answered, and the accuracy on
    these.

    Parameters
    ----------
    probabilities : (N, n_classes)
        From :meth:`tinycnn.CNN.predict_proba` or any other classifier.
    labels : (N,)
        What the images are.
    ax : matplotlib.axes.Axes, optional
        New ones by default.

    Returns
    -------
    ax : matplotlib.axes.Axes
    """
    rows, ahead = as_array("probabilities", probabilities), margins(probabilities)
    right = rows.argmax(axis=1) == as_labels("labels", labels, rows.shape[1])
    order = np.argsort(-ahead, kind="stable")
    answered = np.arange(1, len(rows) + 1)
    ax = new_axes_unless(ax)
    ax.plot(ahead[order], np.cumsum(right[order]) / answered, label="accuracy on these")
    ax.plot(ahead[order], answered / len(rows), "--", label="images answered")
    ax.yaxis.set_major_formatter("{x:.0%}")
    ax.set(xlabel="least margin", xlim=(0, 1))
    ax.legend()
    return ax


def _class_names(names: Sequence[str] | None, *labels: npt.ArrayLike) -> list[str]:
    if names is not None:
        return [str(name) for name in names]
    largest = max(int(np.max(as_array("labels", each), initial=0)) for each in labels)
    return [str(i) for i in range(largest + 1)]


def _write_counts(ax: Axes, counts: npt.NDArray[Any], shares: npt.NDArray[Any]) -> None:
    """Write how many images there are into each field, so that it can be read on its colour."""
    cmap = rising(ax)
    size = font_size(ax, 1.4 * len(counts), len(str(counts.max())))
    for i, j in zip(*counts.nonzero(), strict=True):
        red, green, blue, _ = cmap(shares[i, j])
        colour = "black" if 0.299 * red + 0.587 * green + 0.114 * blue > 0.5 else "white"
        ax.text(j, i, str(counts[i, j]), ha="center", va="center", color=colour, fontsize=size)
