"""What all plots draw with: axes, colours, pictures side by side."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tinycnn._checks import FloatArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap

GAP = 0.12  # between pictures, as a share of their side
MOST_LETTERS = 14  # of a name beside a picture
LETTER_WIDTH = 0.62  # of a font of size 1


def new_axes_unless(ax: Axes | None) -> Axes:
    """Return the axes to draw into."""
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError("plots need Matplotlib: pip install 'tinycnn[plot]'") from error
    return plt.subplots(layout="constrained")[1] if ax is None else ax


def draw_tiles(
    ax: Axes,
    pictures: Sequence[npt.NDArray[Any]],
    columns: int,
    *,
    titles: Sequence[str] = (),
    cmap: Colormap | None = None,
    limit: float | None = None,
) -> Axes:
    """Draw pictures side by side, row after row."""
    letters = max((len(line) for title in titles for line in title.split("\n")), default=0)
    size = font_size(ax, columns, letters)
    row_height = 1 + (0.5 if titles else 0)
    for i, picture in enumerate(pictures):
        row, column = divmod(i, columns)
        top = row * row_height + row_height - 1
        draw_picture(
            ax, picture, (column, column + 1 - GAP, top, top + 1 - GAP), cmap=cmap, limit=limit
        )
        if titles:
            middle = column + (1 - GAP) / 2
            ax.text(middle, top - 0.06, titles[i], ha="center", va="bottom", fontsize=size)
    n_rows = -(-len(pictures) // columns)
    return frame(ax, columns, n_rows * row_height)


def draw_picture(
    ax: Axes,
    picture: npt.NDArray[Any],
    place: tuple[float, float, float, float],
    *,
    cmap: Colormap | None = None,
    limit: float | None = None,
) -> None:
    """Draw a picture at (left, right, top, bottom): as it is, or in two colours around 0."""
    left, right, top, bottom = place
    limits = {"vmin": 0, "vmax": 1} if limit is None else {"vmin": -limit, "vmax": limit}
    colours = "gray" if limit is None else cmap
    ax.imshow(picture, extent=(left, right, bottom, top), cmap=colours, **limits)


def frame(ax: Axes, width: float, height: float) -> Axes:
    """Show pictures that were drawn one by one, and nothing else."""
    ax.set(xlim=(-GAP, width), ylim=(height, -GAP), aspect="equal")
    ax.set_axis_off()
    return ax


def as_picture(image: npt.NDArray[Any]) -> FloatArray:
    """Bring an image (C, H, W) to what Matplotlib draws: 0..1, grey (H, W) or colour (H, W, 3)."""
    scaled = image / 255 if image.dtype == np.uint8 else image.astype(np.float64)
    low, high = float(scaled.min()), float(scaled.max())
    if low < 0 or high > 1:  # on a scale of its own
        scaled = (scaled - low) / ((high - low) or 1.0)
    colour: FloatArray = scaled.transpose(1, 2, 0) if len(image) == 3 else scaled.mean(axis=0)
    return colour


def columns_for(n: int) -> int:
    """Choose columns for n pictures: about twice as many as rows."""
    return max(1, min(n, round(math.sqrt(2 * n))))


def shortened(name: str) -> str:
    """Cut a name off where it would run into the next one."""
    return name if len(name) <= MOST_LETTERS else f"{name[: MOST_LETTERS - 1]}…"


def font_size(ax: Axes, places: float, letters: int) -> float:
    """Choose a font size in which so many letters fit into one of so many places side by side."""
    import matplotlib as mpl

    points = ax.get_window_extent().width / ax.figure.dpi * 72
    usual = float(mpl.rcParams["font.size"])
    return min(usual, max(3.0, points / places / (LETTER_WIDTH * max(1, letters))))


def ink() -> str:
    """Return the colour of text in the current style."""
    import matplotlib as mpl

    return str(mpl.rcParams["text.color"])


def rising(ax: Axes) -> Colormap:
    """Return colours from the axes' own, for 0, to full blue."""
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("rising", [ax.get_facecolor(), "#1f6fb5"])


def two_sided(ax: Axes) -> Colormap:
    """Return colours from blue, below 0, over the axes' own to orange: no red beside green."""
    from matplotlib.colors import LinearSegmentedColormap

    colours = ["#3b8fd6", ax.get_facecolor(), "#e8761a"]
    return LinearSegmentedColormap.from_list("two_sided", colours)
