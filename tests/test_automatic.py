"""What is chosen for those who choose nothing."""

import pytest

import tinycnn
from tinycnn.automatic import auto_batch_size, auto_channels, auto_epochs, auto_shift


@pytest.mark.parametrize(
    ("image_shape", "kernel_size", "padding", "channels"),
    [
        ((1, 8, 8), 3, 1, (64,)),
        ((1, 28, 28), 3, 1, (32, 64)),
        ((3, 32, 32), 3, 1, (32, 64)),
        ((3, 48, 48), 3, 0, (32, 64, 128)),
        ((3, 200, 200), 3, 1, (32, 64, 128)),
        ((1, 28, 28), 9, 0, (32, 64)),
        ((1, 20, 20), 9, 0, (64,)),
    ],
)
def test_as_many_blocks_as_have_something_to_look_at(image_shape, kernel_size, padding, channels):
    assert auto_channels(image_shape, kernel_size, padding) == channels
    tinycnn.CNN(image_shape, channels, kernel_size, padding=padding)


def test_the_more_images_the_fewer_epochs():
    assert [auto_epochs(n) for n in (1, 64, 256, 1_437, 10_000, 60_000)] == [
        200,
        200,
        100,
        42,
        16,
        10,
    ]


def test_batches_and_moves_follow_the_size():
    assert (auto_batch_size(9_999), auto_batch_size(10_000)) == (64, 128)
    assert (auto_shift((1, 7, 30)), auto_shift((1, 8, 8))) == (0, 1)
