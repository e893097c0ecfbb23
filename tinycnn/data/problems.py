"""All that is wrong with a folder, in one line."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

_NAMED = 3
_NAME_CHARACTERS = 36
_MOST_KINDS = 3
_FOLDER_CHARACTERS = 60
_MOST_CHARACTERS = 480  # names may have 255 each


class Problem(NamedTuple):
    """A file or folder that cannot be used.

    Attributes
    ----------
    path : path
    kind : str
        A few words that group such problems: "damaged", "no image".
    message : str
        One sentence: the path, what is wrong, the way out.
    """

    path: Path
    kind: str
    message: str


def report(folder: Path, problems: Sequence[Problem]) -> str:
    """One line on all problems: counted by kind, the first few named.

    A lone problem is told in its own words, without their middle if its path is very long.
    """
    if len(problems) == 1:
        return shorten(problems[0].message, _MOST_CHARACTERS)
    where = shorten(str(folder), _FOLDER_CHARACTERS)
    return (
        f"{where} has {len(problems)} files or folders that cannot be read: "
        f"{summary(folder, problems)}; repair or remove them, or pass over them with "
        "skip_broken=True"
    )


def summary(folder: Path, problems: Sequence[Problem]) -> str:
    """Count the problems by kind, most frequent first, and name the first of each.

    The fewer kinds there are, the more are named: one line is all there is room for.
    """
    by_kind: dict[str, list[Path]] = {}
    for problem in problems:
        by_kind.setdefault(problem.kind, []).append(problem.path)
    ordered = sorted(by_kind.items(), key=lambda item: -len(item[1]))
    n_named = max(_NAMED + 1 - len(ordered), 1)
    told = [
        f"{len(paths)} {kind} ({_named(folder, paths, n_named)})"
        for kind, paths in ordered[:_MOST_KINDS]
    ]
    n_more = sum(len(paths) for _, paths in ordered[_MOST_KINDS:])
    return ", ".join([*told, *([f"{n_more} others"] if n_more else [])])


def _named(folder: Path, paths: Sequence[Path], n_named: int) -> str:
    names = [shorten(relative(path, folder), _NAME_CHARACTERS) for path in paths[:n_named]]
    return ", ".join(names) + (", ..." if len(paths) > n_named else "")


def relative(path: Path, folder: Path) -> str:
    """Path as seen from a folder, or whole if it lies elsewhere."""
    try:
        return path.relative_to(folder).as_posix()
    except ValueError:
        return str(path)


def shorten(text: str, n_characters: int) -> str:
    """Text with its middle left out, if it is longer than that."""
    if len(text) <= n_characters:
        return text
    half = (n_characters - 3) // 2
    return f"{text[:half]}...{text[-half:]}"
