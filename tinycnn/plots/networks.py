"""Plots of a network: its filters, and what it makes of an image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from tinycnn._checks import as_array, as_count, shown
from tinycnn.inputs import as_images
from tinycnn.inspection import input_gradient, layer_outputs
from tinycnn.layers import Conv
from tinycnn.network import CNN
from tinycnn.plots.drawing import (
    GAP,
    as_picture,
    columns_for,
    draw_picture,
    draw_tiles,
    font_size,
    frame,
    new_axes_unless,
    two_sided,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes


# A name, its pictures, and the value that has the strongest colour; None for what is no map.
Row: TypeAlias = tuple[str, Sequence[npt.NDArray[Any]], float | None]


def filters(net: CNN, layer: str = "conv1", *, ax: Axes | None = None) -> Axes:
    """Draw the filters of a convolution: where they ask for bright and where for dark.

    Filters of one channel are drawn in two colours, for weights above and below 0; those of three
    in colours, with grey for 0. Else each row is a filter and each column a channel.

    Parameters
    ----------
    net : CNN
    layer : str
        Name of a Conv: ``conv1``, ``conv2``, ...
    ax : matplotlib.axes.Axes, optional
        New ones by default.

    Returns
    -------
    ax : matplotlib.axes.Axes

    Raises
    ------
    ValueError
        If there is no such layer.
    """
    convs = [step.name for step in net.architecture.steps if isinstance(step.layer, Conv)]
    if layer not in convs:
        raise ValueError(f"layer: must be one of {', '.join(convs)}, got {shown(layer)}")
    weight = net.parameters[f"{layer}.weight"]
    K, C = weight.shape[:2]
    ax = new_axes_unless(ax)
    largest = float(abs(weight).max()) or 1.0
    if C == 3:
        pictures = [0.5 + filter_.transpose(1, 2, 0) / (2 * largest) for filter_ in weight]
        return draw_tiles(ax, pictures, columns_for(K))
    columns = columns_for(K) if C == 1 else C
    pictures = list(weight.reshape(K * C, *weight.shape[2:]))
    return draw_tiles(ax, pictures, columns, cmap=two_sided(ax), limit=largest)


def feature_maps(net: CNN, image: npt.ArrayLike, *, most: int = 16, ax: Axes | None = None) -> Axes:
    """Draw what each layer makes of an image, from the image at the top to the logits.

    Each row is a layer, and each picture one of its maps; vectors are drawn as one long strip.

    Parameters
    ----------
    net : CNN
    image : (C, H, W)
        One image: bytes, uint16 or floats.
    most : int
        Maps of a layer that are drawn: the first ones.
    ax : matplotlib.axes.Axes, optional
        New ones by default.

    Returns
    -------
    ax : matplotlib.axes.Axes
    """
    picture = _one_image(net, image)
    most = as_count("most", most, 1)
    ax = new_axes_unless(ax)
    cmap = two_sided(ax)
    rows: list[Row] = [("image", [as_picture(picture)], None)]
    for name, outputs in layer_outputs(net, picture[None]).items():
        maps = outputs[0] if outputs[0].ndim == 3 else outputs[0][None, None]
        rows.append((name, list(maps[:most]), float(abs(maps).max()) or 1.0))
    width = max(len(maps) for _, maps, _ in rows)
    size = font_size(ax, 1.2 * max(width, len(rows)), 2)  # a row is as high as a picture is wide
    for top, (name, maps, limit) in enumerate(rows):
        for left, each in enumerate(maps):
            is_strip = each.shape[0] == 1 and len(maps) == 1
            right = (width if is_strip else left + 1) - GAP
            draw_picture(ax, each, (left, right, top, top + 1 - GAP), cmap=cmap, limit=limit)
        ax.text(-GAP, top + (1 - GAP) / 2, name, ha="right", va="center", fontsize=size)
    return frame(ax, width, len(rows))


def saliency(
    net: CNN, image: npt.ArrayLike, label: int | None = None, *, ax: Axes | None = None
) -> Axes:
    """Draw where the gradient of a class lies in an image.

    A pixel is the more coloured, the more the class's logit changes with it: in one colour where a
    brighter pixel speaks for the class, in the other where it speaks against it. Of colour images,
    the channel whose gradient is the largest counts. After Simonyan, Vedaldi and Zisserman, "Deep
    Inside Convolutional Networks", 2013, arXiv:1312.6034.

    Parameters
    ----------
    net : CNN
    image : (C, H, W)
        One image: bytes, uint16 or floats.
    label : int, optional
        The class; the likeliest one by default.
    ax : matplotlib.axes.Axes, optional
        New ones by default.

    Returns
    -------
    ax : matplotlib.axes.Axes
    """
    picture = _one_image(net, image)
    if label is None:
        label = int(net.logits(picture[None])[0].argmax())
    gradient = input_gradient(net, picture[None], [label])[0]
    strongest = np.take_along_axis(gradient, abs(gradient).argmax(axis=0)[None], axis=0)[0]
    largest = float(abs(strongest).max()) or 1.0
    ax = new_axes_unless(ax)
    outline = as_picture(picture)
    grey = outline if outline.ndim == 2 else outline.mean(axis=2)
    ax.imshow(grey, cmap="gray", vmin=0, vmax=1, alpha=0.35)
    share = abs(strongest) / largest
    ax.imshow(strongest, cmap=two_sided(ax), vmin=-largest, vmax=largest, alpha=share**0.5)
    ax.set_title(f"for {net.class_names[label]}")
    ax.set_axis_off()
    return ax


def _one_image(net: CNN, image: npt.ArrayLike) -> npt.NDArray[Any]:
    """Check one image (C, H, W)."""
    array = as_array("image", image)
    shape = C, H, W = net.architecture.image_shape
    if array.shape != shape:
        ways: dict[tuple[int, ...], str] = {(H, W, C): "; give image.transpose(2, 0, 1)"}
        if C == 1:
            ways[H, W] = "; give image[None]"
        way = "; of several give one: images[0]" if array.ndim == 4 else ways.get(array.shape, "")
        raise ValueError(
            f"image: needs one image of shape {shape} (C, H, W), got {array.shape}{way}"
        )
    checked: npt.NDArray[Any] = as_images("image", array[None], shape)[0]
    return checked
