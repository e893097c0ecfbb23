"""The options of ``tinycnn train``, checked before any data are read."""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import Any, NamedTuple

from tinycnn._checks import as_count, as_rate
from tinycnn.architecture import Architecture, make_blocks
from tinycnn.files.model import is_model_file
from tinycnn.files.writing import require_writable
from tinycnn.layer import Layer
from tinycnn.network import CNN
from tinycnn.training.augmentation import Augmentation
from tinycnn.training.choices import OPTIMIZERS
from tinycnn.training.defaults import (
    KERNEL_SIZE,
    LEARNING_RATES,
    PADDING,
    WEIGHT_DECAY,
    auto_channels,
    auto_shift,
)
from tinycnn.training.optim import AdamW, Optimizer
from tinycnn.views import Views
from tinycnn.zoo import make_layers

Shape = tuple[int, int, int]

# A model file of 200 MB; training needs five times that.
MOST_PARAMETERS = 50_000_000


class Reading(NamedTuple):
    """How data are read; see :func:`tinycnn.data.load`."""

    size: tuple[int, int] | None
    labels_from: str | None
    skip_broken: bool

    def as_arguments(self) -> list[str]:
        """Return what has to be typed for data to be read alike, but for their size."""
        labels_from = [] if self.labels_from is None else ["--labels-from", self.labels_from]
        return [*labels_from, *(["--skip-broken"] if self.skip_broken else [])]


def reading_options(arguments: argparse.Namespace) -> Reading:
    """Check the options that say how data are read; not every command has --image-size."""
    size = getattr(arguments, "image_size", None)
    if size is not None:
        size = tuple(as_count("--image-size", pixels, 1) for pixels in size)
    return Reading(size, arguments.labels_from, arguments.skip_broken)


class Training(NamedTuple):
    """How a network is made and trained: every option but those of the data."""

    model: str | None
    channels: tuple[int, ...] | None
    kernel_size: int
    padding: int | str
    hidden: tuple[int, ...]
    epochs: int | str
    batch_size: int | str
    optimizer: str
    lr: float
    weight_decay: float
    shift: int | None
    flip: bool
    class_weight: str | None
    label_smoothing: float
    patience: int | None
    seed: int
    threads: int | None

    def as_notes(self) -> dict[str, Any]:
        """Return all that changes the result, in JSON's terms."""
        return {name: value for name, value in self._asdict().items() if name != "threads"}

    def make_layers(self, image_shape: Shape, n_classes: int) -> list[Layer]:
        """List the layers asked for."""
        if self.model is not None:
            return make_layers(self.model, n_classes)
        _require_small_kernel(self.kernel_size, image_shape)
        automatic = auto_channels(image_shape, self.kernel_size, self.padding)
        return make_blocks(
            self.channels or automatic,
            n_classes,
            kernel_size=self.kernel_size,
            hidden=self.hidden,
            padding=self.padding,
        )

    def make_network(self, image_shape: Shape, class_names: tuple[str, ...]) -> CNN:
        """Make the network asked for, with its initial parameters."""
        layers = self.make_layers(image_shape, len(class_names))
        _require_trainable(Architecture(image_shape, tuple(layers)))
        return CNN(image_shape, layers, seed=self.seed, class_names=class_names)

    def make_optimizer(self) -> Optimizer:
        """Make the optimiser asked for."""
        optimizer: Any = OPTIMIZERS[self.optimizer]
        made: Optimizer = optimizer(self.lr, weight_decay=self.weight_decay)
        return made

    def make_augmentation(self, image_shape: Shape) -> Augmentation:
        """Make the augmentation asked for, or the one that fits the images."""
        shift = auto_shift(image_shape) if self.shift is None else self.shift
        return Augmentation(shift, self.flip)


def training_options(arguments: argparse.Namespace) -> Training:
    """Check the options of ``tinycnn train`` that say how to train.

    Raises
    ------
    ValueError
        The message names the option, its value, the rule and the way out.
    """
    _require_model_or_blocks(arguments)
    optimizer, patience = arguments.optimizer, arguments.patience
    lr, weight_decay = arguments.lr, arguments.weight_decay
    usual_decay = WEIGHT_DECAY if OPTIMIZERS[optimizer] is AdamW else 0.0
    options = Training(
        arguments.model,
        arguments.channels and tuple(as_count("--channels", K, 1) for K in arguments.channels),
        as_count("--kernel-size", _or(arguments.kernel_size, KERNEL_SIZE), 1),
        _checked_padding(_or(arguments.padding, PADDING)),
        tuple(as_count("--hidden", units, 1) for units in arguments.hidden or ()),
        "auto" if arguments.epochs is None else as_count("--epochs", arguments.epochs, 0),
        "auto"
        if arguments.batch_size is None
        else as_count("--batch-size", arguments.batch_size, 1),
        optimizer,
        as_rate("--lr", _or(lr, LEARNING_RATES[optimizer])),
        as_rate("--weight-decay", _or(weight_decay, usual_decay)),
        None if arguments.shift is None else as_count("--shift", arguments.shift, 0),
        arguments.flip,
        arguments.class_weight,
        _checked_share("--label-smoothing", arguments.label_smoothing),
        None if patience is None else as_count("--patience", patience, 1),
        as_count("--seed", arguments.seed, 0),
        thread_option(arguments),
    )
    options.make_augmentation((1, 1, 1))  # its shift has a limit
    return options


def thread_option(arguments: argparse.Namespace) -> int | None:
    """Check the number of threads; None for as many as there are CPUs."""
    return None if arguments.threads is None else as_count("--threads", arguments.threads, 1)


def views_option(arguments: argparse.Namespace) -> Views | None:
    """Check which views of an image predictions look at, besides the image itself."""
    if arguments.views is None:
        for name, value in (("--flip", arguments.flip), ("--margin", arguments.margin)):
            if value not in (None, False):
                raise ValueError(f"{name}: belongs to --views; give --views 1, say, as well")
        return None
    shift = as_count("--views", arguments.views, 0)
    if not (shift or arguments.flip):
        raise ValueError("--views: 0 is for mirror images alone; give --flip as well, or --views 1")
    margin = arguments.margin
    if margin is not None and as_rate("--margin", margin) == 0:
        raise ValueError("--margin: must be above 0, got 0; leave it out for all images")
    return Views(shift, arguments.flip, margin)


class Files(NamedTuple):
    """Where things are written."""

    output: Path
    checkpoint: Path | None
    resume: bool


def file_options(arguments: argparse.Namespace) -> Files:
    """Check that the files of ``tinycnn train`` can be written without destroying others."""
    output = Path(arguments.output)
    checkpoint = None if arguments.checkpoint is None else Path(arguments.checkpoint)
    _require_free("--output", output)
    if checkpoint is None:
        if arguments.resume:
            raise ValueError("--resume: needs --checkpoint FILE, the file to go on from")
        return Files(output, None, False)
    _require_free("--checkpoint", checkpoint)
    if checkpoint.resolve() == output.resolve():
        raise ValueError(f"--checkpoint: {output} is where the model is saved; choose another")
    return Files(output, checkpoint, arguments.resume)


def _require_free(option: str, path: Path) -> None:
    """Raise ValueError where saving would fail after training, or destroy something else."""
    if not path.parent.is_dir():
        raise ValueError(f"{option}: there is no folder {path.parent}; make it first")
    if path.exists() and not is_model_file(path):
        raise ValueError(f"{option}: {path} exists and is not a tinycnn model; choose another name")
    try:
        require_writable(path)
    except OSError as error:
        words = error.strerror or error
        raise ValueError(f"{option}: {error.filename or path}: {words}") from error


def _require_small_kernel(kernel_size: int, image_shape: Shape) -> None:
    """Raise ValueError where a filter is larger than the image: most of it would see padding."""
    _, H, W = image_shape
    most = max(KERNEL_SIZE, min(H, W))
    if kernel_size > most:
        raise ValueError(
            f"--kernel-size: {kernel_size} is larger than the images, which have {H} x {W} pixels; "
            f"give at most {most}, usually 3 or 5"
        )


def _require_trainable(architecture: Architecture) -> None:
    """Raise ValueError where there are more parameters than a CPU trains in reasonable time."""
    n = architecture.n_parameters
    if n <= MOST_PARAMETERS:
        return
    sizes = {name: math.prod(shape) for name, shape in architecture.parameter_shapes.items()}
    name = max(sizes, key=lambda each: sizes[each])
    raise ValueError(
        f"the network would have {n:,} parameters, {sizes[name]:,} of them in {name}, and at most "
        f"{MOST_PARAMETERS:,} are trained here; give a smaller --image-size, fewer --hidden units "
        "or --channels, or a smaller --kernel-size"
    )


def _require_model_or_blocks(arguments: argparse.Namespace) -> None:
    """Raise ValueError where a network is named and described as well."""
    if arguments.model is None:
        return
    for name in ("channels", "kernel_size", "padding", "hidden"):
        if getattr(arguments, name) is not None:
            option = f"--{name.replace('_', '-')}"
            raise ValueError(f"--model: {arguments.model} has its own layers; leave {option} out")


def _checked_padding(padding: int | str) -> int | str:
    if padding == "same":
        return padding
    if isinstance(padding, str):
        raise ValueError(f"--padding: must be a number or 'same', got {padding!r}")
    return as_count("--padding", padding, 0)


def _checked_share(option: str, share: float) -> float:
    if not 0 <= share < 1:
        raise ValueError(f"{option}: must be in [0, 1), got {share}")
    return share


def _or(value: Any, otherwise: Any) -> Any:
    return otherwise if value is None else value
