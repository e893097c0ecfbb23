"""``tinycnn export``: a saved model as ONNX, C, a page, safetensors or PyTorch."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

import tinycnn
from tinycnn.cli.models import Model, read_model
from tinycnn.cli.options import reading_options
from tinycnn.cli.sources import DIGITS, read_test_data
from tinycnn.cli.streams import on_interrupt, say
from tinycnn.data import Dataset
from tinycnn.export import pytorch_source, to_c, to_html, to_onnx, to_safetensors
from tinycnn.export.onnx import PixelType
from tinycnn.files.model import is_model_file
from tinycnn.files.writing import write_text

CALIBRATION_IMAGES = 100
EXAMPLES = 20
TEST_IMAGES = 10

# Options by the targets that they are for.
OPTIONS = {
    "int8": ("c",),
    "layout": ("c",),
    "name": ("c",),
    "test": ("c",),
    "input": ("c", "onnx"),
    "title": ("html",),
}


class Task(NamedTuple):
    """What to export, whereto, and with which images."""

    model: Model
    output: Path
    images: Dataset | None
    options: argparse.Namespace


def run_export(arguments: argparse.Namespace) -> int:
    """Write the model in another form, and tell what it is."""
    _require_fitting_options(arguments)
    model = read_model(arguments.model)
    output = _output(arguments)
    with on_interrupt("while data were read or files written; each file is whole or not there"):
        task = Task(model, output, _read_images(arguments, model), arguments)
        for line in TARGETS[arguments.to].export(task):
            say(line)
    return 0


def _export_onnx(task: Task) -> list[str]:
    pixels: PixelType = task.options.input or "uint8"
    trained = json.dumps(
        {key: value for key, value in task.model.notes.items() if key != "digests"}
    )
    to_onnx(task.model.net, task.output, input=pixels, metadata={"trained": trained})
    C, H, W = task.model.net.architecture.image_shape
    return [
        f"{task.output}: takes images (N, {C}, {H}, {W}) of {pixels}, gives logits and "
        "probabilities"
    ]


def _export_c(task: Task) -> list[str]:
    options, net = task.options, task.model.net
    quantized, told = _quantize(task) if options.int8 else (net, [])
    examples = _test_images(task) if options.test else None
    sizes = to_c(
        quantized,
        task.output,
        name=options.name,
        layout=options.layout or "header",
        input=options.input or "uint8",
        examples=examples,
    )
    return [
        *told,
        f"{task.output}: {sizes.table_bytes:,} bytes of weights in flash memory, a few thousand "
        f"more of code, {sizes.scratch_bytes:,} bytes of RAM besides the image and the logits",
    ]


def _export_html(task: Task) -> list[str]:
    net, images = task.model.net, task.images
    chosen = {}
    if images is not None:
        index = _of_each_class(images.labels, EXAMPLES)
        chosen = {"examples": images.images[index], "labels": images.labels[index]}
    title = task.options.title or task.output.stem
    to_html(net, task.output, title=title, **chosen)
    shown = len(chosen["labels"]) if chosen else "no"
    return [f"{task.output}: a page with {shown} examples; open it in a browser"]


def _export_safetensors(task: Task) -> list[str]:
    to_safetensors(task.model.net, task.output)
    return [f"{task.output}: the parameters; in PyTorch:", *_source_lines(task, task.output)]


def _export_pytorch(task: Task) -> list[str]:
    weights = task.output.with_suffix(".safetensors")
    _require_no_model("--output", weights)
    to_safetensors(task.model.net, weights)
    write_text(task.output, "\n".join(_source_lines(task, weights)) + "\n")
    return [
        f"{task.output}: the network in PyTorch, with predict_proba(images)",
        f"{weights}: its parameters",
    ]


class Target(NamedTuple):
    """How to export to a target, and the end of its files' names."""

    export: Callable[[Task], list[str]]
    suffix: str


TARGETS = {
    "onnx": Target(_export_onnx, ".onnx"),
    "c": Target(_export_c, ".h"),
    "html": Target(_export_html, ".html"),
    "safetensors": Target(_export_safetensors, ".safetensors"),
    "pytorch": Target(_export_pytorch, ".py"),
}


def _require_fitting_options(arguments: argparse.Namespace) -> None:
    for name, targets in OPTIONS.items():
        if getattr(arguments, name) and arguments.to not in targets:
            raise ValueError(
                f"--{name}: is for --to {' or '.join(targets)}, not for {arguments.to}"
            )


def _output(arguments: argparse.Namespace) -> Path:
    """Return where to write; refuse what would destroy a model."""
    if arguments.output is None:
        suffix = "" if arguments.layout == "arduino" else TARGETS[arguments.to].suffix
        output = Path(arguments.model).with_suffix(suffix)
    else:
        output = Path(arguments.output)
    if not output.parent.is_dir():
        raise ValueError(f"--output: there is no folder {output.parent}; make it first")
    _require_no_model("--output", output)
    return output


def _require_no_model(option: str, path: Path) -> None:
    if path.is_file() and is_model_file(path):
        raise ValueError(f"{option}: {path} is a tinycnn model; choose another name")


def _read_images(arguments: argparse.Namespace, model: Model) -> Dataset | None:
    """Read images that the model has not learned from, of data that are given or bundled."""
    if arguments.data is None and model.notes.get("data") != DIGITS:
        return None
    reading = reading_options(arguments)
    return read_test_data(arguments.data, model, reading).images


def _quantize(task: Task) -> tuple[tinycnn.QuantizedCNN, list[str]]:
    """Quantize on some images, and measure on the others what it costs."""
    images = _required_images(task, "--int8: to see how large values become, it")
    pixels = _as_bytes(images.images)
    order = np.random.default_rng(0).permutation(len(pixels))
    n = min(CALIBRATION_IMAGES, -(-len(pixels) // 2))
    seen, others = np.sort(order[:n]), np.sort(order[n:])
    quantized = tinycnn.quantize(task.model.net, pixels[seen])
    if len(others) == 0:
        return quantized, []
    before = task.model.net.score(images.images[others], images.labels[others])
    after = quantized.score(pixels[others], images.labels[others])
    return quantized, [
        f"accuracy {before:.2%} in floats, {after:.2%} in eight-bit integers, "
        f"of {len(others)} images; {n} others told how large values become"
    ]


def _test_images(task: Task) -> npt.NDArray[Any]:
    images = _required_images(task, "--test: it")
    chosen = images.images[_of_each_class(images.labels, TEST_IMAGES)]
    if task.options.input not in (None, "uint8"):
        return chosen.astype(task.options.input)
    return _as_bytes(chosen)


def _required_images(task: Task, why: str) -> Dataset:
    if task.images is None:
        raise ValueError(
            f"{why} needs images; name data behind the model: tinycnn export MODEL DATA ..."
        )
    return task.images


def _as_bytes(images: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Bring greys 0 to 1 to bytes."""
    if images.dtype.kind != "f":
        return images
    if images.min(initial=0) < 0 or images.max(initial=0) > 1:
        raise ValueError("DATA: floats beyond 0..1 have no bytes; eight-bit networks take bytes")
    return np.round(images * 255).astype(np.uint8)


def _of_each_class(labels: npt.NDArray[np.int64], n: int) -> npt.NDArray[np.intp]:
    """Choose images: the first of each class, then the second of each, up to n."""
    rank = np.empty(len(labels), np.intp)
    for label in np.unique(labels):
        mine = np.flatnonzero(labels == label)
        rank[mine] = np.arange(len(mine))
    return np.lexsort((labels, rank))[:n]


def _source_lines(task: Task, weights: Path) -> list[str]:
    return pytorch_source(task.model.net, str(weights)).rstrip().split("\n")
