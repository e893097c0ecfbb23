"""What the pictures of the guide show; each function returns a Matplotlib figure."""

from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import worked_example as example
from matplotlib.patches import Rectangle

import tinycnn
from tinycnn import plots

BLUE, ORANGE = "#3b8fd6", "#e8761a"
MINUS = "\N{MINUS SIGN}"


def canvas(width: float, height: float, scale: float = 0.45) -> tuple[Any, Any]:
    """Make a figure whose units are the fields of a grid."""
    figure = plt.figure(figsize=(width * scale, height * scale))
    ax = figure.add_axes((0, 0, 1, 1))
    ax.set(xlim=(0, width), ylim=(height, 0), aspect="equal")
    ax.set_axis_off()
    return figure, ax


def grid(
    ax: Any,
    values: np.ndarray,
    at: tuple[float, float],
    *,
    title: str = "",
    marked: Sequence[tuple[int, int]] = (),
    form: str = "g",
    colour: str = ORANGE,
) -> None:
    """Write numbers into fields, with some of them marked."""
    left, top = at
    ink = mpl.rcParams["text.color"]
    for (row, column), value in np.ndenumerate(np.atleast_2d(values)):
        corner = (left + column, top + row)
        ax.add_patch(Rectangle(corner, 1, 1, fill=False, ec=ink, lw=0.6, alpha=0.5))
        if (row, column) in marked:
            ax.add_patch(Rectangle(corner, 1, 1, fc=colour, alpha=0.35, lw=0))
        text = format(value, form).replace("-", MINUS)
        size = 10 if len(text) <= 5 else 7
        ax.text(corner[0] + 0.5, corner[1] + 0.52, text, ha="center", va="center", fontsize=size)
    width = np.atleast_2d(values).shape[1]
    ax.text(left + width / 2, top - 0.25, title, ha="center", va="bottom", fontsize=10)


def sign(ax: Any, text: str, at: tuple[float, float]) -> None:
    """Write a sign between two grids."""
    ax.text(*at, text, ha="center", va="center", fontsize=14)


def window(row: int, column: int, size: int = 3) -> list[tuple[int, int]]:
    """List the fields of a window."""
    return [(row + r, column + s) for r in range(size) for s in range(size)]


def convolution() -> Any:
    """One output of the first filter on the first image, and the window it comes from."""
    figure, ax = canvas(15, 5.4)
    found = example.compute()
    image, filter_ = example.IMAGES[0, 0], example.W_CONV[0, 0]
    grid(ax, image, (0.3, 1), title="image x", marked=window(1, 0))
    sign(ax, "×", (5.2, 3))
    grid(ax, filter_, (6.1, 1.5), title="filter w", marked=window(0, 0))
    sign(ax, "sum →", (10.4, 3))
    grid(ax, found.conv[0, 0], (12, 2), title="conv", marked=[(1, 0)])
    return figure


def relu() -> Any:
    """What ReLU makes of a number, and of the conv output."""
    figure, (left, right) = plt.subplots(
        1, 2, figsize=(6.6, 2.4), width_ratios=(1, 1.4), layout="constrained"
    )
    x = np.array([-3, 0, 3])
    left.plot(x, np.maximum(x, 0), color=ORANGE, lw=2)
    left.set(xlabel="x", ylabel="max(x, 0)", xticks=[-3, 0, 3], yticks=[0, 3])
    found = example.compute()
    right.set(xlim=(0, 7.2), ylim=(3.4, 0), aspect="equal")
    right.set_axis_off()
    grid(right, found.conv[0, 0], (0.5, 1), title="conv")
    sign(right, "→", (3.4, 2))
    closed = [(row, column) for row, column in np.argwhere(found.conv[0, 0] <= 0).tolist()]
    grid(right, found.relu[0, 0], (4.4, 1), title="relu", marked=closed, colour=BLUE)
    return figure


def pooling() -> Any:
    """The pool windows of both filters on both images, with their winners."""
    figure, ax = canvas(15.5, 7)
    found = example.compute()
    for n in range(2):
        for k in range(2):
            left, top = 0.5 + 7.6 * k, 1 + 3.4 * n
            winner = divmod(int(found.winner[n, k, 0, 0]), 2)
            title = f"image {n}, filter {k}"
            grid(ax, found.relu[n, k], (left, top), title=title, marked=[winner])
            sign(ax, "→", (left + 3, top + 1))
            grid(ax, found.pool[n, k], (left + 4, top + 0.5), title="pool", marked=[(0, 0)])
    return figure


def softmax() -> Any:
    """Logits become probabilities."""
    figure, axes = plt.subplots(1, 2, figsize=(6.6, 2.4), layout="constrained")
    found = example.compute()
    for n, ax in enumerate(axes):
        bars = ax.bar([0, 1], found.probs[n], color=[BLUE, BLUE], width=0.6)
        bars[example.LABELS[n]].set_color(ORANGE)
        for m in range(2):
            ax.text(m, found.probs[n, m] + 0.03, f"{found.probs[n, m]:.4f}", ha="center")
        ticks = [f"class {m}\nlogit {found.logits[n, m]:.1f}".replace("-", MINUS) for m in range(2)]
        ax.set(title=f"image {n}, is {example.LABELS[n]}", ylim=(0, 1.15), yticks=[0, 1])
        ax.set_xticks([0, 1], ticks)
    return figure


def unpooling() -> Any:
    """The way back of a gradient: to the winner, and only if ReLU let it pass."""
    figure, ax = canvas(15.5, 7)
    found = example.compute()
    for n in range(2):
        for k in range(2):
            left, top = 0.4 + 7.7 * k, 1 + 3.4 * n
            winner = divmod(int(found.winner[n, k, 0, 0]), 2)
            marked = [winner] if found.conv[n, k][winner] > 0 else []
            at = (left, top + 0.5)
            grid(ax, found.dpool[n, k] * 1000, at, title="dpool", marked=[(0, 0)], form=".1f")
            sign(ax, "→", (left + 2, top + 1))
            title = f"dconv, image {n}, filter {k}"
            grid(
                ax,
                found.dconv[n, k] * 1000,
                (left + 3, top),
                title=title,
                marked=marked,
                form=".1f",
            )
    return figure


def filter_gradient() -> Any:
    """The two products that one weight's gradient is the sum of."""
    figure, ax = canvas(15, 11.2)
    found = example.compute()
    r, s = 1, 1
    total = found.dw_conv[1, 0, r, s]
    for n in range(2):
        top = 1 + 5.2 * n
        row, column = divmod(int(found.winner[n, 1, 0, 0]), 2)
        title = f"image {n}: what weight ({r}, {s}) saw"
        grid(ax, example.IMAGES[n, 0], (0.8, top), title=title, marked=[(row + r, column + s)])
        sign(ax, "×", (5.6, top + 2))
        grid(
            ax,
            found.dconv[n, 1] * 1000,
            (6.6, top + 1),
            title="dconv of filter 1",
            marked=[(row, column)],
            form=".2f",
        )
        product = example.IMAGES[n, 0, row + r, column + s] * found.dconv[n, 1, row, column] * 1000
        sign(ax, f"= {product:.1f}".replace("-", MINUS), (10.6, top + 2))
    sign(ax, f"sum: {total * 1000:.1f}".replace("-", MINUS), (13, 5.6))
    return figure


def digits_network() -> Any:
    """What a trained network makes of a digit."""
    net, images, _, test = trained()
    figure, ax = plt.subplots(figsize=(7, 3.6), layout="constrained")
    plots.feature_maps(net, images[test[1]], most=12, ax=ax)
    return figure


def what_you_get() -> Any:
    """A trained network at work, and what its result is made of: the picture of README."""
    net, images, labels, test = trained()
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.3), layout="constrained", width_ratios=(5, 3))
    predicted = net.predict(images[test])
    n_right = int((predicted == labels[test]).sum())
    plots.feature_maps(net, images[test[1]], most=12, ax=axes[0])
    axes[0].set_title("Every layer at work on a digit")
    plots.confusion_matrix(labels[test], predicted, ax=axes[1])
    axes[1].set_title(f"{n_right} of {len(test)} test images right")
    return figure


def understand_curves() -> Any:
    """Loss and accuracy of the guide's training."""
    figure, axes = plt.subplots(1, 2, figsize=(7, 2.8), layout="constrained")
    history = trained_history()
    plots.loss_curves(history, ax=axes[0])
    plots.accuracy_curve(history, ax=axes[1])
    return figure


def understand_confusion() -> Any:
    """What is taken for what, and how far probabilities can be trusted."""
    net, images, labels, test = trained()
    figure, axes = plt.subplots(1, 2, figsize=(7.4, 3.6), layout="constrained")
    probabilities = net.predict_proba(images[test])
    plots.confusion_matrix(labels[test], probabilities.argmax(axis=1), ax=axes[0])
    plots.reliability_diagram(probabilities, labels[test], ax=axes[1])
    return figure


def understand_mistakes() -> Any:
    """The most confident mistakes."""
    net, images, labels, test = trained()
    figure, ax = plt.subplots(figsize=(7, 2.2), layout="constrained")
    plots.mistakes(images[test], labels[test], net.predict_proba(images[test]), most=6, ax=ax)
    return figure


def understand_network() -> Any:
    """Filters, and where the gradient of a class lies."""
    net, images, _, test = trained()
    figure, axes = plt.subplots(1, 2, figsize=(7, 2.8), layout="constrained")
    plots.filters(net, ax=axes[0])
    plots.saliency(net, images[test[1]], ax=axes[1])
    return figure


_KEPT: dict[str, Any] = {}


def _train() -> None:
    if not _KEPT:
        images, labels = tinycnn.load_digits()
        train, test = tinycnn.stratified_split(labels, fraction=0.2, seed=0)
        net = tinycnn.CNN((1, 8, 8), channels=(16,), padding="same", n_classes=10)
        net.standardize(images[train])
        history = tinycnn.fit(
            net,
            images[train],
            labels[train],
            epochs=20,
            validation_data=(images[test], labels[test]),
            verbose=False,
        )
        _KEPT.update(trained=(net, images, labels, test), history=history)


def trained() -> tuple[tinycnn.CNN, np.ndarray, np.ndarray, np.ndarray]:
    """Return the network that "Understand the result" trains, with images, labels, test indices."""
    _train()
    return _KEPT["trained"]


def trained_history() -> tinycnn.History:
    """Return the history of that training."""
    _train()
    return _KEPT["history"]
