"""``to_html``: what the page holds, and how it is put together."""

from __future__ import annotations

import base64
import html
import json
import os
import re
from collections.abc import Callable, Sequence
from importlib import resources
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from tinycnn._checks import as_labels, require_same_length, shown
from tinycnn.architecture import Step
from tinycnn.export.translations import Translations
from tinycnn.files.writing import write_text
from tinycnn.inputs import as_images
from tinycnn.layers import Conv, Dropout, Flatten, Linear, MaxPool, ReLU
from tinycnn.network import CNN, require_network

SCRIPTS = ("engine.js", "view.js", "inspect.js", "input.js", "page.js")
MOST_EXAMPLES = 60
TEST_IMAGES = 3  # made up where no examples are given


class PageLayer(NamedTuple):
    """How a page computes and presents a layer.

    Attributes
    ----------
    says : str
        What it does, in a few words.
    arguments : dict
        What its function needs to know, ready for JSON, besides ``inputShape``, ``outputShape``
        and ``parameters`` (a Float32Array for each).
    forward : str
        For a layer of one's own: a JavaScript function ``(x, step) => y`` of Float32Arrays with
        the values of one image; the page's own layers have none.
    """

    says: str
    arguments: dict[str, Any] = {}  # noqa: RUF012
    forward: str = ""


PageTranslation: TypeAlias = Callable[[Step], PageLayer]

TRANSLATIONS: Translations[PageTranslation] = Translations(
    "a page", "tinycnn.export.html.TRANSLATIONS"
)
"""Functions of a step that return its :class:`PageLayer`."""


@TRANSLATIONS.register(Conv)
def _conv(step: Step) -> PageLayer:
    layer = step.layer
    assert isinstance(layer, Conv)
    (R, S), ((top, bottom), (left, right)) = layer.kernel, layer.border
    padded = (
        f", padded by {_padding(top, bottom, left, right)}" if top + bottom + left + right else ""
    )
    says = f"{_count(layer.filters, 'filter')} of {R} × {S} slide over the maps{padded}"
    return PageLayer(says, {"layer": "conv", "kernel": [R, S], "border": [top, left]})


@TRANSLATIONS.register(ReLU)
def _relu(step: Step) -> PageLayer:
    return PageLayer("what is below 0 becomes 0", {"layer": "relu"})


@TRANSLATIONS.register(MaxPool)
def _max_pool(step: Step) -> PageLayer:
    return PageLayer("of each 2 × 2 window the largest stays", {"layer": "maxpool"})


@TRANSLATIONS.register(Linear)
def _linear(step: Step) -> PageLayer:
    says = "every value before, times a weight for each of these, summed up"
    return PageLayer(says, {"layer": "linear"})


@TRANSLATIONS.register(Flatten, Dropout)
def _same(step: Step) -> PageLayer:
    return PageLayer("", {"layer": "same"})


def to_html(
    net: CNN,
    path: str | os.PathLike[str],
    *,
    title: str = "A network to look into",
    examples: npt.ArrayLike | None = None,
    labels: npt.ArrayLike | None = None,
) -> None:
    """Write a page that computes the network and shows what every layer makes of an image.

    It is one file that makes no request, opens from disk, and tests itself when it is opened:
    against what tinycnn says of the examples.

    Parameters
    ----------
    net : CNN
        Computed in float32.
    path : path-like
        Usually ends in ``.html``; taken as it is.
    title : str
    examples : (N, C, H, W), optional
        Up to 60 images to choose from.
    labels : (N,), optional
        The classes of the examples, shown with them.

    Raises
    ------
    ValueError
        If a layer has no translation, or the examples do not fit the network.
    TypeError
        If `net` is no network, or `title` no string.
    """
    require_network(net)
    if not isinstance(title, str):
        raise TypeError(f"title: must be a string, got {shown(title)}")
    images, names = _checked_examples(net, examples, labels)
    layers = [TRANSLATIONS.of(step)(step) for step in net.architecture.steps]
    model = _model(net, layers, images, names)
    own = [
        f"LAYERS[{json.dumps(step.layer.kind)}] = {layer.forward};"
        for step, layer in zip(net.architecture.steps, layers, strict=True)
        if layer.forward
    ]
    scripts = [_read(SCRIPTS[0]), *dict.fromkeys(own), *map(_read, SCRIPTS[1:])]
    write_text(path, _filled(title, json.dumps(model), "\n".join(scripts)))


def _checked_examples(
    net: CNN, examples: npt.ArrayLike | None, labels: npt.ArrayLike | None
) -> tuple[npt.NDArray[Any], list[str]]:
    """Return images as they are stored, and what each is called."""
    if examples is None:
        if labels is not None:
            raise ValueError("labels: there are no examples that they belong to")
        return np.zeros((0, *net.architecture.image_shape), np.uint8), []
    images = as_images("examples", examples, net.architecture.image_shape)
    if len(images) > MOST_EXAMPLES:
        raise ValueError(f"examples: a page takes {MOST_EXAMPLES} at most, got {len(images)}")
    if labels is None:
        return images, [""] * len(images)
    checked = as_labels("labels", labels, net.architecture.n_classes)
    require_same_length(images, checked, "examples", "labels")
    return images, [net.class_names[int(label)] for label in checked]


def _model(
    net: CNN, layers: Sequence[PageLayer], images: npt.NDArray[Any], names: Sequence[str]
) -> dict[str, Any]:
    """Gather what the page's script reads."""
    import tinycnn

    tests = images if len(images) else _made_up(net)
    scaled = "mean taken away, divided by the deviation" if net.is_standardized else "0 to 1"
    return {
        "imageShape": net.architecture.image_shape,
        "classNames": net.class_names,
        "nParameters": net.architecture.n_parameters,
        "mean": net.input_mean.tolist(),
        "std": net.input_std.tolist(),
        "scaling": f"what the first layer gets: pixels, {scaled}",
        "range": _range(images),
        "steps": [
            _step(net, step, layer)
            for step, layer in zip(net.architecture.steps, layers, strict=True)
        ],
        "examples": [
            {**_stored(image), "label": name} for image, name in zip(images, names, strict=True)
        ],
        "tests": [
            {**_stored(image), "probabilities": probabilities.tolist()}
            for image, probabilities in zip(tests, net.predict_proba(tests), strict=True)
        ],
        "colophon": f"Made by tinycnn {tinycnn.__version__}.",
    }


def _step(net: CNN, step: Step, layer: PageLayer) -> dict[str, Any]:
    parameters = net.parameters.of(step.name)
    return {
        "name": step.name,
        "layer": step.layer.kind,
        "says": layer.says,
        "inputShape": step.input_shape,
        "outputShape": step.output_shape,
        "parameters": {part: _floats(values) for part, values in parameters.items()},
        **layer.arguments,
    }


def _made_up(net: CNN) -> npt.NDArray[np.uint8]:
    """Return noise to test the page with."""
    shape = (TEST_IMAGES, *net.architecture.image_shape)
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


def _range(images: npt.NDArray[Any]) -> list[float]:
    """Return what black and white are to the network, as far as the examples tell."""
    if images.dtype == np.uint8 or len(images) == 0:
        return [0.0, 1.0]
    low, high = float(images.min()), float(images.max())
    if low >= 0 and high <= 1:
        return [0.0, 1.0]
    return [low, high] if high > low else [low, low + 1]


def _stored(image: npt.NDArray[Any]) -> dict[str, str]:
    if image.dtype == np.uint8:
        return {"bytes": base64.b64encode(image.tobytes()).decode("ascii")}
    return {"floats": _floats(image)}


def _floats(values: npt.NDArray[Any]) -> str:
    return base64.b64encode(values.astype("<f4").tobytes()).decode("ascii")


def _filled(title: str, model: str, script: str) -> str:
    """Put the parts into the page; nothing in a part can end it."""
    parts = {
        "__TITLE__": html.escape(title),
        "__STYLE__": _read("page.css"),
        "__MODEL__": model.replace("<", "\\u003c"),
        "__SCRIPT__": script,
    }
    return re.sub("|".join(parts), lambda mark: parts[mark.group()], _read("page.html"))


def _read(name: str) -> str:
    return resources.files("tinycnn.export.html").joinpath(name).read_text(encoding="utf-8")


def _padding(top: int, bottom: int, left: int, right: int) -> str:
    if top == bottom == left == right:
        return str(top)
    return f"{top} above, {bottom} below, {left} left, {right} right"


def _count(n: int, noun: str) -> str:
    return f"{n} {noun}{'s' * (n != 1)}"
