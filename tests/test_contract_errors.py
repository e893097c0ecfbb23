"""What ``tinycnn.train`` must refuse, in which words, and that it then has touched nothing.

Each row of the tables below changes one valid call and says what the message must contain: the
argument's name and the numbers that are wrong, or that would have been right.

Letters: N images of H x W; K filters of R x S; pooled P x Q; F = K*P*Q features; C classes.
"""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tinycnn import train

N, H, W, K, R, S, P, Q, C = 9, 8, 6, 2, 3, 2, 3, 2, 4
F = K * P * Q  # 12
ARRAYS = ("x", "y", "w_conv", "w_fc")
WRONG = (ValueError, TypeError)  # where either is natural


def make_arguments(dtype: str = "float64", **changes: Any) -> dict[str, Any]:
    """Draw the arguments of a valid call, and replace some."""
    rng = np.random.default_rng(0)
    arguments = {
        "x": rng.normal(size=(N, 1, H, W)).astype(dtype),
        "y": rng.integers(0, C, size=N).astype(dtype),
        "w_conv": rng.normal(size=(K, 1, R, S)).astype(dtype),
        "w_fc": rng.normal(size=(F, C)).astype(dtype),
        "lr": 0.1,
        "n_epochs": 2,
    }
    return arguments | changes


def labels(**offenders: float) -> dict[str, Any]:
    """Return labels with offenders: ``at5=7.5`` puts 7.5 at index 5."""
    y = make_arguments()["y"]
    for position, value in offenders.items():
        y[int(position.removeprefix("at"))] = value
    return {"y": y}


def ones(*shape: int) -> np.ndarray:
    """Return ones."""
    return np.ones(shape)


def contains(message: str, word: str) -> bool:
    """Tell whether a word or number stands in a message, and not as part of a longer one."""
    return re.search(rf"(?<![\w.]){re.escape(word)}(?!\w|\.\d)", message) is not None


def refused(arguments: dict[str, Any], error: Any) -> str:
    """Call ``train``, which must raise and leave every array as it was; return the message."""
    arrays = {name: value for name, value in arguments.items() if isinstance(value, np.ndarray)}
    before = {name: array.tobytes() for name, array in arrays.items()}
    with pytest.raises(error) as caught:
        train(**arguments)
    for name, array in arrays.items():
        if array.dtype != object:  # whose bytes are addresses
            assert array.tobytes() == before[name], f"{name} was written"
    return str(caught.value)


def test_the_unchanged_call_is_valid() -> None:
    assert train(**make_arguments()).shape == (F, C)


# ------------------------------------------------------------------------------------------- shapes

SHAPES = {
    # every wrong number of dimensions
    "x 0-d": ({"x": np.float64(1)}, "x", "4"),
    "x 1-d": ({"x": ones(H)}, "x", "4"),
    "x 2-d": ({"x": ones(H, W)}, "x", "4"),
    "x without the channel axis": ({"x": ones(N, H, W)}, "x", "4"),
    "x 5-d": ({"x": ones(N, 1, H, W, 1)}, "x", "4"),
    "y 0-d": ({"y": np.float64(1)}, "y", "1"),
    "y a column": ({"y": ones(N, 1)}, "y", "1"),
    "y one-hot": ({"y": np.eye(N, C)}, "y", "1"),
    "w_conv 2-d": ({"w_conv": ones(R, S)}, "w_conv", "4"),
    "w_conv without the channel axis": ({"w_conv": ones(K, R, S)}, "w_conv", "4"),
    "w_conv 5-d": ({"w_conv": ones(K, 1, R, S, 1)}, "w_conv", "4"),
    "w_fc 0-d": ({"w_fc": np.float64(1)}, "w_fc", "2"),
    "w_fc 1-d": ({"w_fc": ones(F)}, "w_fc", "2"),
    "w_fc 3-d": ({"w_fc": ones(F, C, 1)}, "w_fc", "2"),
    "w_fc not flattened": ({"w_fc": ones(K, P, Q, C)}, "w_fc", "2"),
    # channels
    "x colour": ({"x": ones(N, 3, H, W)}, "x", "3"),
    "x channels last": ({"x": ones(N, H, W, 1)}, "x", str(H)),
    "x no channel": ({"x": ones(N, 0, H, W)}, "x", "0"),
    "w_conv colour": ({"w_conv": ones(K, 3, R, S)}, "w_conv", "3"),
    "w_conv no channel": ({"w_conv": ones(K, 0, R, S)}, "w_conv", "0"),
    "both colour": ({"x": ones(N, 3, H, W), "w_conv": ones(K, 3, R, S)}, "x", "3"),
    # N
    "no images": ({"x": ones(0, 1, H, W), "y": ones(0)}, "x", "0"),
    "no images but labels": ({"x": ones(0, 1, H, W)}, "x", "0"),
    "no labels": ({"y": ones(0)}, "y", "9", "0"),
    "a label short": ({"y": ones(8)}, "x", "y", "9", "8"),
    "a label over": ({"y": ones(10)}, "x", "y", "9", "10"),
    # the kernel against the image
    "kernel too high": ({"w_conv": ones(K, 1, 9, S)}, "w_conv", "9", "8"),
    "kernel too wide": ({"w_conv": ones(K, 1, R, 7)}, "w_conv", "7", "6"),
    "kernel fits turned only": ({"x": ones(N, 1, 5, 7), "w_conv": ones(K, 1, 6, 4)}, "w_conv", "6"),
    "kernel as high as the image": ({"w_conv": ones(K, 1, H, S)}, "w_conv", "8"),
    "kernel as wide as the image": ({"w_conv": ones(K, 1, R, W)}, "w_conv", "6"),
    "kernel of no rows": ({"w_conv": ones(K, 1, 0, S)}, "w_conv", "0"),
    "kernel of no columns": ({"w_conv": ones(K, 1, R, 0)}, "w_conv", "0"),
    "images of no rows": ({"x": ones(N, 1, 0, W)}, "0"),
    "images of no columns": ({"x": ones(N, 1, H, 0)}, "0"),
    "no filters": ({"w_conv": ones(0, 1, R, S), "w_fc": ones(0, C)}, "w_conv", "0"),
    # w_fc
    "w_fc a row short": ({"w_fc": ones(11, C)}, "w_fc", "11", "12"),
    "w_fc a row over": ({"w_fc": ones(13, C)}, "w_fc", "13", "12"),
    "w_fc turned": ({"w_fc": ones(C, F)}, "w_fc", "4", "12"),
    "w_fc for the unpooled": ({"w_fc": ones(K * 6 * 5, C)}, "w_fc", "60", "12"),
    "w_fc for pools rounded up": ({"w_fc": ones(K * 3 * 3, C)}, "w_fc", "18", "12"),
    "w_fc of no rows": ({"w_fc": ones(0, C)}, "w_fc", "0", "12"),
    "w_fc of no columns": ({"w_fc": ones(F, 0)}, "w_fc"),
}


@pytest.mark.parametrize(
    ("change", "words"), [(row[0], row[1:]) for row in SHAPES.values()], ids=SHAPES
)
@pytest.mark.parametrize("n_epochs", [0, 2])
def test_a_wrong_shape_is_named(change: dict, words: tuple[str, ...], n_epochs: int) -> None:
    message = refused(make_arguments(n_epochs=n_epochs) | change, ValueError)

    assert all(contains(message, word) for word in words), message


def test_a_pool_of_size_zero_is_explained() -> None:
    message = refused(make_arguments(w_conv=ones(K, 1, H, W), w_fc=ones(0, C)), ValueError)

    assert "pool" in message
    assert contains(message, "w_conv")
    assert contains(message, "8")
    assert contains(message, "6")


# ------------------------------------------------------------------------------------------- labels

LABELS = {
    "fractional": (labels(at5=2.5), "2.5", "5"),
    "barely fractional": (labels(at5=2.0000001), "2.0000001", "5"),
    "negative": (labels(at7=-1), "-1", "7"),
    "minus a half": (labels(at7=-0.5), "-0.5", "7"),
    "equal to C": (labels(at8=4), "4", "8"),
    "counted from 1": ({"y": np.array([3, 2, 1, 1, 2, 3, 4, 4, 1])}, "4", "6"),
    "huge": (labels(at5=1e300), "5"),
    "beyond int64": (labels(at5=2.0**63), "5"),
    "first of two": (labels(at5=7.5, at6=-9), "7.5", "5"),
    "first of two kinds": (labels(at5=-9, at6=7.5), "-9", "5"),
    "the first label": (labels(at0=12), "12", "0"),
    "the last label": (labels(at8=12), "12", "8"),
    "whole numbers, negative": ({"y": np.array([0, 1, 2, 3, 0, -7, 2, 3, 0])}, "-7", "5"),
    "whole numbers, too large": ({"y": np.array([0, 1, 2, 3, 0, 77, 2, 3, 0])}, "77", "5"),
    "small unsigned": ({"y": np.array([0, 1, 2, 3, 0, 255, 2, 3, 0], dtype="uint8")}, "255", "5"),
    "large unsigned": (
        {"y": np.array([0, 1, 2, 3, 0, 2**64 - 1, 2, 3, 0], dtype="uint64")},
        str(2**64 - 1),
        "5",
    ),
    "in a list": ({"y": [0, 1, 2, 3, 0, 2.5, 2, 3, 0]}, "2.5", "5"),
}


@pytest.mark.parametrize(
    ("change", "words"), [(row[0], row[1:]) for row in LABELS.values()], ids=LABELS
)
@pytest.mark.parametrize("n_epochs", [0, 2])
def test_the_first_wrong_label_and_its_index_are_named(
    change: dict, words: tuple[str, ...], n_epochs: int
) -> None:
    message = refused(make_arguments(n_epochs=n_epochs) | change, ValueError)

    number = rf"{re.escape(words[0])}(\.0)?"  # 7.0 for 7 will do
    assert contains(message, "y"), message
    assert contains(message, words[-1]), message
    assert re.search(rf"(?<![\w.-]){number}(?![\w]|\.\d)", message) or len(words) == 1, message


def test_a_wrong_label_does_not_name_later_ones() -> None:
    message = refused(make_arguments(**labels(at5=17, at6=18)), ValueError)

    assert contains(message, "5")
    assert not contains(message, "6")
    assert "18" not in message


def test_a_label_that_is_no_number_is_named_with_its_index() -> None:
    message = refused(make_arguments(**labels(at6=np.nan)), ValueError)

    assert contains(message, "y")
    assert contains(message, "nan")
    assert contains(message, "6")


def test_a_wrong_label_at_the_end_of_many_is_found() -> None:
    arguments = make_arguments(x=ones(5000, 1, H, W), y=np.zeros(5000))
    arguments["y"][4999] = 1.5

    message = refused(arguments, ValueError)

    assert contains(message, "1.5")
    assert "4999" in message.replace(",", "").replace("_", "")


# --------------------------------------------------------------------------------------- not finite


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", ARRAYS)
def test_a_value_that_is_not_finite_is_refused(name: str, value: float, dtype: str) -> None:
    array = make_arguments(dtype)[name]
    array.flat[array.size // 2] = value

    message = refused(make_arguments(dtype, **{name: array}), ValueError)

    assert contains(message, name), message


@pytest.mark.parametrize("change", [{"lr": 0.0}, {"n_epochs": 0}], ids=str)
@pytest.mark.parametrize("name", ARRAYS)
def test_it_is_refused_even_if_nothing_is_to_be_done(name: str, change: dict) -> None:
    array = make_arguments()[name]
    array.flat[-1] = np.nan

    message = refused(make_arguments(**change, **{name: array}), ValueError)

    assert contains(message, name), message


def test_a_pixel_that_no_window_sees_must_be_finite_too() -> None:
    x = ones(N, 1, H + 1, W)  # an odd conv output: its last row takes no part
    x[3, 0, -1, -1] = np.inf

    message = refused(make_arguments(x=x), ValueError)

    assert contains(message, "x"), message


def test_a_pixel_of_the_last_of_many_images_must_be_finite_too() -> None:
    x = ones(5000, 1, H, W)
    x[-1, 0, 0, 0] = np.nan

    message = refused(make_arguments(x=x, y=np.zeros(5000)), ValueError)

    assert contains(message, "x"), message


def test_finite_values_whose_sum_is_not_are_no_reason_to_refuse() -> None:
    x = make_arguments()["x"]
    x[0, 0, 0, :2] = 1.7e308  # their sum is infinite; no window's product is, with such weights
    w_conv = np.zeros((K, 1, R, S))

    result = train(**make_arguments(x=x, w_conv=w_conv))

    np.testing.assert_array_equal(result, make_arguments()["w_fc"])


@pytest.mark.parametrize("value", [1e39, -1e300])
def test_images_beyond_the_weights_dtype_are_refused(value: float) -> None:
    x = make_arguments("float64")["x"]
    x[7, 0, 3, 3] = value

    message = refused(make_arguments("float32", x=x), ValueError)

    assert contains(message, "x"), message
    assert "float32" in message


@pytest.mark.parametrize("name", ["x", "w_conv", "w_fc"])
def test_lists_are_looked_into(name: str) -> None:
    array = make_arguments()[name]
    array.flat[-1] = np.inf

    message = refused(make_arguments(**{name: array.tolist()}), ValueError)

    assert contains(message, name), message


# -------------------------------------------------------------------------------------------- kinds


@pytest.mark.parametrize(
    "kind", ["complex64", "complex128", "object", "U8", "S8", "M8[s]", "m8[s]"]
)
@pytest.mark.parametrize("name", ARRAYS)
def test_a_wrong_kind_of_array_is_refused(name: str, kind: str) -> None:
    shape = make_arguments()[name].shape
    array = np.zeros(shape, dtype="int64").astype(kind)

    message = refused(make_arguments(**{name: array}), TypeError)

    assert contains(message, name), message
    assert np.dtype(kind).name.rstrip("0123456789") in message or str(array.dtype) in message, (
        message
    )


@pytest.mark.parametrize("name", ARRAYS)
def test_records_are_refused(name: str) -> None:
    array = np.zeros(make_arguments()[name].shape, dtype=[("grey", "f4")])

    message = refused(make_arguments(**{name: array}), TypeError)

    assert contains(message, name), message


@pytest.mark.parametrize(
    "value", [None, "images", {"a": 1}, SimpleNamespace(), Path("images.npy")], ids=repr
)
@pytest.mark.parametrize("name", ARRAYS)
def test_what_is_no_array_is_refused(name: str, value: Any) -> None:
    message = refused(make_arguments(**{name: value}), WRONG)

    assert contains(message, name), message


@pytest.mark.parametrize("name", ARRAYS)
def test_ragged_lists_are_refused(name: str) -> None:
    message = refused(make_arguments(**{name: [[1.0, 2.0], [3.0]]}), WRONG)

    assert contains(message, name), message


@pytest.mark.parametrize("name", ARRAYS)
def test_empty_lists_are_refused(name: str) -> None:
    message = refused(make_arguments(**{name: []}), ValueError)

    assert contains(message, name), message


# ------------------------------------------------------------------------------------- lr, n_epochs

SCALARS = {
    "lr nan": ({"lr": np.nan}, ValueError, "nan"),
    "lr inf": ({"lr": np.inf}, ValueError, "inf"),
    "lr -inf": ({"lr": -np.inf}, ValueError, "-inf"),
    "lr negative": ({"lr": -0.25}, ValueError, "-0.25"),
    "lr negative whole": ({"lr": -3}, ValueError, "-3"),
    "lr NumPy nan": ({"lr": np.float32("nan")}, ValueError, "nan"),
    "lr string": ({"lr": "0.5"}, TypeError, "0.5"),
    "lr bytes": ({"lr": b"0.5"}, TypeError),
    "lr None": ({"lr": None}, TypeError, "None"),
    "lr complex": ({"lr": 0.5 + 2j}, TypeError),
    "lr NumPy complex": ({"lr": np.complex64(0.5)}, TypeError),
    "lr list": ({"lr": [0.5]}, WRONG),
    "lr one per class": ({"lr": np.full(C, 0.5)}, WRONG),
    "lr beyond a float": ({"lr": 10**400}, WRONG),
    "n_epochs negative": ({"n_epochs": -3}, ValueError, "-3"),
    "n_epochs negative NumPy": ({"n_epochs": np.int8(-3)}, ValueError, "-3"),
    "n_epochs fractional": ({"n_epochs": 2.5}, WRONG, "2.5"),
    "n_epochs fraction of one": ({"n_epochs": 0.5}, WRONG, "0.5"),
    "n_epochs nan": ({"n_epochs": np.nan}, WRONG, "nan"),
    "n_epochs inf": ({"n_epochs": np.inf}, WRONG, "inf"),
    "n_epochs string": ({"n_epochs": "3"}, TypeError, "3"),
    "n_epochs None": ({"n_epochs": None}, TypeError, "None"),
    "n_epochs complex": ({"n_epochs": 3 + 0j}, TypeError),
    "n_epochs list": ({"n_epochs": [3]}, WRONG),
    "n_epochs range": ({"n_epochs": range(3)}, WRONG),
}


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [(row[0], row[1], row[2:]) for row in SCALARS.values()],
    ids=SCALARS,
)
def test_a_wrong_rate_or_number_of_epochs_is_named(
    change: dict, error: Any, words: tuple[str, ...]
) -> None:
    message = refused(make_arguments(**change), error)

    assert contains(message, next(iter(change))), message
    assert all(word in message for word in words), message


def test_a_wrong_rate_is_refused_even_if_there_are_no_epochs() -> None:
    message = refused(make_arguments(lr=-1.0, n_epochs=0), ValueError)

    assert contains(message, "lr"), message


def test_a_wrong_number_of_epochs_is_refused_even_if_the_rate_is_zero() -> None:
    message = refused(make_arguments(lr=0.0, n_epochs=-1), ValueError)

    assert contains(message, "n_epochs"), message


# ---------------------------------------------------------------------------------- after a failure


def test_a_call_after_a_failed_one_is_as_good_as_ever() -> None:
    expected = train(**make_arguments())

    refused(make_arguments(**labels(at8=99)), ValueError)

    np.testing.assert_array_equal(train(**make_arguments()), expected)


@pytest.mark.parametrize("missing", [*ARRAYS, "lr", "n_epochs"])
def test_every_argument_is_asked_for(missing: str) -> None:
    arguments = make_arguments()
    del arguments[missing]

    with pytest.raises(TypeError, match=missing):
        train(**arguments)
