"""Right files and folders of every kind that is read, how to change them, and what reads them."""

from __future__ import annotations

import gzip
import io
import os
import random
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import containers
import mutate
import numpy as np
import outcomes
import sklearn.datasets  # noqa: F401 (which a reader imports, and each process would again)
import trees
from PIL import Image

import tinycnn
from tinycnn import data

IMAGES = np.random.default_rng(0).integers(0, 256, (12, 1, 6, 6), dtype=np.uint8)
LABELS = np.arange(12) % 3


class Target(NamedTuple):
    """What is right, how to change it, and what reads it.

    Attributes
    ----------
    name : str
        What is read: a file or, for a tree, a folder.
    content : bytes or tree
    change : callable
    read : callable
    beside : mapping
        Files beside a file, by name.
    """

    name: str
    content: Any
    change: Callable[[random.Random, Any], Any]
    read: Callable[[Path], Any]
    beside: Mapping[str, bytes] = {}


def use_model(path: Path) -> None:
    """Load a model, and if it is one, predict with it and save it."""
    net = tinycnn.load_model(path)
    tinycnn.files.model.load_notes(path)
    repr(net)
    if net.flat.size < 10**6 and np.prod(net.architecture.image_shape) < 10**6:
        with np.errstate(all="ignore"):
            net.logits(np.zeros((2, *net.architecture.image_shape), np.uint8), 1)
        tinycnn.save_model(net, path.with_name("again.npz"))


def train(path: Path, epochs: int) -> None:
    """Train from a checkpoint; what is refused must leave the network as it was."""
    net = new_network()
    before = net.flat.copy()
    try:
        tinycnn.fit(
            net,
            IMAGES,
            LABELS,
            epochs=epochs,
            batch_size=5,
            schedule=None,
            validation_fraction=0.3,
            callbacks=[tinycnn.EarlyStopping(3), tinycnn.Checkpoint(path, resume=True)],
            n_threads=1,
            verbose=False,
        )
    except (*outcomes.CLEAR, FloatingPointError) as error:
        if not np.array_equal(net.flat, before):
            raise AssertionError("refused, but the network has changed") from error
        if not isinstance(error, FloatingPointError):  # or what was restored makes it diverge
            raise


def new_network() -> tinycnn.CNN:
    """Make the network that the model file and the checkpoint hold."""
    return tinycnn.CNN((1, 6, 6), channels=(2,), hidden=4, n_classes=3, class_names=list("abc"))


def load(path: Path) -> None:
    """Load whatever a path is, in all its parts."""
    for part in data.parts(path):
        data.load(path, part)


def load_small(path: Path) -> None:
    """Load pictures as a network takes them, all of them or those that can be read."""
    for part in data.parts(path):
        data.load(path, part, (6, 6), skip_broken=len(part) == 4)


def predict(path: Path) -> None:
    """Read whatever a path is for prediction, where nothing that is wrong stops the rest."""
    stream = data.stream_images(path, (1, 6, 6))
    for batch in stream:
        if batch.images.shape[1:] != (1, 6, 6):
            raise AssertionError(f"images {batch.images.shape}")


def both(first: Callable[[Path], Any], second: Callable[[Path], Any]) -> Callable[[Path], None]:
    """Read in two ways; the first may refuse."""

    def read(path: Path) -> None:
        try:
            first(path)
        finally:
            second(path)

    return read


def read_picture(path: Path) -> None:
    """Read a picture for prediction: as bytes of its own, and at the size of a network."""
    data.read_image(path, (1, 6, 6))
    data.read_image(path, (3, 9, 5), np.float32)


def targets(folder: Path) -> list[Target]:
    """Make what is right of each kind; the folder is for what has to be written and read."""
    return [*_files_of_ours(folder), *_arrays(), *_tables(), *_pictures(), *_folders()]


def _files_of_ours(folder: Path) -> list[Target]:
    tinycnn.save_model(new_network(), folder / "right.npz", {"trained_on": "nothing"})
    train(folder / "run.npz", 2)
    model, run = ((folder / name).read_bytes() for name in ("right.npz", "run.npz"))
    return [
        Target("m.npz", model, mutate.change_members, use_model),
        Target("k.npz", run, mutate.change_members, lambda path: train(path, 3)),
    ]


def _arrays() -> list[Target]:
    images, labels = as_idx(IMAGES[:, 0]), as_idx(LABELS.astype(np.uint8))
    in_gzip = mutate.inside_gzip(mutate.change_header)
    sizes = either(mutate.change_header, mutate.change_bytes)
    rows = np.random.default_rng(1).integers(0, 256, (4, 3073), np.uint8)
    rows[:, 0] %= 10
    right_mat = io.BytesIO()
    containers.scipy.io.savemat(
        right_mat, {"images": IMAGES[:, 0], "labels": LABELS}, do_compression=True
    )
    right_h5 = io.BytesIO()
    with containers.h5py.File(right_h5, "w") as file:
        file["images"], file["labels"] = IMAGES[:, 0], LABELS
    return [
        Target("n.npz", as_npz(), mutate.change_members, load),
        Target("X.npy", as_npy(IMAGES), mutate.change_array, load, {"y.npy": as_npy(LABELS)}),
        Target("a-images", images, sizes, load, {"a-labels": labels}),
        Target("a-labels", labels, sizes, data.read_idx),
        Target("a-images.gz", gzip.compress(images), in_gzip, data.read_idx),
        Target("data_batch_1.bin", rows.tobytes(), mutate.change_bytes, load),
        Target("d.h5", right_h5.getvalue(), containers.hdf5, both(load, predict)),
        Target("d.mat", right_mat.getvalue(), containers.mat, both(load, predict)),
    ]


def _tables() -> list[Target]:
    lines = [f"{k}," + ",".join(map(str, x.ravel())) for k, x in zip(LABELS, IMAGES, strict=True)]
    names = "label," + ",".join(f"pixel{i}" for i in range(36))
    plain, named = "\n".join(lines).encode(), "\n".join([names, *lines]).encode()
    libsvm = "\n".join(f"{k} 1:{x.max()} 36:{x.min()}" for k, x in zip(LABELS, IMAGES, strict=True))
    cells = either(mutate.change_cells, mutate.change_bytes)
    return [
        Target("t.csv", plain, cells, both(load, predict)),
        Target("named.csv", named, cells, load),
        Target("t.libsvm", libsvm.encode(), either(mutate.change_pairs, mutate.change_bytes), load),
        Target("t.parquet", as_picture("png"), containers.parquet, both(load, predict)),
    ]


def _pictures() -> list[Target]:
    kinds = ("png", "bmp", "gif", "jpeg", "tiff", "webp", "ppm")
    change = {"png": either(mutate.change_chunks, mutate.change_bytes), "tiff": mutate.change_tags}
    return [
        Target(f"p.{kind}", as_picture(kind), change.get(kind, mutate.change_bytes), read_picture)
        for kind in kinds
    ]


def _folders() -> list[Target]:
    kinds = ("png", "bmp", "jpeg", "png")
    pictures = {f"{i}.{kind}": as_picture(kind) for i, kind in enumerate(kinds)}
    classes = {f"{name}/{file}": content for name in "ab" for file, content in pictures.items()}
    parts = {
        f"{part}/{path}": classes[path] for part in ("train", "test") for path in list(classes)[::3]
    }
    table = b"file,label\n" + b"".join(f"{name},{name[0]}\n".encode() for name in pictures)
    images, labels = as_idx(IMAGES[:, 0]), as_idx(LABELS.astype(np.uint8))
    idx = {f"{part}-images": images for part in ("train", "t10k")}
    idx |= {f"{part}-labels": labels for part in ("train", "t10k")}
    npy = {"X_train.npy": as_npy(IMAGES), "y_train.npy": as_npy(LABELS)}
    stl = {
        "train_X.bin": bytes(3 * 96 * 96 * 2),
        "train_y.bin": b"\1\2",
        "class_names.txt": b"a\nb\n",
    }
    change = trees.change(trees.inside_pictures)
    bytes_too = trees.change(mutate.change_bytes)
    return [
        Target("classes", classes, change, both(load_small, predict)),
        Target("parts", parts, change, load_small),
        Target("flat", {**pictures, "labels.csv": table}, change, load),
        Target("idx", idx, bytes_too, both(load, predict)),
        Target("npy", npy, bytes_too, load),
        Target("stl10", stl, bytes_too, load),
    ]  # fmt: skip


def either(*changes: Callable[[random.Random, Any], Any]) -> Callable[[random.Random, Any], Any]:
    """Make one of several changes."""
    return lambda rng, content: rng.choice(changes)(rng, content)


def as_npy(values: np.ndarray) -> bytes:
    """Put an array into an NPY file."""
    stream = io.BytesIO()
    np.save(stream, values)
    return stream.getvalue()


def as_npz() -> bytes:
    """Put the images into an archive, as people have them."""
    stream = io.BytesIO()
    np.savez(stream, images=IMAGES, labels=LABELS, class_names=np.array(["a", "b", "c"]))
    return stream.getvalue()


def as_idx(values: np.ndarray) -> bytes:
    """Put bytes into an IDX file."""
    header = bytes([0, 0, 8, values.ndim]) + struct.pack(f">{values.ndim}i", *values.shape)
    return header + values.tobytes()


def as_picture(kind: str) -> bytes:
    """Put an image into a picture file."""
    stream = io.BytesIO()
    Image.fromarray(IMAGES[0, 0]).save(stream, kind)
    return stream.getvalue()


def place(target: Target, content: Any, folder: Path) -> Path:
    """Write a content into an empty folder, as its reader wants it; return the path to read."""
    if isinstance(content, bytes):
        trees.write({target.name: content, **target.beside}, folder)
    else:
        os.mkdir(folder / target.name)
        trees.write(content, folder / target.name)
    return folder / target.name
