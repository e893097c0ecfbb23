"""Throw nearly right files at every reader.

Usage: files.py SEED N [NAME...]

Each outcome must be a value, or a clear ValueError, TypeError or OSError that names the file, with
at most 5 seconds of CPU and 1 GB. A checkpoint that is refused must leave its network alone. Files
that once failed stand in corpus/ and are tried first.
"""

from __future__ import annotations

import gzip
import io
import os
import random
import struct
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import mutate
import numpy as np
import outcomes
from PIL import Image

import tinycnn
from tinycnn import data

CORPUS = Path(__file__).parent / "corpus"
IMAGES = np.random.default_rng(0).integers(0, 256, (12, 1, 6, 6), dtype=np.uint8)
LABELS = np.arange(12) % 3


class Target(NamedTuple):
    """A file that is right, what is beside it, how to change it, and what reads it."""

    name: str
    content: bytes
    change: mutate.Mutation
    read: Callable[[Path], Any]
    beside: tuple[tuple[str, bytes], ...] = ()


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


def targets(folder: Path) -> list[Target]:
    """Make a right file of each format."""
    new = folder / "right.npz"
    tinycnn.save_model(new_network(), new, {"trained_on": "nothing"})
    model = new.read_bytes()
    train(folder / "run.npz", 2)
    checkpoint = (folder / "run.npz").read_bytes()
    pictures = {kind: as_picture(kind) for kind in ("png", "bmp", "gif", "jpeg", "tiff", "webp")}
    images, labels = as_idx(IMAGES[:, 0]), as_idx(LABELS.astype(np.uint8))
    csv = "\n".join(
        f"{k}," + ",".join(map(str, x.ravel())) for k, x in zip(LABELS, IMAGES, strict=True)
    )
    libsvm = "\n".join(f"{k} 1:{x.max()} 36:{x.min()}" for k, x in zip(LABELS, IMAGES, strict=True))
    rows = np.random.default_rng(1).integers(0, 256, (4, 3073), np.uint8)
    rows[:, 0] %= 10
    in_gzip = mutate.inside_gzip(mutate.change_header)
    both = either(mutate.change_header, mutate.change_bytes)
    return [
        Target("m.npz", model, mutate.change_members, use_model),
        Target("k.npz", checkpoint, mutate.change_members, lambda path: train(path, 3)),
        Target("n.npz", as_npz(), mutate.change_members, load),
        Target("X.npy", as_npy(IMAGES), mutate.change_array, load, (("y.npy", as_npy(LABELS)),)),
        Target("a-images", images, both, load, (("a-labels", labels),)),
        Target("a-labels", labels, both, data.read_idx),
        Target("a-images.gz", gzip.compress(images), in_gzip, data.read_idx),
        Target("t.csv", csv.encode(), either(mutate.change_cells, mutate.change_bytes), load),
        Target("t.libsvm", libsvm.encode(), mutate.change_bytes, load),
        Target("data_batch_1.bin", rows.tobytes(), mutate.change_bytes, load),
        Target("p.png", pictures["png"], mutate.change_chunks, data.read_image),
        *(
            Target(f"p.{kind}", content, mutate.change_bytes, data.read_image)
            for kind, content in pictures.items()
        ),
    ]


def either(*changes: mutate.Mutation) -> mutate.Mutation:
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


def try_file(target: Target, content: bytes, folder: Path) -> str:
    """Let a content be read; return what is wrong with the outcome."""
    path = folder / target.name
    for name, beside in ((target.name, content), *target.beside):
        (folder / name).write_bytes(beside)
    words = outcomes.failure(lambda: target.read(path))
    if words:
        number = random.Random(content).randrange(10**6)
        (Path(tempfile.gettempdir()) / f"failed-{number}-{target.name}").write_bytes(content)
        return f"{target.name} (kept as failed-{number}-{target.name}): {words}"
    return ""


def main() -> None:
    """Try the corpus, then N changed files."""
    seed, n, names = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
    rng, failures = random.Random(seed), []
    where = "/dev/shm" if os.path.isdir("/dev/shm") else None
    with tempfile.TemporaryDirectory(dir=where) as temporary:
        folder = Path(temporary)
        known = {target.name: target for target in targets(folder)}
        chosen = [known[name] for name in names] or list(known.values())
        outcomes.limit()
        tried = 0
        for path in sorted(CORPUS.iterdir()):
            target = known.get(path.name.partition("-")[2])
            if target is not None:
                failures.append(try_file(target, path.read_bytes(), folder))
                tried += 1
        for _ in range(n):
            target = rng.choice(chosen)
            content = target.change(rng, target.content)
            failures.append(try_file(target, content, folder))
            tried += 1
    outcomes.finish(f"files, seed {seed}", tried, [words for words in failures if words])


if __name__ == "__main__":
    main()
