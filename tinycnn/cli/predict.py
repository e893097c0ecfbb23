"""``tinycnn predict``: the classes of images."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from functools import partial

from tinycnn._checks import FloatArray, as_count
from tinycnn.cli import streams
from tinycnn.cli.models import read_model
from tinycnn.cli.options import thread_option, views_option
from tinycnn.cli.predictions import Prediction, Writer, open_writer
from tinycnn.data import ImageStream, stream_images

STANDARD_INPUT = "-"

EXIT_SOME_FAILED = 1


def run_predict(arguments: argparse.Namespace) -> int:
    """Print the class of each image; go on after those that cannot be read."""
    n_top, threads = as_count("--top", arguments.top, 1), thread_option(arguments)
    views = views_option(arguments)
    model = read_model(arguments.model)
    net = model.net
    images = stream_images(
        _sources(arguments.images),
        net.architecture.image_shape,
        dtype=model.dtype,
        n_threads=threads,
    )
    nothing_lost = "nothing was written" if arguments.output else "what was printed is all"
    with (
        streams.on_interrupt(f"while images were predicted; {nothing_lost}"),
        open_writer(arguments, min(n_top, len(net.class_names))) as writer,
    ):
        probabilities = partial(net.predict_proba, n_threads=threads, views=views)
        _predict(probabilities, images, writer, net.class_names)
        _require_some(images)
    if images.n_failures == 0:
        return 0
    n_all = images.n_images + images.n_failures
    streams.complain(f"tinycnn: {images.n_failures} of {n_all} could not be read")
    return EXIT_SOME_FAILED


def _sources(paths: list[str]) -> list[str]:
    """Return the paths, with one name for standard input."""
    sources = [STANDARD_INPUT if path == "/dev/stdin" else path for path in paths]
    if STANDARD_INPUT in sources and sys.stdin is None:
        raise ValueError(f"{STANDARD_INPUT}: there is no standard input")
    return sources


def _predict(
    predict_proba: Callable[..., FloatArray],
    images: ImageStream,
    writer: Writer,
    class_names: Sequence[str],
) -> None:
    """Predict one batch after the other, and tell what could not be read."""
    n_told = 0
    for batch in images:
        n_told = _complain(images, n_told)
        rows = predict_proba(batch.images)
        for name, row in zip(batch.names, rows, strict=True):
            best = (-row).argsort(kind="stable")[: writer.n_top]
            writer.write(Prediction(name, [(class_names[i], float(row[i])) for i in best]))
        writer.flush()
    if images.n_images > 0 or images.n_failures > 1:
        _complain(images, n_told)


def _require_some(images: ImageStream) -> None:
    """Raise ValueError if nothing could be predicted."""
    if images.n_images > 0:
        return
    if images.n_failures == 1:
        raise ValueError(images.failures[0].reason)
    raise ValueError(
        f"none of {images.n_failures} could be read" if images.n_failures else "there are no images"
    )


def _complain(images: ImageStream, n_told: int) -> int:
    """Name the images that could not be read since the last time."""
    for failure in images.failures[n_told:]:
        streams.complain(f"tinycnn: error: {failure.reason}")
    return len(images.failures)
