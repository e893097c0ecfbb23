"""Plots of a training: its curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from tinycnn.plots.drawing import new_axes_unless
from tinycnn.training.callbacks import History

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def loss_curves(
    history: History | Mapping[str, Sequence[float]], *, ax: Axes | None = None
) -> Axes:
    """Draw the loss of every epoch, in training and on the validation data if there were any.

    Parameters
    ----------
    history : History or mapping of str to sequence of float
        What :func:`tinycnn.fit` has returned.
    ax : matplotlib.axes.Axes, optional
        New ones by default.

    Returns
    -------
    ax : matplotlib.axes.Axes
    """
    return _curves(
        history, {"train_loss": "training", "validation_loss": "validation"}, "loss", ax=ax
    )


def accuracy_curve(
    history: History | Mapping[str, Sequence[float]], *, ax: Axes | None = None
) -> Axes:
    """Draw the accuracy on the validation data after every epoch.

    Parameters
    ----------
    history : History or mapping of str to sequence of float
        What :func:`tinycnn.fit` has returned, with ``validation_data`` or ``validation_fraction``.
    ax : matplotlib.axes.Axes, optional
        New ones by default.

    Returns
    -------
    ax : matplotlib.axes.Axes
    """
    ax = _curves(history, {"validation_accuracy": "validation"}, "accuracy", ax=ax)
    ax.yaxis.set_major_formatter("{x:.0%}")
    return ax


def _curves(
    history: History | Mapping[str, Sequence[float]],
    names: Mapping[str, str],
    what: str,
    *,
    ax: Axes | None,
) -> Axes:
    """Draw some lists of a history against the epochs."""
    ax = new_axes_unless(ax)
    from matplotlib.ticker import MaxNLocator

    lists = history if isinstance(history, Mapping) else vars(history)
    curves = {label: lists[name] for name, label in names.items() if lists.get(name)}
    if not curves:
        raise ValueError(
            f"history: there is no {' or '.join(names)} in it; give fit validation_data=(images, "
            "labels) or validation_fraction=0.1, and at least one epoch"
        )
    for label, values in curves.items():
        marker = "o" if len(values) == 1 else None
        ax.plot(range(1, len(values) + 1), values, marker=marker, label=label)
    ax.set(xlabel="epoch", ylabel=what)
    ax.xaxis.set_major_locator(MaxNLocator("auto", integer=True))
    if len(curves) > 1:
        ax.legend()
    return ax
