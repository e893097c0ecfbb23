"""The command line: ``tinycnn train``, ``evaluate``, ``predict`` and ``info``."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tinycnn import data
from tinycnn.arguments import Command, build_parser
from tinycnn.augmentation import Augmentation
from tinycnn.automatic import auto_batch_size, auto_channels, auto_epochs, auto_shift
from tinycnn.callbacks import Callback, EarlyStopping, TrainingState
from tinycnn.checkpoint import Checkpoint
from tinycnn.data import Dataset
from tinycnn.model_file import is_model_file, load_model, save_model
from tinycnn.network import CNN
from tinycnn.optim import AdamW
from tinycnn.schedules import OneCycle
from tinycnn.training import evaluate, fit

DIGITS = "the bundled digits"
TEST_FRACTION = 0.2
SPLIT_SEED = 0  # the same images are held out by every command, whatever --seed says

VALIDATION_FRACTION = 0.1  # of the training images, where --patience asks when to stop

EXIT_ERROR = 2
EXIT_INTERRUPTED = 130  # what a shell reports for a program that Ctrl-C has ended


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0, 2 for bad input, 130 after Ctrl-C."""
    arguments = build_parser(COMMANDS).parse_args(argv)
    try:
        arguments.run(arguments)
    except (ValueError, TypeError, OSError, ImportError, FloatingPointError) as error:
        print(f"tinycnn: error: {_one_line(error)}", file=sys.stderr)
        return EXIT_ERROR
    except KeyboardInterrupt as interrupt:
        print(f"\ntinycnn: interrupted: {interrupt or 'nothing was changed'}", file=sys.stderr)
        return EXIT_INTERRUPTED
    return 0


def run_train(arguments: argparse.Namespace) -> None:
    """Train, test, save, and say what to do next."""
    output = Path(arguments.output)
    _require_free("--output", output)
    if arguments.checkpoint:
        _require_free("--checkpoint", Path(arguments.checkpoint))
        if Path(arguments.checkpoint).resolve() == output.resolve():
            raise ValueError(f"--checkpoint: {output} is where the model is saved; choose another")
    source = _load_source(arguments.data, _image_size(arguments))
    train_set, test_set = source.train, source.test
    net = _make_network(train_set, arguments)
    if arguments.epochs is None:
        arguments.epochs = auto_epochs(len(train_set.images))
    print(
        f"training on {len(train_set.images)} images of {source.name}, "
        f"{len(test_set.images)} held out for the test\n{net}: {net.flat.size} parameters"
    )
    start = time.perf_counter()
    _fit_or_keep(net, train_set, arguments, output)
    seconds = time.perf_counter() - start
    _, accuracy = evaluate(net, test_set.images, test_set.labels)
    save_model(net, output)
    data_argument = f" {arguments.data}" if arguments.data else ""
    print(
        f"test accuracy {accuracy:.2%} after {seconds:.1f} s of training\n"
        f"model saved to {output}\n"
        f"next, try:  tinycnn evaluate {output}{data_argument}"
    )


def run_evaluate(arguments: argparse.Namespace) -> None:
    """Print loss and accuracy, in all and for each class."""
    net = load_model(arguments.model)
    source = _load_source(arguments.data, _image_size(arguments), split=arguments.data is None)
    images, labels = source.test.images, _labels_of_model(net, source.test)
    loss, accuracy = evaluate(net, images, labels)
    predictions = net.predict(images)
    print(f"{source.name}: {len(images)} images, loss {loss:.4f}, accuracy {accuracy:.2%}")
    width = max(map(len, net.class_names))
    for label, name in enumerate(net.class_names):
        mine = labels == label
        if mine.any():
            share = np.mean(predictions[mine] == label)
            print(f"  {name:{width}}  {share:7.2%} of {mine.sum()}")


def run_predict(arguments: argparse.Namespace) -> None:
    """Print name, class and probability of each image."""
    net = load_model(arguments.model)
    for path in arguments.images:
        names, images = _images_to_predict(path, net)
        probabilities = net.predict_proba(images)
        for name, row in zip(names, probabilities, strict=True):
            best = int(row.argmax())
            print(f"{name}: {net.class_names[best]} ({row[best]:.1%})")


def run_info(arguments: argparse.Namespace) -> None:
    """Print the layers of a model with their shapes, and its classes."""
    net = load_model(arguments.model)
    shapes = net.architecture.block_shapes
    print(f"{arguments.model}: {net.flat.size} parameters, {net.flat.dtype}")
    image_shape, padding = net.architecture.image_shape, net.architecture.padding
    border = f", {padding} pixels of zeros around them" if padding else ""
    print(f"  images         {_shape(image_shape)}, bytes 0..255 or floats 0..1{border}")
    print(f"  standardised   mean {_numbers(net.input_mean)}, deviation {_numbers(net.input_std)}")
    for i, ((R, S), shape) in enumerate(
        zip(net.architecture.kernel_sizes, shapes[1:], strict=True), start=1
    ):
        print(f"  block {i}        {shape[0]} filters {R} x {S}, ReLU, 2x2 pool -> {_shape(shape)}")
    for name, n_outputs, n_inputs in net.architecture.linear_layers:
        relu = ", ReLU" if name == "hidden" else ""
        print(f"  linear         {n_inputs} -> {n_outputs}{relu}")
    print(f"  classes        {', '.join(net.class_names)}")


COMMANDS: dict[str, Command] = {
    "train": run_train,
    "evaluate": run_evaluate,
    "predict": run_predict,
    "info": run_info,
}


def _make_network(train_set: Dataset, arguments: argparse.Namespace) -> CNN:
    """Build the network asked for, its input standardised as the training images need it."""
    image_shape = train_set.images.shape[1:]
    padding, kernel_size = arguments.padding, arguments.kernel_size
    net = CNN(
        image_shape,
        arguments.channels or auto_channels(image_shape, kernel_size, padding),
        kernel_size,
        len(train_set.class_names),
        seed=arguments.seed,
        class_names=train_set.class_names,
        hidden=arguments.hidden,
        padding=padding,
    )
    net.standardize(train_set.images)
    return net


class Source(NamedTuple):
    """Data to work on: what to call them, and their two parts."""

    name: str
    train: Dataset
    test: Dataset


def _load_source(path: str | None, size: tuple[int, int] | None, split: bool = True) -> Source:
    """Read the data; what has no test part is split, or is all test if split is False."""
    if path is None:
        images, labels = data.load_digits()
        whole = Dataset(images, labels, tuple(str(i) for i in range(10)))
        return Source(DIGITS, *_split(whole))
    if "test" in data.parts(path):
        return Source(path, data.load(path, "train", size), data.load(path, "test", size))
    whole = data.load(path, "train", size)
    return Source(path, *_split(whole)) if split else Source(path, whole, whole)


def _split(whole: Dataset) -> tuple[Dataset, Dataset]:
    train_index, test_index = data.stratified_split(whole.labels, TEST_FRACTION, SPLIT_SEED)
    if len(test_index) == 0:
        raise ValueError(
            f"{len(whole.images)} images are too few to hold any out for the test: "
            "a class needs at least 3"
        )
    train_set, test_set = (
        Dataset(whole.images[index], whole.labels[index], whole.class_names)
        for index in (train_index, test_index)
    )
    return train_set, test_set


class _KeepLastEpoch(Callback):
    """Gives the parameters of the last whole epoch back, as if it were the best."""

    def __init__(self) -> None:
        self.best_epoch = 0
        self._flat: npt.NDArray[np.floating] | None = None

    def on_epoch_end(self, state: TrainingState) -> None:
        self.best_epoch, self._flat = state.epoch, state.net.flat.copy()

    def on_fit_end(self, state: TrainingState) -> None:
        if self._flat is not None:
            state.net.flat = self._flat


def _fit_or_keep(net: CNN, train_set: Dataset, arguments: argparse.Namespace, output: Path) -> None:
    """Train; on Ctrl-C save the network of the best or last whole epoch before going down."""
    patience, checkpoint = arguments.patience, arguments.checkpoint
    batch_size = arguments.batch_size
    if batch_size is None:
        batch_size = auto_batch_size(len(train_set.images))
    shift = auto_shift(net.architecture.image_shape) if arguments.shift is None else arguments.shift
    keep = _KeepLastEpoch() if patience is None else EarlyStopping(patience)
    try:
        fit(
            net,
            train_set.images,
            train_set.labels,
            epochs=arguments.epochs,
            batch_size=batch_size,
            optimizer=AdamW(arguments.lr, weight_decay=arguments.weight_decay),
            schedule=OneCycle(),
            augmentation=Augmentation(shift, arguments.flip),
            seed=arguments.seed,
            verbose=not arguments.quiet,
            validation_fraction=0.0 if patience is None else VALIDATION_FRACTION,
            callbacks=[keep, Checkpoint(checkpoint)] if checkpoint else [keep],
            resume=arguments.resume,
        )
    except KeyboardInterrupt:
        if keep.best_epoch == 0:
            raise KeyboardInterrupt("no epoch was finished, nothing was saved") from None
        save_model(net, output)
        raise KeyboardInterrupt(
            f"the model as of epoch {keep.best_epoch} of {arguments.epochs} is saved to {output}"
            + (f"; to go on, add --resume {checkpoint}" if checkpoint else "")
        ) from None
    if patience is not None:
        print(f"epoch {keep.best_epoch} of {arguments.epochs} was the best")


def _require_free(option: str, path: Path) -> None:
    """Raise ValueError where saving would fail after training, or destroy something else."""
    if not path.parent.is_dir():
        raise ValueError(f"{option}: there is no folder {path.parent}; make it first")
    if path.exists() and not is_model_file(path):
        raise ValueError(f"{option}: {path} exists and is not a tinycnn model; choose another name")


def _labels_of_model(net: CNN, test_set: Dataset) -> npt.NDArray[np.int64]:
    """Number the data's classes as the model does, by name."""
    unknown = sorted(set(test_set.class_names) - set(net.class_names))
    if unknown:
        raise ValueError(
            f"the data have classes that the model does not know: {', '.join(unknown)} "
            f"(it knows {', '.join(net.class_names)})"
        )
    numbers = np.array([net.class_names.index(name) for name in test_set.class_names])
    return numbers[test_set.labels]


def _images_to_predict(path: str, net: CNN) -> tuple[list[str], npt.NDArray[np.generic]]:
    """Read one image file, or all images of an IDX file, with a name for each."""
    if not data.is_idx(path):
        return [path], data.read_image(path, net.architecture.image_shape)[None]
    images = data.read_idx(path)
    if images.ndim == 3:
        images = images[:, None]
    return [f"{path}[{i}]" for i in range(len(images))], images


def _image_size(arguments: argparse.Namespace) -> tuple[int, int] | None:
    return tuple(arguments.image_size) if arguments.image_size else None


def _numbers(values: npt.NDArray[np.float64]) -> str:
    return ", ".join(f"{value:.4g}" for value in values)


def _shape(shape: tuple[int, int, int]) -> str:
    return " x ".join(map(str, shape))


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
