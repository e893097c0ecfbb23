"""What the command line understands: the commands, their options and their help texts."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from typing import NoReturn, TypeAlias

import tinycnn
from tinycnn.cli.streams import complain
from tinycnn.training.choices import OPTIMIZERS
from tinycnn.training.defaults import (
    BATCH_SIZE,
    KERNEL_SIZE,
    LABEL_SMOOTHING,
    LARGE_BATCH_SIZE,
    LEARNING_RATES,
    LEAST_EPOCHS,
    MANY_IMAGES,
    MOST_EPOCHS,
    OPTIMIZER,
    PADDING,
    WEIGHT_DECAY,
)
from tinycnn.zoo import MODELS

EXIT_ERROR = 2

Command: TypeAlias = Callable[[argparse.Namespace], int]
Parsers: TypeAlias = "argparse._SubParsersAction[_Parser]"

DATA_HELP = (
    "a folder with one subfolder of pictures per class, divided into train, validation and test or "
    "not; or a data set as published: IDX files (as MNIST has), NPZ, NPY, CSV, HDF5, MATLAB, "
    "Parquet, CIFAR and STL-10; the bundled digits if left out"
)
MODEL_HELP = "a file that `tinycnn train` has saved"


def build_parser(functions: Mapping[str, Command]) -> argparse.ArgumentParser:
    """Describe the commands and their arguments; ``run`` becomes the function of the one given."""
    parser = _Parser(
        prog="tinycnn", description="Train a small convolutional network on images, and use it."
    )
    parser.add_argument("--version", action="version", version=f"tinycnn {tinycnn.__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    _add_train(commands)
    _add_evaluate(commands)
    _add_predict(commands)
    _add_report(commands)
    _add_info(commands)
    _add_export(commands)
    for name, command in commands.choices.items():
        command.set_defaults(run=functions[name], command=name)
    return parser


class _Parser(argparse.ArgumentParser):
    """Says in one line what is wrong with the arguments."""

    def error(self, message: str) -> NoReturn:
        usage = " ".join(self.format_usage().split())
        hint = usage if len(usage) < 200 else f"usage: {self.prog} [options] ..."
        complain(f"tinycnn: error: {message} ({hint}; `{self.prog} --help` tells more)")
        raise SystemExit(EXIT_ERROR)


class _HelpFormatter(argparse.ArgumentDefaultsHelpFormatter):
    """Shows the default of every option that has one."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        return action.help if action.default in (None, False) else super()._get_help_string(action)


def _add_train(commands: Parsers) -> None:
    parser = commands.add_parser(
        "train",
        help="train a network and save it",
        description="Train a network, save it, and test it on images it has not seen. Data that "
        "have no test part of their own are split: a fifth of each class is held out.",
        formatter_class=_HelpFormatter,
    )
    parser.add_argument("data", nargs="?", metavar="DATA", help=DATA_HELP)
    parser.add_argument(
        "-o", "--output", default="model.npz", metavar="FILE", help="where the model is saved"
    )
    data = parser.add_argument_group("the data")
    data.add_argument(
        "--image-size",
        type=int,
        nargs=2,
        metavar=("ROWS", "COLUMNS"),
        help="resize pictures; needed where their sizes differ",
    )
    _add_reading(data)
    _add_network(parser.add_argument_group("the network"))
    _add_training(parser.add_argument_group("the training"))
    _add_running(parser.add_argument_group("the run"))


def _add_reading(group: argparse._ActionsContainer) -> None:
    group.add_argument(
        "--labels-from",
        metavar="RULE",
        help="where the labels of pictures are, if not in class folders: 'name' for the letters "
        "that begin a file's name (cat.0.jpg), a pattern such as '*_{label}.png', or a CSV file "
        "with columns file,label",
    )
    group.add_argument(
        "--skip-broken", action="store_true", help="pass over pictures that cannot be read"
    )


def _add_network(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--model",
        choices=MODELS,
        metavar="NAME",
        help=f"a network by its name, instead of the next options: {', '.join(MODELS)}",
    )
    group.add_argument(
        "--channels",
        type=int,
        nargs="+",
        metavar="K",
        help="filters of each block; unless given, one to three blocks, as many as the images are "
        "large enough for",
    )
    group.add_argument(
        "--kernel-size",
        type=int,
        metavar="R",
        help=f"filters are R x R; unless given, {KERNEL_SIZE}",
    )
    group.add_argument(
        "--padding",
        type=_number_or_word,
        metavar="N",
        help="zeros around what each convolution is given: a number, or 'same' for as many as keep "
        f"its size; unless given, {PADDING!r}",
    )
    group.add_argument(
        "--hidden",
        type=int,
        nargs="+",
        metavar="N",
        help="units of fully connected layers before the last one",
    )


def _add_training(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--epochs",
        type=int,
        metavar="N",
        help="passes over the training images; unless given, the fewer the more images there are, "
        f"from {LEAST_EPOCHS} to {MOST_EPOCHS}",
    )
    group.add_argument(
        "--batch-size",
        type=int,
        metavar="N",
        help=f"images per update; unless given, {BATCH_SIZE}, from {MANY_IMAGES} images on "
        f"{LARGE_BATCH_SIZE}",
    )
    group.add_argument(
        "--optimizer",
        choices=OPTIMIZERS,
        default=OPTIMIZER,
        metavar="NAME",
        help=f"what makes a step of a gradient: {', '.join(OPTIMIZERS)}",
    )
    rates = ", ".join(f"{rate} for {name}" for name, rate in LEARNING_RATES.items())
    group.add_argument(
        "--lr",
        type=float,
        help="highest learning rate: reached after a third of the training, then falling to 0; "
        f"unless given, {rates}",
    )
    group.add_argument(
        "--weight-decay", type=float, help=f"unless given, {WEIGHT_DECAY} for adamw, else 0"
    )
    group.add_argument(
        "--shift",
        type=int,
        metavar="N",
        help="in every epoch, move each image by up to N pixels; unless given, 1, and 0 for tiny "
        "images",
    )
    group.add_argument(
        "--flip",
        action="store_true",
        help="in every epoch, mirror half of the images left to right; not for letters and digits",
    )
    group.add_argument(
        "--class-weight",
        choices=["balanced"],
        help="let all classes count the same, however many images they have",
    )
    group.add_argument(
        "--label-smoothing",
        type=float,
        default=LABEL_SMOOTHING,
        metavar="SHARE",
        help="share of each target that is spread over all classes",
    )
    group.add_argument(
        "--patience",
        type=int,
        metavar="N",
        help="stop when the loss on validation images has not improved for N epochs, and keep the "
        "best network; a tenth of the training images is held out for that, unless the data have "
        "a validation part",
    )


def _add_running(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--seed", type=int, default=0, help="of initial weights and shuffling")
    group.add_argument(
        "--checkpoint",
        metavar="FILE",
        help="write after every epoch what --resume needs to go on",
    )
    group.add_argument(
        "--resume",
        action="store_true",
        help="go on from the file of --checkpoint, if it is there; data and options must be the "
        "same",
    )
    _add_threads(group)
    group.add_argument("-q", "--quiet", action="store_true", help="show no progress")
    _add_json(group)


def _add_evaluate(commands: Parsers) -> None:
    parser = commands.add_parser(
        "evaluate",
        help="measure a saved model on labelled images",
        description="Print accuracy and loss of a saved model, in all and class by class: on the "
        "test part of the data; on the images that training held out, if the model was trained on "
        "these very data; else on all.",
    )
    parser.add_argument("model", metavar="MODEL", help=MODEL_HELP)
    parser.add_argument("data", nargs="?", metavar="DATA", help=DATA_HELP)
    _add_reading(parser)
    _add_threads(parser)
    _add_json(parser)
    _add_views(parser)


def _add_report(commands: Parsers) -> None:
    parser = commands.add_parser(
        "report",
        help="write a page about a saved model",
        description="Write one HTML file that says how good a model is and where it fails, how it "
        "was trained and what it is made of: measured on the images that `tinycnn evaluate` would "
        "choose.",
        formatter_class=_HelpFormatter,
    )
    parser.add_argument("model", metavar="MODEL", help=MODEL_HELP)
    parser.add_argument(
        "data",
        nargs="?",
        metavar="DATA",
        help="as for train; the data that the model was trained on if left out",
    )
    parser.add_argument(
        "-o", "--output", default="report.html", metavar="FILE", help="where the page is written"
    )
    _add_reading(parser)


def _add_predict(commands: Parsers) -> None:
    parser = commands.add_parser(
        "predict",
        help="tell the class of images",
        description="Print a line for each image: its name, the most likely class and the "
        "probability of that class. Pictures are brought to the model's size and colours. What "
        "cannot be read is named, the others are predicted, and the exit code is 1.",
    )
    parser.add_argument("model", metavar="MODEL", help=MODEL_HELP)
    parser.add_argument(
        "images",
        nargs="+",
        metavar="IMAGE",
        help="pictures, folders of them, patterns such as 'photos/**/*.jpg', files of arrays (IDX, "
        "NPZ, ...); or - for standard input: a picture, or names of files, one a line",
    )
    parser.add_argument(
        "--top", type=int, default=1, metavar="K", help="the K most likely classes, not only one"
    )
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--csv", action="store_true", help="write CSV, for spreadsheets")
    _add_json(form)
    parser.add_argument(
        "-o",
        "--output",
        metavar="FILE",
        help="write into a file, all or nothing; one called .csv or .json becomes such",
    )
    _add_threads(parser)
    _add_views(parser)


def _add_info(commands: Parsers) -> None:
    parser = commands.add_parser(
        "info", help="describe a saved model", description="Print what a saved model is made of."
    )
    parser.add_argument("model", metavar="MODEL", help=MODEL_HELP)
    _add_json(parser)


def _add_export(commands: Parsers) -> None:
    parser = commands.add_parser(
        "export",
        help="hand a saved model on: ONNX, C, a page, safetensors, PyTorch",
        description="Write a saved model in another form. Images of DATA that training did not "
        "see are shown on the page, put into the C's test, and measured before and after --int8.",
        formatter_class=_HelpFormatter,
    )
    parser.add_argument("model", metavar="MODEL", help=MODEL_HELP)
    parser.add_argument("data", nargs="?", metavar="DATA", help=DATA_HELP)
    parser.add_argument(
        "--to",
        required=True,
        choices=("onnx", "c", "html", "safetensors", "pytorch"),
        help="ONNX, a C header, a page for the browser, or PyTorch",
    )
    parser.add_argument(
        "-o", "--output", metavar="FILE", help="unless given, named as the model is, beside it"
    )
    parser.add_argument(
        "--input",
        choices=("uint8", "uint16", "float32"),
        help="what ONNX and C take: bytes unless given, or values as they are",
    )
    _add_reading(parser)
    _add_c(parser.add_argument_group("C"))
    page = parser.add_argument_group("page")
    page.add_argument("--title", help="unless given, the file's name")


def _add_c(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--int8",
        action="store_true",
        help="eight-bit integers: a quarter of the memory, no floats; needs DATA",
    )
    group.add_argument(
        "--name", help="what all names in the C begin with; unless given, the file's name"
    )
    group.add_argument(
        "--layout",
        choices=("header", "source", "arduino"),
        help="one header unless given, header and source, or a folder that is an Arduino library",
    )
    group.add_argument(
        "--test",
        action="store_true",
        help="also write a header with ten images of DATA and their logits, to test with",
    )


def _add_views(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("the views")
    group.add_argument(
        "--views",
        type=int,
        metavar="N",
        help="average over the image and copies moved by N pixels up, down, left and right: slower "
        "and more often right; unless given, the image alone",
    )
    group.add_argument(
        "--flip",
        action="store_true",
        help="with --views: mirror images left to right too; not for letters and digits",
    )
    group.add_argument(
        "--margin",
        type=float,
        metavar="M",
        help="with --views: only where the two highest logits of the image alone are less than M "
        "apart; 2 keeps the accuracy and costs less time",
    )


def _add_threads(parser: argparse._ActionsContainer) -> None:
    parser.add_argument(
        "--threads", type=int, metavar="N", help="unless given, as many as there are CPUs"
    )


def _add_json(parser: argparse._ActionsContainer) -> None:
    parser.add_argument("--json", action="store_true", help="write JSON, for other programs")


def _number_or_word(text: str) -> int | str:
    return text if text.isalpha() else int(text)
