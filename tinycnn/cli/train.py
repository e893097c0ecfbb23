"""``tinycnn train``: train, save, test, and say what to do next."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any, NamedTuple

from tinycnn.cli.cautions import cautions_about_training
from tinycnn.cli.next_command import as_argument, command_line
from tinycnn.cli.options import (
    Files,
    Reading,
    Training,
    file_options,
    reading_options,
    training_options,
)
from tinycnn.cli.provenance import provenance_of
from tinycnn.cli.results import accuracy_line, class_lines
from tinycnn.cli.run import Run, Trained
from tinycnn.cli.sources import TrainingData, read_training_data
from tinycnn.cli.streams import Output, on_interrupt
from tinycnn.evaluation import Evaluation, assess
from tinycnn.training.callbacks import Callback
from tinycnn.training.progress import ProgressLines, progress

# Up to so many classes, the accuracy of each is shown after training.
FEW_CLASSES = 10


class _Results(NamedTuple):
    """How good a network is on images that it has not seen, and on those that it has."""

    tested: Evaluation
    learned: Evaluation
    cautions: list[str]


def run_train(arguments: argparse.Namespace) -> int:
    """Train, save, test, and say what to do next."""
    options, files = training_options(arguments), file_options(arguments)
    reading = reading_options(arguments)
    output = Output(muted=arguments.json)
    with on_interrupt("while the data were read; nothing was saved"):
        run = _prepare(read_training_data(arguments.data, reading), options, files)
    _say_begin(output, run)
    trained = run.train(_display(arguments))
    run.save(trained)
    output.say(f"model saved to {files.output}")
    with on_interrupt(f"while the model was tested; it is saved to {files.output}"):
        results = _test(run, trained)
        run.save(trained, result=results.tested.as_dict())
    _say_results(output, run, trained, results)
    output.say(f"next, try:  {_next_command(arguments.data, files, reading)}")
    if arguments.json:
        output.muted = False
        output.say(json.dumps(_as_dict(run, trained, results)))
    if output.error is not None:
        raise output.error
    return 0


def _prepare(source: TrainingData, options: Training, files: Files) -> Run:
    """Make the network, its input standardised as the training images need it."""
    image_shape = source.train.images.shape[1:]
    options.make_augmentation(image_shape).check(image_shape)
    net = options.make_network(image_shape, source.train.class_names)
    net.standardize(source.train.images)
    return Run(net, source, options, files, provenance_of(source.train, source.split))


def _display(arguments: argparse.Namespace) -> Callback | None:
    """Choose what is shown during training: a bar on a terminal, lines elsewhere, or nothing."""
    if arguments.quiet or sys.stderr is None:
        return None
    return progress() if sys.stderr.isatty() else ProgressLines(sys.stderr)


def _test(run: Run, trained: Trained) -> _Results:
    """Measure the network on what it has not seen, and on what it has."""
    tested, learned = (
        assess(run.net, images.images, images.labels, run.options.threads)
        for images in (run.source.test, run.source.train)
    )
    cautions = [*tested.cautions(), *cautions_about_training(run, trained, learned)]
    return _Results(tested, learned, cautions)


def _say_begin(output: Output, run: Run) -> None:
    source = run.source
    held_out = f"{len(source.test)} held out for the test"
    if source.split is None:
        held_out = f"{len(source.test)} of the {source.part} part to test it"
    output.say(f"training on {len(source.train)} images of {source.name}, {held_out}")
    for note in source.notes:
        output.say(f"  note: {note}")
    output.say(f"{run.net.flat.size} parameters: {run.net}")


def _say_results(output: Output, run: Run, trained: Trained, results: _Results) -> None:
    tested = results.tested
    if trained.best_epoch != trained.epochs:
        output.say(f"epoch {trained.best_epoch} of {trained.epochs} was the best")
    part, seconds = run.source.part, f"{trained.seconds:.1f} s of training"
    output.say(f"{part} accuracy {tested.accuracy:.2%} after {seconds}")
    output.say(f"  {accuracy_line(tested)}")
    output.say(f"  accuracy on the training images {results.learned.accuracy:.2%}")
    if len(tested.class_names) <= FEW_CLASSES:
        for line in class_lines(tested):
            output.say(f"  {line}")
    for caution in results.cautions:
        output.say(f"  careful: {caution}")


def _as_dict(run: Run, trained: Trained, results: _Results) -> dict[str, Any]:
    """Return all there is to know about a training, ready for JSON."""
    return {
        "model": str(run.files.output),
        "data": run.source.name,
        "n_train": len(run.source.train),
        **trained._asdict(),
        "train_accuracy": results.learned.accuracy,
        "tested_on": run.source.part,
        "test": results.tested.as_dict(),
        "cautions": results.cautions,
        "notes": run.source.notes,
    }


def _next_command(path: str | None, files: Files, reading: Reading) -> str:
    data = [] if path is None else [as_argument(path), *reading.as_arguments()]
    return command_line("evaluate", as_argument(files.output), *data)
