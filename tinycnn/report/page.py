"""``write_report``: the page as a whole."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from importlib import resources
from pathlib import Path

import numpy as np
import numpy.typing as npt

import tinycnn
from tinycnn._checks import as_labels
from tinycnn.evaluation import assess
from tinycnn.export import to_html
from tinycnn.files.writing import write_text
from tinycnn.functional import softmax
from tinycnn.inputs import as_images
from tinycnn.network import CNN, require_network
from tinycnn.report import sections
from tinycnn.report.facts import Background, Facts
from tinycnn.report.markup import text

SECTIONS: tuple[tuple[str, str, Callable[[Facts], str]], ...] = (
    ("result", "What the number rests on", sections.verdict),
    ("curves", "Curves", sections.training_curves),
    ("confusion", "What is taken for what", sections.confusion),
    ("classes", "Class by class", sections.classes),
    ("mistakes", "The most confident mistakes", sections.mistakes),
    ("typical", "The most typical images", sections.typical),
    ("duplicates", "Seen before?", sections.duplicates),
    ("network", "The network", sections.architecture),
    ("training", "How it was trained", sections.training),
    ("usage", "How to use it", sections.usage),
)

LIVE_IMAGES = 12

# By this a page is known to be a report.
MARK = '<meta name="generator" content="tinycnn report">'


def write_report(
    net: CNN,
    images: npt.ArrayLike,
    labels: npt.ArrayLike,
    path: str | os.PathLike[str],
    *,
    background: Background | None = None,
) -> None:
    """Write a page about a network: one HTML file that makes no request.

    It has the accuracy with its interval, curves, the confusion matrix, precision and recall of
    each class, the worst mistakes and most typical images, the layers with their work, how the
    network was trained and is used; and the live page of :func:`tinycnn.export.to_html`, where the
    layers allow it.

    Parameters
    ----------
    net : CNN
    images : (N, C, H, W)
        Test images, N at least 1: bytes, uint16 or floats.
    labels : (N,)
        What they are, in [0, n_classes).
    path : path-like
        Usually ends in ``.html``; taken as it is.
    background : Background, optional
        What cannot be measured: names, how the network was trained.

    Raises
    ------
    ValueError
        If images or labels do not fit the network or each other.
    OSError
        If the file cannot be written.
    """
    checked = as_images("images", images, require_network(net).architecture.image_shape)
    classes = as_labels("labels", labels, net.architecture.n_classes).astype(np.int64)
    result = assess(net, checked, classes)
    probabilities = softmax(net.logits(checked))
    facts = Facts(net, checked, result, probabilities, background or Background())
    write_text(path, _page(facts))


def is_report(path: str | os.PathLike[str]) -> bool:
    """Tell whether a file is a page that :func:`write_report` has written."""
    try:
        with open(path, "rb") as file:
            return MARK.encode() in file.read(1000)
    except OSError:
        return False


def _page(facts: Facts) -> str:
    """Put the sections together."""
    made = [(key, title, section(facts)) for key, title, section in SECTIONS]
    live = _live(facts)
    if live:
        made.append(("live", "Try it", live))
    links = "".join(f'<li><a href="#{key}">{title}</a></li>' for key, title, body in made if body)
    parts = "".join(
        f'<section id="{key}"><h2>{title}</h2>{body}</section>' for key, title, body in made if body
    )
    title = text(facts.background.title)
    style = (resources.files("tinycnn.report") / "page.css").read_text(encoding="utf-8")
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"{MARK}\n<title>{title}</title>\n<style>\n{style}</style>\n</head>\n<body>\n"
        f'<header><h1>{title}</h1><nav aria-label="Contents"><ul>{links}</ul></nav></header>\n'
        f"<main>{parts}</main>\n<footer><p>Made by tinycnn {tinycnn.__version__}.</p></footer>\n"
        "</body>\n</html>\n"
    )


def _live(facts: Facts) -> str:
    """Embed the page that computes the network, if its layers can be computed there."""
    chosen = facts.typical[:LIVE_IMAGES]
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "live.html"
        try:
            to_html(
                facts.net,
                page,
                title="The network, live",
                examples=facts.images[chosen] if len(chosen) else None,
                labels=facts.result.labels[chosen] if len(chosen) else None,
            )
        except (ValueError, TypeError) as error:
            return f"<p>There is no live page of this network: {text(error)}</p>"
        content = page.read_text(encoding="utf-8")
    escaped = content.replace("&", "&amp;").replace('"', "&quot;")
    return (
        "<p>The network computes here, in this page: draw, or choose an image, and look into every "
        "layer.</p>"
        f'<iframe title="The network, live" loading="lazy" srcdoc="{escaped}"></iframe>'
    )
