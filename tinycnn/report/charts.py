"""Curves and bars as SVG, whose colours are the page's, on light and on dark."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from tinycnn.inspection import Reliability
from tinycnn.report.markup import text

WIDTH, HEIGHT = 360, 210
LEFT, RIGHT, TOP, BOTTOM = 48, 12, 12, 38  # of the frame, from the edges


def curves(lists: Mapping[str, Sequence[float]], title: str, *, in_per_cent: bool = False) -> str:
    """Draw lists of one number an epoch; the first one is drawn bold.

    Parameters
    ----------
    lists : mapping of str to sequence of float
        What the curves are called, and their values.
    title : str
        What they show.
    in_per_cent : bool
        How the numbers are written.
    """
    n_epochs = max(len(values) for values in lists.values())
    finite = [v for values in lists.values() for v in values if math.isfinite(v)]
    low, high = min([*finite, 0.0] if not in_per_cent else finite), max(finite)
    ticks = _ticks(low, high, 4)
    low, high = min(low, ticks[0]), max(high, ticks[-1])

    def at(epoch: int, value: float) -> str:
        x = LEFT + (WIDTH - LEFT - RIGHT) * (epoch / max(1, n_epochs - 1))
        return f"{x:.1f},{_height(value, low, high):.1f}"

    parts = [
        _tick(_height(tick, low, high), f"{tick:.0%}" if in_per_cent else f"{tick:g}")
        for tick in ticks
    ]
    for number, (label, values) in enumerate(lists.items()):
        points = " ".join(at(i, value) for i, value in enumerate(values) if math.isfinite(value))
        parts.append(f'<polyline class="line{number}" points="{points}"/>')
        if len(lists) > 1:
            parts.append(_key(number, label))
    epochs = "1 epoch" if n_epochs == 1 else f"epochs 1 to {n_epochs}"
    parts.append(_below(epochs))
    said = "; ".join(f"{label} ends at {values[-1]:.3g}" for label, values in lists.items())
    return _svg(f"{title} by epoch: {said}", parts)


def reliability_bars(bins: Reliability) -> str:
    """Draw the accuracy of predictions by their confidence."""
    across = WIDTH - LEFT - RIGHT
    parts = [_tick(_height(share, 0, 1), f"{share:.0%}") for share in (0.0, 0.5, 1.0)]
    for left, right, accuracy, n in zip(
        bins.edges, bins.edges[1:], bins.accuracy, bins.counts, strict=False
    ):
        if n:
            y = _height(float(accuracy), 0, 1)
            parts.append(
                f'<rect class="bar" x="{LEFT + across * left + 1:.1f}" y="{y:.1f}" '
                f'width="{across * (right - left) - 2:.1f}" height="{HEIGHT - BOTTOM - y:.1f}">'
                f"<title>{n} images, {accuracy:.1%} right</title></rect>"
            )
    ends = f'x1="{LEFT}" y1="{HEIGHT - BOTTOM}" x2="{WIDTH - RIGHT}" y2="{TOP}"'
    parts.append(f'<line class="ideal" {ends}/>')
    parts.append(_below("confidence 0% to 100%"))
    said = f"calibration error {bins.calibration_error:.1%}"
    return _svg(f"Accuracy of predictions by their confidence: {said}", parts)


def _svg(label: str, parts: Sequence[str]) -> str:
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{text(label)}">'
        f"{''.join(parts)}</svg>"
    )


def _height(value: float, low: float, high: float) -> float:
    """Return where a value stands, counted from above."""
    return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (value - low) / ((high - low) or 1.0)


def _tick(y: float, label: str) -> str:
    line = f'<line class="tick" x1="{LEFT}" y1="{y:.1f}" x2="{WIDTH - RIGHT}" y2="{y:.1f}"/>'
    return f'{line}<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{label}</text>'


def _key(number: int, label: str) -> str:
    y = TOP + 12 + 18 * number
    line = f'<line class="line{number}" x1="{WIDTH - 122}" y1="{y}" x2="{WIDTH - 98}" y2="{y}"/>'
    return f'{line}<text x="{WIDTH - 92}" y="{y + 4}">{text(label)}</text>'


def _below(label: str) -> str:
    place = f'x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 12}"'
    return f'<text {place} text-anchor="middle">{label}</text>'


def _ticks(low: float, high: float, most: int) -> list[float]:
    """Choose round numbers between two values, at most so many and one more."""
    step = 10.0 ** math.floor(math.log10(max(high - low, 1e-9)))
    for factor in (0.1, 0.2, 0.25, 0.5, 1, 2, 5):
        if (high - low) / (step * factor) <= most:
            step *= factor
            break
    first = math.floor(low / step)
    n = math.ceil((high - first * step) / step - 1e-9)
    return [round((first + i) * step, 10) for i in range(max(1, n) + 1)]
