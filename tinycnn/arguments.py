"""What the command line understands: the commands, their options and their help texts."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from typing import TypeAlias

import tinycnn
from tinycnn.automatic import (
    BATCH_SIZE,
    LARGE_BATCH_SIZE,
    LEAST_EPOCHS,
    MANY_IMAGES,
    MOST_EPOCHS,
)

Command: TypeAlias = Callable[[argparse.Namespace], None]


def build_parser(functions: Mapping[str, Command]) -> argparse.ArgumentParser:
    """Describe the commands and their arguments; ``run`` becomes the function of the one given."""
    parser = argparse.ArgumentParser(
        prog="tinycnn", description="Train a small convolutional network on images, and use it."
    )
    parser.add_argument("--version", action="version", version=f"tinycnn {tinycnn.__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    _add_train(commands)
    _add_evaluate(commands)
    _add_predict(commands)
    _add_info(commands)
    for name, command in commands.choices.items():
        command.set_defaults(run=functions[name])
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


def _add_info(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "info", help="describe a saved model", description="Print what a saved model is made of."
    )
    parser.add_argument("model", metavar="MODEL", help="a file that `tinycnn train` has saved")


def _add_image_size(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--image-size",
        type=int,
        nargs=2,
        metavar=("ROWS", "COLUMNS"),
        help="resize the images of an image folder",
    )
