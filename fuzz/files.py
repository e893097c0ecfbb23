"""Throw nearly right files and folders at every reader.

Usage: files.py SEED N [NAME...]

Each outcome must be a value, or a clear ValueError, TypeError or OSError, with at most 5 seconds of
CPU and 1 GB. A checkpoint that is refused must leave its network alone. Files that once failed
stand in corpus/ and are tried first.
"""

from __future__ import annotations

import os
import random
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import outcomes
from targets import Target, place, targets

CORPUS = Path(__file__).parent / "corpus"


@contextmanager
def empty_folder() -> Iterator[Path]:
    """Make a folder, in memory if there is such a place, and remove it."""
    where = "/dev/shm" if os.path.isdir("/dev/shm") else None
    with tempfile.TemporaryDirectory(dir=where) as temporary:
        yield Path(temporary)


def try_content(target: Target, content: object, folder: Path) -> str:
    """Let a content be read in a folder of its own; keep it if it fails, or ends the process."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    path = place(target, content, folder)
    words = outcomes.failure(lambda: target.read(path))
    return f"{words} ({keep(folder, target)})" if words else ""


def keep(folder: Path, target: Target) -> str:
    """Copy a folder that fails to the temporary folder; return its path there."""
    where = tempfile.mkdtemp(prefix=f"failed-{target.name}-")
    shutil.copytree(folder, where, symlinks=True, dirs_exist_ok=True)
    return where


def corpus(known: dict[str, Target]) -> list[tuple[Target, bytes]]:
    """Return what once failed."""
    found = []
    for entry in sorted(CORPUS.iterdir()):
        name = entry.name.partition("-")[2]
        if name not in known:
            raise SystemExit(f"{entry}: there is no target of this name")
        found.append((known[name], entry.read_bytes()))
    return found


def main() -> None:
    """Try the corpus, then N changed files."""
    seed, n, names = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
    with empty_folder() as folder:
        known = {target.name: target for target in targets(folder)}
        chosen = [known[name] for name in names] or list(known.values())
        failed_once = corpus(known)

        def attempt(number: int) -> str:
            if number < len(failed_once):
                target, content = failed_once[number]
            else:
                target = chosen[number % len(chosen)]
                rng = random.Random(seed * 10**9 + number)
                content = target.change(rng, target.content)
            words = try_content(target, content, folder / str(number % 2))
            return f"{target.name}: {words}" if words else ""

        outcomes.campaign(f"files, seed {seed}", n + len(failed_once), attempt)


if __name__ == "__main__":
    main()
