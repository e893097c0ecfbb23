"""The data of a command: what to call them, their parts, and what to say about them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tinycnn import data
from tinycnn.cli.models import Model
from tinycnn.cli.options import Reading
from tinycnn.cli.provenance import (
    Provenance,
    Split,
    digest_of_all,
    digests_of,
    share_learned_from,
)
from tinycnn.cli.streams import counting
from tinycnn.data import Dataset
from tinycnn.data.sources import recognise
from tinycnn.training.defaults import SPLIT_SEED, TEST_FRACTION
from tinycnn.training.split import stratified_split

DIGITS = "the bundled digits"


class TrainingData(NamedTuple):
    """What trains, what validates meanwhile, and what tests afterwards.

    Attributes
    ----------
    name : str
    train : Dataset
    validation : Dataset or None
        The validation part, if the data have one.
    test : Dataset
        The test part; else the validation part; else what was held out.
    part : "test" or "validation"
        Which part that is.
    split : Split or None
        How the test images were held out, if they were.
    notes : list of str
        What to say about the data.
    read_by : list of str
        Options that say how they were read, but for their size.
    """

    name: str
    train: Dataset
    validation: Dataset | None
    test: Dataset
    part: str
    split: Split | None
    notes: list[str]
    read_by: list[str]


class TestData(NamedTuple):
    """What a model is measured on.

    Attributes
    ----------
    name : str
    images : Dataset
        With the model's classes and channels.
    measured_on : str
        Which of the data these are, in words.
    cautions : list of str
        Why the accuracy may mean less than it seems to.
    notes : list of str
    """

    name: str
    images: Dataset
    measured_on: str
    cautions: list[str]
    notes: list[str]


def read_training_data(path: str | None, reading: Reading) -> TrainingData:
    """Read data to train on; what has no test part and no validation part is split.

    Raises
    ------
    ValueError
        Also if the parts do not fit together.
    """
    parts = ("train",) if path is None else data.parts(path, labels_from=reading.labels_from)
    train = _read(path, "train", reading)
    others = {part: _read_like(train, path, part, reading) for part in parts if part != "train"}
    split = None
    if not others:
        train, others["test"], split = _split(train)
    part = "test" if "test" in others else "validation"
    test, validation = others[part], others.get("validation")
    notes = [*train.notes, *(note for other in others.values() for note in other.notes)]
    duplicates = data.duplicates_note(train, test)
    if duplicates is not None:
        notes.append(duplicates)
    notes, read_by = list(dict.fromkeys(notes)), reading.as_arguments()
    return TrainingData(
        path or DIGITS, train, validation, test, part, split, notes=notes, read_by=read_by
    )


def read_test_data(path: str | None, model: Model, reading: Reading) -> TestData:
    """Read what a model is to be measured on: of data it was trained on, what was held out."""
    parts = ("train",) if path is None else data.parts(path, labels_from=reading.labels_from)
    part = next((each for each in ("test", "validation") if each in parts), "train")
    images, provenance = _for_model(path, part, model, reading), model.provenance
    name, notes = path or DIGITS, list(images.notes)
    if provenance is None:
        caution = (
            "the model file does not say which images it learned from: they may be among these"
        )
        words = "all images" if part == "train" else f"the {part} part"
        return TestData(name, images, words, [caution], notes)
    if part == "train":
        return TestData(name, *_held_out(images, provenance), notes)
    return TestData(name, images, f"the {part} part", _cautions(images.images, provenance), notes)


def _read(path: str | None, part: str, reading: Reading) -> Dataset:
    if path is None:
        images, labels = data.load_digits()
        return Dataset(images, labels, tuple(str(i) for i in range(10)))
    with counting(f"reading {path}") as progress:
        return data.load(
            path,
            part,
            reading.size,
            labels_from=reading.labels_from,
            skip_broken=reading.skip_broken,
            progress=progress,
        )


def _read_like(train: Dataset, path: str | None, part: str, reading: Reading) -> Dataset:
    """Read another part of the data, with the classes, channels and depth of the training part."""
    images = _read(path, part, reading)
    try:
        return data.conform(images, train.images.shape[1:], train.class_names, train.images.dtype)
    except ValueError as error:
        raise ValueError(f"{path}, {part} part beside the training part: {error}") from error


def _split(whole: Dataset) -> tuple[Dataset, Dataset, Split]:
    """Hold images out for the test: the same ones in every command, whatever --seed says."""
    train_index, test_index = stratified_split(whole.labels, TEST_FRACTION, SPLIT_SEED)
    if len(test_index) == 0:
        raise ValueError(
            f"{len(whole)} images are too few to hold any out for the test: a class needs at "
            "least 3"
        )
    split = Split(TEST_FRACTION, SPLIT_SEED, len(whole), digest_of_all(whole))
    return whole.take(train_index), whole.take(test_index), split


def _for_model(path: str | None, part: str, model: Model, reading: Reading) -> Dataset:
    """Read images in the model's size, with its channels and its numbers of the classes."""
    net, (_, H, W) = model.net, model.net.architecture.image_shape
    resizes = path is not None and "size" in recognise(Path(path))[0].options
    images = _read(path, part, reading._replace(size=(H, W) if resizes else None))
    if images.images.shape[2:] != (H, W):
        own_h, own_w = images.images.shape[2:]
        raise ValueError(
            f"{path or DIGITS}: images of {own_h} x {own_w} pixels (rows x columns), the model "
            f"takes {H} x {W}; only pictures are resized, arrays are not"
        )
    dtype = None if model.provenance is None else model.dtype
    return data.conform(images, net.architecture.image_shape, net.class_names, dtype)


def _held_out(whole: Dataset, provenance: Provenance) -> tuple[Dataset, str, list[str]]:
    """Pick the images that the model did not learn from, and say which these are."""
    split = provenance.split
    if split is not None and split.digest == digest_of_all(whole):
        _, test_index = stratified_split(whole.labels, split.fraction, split.seed)
        return whole.take(test_index), "what training held out", []
    digests = digests_of(whole.images)
    known = np.isin(digests, provenance.digests)
    if not provenance.knows_all or not known.any() or known.all():
        return whole, "all images", _cautions(whole.images, provenance)
    words = f"all but {known.sum()} images that the model learned from"
    return whole.take(~known), words, []


def _cautions(images: npt.NDArray[Any], provenance: Provenance) -> list[str]:
    """Say how many of the images the model learned from."""
    share = share_learned_from(provenance, digests_of(images))
    if share == 0:
        return []
    about = "" if provenance.knows_all else "about "
    return [
        f"the model learned from {about}{share:.1%} of these images: the accuracy on images that "
        "it has not seen is lower"
    ]
