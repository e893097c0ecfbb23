"""The data of a command: what to call them, and their parts."""

from __future__ import annotations

from typing import NamedTuple

from tinycnn import data
from tinycnn.cli.options import Reading
from tinycnn.data import Dataset
from tinycnn.training.defaults import SPLIT_SEED, TEST_FRACTION
from tinycnn.training.split import stratified_split

DIGITS = "the bundled digits"


class Source(NamedTuple):
    """Data to train on and to test with."""

    name: str
    train: Dataset
    test: Dataset


def read_source(path: str | None, reading: Reading) -> Source:
    """Read the data; what has no test part is split."""
    if path is not None and "test" in data.parts(path):
        train = data.load(path, "train", reading.size)
        return Source(path, train, data.load(path, "test", reading.size))
    return Source(path or DIGITS, *split(read_undivided(path, reading)))


def read_undivided(path: str | None, reading: Reading) -> Dataset:
    """Read data that have no test part."""
    if path is not None:
        return data.load(path, "train", reading.size)
    images, labels = data.load_digits()
    return Dataset(images, labels, tuple(str(i) for i in range(10)))


def split(whole: Dataset) -> tuple[Dataset, Dataset]:
    """Hold images out for the test: the same ones in every command, whatever --seed says."""
    train_index, test_index = stratified_split(whole.labels, TEST_FRACTION, SPLIT_SEED)
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
