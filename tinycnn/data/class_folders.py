"""Class folders: the pictures of each class, and all that stands where a picture should."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from .folders import is_system_name, visible
from .part_names import folder_part
from .problems import Problem, relative, shorten

# Files that stand beside pictures and are none, by their endings.
_STRAY_SUFFIXES = frozenset(
    (
        *(".txt", ".md", ".rst", ".csv", ".tsv", ".json", ".jsonl", ".xml", ".yaml", ".yml"),
        *(".html", ".htm", ".ini", ".cfg", ".log", ".db", ".py", ".ipynb", ".sh", ".mat", ".npz"),
        *(".npy", ".docx", ".xlsx", ".url", ".lnk", ".torrent", ".sha256", ".md5"),
    )
)
_STRAY_NAMES = frozenset({"readme", "license", "licence", "copying", "authors", "changelog"})

_NAMED = 3

_NESTED = "folders in a class folder"  # a kind of problem


class Listing(NamedTuple):
    """Pictures of one part with the class of each.

    Attributes
    ----------
    files : list of path
    classes : list of str
        Class of each file, by name.
    class_names : tuple of str
        Sorted; those of empty class folders too.
    problems : list of Problem
        What stands where a picture should.
    notes : list of str
    """

    files: list[Path]
    classes: list[str]
    class_names: tuple[str, ...]
    problems: list[Problem]
    notes: list[str]


def is_stray(path: Path) -> bool:
    """Whether a file is one of those that stand beside pictures and are none, by its name."""
    return path.suffix.lower() in _STRAY_SUFFIXES or path.name.lower() in _STRAY_NAMES


def pictures_below(folder: Path, seen: set[tuple[int, int]] | None = None) -> Iterator[Path]:
    """Files in a folder and in its folders, sorted; each folder once, however it is linked."""
    seen = set() if seen is None else seen
    status = folder.stat()
    if (status.st_dev, status.st_ino) in seen:
        return
    seen.add((status.st_dev, status.st_ino))
    for entry in visible(folder):
        if entry.is_dir():
            yield from pictures_below(entry, seen)
        elif not is_stray(entry):
            yield entry


def list_classes(folder: Path) -> Listing:
    """List the pictures in class folders, and all that stands where they should."""
    entries = visible(folder)
    beside = [entry for entry in entries if not entry.is_dir()]
    strays = [entry for entry in beside if is_stray(entry)]
    problems = [_beside(entry) for entry in beside if not is_stray(entry)]
    files: list[Path] = []
    classes: list[str] = []
    class_folders = [entry for entry in entries if entry.is_dir()]
    for class_folder in class_folders:
        inside = visible(class_folder)
        inner = [entry for entry in inside if entry.is_dir()]
        flat = [entry for entry in inside if not entry.is_dir()]
        pictures = [file for file in flat if not is_stray(file)]
        strays += [file for file in flat if is_stray(file)]
        problems += [_nested(entry, class_folder) for entry in inner]
        if not pictures and not inner:
            problems.append(_empty(class_folder, flat))
        files += pictures
        classes += [class_folder.name] * len(pictures)
    names = [class_folder.name for class_folder in class_folders]
    _refuse_wrapper(folder, names, files, problems)
    notes = [*stray_notes(folder, strays), *system_notes(folder)]
    notes += [*_case_notes(folder, names), *_part_notes(folder, names)]
    return Listing(files, classes, tuple(names), problems, notes)


def _beside(file: Path) -> Problem:
    return Problem(
        file,
        "beside the class folders",
        f"{file} stands beside the class folders: move it into one of them, or elsewhere",
    )


def _nested(inner: Path, class_folder: Path) -> Problem:
    return Problem(
        inner,
        _NESTED,
        f"{inner} is a folder inside the class folder {shorten(class_folder.name, 40)}: class "
        "folders must hold images alone; move its images up, or give load the folder above it",
    )


def _empty(class_folder: Path, files: Sequence[Path]) -> Problem:
    if not files:
        words = f"{class_folder} is an empty class folder: put images into it, or remove it"
        return Problem(class_folder, "empty class folders", words)
    words = (
        f"{class_folder} holds {len(files)} files that are no pictures, the first "
        f"{shorten(files[0].name, 40)}: put pictures into it, or remove it; arrays go into one "
        "NPZ archive, np.savez_compressed(path, images=images, labels=labels)"
    )
    kind = "class folders without pictures"
    if files[0].suffix == ".npy":
        kind = "class folders of .npy files (save one NPZ archive)"
    return Problem(class_folder, kind, words)


def _refuse_wrapper(
    folder: Path, names: Sequence[str], files: Sequence[Path], problems: Sequence[Problem]
) -> None:
    """Say what to give where the folders hold folders, and no picture."""
    inner, n_inside = folder, len(names)
    while not files and n_inside == 1:
        inner = inner / names[0]
        names = [entry.name for entry in visible(inner) if entry.is_dir()]
        n_inside = len(names) if len(names) == len(visible(inner)) else 0
    if inner != folder and n_inside > 1:
        raise ValueError(
            f"{folder} holds nothing but the folder {shorten(str(inner.relative_to(folder)), 40)}, "
            f"whose {n_inside} folders look like the classes: give {shorten(str(inner), 300)} "
            "instead"
        )
    if not files and n_inside > 1 and all(problem.kind == _NESTED for problem in problems):
        raise ValueError(
            f"{folder} holds folders of folders, and no picture in {listed(names)}: give the "
            "folder whose folders are the classes, or call its parts train, validation and test"
        )


def stray_notes(folder: Path, files: Iterable[Path]) -> list[str]:
    """Say which of some files were passed over as no pictures."""
    strays = [relative(file, folder) for file in files if is_stray(file)]
    if not strays:
        return []
    return [f"{folder}: passed over as no pictures: {listed(strays)}"]


def system_notes(folder: Path) -> list[str]:
    """Say which system files were passed over, in a folder and in its folders."""
    places = [folder, *(entry for entry in visible(folder) if entry.is_dir())]
    found = [e.name for place in places for e in place.iterdir() if is_system_name(e.name)]
    if not found:
        return []
    return [f"{folder}: system files passed over: {listed(sorted(set(found)), len(found))}"]


def _case_notes(folder: Path, names: Sequence[str]) -> list[str]:
    by_lower: dict[str, list[str]] = {}
    for name in names:
        by_lower.setdefault(name.casefold().strip(), []).append(name)
    return [
        f"{folder}: the classes {' and '.join(same[:2])} differ in capital letters alone: if they "
        "are one class, move their images together"
        for same in by_lower.values()
        if len(same) > 1
    ]


def _part_notes(folder: Path, names: Sequence[str]) -> list[str]:
    """Point out classes that are called like parts, as in `train` and `unlabelled`."""
    parts = [name for name in names if folder_part(name) is not None]
    if not parts:
        return []
    return [f"{folder}: all its folders are taken for classes, even {listed(parts)}"]


def listed(names: Sequence[str], n: int | None = None) -> str:
    """Count some names, and name the first."""
    n = len(names) if n is None else n
    shown = ", ".join(shorten(name, 40) for name in names[:_NAMED])
    return f"{n} ({shown}{', ...' if len(names) > _NAMED else ''})"
