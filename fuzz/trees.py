"""Folders that are nearly right: what is in them, and what their entries are."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import NamedTuple

import mutate


class Special(Enum):
    """What is no file."""

    FOLDER = "a folder"
    PIPE = "a pipe"


class Link(NamedTuple):
    """A symbolic link."""

    to: str


Entry = bytes | Special | Link
Tree = dict[str, Entry]  # by paths with slashes, in a folder

NAMES = (
    *("train", "test", "val", "a", "b", "c", "1", "x.png", ".hidden", "Thumbs.db", "labels.csv"),
    *("é", "x\n.png", "\x1b[2J", "n" * 200, "README.md", "train.csv", "y.npy", "class_names.txt"),
    *("__MACOSX", "test_X.bin", "data_batch_2.bin", "test-images", "._1.png", " ", "-", "*", "[a]"),
)
TABLES = (
    b"file,label\n1.png,a\n2.png,b\n",
    b"file,label\n1.png,a\n1.png,b\n",
    b"file;label\n\xff.png;\xff\n" * 3,
    b"file,label\n" + b"x" * 200_000,
    b'file,label\n"1.png',
    b"\0file,label\n",
    b"",
)


def write(tree: Tree, folder: Path) -> None:
    """Write a tree into an empty folder; what cannot be there beside the rest is left out."""
    for name, entry in tree.items():
        path = folder / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(entry, bytes):
                path.write_bytes(entry)
            elif isinstance(entry, Link):
                path.symlink_to(entry.to)
            elif entry is Special.PIPE:
                os.mkfifo(path)
            else:
                path.mkdir(exist_ok=True)
        except OSError:
            continue


def change(
    inside: Callable[[random.Random, bytes], bytes],
) -> Callable[[random.Random, Tree], Tree]:
    """Make changes of a tree: its entries, and what is in its files by another change."""

    def changed(rng: random.Random, tree: Tree) -> Tree:
        new = dict(tree)
        for _ in range(rng.choice((1, 1, 2, 3))):
            name = rng.choice(list(new) or ["x"])
            turn = rng.randrange(8)
            if turn < 3 and isinstance(new.get(name), bytes):
                new[name] = inside(rng, new[name])
            elif turn == 3:
                new.pop(name, None)
            elif turn == 4:
                new[name] = rng.choice(
                    (Special.FOLDER, Special.PIPE, Link("nowhere"), Link("."), Link(".."),
                     Link("/dev/zero"), b"", b"text", rng.choice(TABLES))
                )  # fmt: skip
            else:
                _rename(rng, new, name, copied=turn == 5)
        return new

    return changed


def _rename(rng: random.Random, tree: Tree, name: str, copied: bool) -> None:
    """Give an entry another place, or give another place a copy or something of its own."""
    parts = name.split("/")
    at = rng.randrange(len(parts) + 1)
    parts[at : at + rng.randrange(2)] = [rng.choice(NAMES)]
    entry = tree.get(name, b"") if copied or rng.random() < 0.5 else rng.choice(TABLES)
    if not copied:
        tree.pop(name, None)
    tree["/".join(parts)] = entry


def inside_pictures(rng: random.Random, content: bytes) -> bytes:
    """Change a picture, as one or as bytes."""
    if content.startswith(b"\x89PNG") and rng.random() < 0.5:
        return mutate.change_chunks(rng, content)
    return mutate.change_bytes(rng, content)
