"""Model files: a network as one NPZ archive, without pickle.

The archive holds each parameter under its name (``conv1.weight``, ...) and, under ``tinycnn``,
the rest as JSON: a format version, the shape of an image, the layers by kind and arguments, the
dtype, how input is scaled, and the names of the classes. A loaded network therefore predicts from
raw images, bit for bit, what the saved one did, and loading runs no code from the file.

Under ``notes`` may stand whatever else its writer wants to remember of it, as one JSON object.
"""

from __future__ import annotations

import json
import math
import os
import sys
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tinycnn._checks import as_path, shown
from tinycnn.architecture import Architecture
from tinycnn.files.archive import open_archive, read_array, write_archive
from tinycnn.layer import UnknownLayerError, describe_layer, make_layer
from tinycnn.network import CNN, require_network

# Versions 1 and 2, in which a network was no list of layers, were never released.
FORMAT_VERSION = 3
METADATA_KEY = "tinycnn"
NOTES_KEY = "notes"
MAX_METADATA_BYTES = 2**24
LONGEST_REASON = 400  # characters of a message that a file's contents brought about

# Bytes are divided by this on their way in. It stands in the file so that a later version that
# scales otherwise can still tell what this one did.
BYTE_SCALE = 255


def save_model(
    net: CNN, path: str | os.PathLike[str], notes: Mapping[str, Any] | None = None
) -> None:
    """Write a network to a file, all of it or nothing.

    The file is written under another name beside its place and then moved there, so that an
    older model at this path is lost only once the new one is complete.

    Parameters
    ----------
    net : CNN
    path : path-like
        Usually ends in ``.npz``; taken as it is.
    notes : mapping of str to JSON values, optional
        What else to remember, for :func:`load_notes`: what it was trained on, say, and how.

    Raises
    ------
    OSError
        If the folder does not exist or cannot be written to.
    TypeError, ValueError
        If the notes are nothing that JSON has.
    """
    entries = model_entries(require_network(net))
    if notes:
        if not isinstance(notes, Mapping):
            raise TypeError(f"notes: must be a mapping, got {shown(notes)}")
        try:
            entries[NOTES_KEY] = np.array([json.dumps(dict(notes), allow_nan=False)])
        except RecursionError as error:
            raise ValueError(f"notes: they are nested too deeply: {error}") from error
    write_archive(as_path("path", path), entries)


def load_model(path: str | os.PathLike[str]) -> CNN:
    """Read a network from a file that :func:`save_model` has written.

    Parameters
    ----------
    path : path-like

    Returns
    -------
    CNN

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is no model file, is damaged, or was written by a later version.
    """
    path = as_path("path", path)
    with open_archive(path) as archive:
        return read_model(archive, path)


def load_notes(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read the notes that :func:`save_model` was given; an empty dict if it was given none.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is no NPZ archive, or is damaged.
    """
    path = Path(path)
    with open_archive(path) as archive:
        if f"{NOTES_KEY}.npy" not in archive.namelist():
            return {}
        entry = read_array(archive, path, NOTES_KEY, MAX_METADATA_BYTES)
    try:
        notes = json.loads(str(entry.reshape(-1)[0]))
        if not isinstance(notes, dict):
            raise ValueError(f"they are {shown(notes)}")
    except (ValueError, TypeError, IndexError, RecursionError) as error:
        raise ValueError(f"{path}: damaged: its notes cannot be read: {shown(error)}") from error
    return notes


def is_model_file(path: str | os.PathLike[str]) -> bool:
    """Tell whether an existing file looks like a model, without reading its parameters."""
    try:
        with open_archive(Path(path)) as archive:
            return f"{METADATA_KEY}.npy" in archive.namelist()
    except (ValueError, OSError):
        return False


def describe(net: CNN) -> dict[str, Any]:
    """Tell all of a network but the values of its parameters, ready for JSON."""
    return {
        "image_shape": net.architecture.image_shape,
        "layers": [describe_layer(layer) for layer in net.layers],
        "dtype": str(net.flat.dtype),
        "byte_scale": BYTE_SCALE,
        "class_names": net.class_names,
        "input_mean": net.input_mean.tolist(),
        "input_std": net.input_std.tolist(),
    }


def model_entries(net: CNN) -> dict[str, npt.ArrayLike]:
    """Return what :func:`save_model` writes, for other archives that hold a network as well."""
    return {METADATA_KEY: as_metadata(describe(net), FORMAT_VERSION), **net.parameters}


def read_model(archive: zipfile.ZipFile, path: Path) -> CNN:
    """Read the network from an open archive; see :func:`load_model`."""
    if f"{METADATA_KEY}.npy" not in archive.namelist():
        raise ValueError(f"{path}: not a tinycnn model: it has no entry {METADATA_KEY!r}")
    metadata = read_metadata(archive, path, METADATA_KEY, FORMAT_VERSION)
    architecture = _read_architecture(path, metadata)
    # Before there is a network, which would take all the memory that damaged sizes ask for.
    parameters = {
        name: _read_parameter(archive, path, name, metadata.get("dtype"), shape)
        for name, shape in architecture.parameter_shapes.items()
    }
    C = architecture.image_shape[0]
    mean = _read_numbers(path, metadata, "input_mean", C, -math.inf)
    std = _read_numbers(path, metadata, "input_std", C, 0)
    with _no_network(path):
        net = CNN(
            architecture.image_shape,
            architecture.layers,
            dtype=metadata["dtype"],
            class_names=_read_class_names(metadata),
        )
    for name, values in parameters.items():
        net.parameters[name][...] = values
    with _no_network(path):
        net.set_scaling(mean, std)
    return net


def as_metadata(description: dict[str, Any], version: int) -> npt.NDArray[np.str_]:
    """Put a description and the version of its format into an array, as JSON."""
    return np.array([json.dumps({"format_version": version, **description})])


def read_metadata(
    archive: zipfile.ZipFile, path: Path, key: str, format_version: int
) -> dict[str, Any]:
    """Read the description under a key, and refuse other versions of its format."""
    entry = read_array(archive, path, key, MAX_METADATA_BYTES)
    try:
        metadata = json.loads(str(entry.reshape(-1)[0]), object_pairs_hook=_without_repeats)
        version = metadata["format_version"]
    except (ValueError, TypeError, KeyError, IndexError, RecursionError) as error:
        raise ValueError(
            f"{path}: damaged: its description cannot be read: {shown(error)}"
        ) from error
    whole = type(version) is int
    if not whole or version != format_version:
        older = whole and version in range(format_version)
        raise ValueError(
            f"{path}: has format version {shown(version)}, this tinycnn reads {format_version}: "
            + ("train it again" if older else "install a later tinycnn")
        )
    return dict(metadata)


@contextmanager
def _no_network(path: Path) -> Iterator[None]:
    """Name the file whose architecture is wrong."""
    try:
        yield
    except UnknownLayerError as error:
        raise ValueError(f"{path}: {error}") from error
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        reason = str(error)[:LONGEST_REASON]
        raise ValueError(f"{path}: damaged: its architecture makes no network: {reason}") from error


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Make a dict of a JSON object's pairs, in which no key may stand twice."""
    result = dict(pairs)
    if len(result) < len(pairs):
        raise ValueError("a key stands there twice")
    return result


def _read_architecture(path: Path, metadata: dict[str, Any]) -> Architecture:
    """Check the described architecture."""
    if metadata.get("byte_scale") != BYTE_SCALE:
        raise ValueError(
            f"{path}: divides bytes by {shown(metadata.get('byte_scale'))}, this tinycnn by "
            f"{BYTE_SCALE}: install the version of tinycnn that wrote it"
        )
    with _no_network(path):
        layers = [make_layer(description) for description in metadata["layers"]]
        return Architecture(metadata["image_shape"], tuple(layers))


def _read_parameter(
    archive: zipfile.ZipFile, path: Path, name: str, dtype: Any, shape: tuple[int, ...]
) -> npt.NDArray[Any]:
    """Read a parameter, which must be of the described dtype and shape."""
    if f"{name}.npy" not in archive.namelist():
        raise ValueError(f"{path}: damaged: the parameter {name} is missing")
    limit = math.prod(shape) * np.dtype(np.float64).itemsize
    values = read_array(archive, path, name, limit)
    if values.shape != shape or str(values.dtype) != dtype:
        raise ValueError(
            f"{path}: damaged: {name} is {values.dtype} {values.shape}, the architecture "
            f"needs {shown(dtype)} {shape}"
        )
    if not np.isfinite(values).all():
        raise ValueError(f"{path}: damaged: {name} has values that are not finite numbers")
    return values


def _read_class_names(metadata: dict[str, Any]) -> list[str]:
    names = metadata["class_names"]
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ValueError(f"class_names must be a list of strings, got {shown(names)}")
    return names


def _read_numbers(
    path: Path, metadata: dict[str, Any], name: str, length: int, above: float
) -> list[float]:
    """Return an entry that must be so many finite numbers, all above a bound."""
    values = metadata.get(name)
    if not (
        isinstance(values, list)
        and len(values) == length
        and all(type(value) in (int, float) for value in values)
        and all(abs(value) <= sys.float_info.max and value > above for value in values)
    ):
        rule = "finite numbers" if above == -math.inf else f"finite numbers above {above:g}"
        raise ValueError(
            f"{path}: damaged: {name} must be a list of length {length}, of {rule}, "
            f"got {shown(values)}"
        )
    return values
