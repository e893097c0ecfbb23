"""What arguments must be, said once: each check returns the argument in its proper form.

Every message names the argument, what it is, what it must be and, where there is one, the way
out. A value of the wrong kind is a TypeError, a wrong value or shape a ValueError.
"""

from __future__ import annotations

import math
import operator
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.floating]

# Of a value that a message shows, so that the message stays readable whatever the value is.
SHOWN_CHARACTERS = 120

MOST_ROWS = 2**31  # or columns, of any image

FLOAT_TYPES: tuple[type, ...] = (
    np.float32,
    np.float64,
)  # compare dtype.type, which ignores byte order


def shown(value: Any) -> str:
    """Return a value as a message shows it: on one line, and not endlessly long."""
    if isinstance(value, type):
        return f"the class {value.__name__}; call it: {value.__name__}(...)"
    try:
        text = repr(value).replace("\n", " ")
    except Exception:  # numbers of too many digits, lists in lists without end, odd objects
        text = f"a value of type {type(value).__name__}"
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[: SHOWN_CHARACTERS - 3]}..."


def as_array(name: str, value: npt.ArrayLike, of_words: str = "") -> npt.NDArray[Any]:
    """Return value as an array of real numbers, without a copy where it is one already.

    Lists and anything with NumPy's array protocol (CPU tensors of other libraries) are taken.
    of_words is the way out for strings, where there is a better one than to convert them.
    """
    if type(value) is np.ndarray and value.dtype.kind in "biuf":  # as nearly always
        return value
    if isinstance(value, np.ma.MaskedArray):
        raise TypeError(f"{name}: masked arrays are not supported; fill it first: {name}.filled(0)")
    try:
        array = np.asarray(value)
    except (ValueError, TypeError, RuntimeError) as error:
        raise ValueError(f"{name}: cannot be read as an array of numbers: {error}") from error
    if array.dtype.kind not in "biuf":
        way_out = of_words if array.dtype.kind in "US" else ""
        way_out = way_out or "convert it first, for example with .astype('float32')"
        raise TypeError(f"{name}: needs real numbers, got dtype {array.dtype}; {way_out}")
    return array


def as_float_array(
    name: str, value: npt.ArrayLike, ndim: int | None = None, order: Literal["C", "F"] = "C"
) -> FloatArray:
    """Return value as a float32 or float64 array of ndim dimensions, or of any; C-contiguous.

    With order "F", the first dimension runs fastest.
    """
    array = as_array(name, value)
    if array.dtype.type not in FLOAT_TYPES:
        raise TypeError(
            f"{name}: needs dtype float32 or float64, got {array.dtype}; "
            f"convert it first: {name}.astype('float32')"
        )
    if ndim is not None:
        require_ndim(name, array, ndim)
    return np.asarray(array, array.dtype.newbyteorder("="), order=order)


def as_float_dtype(name: str, value: npt.DTypeLike) -> np.dtype[Any]:
    """Return value as the dtype float32 or float64 in this machine's byte order."""
    try:
        checked = np.dtype(value).newbyteorder("=")
    except TypeError as error:
        raise TypeError(f"{name}: must be 'float32' or 'float64', got {shown(value)}") from error
    if checked.type not in FLOAT_TYPES:
        raise TypeError(f"{name}: must be 'float32' or 'float64', got {shown(value)}")
    return checked


def require_ndim(name: str, array: npt.NDArray[Any], ndim: int, layout: str = "") -> None:
    """Raise ValueError unless the array has ndim dimensions; layout names them in the message."""
    if array.ndim != ndim:
        layout = f" {layout}" if layout else ""
        raise ValueError(
            f"{name}: needs {ndim} dimension{'s' * (ndim != 1)}{layout}, "
            f"got {array.ndim} with shape {array.shape}"
        )


def require_same_dtype(**arrays: FloatArray) -> None:
    """Raise TypeError unless all arrays have one dtype."""
    dtypes = {name: array.dtype for name, array in arrays.items()}
    if len(set(dtypes.values())) > 1:
        found = ", ".join(f"{name} {dtype}" for name, dtype in dtypes.items())
        raise TypeError(f"all arrays of a call need one dtype, got {found}; convert with .astype")


def require_same_length(
    images: npt.NDArray[Any], labels: npt.NDArray[Any], images_name: str, labels_name: str
) -> None:
    """Raise ValueError unless there is one label for each of at least one image."""
    if len(images) != len(labels):
        raise ValueError(
            f"{labels_name}: {len(images)} images need as many labels, got {len(labels)}"
        )
    if len(images) == 0:
        raise ValueError(f"{images_name}: at least one image is needed, got 0")


def require_finite(
    name: str, array: npt.NDArray[Any], dtype: np.dtype[Any], first_index: int = 0
) -> None:
    """Raise ValueError at the first value that is not finite once it is converted to dtype.

    first_index is what the array's first row is called in the message, for arrays that are
    checked in pieces.
    """
    if array.dtype.kind != "f" or _surely_finite(array, dtype):
        return
    with np.errstate(over="ignore"):
        finite = np.isfinite(array.astype(dtype, copy=False))
    if not finite.all():
        index = tuple(int(i) for i in np.argwhere(~finite)[0])
        place = ", ".join(str(i) for i in (first_index + index[0], *index[1:]))
        raise ValueError(
            f"{name}: all values must be finite as {dtype}, got {name}[{place}] = {array[index]}; "
            "remove or replace such values first"
        )


def _surely_finite(array: npt.NDArray[Any], dtype: np.dtype[Any]) -> bool:
    """Tell by the sum of squares, a third of the time of a look at each value; False: not sure."""
    if array.dtype.type not in FLOAT_TYPES or not array.flags.c_contiguous:
        return False
    values = array.reshape(-1)
    with np.errstate(over="ignore", invalid="ignore"):
        total = float(np.dot(values, values))
    return total < float(np.finfo(dtype).max)


def as_labels(name: str, labels: npt.ArrayLike, n_classes: int) -> npt.NDArray[Any]:
    """Return the labels (N,) as an array of whole numbers in [0, n_classes), of any real dtype.

    The array is checked and not converted: floats that are whole numbers stay floats.
    """
    array = as_array(name, labels, "number the classes: np.unique(labels, return_inverse=True)")
    if array.ndim == 2 and array.shape[1] in (1, n_classes):
        way = ".argmax(axis=1)" if array.shape[1] == n_classes else "[:, 0]"
        raise ValueError(
            f"{name}: needs 1 dimension (N,), got 2 with shape {array.shape}; give "
            f"{name.rpartition(' ')[2]}{way}"
        )
    require_ndim(name, array, 1, "(N,)")
    if array.dtype.kind in "iu" and len(array) and array.min() >= 0 and array.max() < n_classes:
        return array
    for start in range(0, len(array), 65536):  # in pieces: no temporary of the size of N
        piece = array[start : start + 65536]
        wrong = ~((piece >= 0) & (piece < n_classes) & (np.floor(piece) == piece))
        if wrong.any():
            first = int(wrong.argmax())
            raise ValueError(
                f"{name}: labels must be whole numbers in [0, {n_classes}), "
                f"got {name}[{start + first}] = {piece[first]}"
            )
    return array


def as_count(name: str, value: Any, minimum: int) -> int:
    """Return value as an int of at least minimum; whole floats are taken."""
    if type(value) is int and minimum <= value <= sys.maxsize:  # as nearly always
        return value
    number = as_number(name, value)
    if not (
        abs(number) <= sys.float_info.max and number >= minimum and number == math.floor(number)
    ):
        raise ValueError(
            f"{name}: must be a whole number of at least {minimum}, got {shown(number)}"
        )
    return int(number)


def as_pair(name: str, value: Any, minimum: int) -> tuple[int, int]:
    """Return value as (rows, columns): one whole number stands for both."""
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        if len(value) != 2:
            raise ValueError(
                f"{name}: must be one whole number or (rows, columns), got {shown(value)}"
            )
        rows, columns = value
    else:
        rows = columns = value
    pair = as_count(name, rows, minimum), as_count(name, columns, minimum)
    if max(pair) > MOST_ROWS:
        raise ValueError(f"{name}: no image has so many rows or columns: {shown(value)}")
    return pair


def require_memory(what: str, n_bytes: int) -> None:
    """Raise MemoryError if so many bytes are more than this machine has, before it is used.

    A system lends more than it has, and ends the process that uses it; or works for a minute first.
    What no machine could have is no question of memory, but a ValueError.
    """
    if n_bytes > sys.maxsize:
        raise ValueError(f"{what} would take more bytes than a machine can have: use smaller sizes")
    if n_bytes > MEMORY_BYTES:
        raise MemoryError(f"{what} would take {n_bytes:,} bytes, this machine has {MEMORY_BYTES:,}")


def _memory_of_machine() -> int:
    """Return how many bytes of memory there are; the most that can be, where that is not known."""
    try:
        n_bytes = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # Windows has no sysconf
        return sys.maxsize
    return n_bytes if n_bytes > 0 else sys.maxsize


MEMORY_BYTES = _memory_of_machine()


def as_path(name: str, value: Any) -> Path:
    """Return value as a path; only texts and path objects are taken."""
    try:
        return Path(value)
    except TypeError as error:
        raise TypeError(f"{name}: must be a path, got {shown(value)}") from error


def is_row(value: Any) -> bool:
    """Tell whether a value holds others one behind the other, as a list or a vector does."""
    try:
        return np.ndim(value) == 1
    except ValueError:  # lists of different lengths
        return False


def as_flag(name: str, value: Any) -> bool:
    """Return value as a bool; only True and False are taken."""
    if not isinstance(value, (bool, np.bool)):
        raise TypeError(f"{name}: must be True or False, got {shown(value)}")
    return bool(value)


def as_seed(name: str, value: Any) -> int | None:
    """Return value as a seed for random numbers: a whole number of at least 0, or None."""
    return None if value is None else as_count(name, value, 0)


def as_rate(name: str, value: Any) -> float:
    """Return value as a finite float that is not negative."""
    number = as_number(name, value)
    if not 0 <= number <= sys.float_info.max:
        raise ValueError(f"{name}: must be finite and not negative, got {shown(number)}")
    return float(number)


def as_share(name: str, value: Any) -> float:
    """Return value as a float in [0, 1)."""
    number = as_number(name, value)
    if not 0 <= number < 1:
        raise ValueError(f"{name}: must be in [0, 1), got {shown(number)}")
    return float(number)


def as_number(name: str, value: Any) -> int | float:
    """Return value as a Python number (NumPy scalars are taken, strings and bools are not)."""
    if isinstance(value, (bool, np.bool, str, bytes, complex, np.complexfloating)):
        raise TypeError(f"{name}: must be a real number, got {shown(value)}")
    try:
        return operator.index(value)
    except TypeError:
        pass
    try:
        return float(value)
    except (TypeError, ValueError) as error:
        raise TypeError(f"{name}: must be a real number, got {shown(value)}") from error


def as_weights(name: str, values: Any, length: int, what: str) -> npt.NDArray[np.float64]:
    """Return one weight for each of a number of images or classes as float64, checked."""
    array = as_array(name, values).astype(np.float64)
    require_ndim(name, array, 1)
    if len(array) != length:
        plural = "es" if what == "class" else "s"
        raise ValueError(f"{name}: {length} {what}{plural} need as many weights, got {len(array)}")
    require_finite(name, array, array.dtype)
    if (array < 0).any():
        first = int((array < 0).argmax())
        raise ValueError(f"{name}: must not be negative, got {name}[{first}] = {array[first]}")
    return array
