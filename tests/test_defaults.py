"""What is chosen for those who choose nothing; what it does is in ``test_training.py``."""

import inspect

import pytest

import tinycnn
from tinycnn.training import defaults
from tinycnn.training.choices import OPTIMIZERS, SCHEDULES
from tinycnn.training.defaults import auto_batch_size, auto_channels, auto_epochs, auto_shift


@pytest.mark.parametrize(
    ("image_shape", "kernel_size", "padding", "channels"),
    [
        ((1, 8, 8), 3, "same", (96,)),
        ((1, 8, 8), 3, 0, (96,)),
        ((1, 15, 15), 3, "same", (96,)),
        ((1, 16, 16), 3, "same", (32, 64)),
        ((1, 28, 28), 3, "same", (32, 64)),
        ((1, 28, 28), 3, 1, (32, 64)),
        ((3, 31, 32), 3, "same", (32, 64)),
        ((3, 32, 32), 3, "same", (32, 64, 128)),
        ((3, 32, 32), 3, 0, (32, 64)),
        ((3, 48, 48), 3, 0, (32, 64, 128)),
        ((3, 200, 200), 3, "same", (32, 64, 128)),
        ((1, 28, 28), 9, 0, (32, 64)),
        ((3, 32, 32), 9, "same", (32, 64)),
        ((3, 32, 32), (3, 17), "same", (96,)),
        ((1, 20, 20), 9, 0, (96,)),
        ((1, 1, 1), 3, "same", (96,)),
    ],
)
def test_as_many_blocks_as_have_something_to_look_at(image_shape, kernel_size, padding, channels):
    assert auto_channels(image_shape, kernel_size, padding) == channels
    if min(image_shape[1:]) > 1:  # there is nothing to pool in a single pixel
        tinycnn.CNN(
            image_shape,
            channels=channels,
            kernel_size=kernel_size,
            padding=padding,
            n_classes=2,
        )


def test_the_more_images_the_fewer_epochs():
    epochs = [auto_epochs(n) for n in (0, 1, 64, 256, 1_437, 10_000, 60_000, 10**9)]
    assert epochs == [200, 200, 200, 100, 42, 16, 10, 10]


def test_batches_and_moves_follow_the_size():
    assert (auto_batch_size(9_999), auto_batch_size(10_000)) == (64, 128)
    assert [auto_shift((1, *size)) for size in [(15, 30), (30, 15), (16, 16)]] == [0, 0, 1]


def test_fit_takes_the_recipe_where_nothing_is_said():
    said = {
        name: parameter.default
        for name, parameter in inspect.signature(tinycnn.fit).parameters.items()
    }
    assert said["optimizer"] == defaults.OPTIMIZER
    assert said["schedule"] == defaults.SCHEDULE
    assert said["epochs"] == said["batch_size"] == said["augmentation"] == "auto"
    assert defaults.OPTIMIZER in OPTIMIZERS
    assert defaults.SCHEDULE in SCHEDULES
    assert set(defaults.LEARNING_RATES) == set(OPTIMIZERS)
