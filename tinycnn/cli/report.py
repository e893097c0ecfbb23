"""``tinycnn report``: one page about a saved model."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tinycnn.cli.models import Model, read_model
from tinycnn.cli.next_command import as_argument
from tinycnn.cli.options import reading_options
from tinycnn.cli.provenance import digests_of
from tinycnn.cli.sources import DIGITS, TestData, read_test_data
from tinycnn.cli.streams import on_interrupt, say
from tinycnn.report import Background, write_report
from tinycnn.report.page import is_report

# Options of a training that say something else than the defaults when they are given.
_REPEATED = (
    "model",
    "channels",
    "kernel_size",
    "padding",
    "hidden",
    "epochs",
    "batch_size",
    "optimizer",
    "lr",
    "weight_decay",
    "shift",
    "flip",
    "class_weight",
    "label_smoothing",
    "patience",
    "seed",
)
_OF_BLOCKS = ("channels", "kernel_size", "padding", "hidden")  # which a named network has itself


def run_report(arguments: argparse.Namespace) -> int:
    """Measure a model on data, and write the page."""
    output = Path(arguments.output)
    _require_free(output)
    model = read_model(arguments.model)
    net = model.net
    reading = reading_options(arguments)
    path = _data_of(model) if arguments.data is None else arguments.data
    with on_interrupt("while the data were read or measured; nothing was written"):
        source = read_test_data(path, model, reading)
        background = _background(arguments.model, model, source)
        images = source.images
        write_report(net, images.images, images.labels, output, background=background)
    say(f"report on {len(images)} images of {source.name} written to {output}")
    return 0


def _require_free(path: Path) -> None:
    if not path.parent.is_dir():
        raise ValueError(f"--output: there is no folder {path.parent}; make it first")
    if path.exists() and not is_report(path):
        raise ValueError(f"--output: {path} exists and is no report; choose another name")


def _data_of(model: Model) -> str | None:
    """Return the path of the data that a model was trained on, if they are still there."""
    name = model.notes.get("data")
    return name if isinstance(name, str) and name != DIGITS and Path(name).exists() else None


def _background(path: str, model: Model, source: TestData) -> Background:
    """Gather what the page cannot measure."""
    learned_from = None
    if model.provenance is not None:
        known = np.isin(digests_of(source.images.images), model.provenance.digests)
        learned_from = np.flatnonzero(known)
    history = model.notes.get("history")
    return Background(
        title=f"{Path(path).stem}: a network and how good it is",
        model=path,
        data=source.name,
        measured_on=source.measured_on,
        training=dict(_training(model.notes)),
        command=_command(path, model),
        history=history if isinstance(history, Mapping) else {},
        cautions=source.cautions,
        notes=source.notes,
        learned_from=learned_from,
    )


def _training(notes: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Tell how a model was trained, as far as its notes do."""
    if "n_images" in notes:
        yield "learned from", f"{notes['n_images']} images of {notes.get('data', 'unknown data')}"
    for key, name in (("epochs", "epochs"), ("best_epoch", "epoch that was kept")):
        if key in notes:
            yield name, str(notes[key])
    options = notes.get("training")
    if isinstance(options, Mapping):
        for name, value in options.items():
            if value not in (None, False, 0, 0.0, [], "auto") and name != "epochs":
                yield name.replace("_", " "), _words(value)
    if "version" in notes:
        yield "tinycnn", str(notes["version"])


def _command(path: str, model: Model) -> str:
    """Return the command that repeats a training; empty if the notes do not tell."""
    options, name = model.notes.get("training"), model.notes.get("data")
    if not isinstance(options, Mapping) or not isinstance(name, str):
        return ""
    words = ["tinycnn", "train"]
    if name != DIGITS:
        rows, columns = model.net.architecture.image_shape[1:]
        words += [as_argument(name), "--image-size", str(rows), str(columns)]
        read_by = model.notes.get("read_by")
        words += map(str, read_by) if isinstance(read_by, list) else []
    for option in _REPEATED:
        value = options.get(option)
        if value in (None, False, [], "auto") or (options.get("model") and option in _OF_BLOCKS):
            continue
        words.append(f"--{option.replace('_', '-')}")
        words += [] if value is True else _words(value).split()
    return shlex.join([*words, "-o", as_argument(path)])


def _words(value: Any) -> str:
    if isinstance(value, list | tuple):
        return " ".join(map(str, value))
    return "yes" if value is True else f"{value:g}" if isinstance(value, float) else str(value)
