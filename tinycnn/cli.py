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

import tinycnn
from tinycnn import data
from tinycnn.augmentation import Augmentation
from tinycnn.automatic import (
    BATCH_SIZE,
    LARGE_BATCH_SIZE,
    LEAST_EPOCHS,
    MANY_IMAGES,
    MOST_EPOCHS,
    auto_batch_size,
    auto_channels,
    auto_epochs,
    auto_shift,
)
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
    arguments = build_parser().parse_args(argv)
    try:
        arguments.run(arguments)
    except (ValueError, TypeError, OSError, ImportError, FloatingPointError) as error:
        print(f"tinycnn: error: {_one_line(error)}", file=sys.stderr)
        return EXIT_ERROR
    except KeyboardInterrupt as interrupt:
        print(f"\ntinycnn: interrupted: {interrupt or 'nothing was changed'}", file=sys.stderr)
        return EXIT_INTERRUPTED
    return 0


def build_parser() -> argparse.ArgumentParser:
    """Describe the commands and their arguments."""
    parser = argparse.ArgumentParser(
        prog="tinycnn", description="Train a small convolutional network on images, and use it."
    )
    parser.add_argument("--version", action="version", version=f"tinycnn {tinycnn.__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    _add_train(commands)
    _add_evaluate(commands)
    _add_predict(commands)
    _add_info(commands)
    return parser


class _HelpFormatter(argparse.ArgumentDefaultsHelpFormatter):
    """Shows the default of every option that has one."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        return action.help if action.default in (None, False) else super()._get_help_string(action)


DATA_HELP = (
    "a folder of IDX files (as MNIST has), an IDX images file, an NPZ file, or a folder with one "
    "subfolder of images per class; the bundled digits if left out"
)


def _add_train(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "train",
        help="train a network and save it",
        description="Train a network, test it on images it has not seen, and save it. Data that "
        "have no test part of their own are split: a fifth of each class is held out.",
        formatter_class=_HelpFormatter,
    )
    parser.add_argument("data", nargs="?", metavar="DATA", help=DATA_HELP)
    parser.add_argument("-o", "--output", default="model.npz", help="where the model is saved")
    _add_network(parser)
    _add_training(parser)
    parser.add_argument("--seed", type=int, default=0, help="of initial weights and shuffling")
    parser.add_argument(
        "--patience",
        type=int,
        metavar="N",
        help="hold a tenth of the training images out, stop when the loss on them has not improved "
        "for N epochs, and keep the best network",
    )
    parser.add_argument(
        "--checkpoint", metavar="FILE", help="write after every epoch what --resume needs"
    )
    parser.add_argument(
        "--resume", metavar="FILE", help="go on from such a file; with the same data and options"
    )
    _add_image_size(parser)
    parser.add_argument("-q", "--quiet", action="store_true", help="show no progress")
    parser.set_defaults(run=run_train)


def _add_network(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--channels",
        type=int,
        nargs="+",
        metavar="K",
        help="filters of each block; unless given, one to three blocks, as many as the images are "
        "large enough for",
    )
    parser.add_argument("--kernel-size", type=int, default=3, metavar="R", help="filters are R x R")
    parser.add_argument(
        "--hidden", type=int, default=0, metavar="N", help="units of a hidden fully connected layer"
    )
    parser.add_argument(
        "--padding", type=int, default=1, metavar="N", help="pixels of zeros around each image"
    )


def _add_training(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--epochs",
        type=int,
        metavar="N",
        help="passes over the training images; unless given, the fewer the more images there are, "
        f"from {LEAST_EPOCHS} to {MOST_EPOCHS}",
    )
    parser.add_argument(
        "--batch-size",
        type=int,
        metavar="N",
        help=f"images per update; unless given, {BATCH_SIZE}, from {MANY_IMAGES} images on "
        f"{LARGE_BATCH_SIZE}",
    )
    parser.add_argument(
        "--lr",
        type=float,
        default=0.01,
        help="highest learning rate: reached after a third of the training, then falling to 0",
    )
    parser.add_argument("--weight-decay", type=float, default=0.01, help="that of AdamW")
    parser.add_argument(
        "--shift",
        type=int,
        metavar="N",
        help="in every epoch, move each image by up to N pixels; unless given, 1, and 0 for tiny "
        "images",
    )
    parser.add_argument(
        "--flip",
        action="store_true",
        help="in every epoch, mirror half of the images left to right; not for letters and digits",
    )


def _add_evaluate(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "evaluate",
        help="measure a saved model on labelled images",
        description="Print loss and accuracy of a saved model, in all and class by class, on the "
        "test part of the data, or on all of it if it is not divided. Of the bundled digits, the "
        "fifth that training holds out.",
    )
    parser.add_argument("model", metavar="MODEL", help="a file that `tinycnn train` has saved")
    parser.add_argument("data", nargs="?", metavar="DATA", help=DATA_HELP)
    _add_image_size(parser)
    parser.set_defaults(run=run_evaluate)


def _add_predict(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "predict",
        help="tell the class of images",
        description="Print a line for each image: its name, the most likely class and the "
        "probability of that class. Image files are brought to the model's size and colours.",
    )
    parser.add_argument("model", metavar="MODEL", help="a file that `tinycnn train` has saved")
    parser.add_argument(
        "images", nargs="+", metavar="IMAGE", help="image files (PNG, JPEG, ...), or IDX files"
    )
    parser.set_defaults(run=run_predict)


def _add_info(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "info", help="describe a saved model", description="Print what a saved model is made of."
    )
    parser.add_argument("model", metavar="MODEL", help="a file that `tinycnn train` has saved")
    parser.set_defaults(run=run_info)


def _add_image_size(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--image-size",
        type=int,
        nargs=2,
        metavar=("ROWS", "COLUMNS"),
        help="resize the images of an image folder",
    )


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
