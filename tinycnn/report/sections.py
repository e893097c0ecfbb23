"""The parts of a report, each made from the same facts; one that has nothing to say is empty."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from tinycnn.inspection import multiply_adds
from tinycnn.report import charts
from tinycnn.report.facts import MOST_PICTURES, Facts
from tinycnn.report.markup import (
    NONE,
    code,
    definitions,
    name,
    picture,
    scrolling,
    share,
    table,
    text,
)

MOST_IN_MATRIX = 26  # classes; of more, the most frequent confusions are listed
MOST_CONFUSIONS = 20
STRONG = 0.55  # share from which on a field is dark enough for light text


def verdict(facts: Facts) -> str:
    """Say what the number rests on."""
    result, background = facts.result, facts.background
    low, high = result.interval
    majority = name(result.class_names[result.majority_class])
    where = f" ({text(background.measured_on)})" if background.measured_on else ""
    of_data = f" of {name(background.data)}" if background.data else ""
    cautions = [*background.cautions, *result.cautions()]
    careful = "".join(f"<li>{text(each)}</li>" for each in cautions)
    notes = "".join(f"<li>{text(each)}</li>" for each in background.notes)
    return (
        f'<p class="verdict"><strong>{result.accuracy:.1%}</strong> of {result.n_images:,} test '
        f"images{of_data} are right{where}.</p>"
        + definitions(
            [
                ("right", f"{result.n_right:,} of {result.n_images:,}"),
                ("on all such images", f"{low:.1%} to {high:.1%}, with 95% confidence"),
                (f"always answering {majority}", f"{result.majority_share:.1%}"),
                ("mean cross-entropy", f"{result.loss:.4f}"),
                ("calibration error", f"{facts.reliability.calibration_error:.1%}"),
            ]
        )
        + (f'<h3>Careful</h3><ul class="careful">{careful}</ul>' if careful else "")
        + (f"<h3>About the data</h3><ul>{notes}</ul>" if notes else "")
    )


def training_curves(facts: Facts) -> str:
    """Show how the training went, and whether confidence can be trusted."""
    lists = facts.background.history
    losses = {
        label: lists[key]
        for key, label in (("train_loss", "training"), ("validation_loss", "validation"))
        if lists.get(key)
    }
    figures = []
    if losses:
        figures.append(_figure(charts.curves(losses, "Loss"), "Loss of every epoch."))
    if lists.get("validation_accuracy"):
        accuracy = {"validation": lists["validation_accuracy"]}
        chart = charts.curves(accuracy, "Accuracy", in_per_cent=True)
        figures.append(_figure(chart, "Accuracy on the validation images."))
    figures.append(
        _figure(
            charts.reliability_bars(facts.reliability),
            "Accuracy of predictions by their confidence: on the dotted line, both are the same.",
        )
    )
    return f'<div class="charts">{"".join(figures)}</div>'


def confusion(facts: Facts) -> str:
    """Show what was taken for what."""
    names = facts.result.class_names
    if len(names) <= MOST_IN_MATRIX:
        return _matrix(facts)
    if not facts.confusions:
        return ""
    return table(
        "The most frequent confusions",
        ("is", "taken for", "images"),
        (
            (name(names[is_]), name(names[taken]), str(n))
            for is_, taken, n in facts.confusions[:MOST_CONFUSIONS]
        ),
    )


def _matrix(facts: Facts) -> str:
    names, counts = facts.result.class_names, facts.result.confusion()
    head = "".join(f'<th scope="col"><span>{name(each)}</span></th>' for each in names)
    rows = []
    for label, row in enumerate(counts):
        total = max(1, int(row.sum()))
        cells = "".join(_field(int(n), int(n) / total, label == i) for i, n in enumerate(row))
        rows.append(f'<tr><th scope="row">{name(names[label])}</th>{cells}</tr>')
    caption = "Rows: what images are. Columns: what they were taken for."
    return scrolling(
        "confusion matrix",
        f'<table class="matrix"><caption>{caption}</caption><thead><tr><td></td>{head}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table>",
    )


def _field(n: int, part: float, is_right: bool) -> str:
    if n == 0:
        return '<td class="none">0</td>'
    kinds = ["right" if is_right else "wrong", *(["strong"] if part >= STRONG else [])]
    return f'<td class="{" ".join(kinds)}" style="--share:{part:.3f}">{n}</td>'


def classes(facts: Facts) -> str:
    """Show precision and recall of each class."""
    result = facts.result
    rows = [
        (
            name(class_name),
            str(int(result.class_counts[label])),
            _meter(facts.precision(label)),
            _meter(facts.recall(label)),
        )
        for label, class_name in enumerate(result.class_names)
    ]
    caption = (
        "Precision: of those called so, how many are. Recall: of those that are, how many were "
        "called so."
    )
    return table(caption, ("class", "images", "precision", "recall"), rows)


def _meter(value: float | None) -> str:
    if value is None:
        return NONE
    bar = f'<span class="meter" style="--share:{value:.3f}"></span>'
    return f'{bar}<span class="number">{share(value)}</span>'


def mistakes(facts: Facts) -> str:
    """Show the most confident mistakes."""
    wrong = facts.mistakes
    if len(wrong) == 0:
        return "<p>There are none.</p>"
    n_wrong = facts.result.n_images - facts.result.n_right
    shown = f"the {len(wrong)} most confident of {n_wrong:,}" if n_wrong > len(wrong) else "all"
    return (
        f"<p>Shown: {shown}. Look here first: often a label is wrong.</p>"
        f"{_gallery(facts, wrong, with_truth=True)}"
    )


def typical(facts: Facts) -> str:
    """Show the image of each class that the network is surest of."""
    return _gallery(facts, facts.typical, with_truth=False)


def duplicates(facts: Facts) -> str:
    """Say whether test images are among those that the network learned from."""
    known = facts.background.learned_from
    if known is None:
        return "<p>The model does not tell what it learned from, so nobody can say.</p>"
    if len(known) == 0:
        return "<p>No test image is, pixel for pixel, one that the network learned from.</p>"
    n = len(known)
    plural = "images are" if n > 1 else "image is"
    return (
        f"<p>{n:,} test {plural}, pixel for pixel, among those that the network learned from. They "
        f"make the accuracy look better than it is.</p>{_gallery(facts, known[:MOST_PICTURES])}"
    )


def _gallery(facts: Facts, indices: npt.NDArray[np.intp], with_truth: bool = True) -> str:
    """Show images side by side, each with its class and what it was taken for."""
    result = facts.result
    figures = []
    for i in indices:
        is_, taken = result.class_names[result.labels[i]], result.class_names[result.predictions[i]]
        sure = f"{facts.probabilities[i].max():.0%}"
        said = f"{text(is_)}, taken for {text(taken)}" if with_truth else text(is_)
        caption = f"{name(is_)},<br>not {name(taken)}: {sure}"
        if not with_truth or is_ == taken:
            caption = f"{name(is_)}<br>{sure}"
        figures.append(
            f"<figure>{picture(facts.images[i], f'test image {i}: {said}')}"
            f"<figcaption>{caption}</figcaption></figure>"
        )
    return f'<div class="gallery">{"".join(figures)}</div>'


def architecture(facts: Facts) -> str:
    """Show the layers with shapes, parameters and multiply-adds."""
    net = facts.net
    rows, total = [], 0
    for step in net.architecture.steps:
        work = multiply_adds(step)
        total += work
        n_parameters = sum(math.prod(shape) for shape in step.parameter_shapes.values())
        fields = dataclasses.fields(step.layer)
        arguments = ", ".join(f"{f.name}={getattr(step.layer, f.name)!r}" for f in fields)
        rows.append(
            (
                text(step.name),
                text(arguments),
                _shape(step.output_shape),
                f"{n_parameters:,}" if n_parameters else "",
                f"{work:,}" if work else "",
            )
        )
    rows.append(("in all", "", "", f"{net.flat.size:,}", f"{total:,}"))
    shape = _shape(net.architecture.image_shape)
    caption = f"From an image of {shape} to {net.architecture.n_classes} logits, {net.flat.dtype}."
    head = ("layer", "arguments", "output", "parameters", "multiply-adds")
    return table(caption, head, rows)


def training(facts: Facts) -> str:
    """Say how the network was trained, and what repeats it."""
    background = facts.background
    if not background.training and not background.command:
        return "<p>The model does not tell how it was trained.</p>"
    pairs = ((text(key), text(value)) for key, value in background.training.items())
    repeat = (
        f"<p>This repeats it:</p>{code('command', background.command)}"
        if background.command
        else ""
    )
    return definitions(pairs) + repeat


def usage(facts: Facts) -> str:
    """Say how the model file is used."""
    path = facts.background.model
    return (
        "<p>On the command line:</p>"
        + code("commands", f"tinycnn predict {path} image.png\ntinycnn info {path}")
        + "<p>In Python, with images as an array (N, "
        + ", ".join(str(size) for size in facts.net.architecture.image_shape)
        + "), bytes or numbers as in training:</p>"
        + code(
            "Python",
            f"import tinycnn\n\nnet = tinycnn.load_model({path!r})\n"
            "probabilities = net.predict_proba(images)\n"
            "names = [net.class_names[label] for label in net.predict(images)]",
        )
    )


def _figure(content: str, caption: str) -> str:
    return f"<figure>{content}<figcaption>{caption}</figcaption></figure>"


def _shape(sizes: Iterable[int]) -> str:
    return " × ".join(map(str, sizes))
