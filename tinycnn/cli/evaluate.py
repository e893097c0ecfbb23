"""``tinycnn evaluate``: how good a saved model is, in all and class by class."""

from __future__ import annotations

import argparse
import json

from tinycnn._checks import shown
from tinycnn.cli.models import Model, read_model
from tinycnn.cli.options import reading_options, thread_option, views_option
from tinycnn.cli.results import accuracy_line, class_lines
from tinycnn.cli.sources import DIGITS, read_test_data
from tinycnn.cli.streams import on_interrupt, say
from tinycnn.evaluation import assess


def run_evaluate(arguments: argparse.Namespace) -> int:
    """Print accuracy and loss, in all and for each class."""
    threads, views = thread_option(arguments), views_option(arguments)
    model = read_model(arguments.model)
    net = model.net
    reading = reading_options(arguments)
    if arguments.data is None:
        _require_digits(model)
    with on_interrupt("while the data were read or measured; nothing is changed"):
        source = read_test_data(arguments.data, model, reading)
        net.warn_if_unusual(source.images.images)
        result = assess(net, source.images.images, source.images.labels, threads, views=views)
    cautions = [*source.cautions, *result.cautions()]
    if arguments.json:
        told = {"model": arguments.model, "data": source.name, "measured_on": source.measured_on}
        say(json.dumps({**told, **result.as_dict(), "cautions": cautions, "notes": source.notes}))
        return 0
    say(
        f"{source.name}: {result.n_images} images, loss {result.loss:.4f}, "
        f"accuracy {result.accuracy:.2%}"
    )
    say(f"  measured on {source.measured_on}: {accuracy_line(result)}")
    for line in class_lines(result):
        say(f"  {line}")
    for note in source.notes:
        say(f"  note: {note}")
    for caution in cautions:
        say(f"  careful: {caution}")
    return 0


def _require_digits(model: Model) -> None:
    """Raise ValueError if a model says that it has learned from other data than the digits."""
    data = model.notes.get("data", DIGITS)
    if data != DIGITS:
        raise ValueError(
            f"the model was trained on {shown(data)}, not on {DIGITS}; name data behind the model: "
            "tinycnn evaluate MODEL DATA"
        )
