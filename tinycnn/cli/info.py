"""``tinycnn info``: what a saved model is made of."""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from tinycnn.architecture import Step
from tinycnn.cli.models import Model, read_model
from tinycnn.cli.streams import say
from tinycnn.files.model import describe
from tinycnn.network import CNN


def run_info(arguments: argparse.Namespace) -> int:
    """Print the layers of a model with their shapes, and its classes."""
    model = read_model(arguments.model)
    net, notes = model.net, model.notes
    if arguments.json:
        told = {**describe(net), "n_parameters": net.flat.size, "path": _path(net), "notes": notes}
        say(json.dumps(told))
        return 0
    say(f"{arguments.model}: {net.flat.size} parameters, {net.flat.dtype}")
    say(f"  images        {_shape(net.architecture.image_shape)}, {_scale(model)}")
    say(f"  standardised  mean {_numbers(net.input_mean)}, deviation {_numbers(net.input_std)}")
    steps = net.architecture.steps
    width = max(len(step.name) for step in steps)
    for step in steps:
        say(f"  {step.name:{width}}  {_arguments(step):40} -> {_shape(step.output_shape)}")
    say(f"  classes       {', '.join(net.class_names)}")
    say(f"  runs          {_path(net)}")
    for line in _history(model):
        say(f"  {line}")
    return 0


def _history(model: Model) -> Iterator[str]:
    """Tell how a model was trained, as far as its notes do."""
    provenance, notes = model.provenance, model.notes
    if provenance is not None:
        yield f"learned from  {provenance.n_images} images of {notes.get('data')}"
    if isinstance(notes.get("training"), Mapping):
        chosen = (f"{name} {value}" for name, value in notes["training"].items() if value)
        yield f"training      {', '.join(chosen)}"
    result = notes.get("result")
    if isinstance(result, Mapping) and {"accuracy", "n_images"} <= set(result):
        yield f"tested        {result['accuracy']:.2%} of {result['n_images']} images"


def _scale(model: Model) -> str:
    """Tell on which scale the network expects pixels."""
    bytes_or_floats = "bytes 0..255 or floats 0..1"
    if model.provenance is None or model.dtype == "uint8":
        return bytes_or_floats
    usual = model.dtype.startswith("float") and model.net.input_mean.max() <= 1
    return bytes_or_floats if usual else f"{model.dtype}, on the scale of the training images"


def _path(net: CNN) -> str:
    """Tell how the network is computed, and if not fast, why."""
    return f"layer by layer: {net.why_layered}" if net.why_layered else "on the fast path"


def _arguments(step: Step) -> str:
    """Tell what a layer was made with, as in Python."""
    fields = dataclasses.fields(step.layer)
    return ", ".join(f"{each.name}={getattr(step.layer, each.name)!r}" for each in fields)


def _numbers(values: Iterable[Any]) -> str:
    return ", ".join(f"{value:.4g}" for value in values)


def _shape(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))
