"""How a folder of pictures is laid out: in parts or not, and where each part has its labels.

A part is a folder of class folders, or of pictures whose labels stand in their names or in a CSV
file. Parts are told by the usual names, in any case: train, Training, training_set; val, valid,
validation; test, testing, test_set. A folder is divided if its train has labels of its own, or if
it holds nothing but such folders; a folder called `train` beside others may be a class.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from tinycnn.files.bounded import what_special

from .class_folders import (
    Listing,
    is_stray,
    list_classes,
    listed,
    pictures_below,
    stray_notes,
    system_notes,
)
from .file_labels import is_rule, labels_of_names, match_labels, propose, read_labels_csv
from .folders import visible
from .foreign import Foreign, identify
from .part_names import folder_part
from .problems import shorten
from .reader import glance

_TABLES = (".csv", ".tsv")
_LABEL_TABLES = frozenset({"labels", "label", "classes", "annotations", "metadata", "train"})
_BY_FOLDER = "folder"


class Layout(NamedTuple):
    """Folder of each part that has labels, and what else there is to say."""

    parts: dict[str, Path]
    divided: bool
    notes: list[str]


def find_layout(folder: Path, labels_from: str | None) -> Layout:
    """Tell which parts a folder has.

    Raises
    ------
    NotADirectoryError, FileNotFoundError
        If it is no folder.
    ValueError
        If no pictures with labels are found, or two folders are the same part.
    """
    entries = visible(folder)
    folders = [entry for entry in entries if entry.is_dir()]
    _refuse_detection(folder, folders)
    parts = _part_folders(folders)
    if not _is_divided(parts, folders, labels_from):
        if _is_beside_its_labels(folder, folders, labels_from):
            return Layout({"train": folders[0]}, False, [])
        if parts and len(parts) == len(folders):
            return _divided_without_classes(folder, parts, labels_from)
        return Layout({"train": folder}, False, [])
    return _divided(folder, parts, folders, labels_from)


def _is_beside_its_labels(folder: Path, folders: Sequence[Path], labels_from: str | None) -> bool:
    """Whether a folder holds one of pictures, `images`, and a CSV file of their labels."""
    if len(folders) != 1 or folder_part(folders[0].name) or _has_folders(folders[0]):
        return False
    return _find_labels(folders[0], folder, labels_from) is not None


def _part_folders(folders: Sequence[Path]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for folder in map(_unwrap, folders):
        part = folder_part(folder.name)
        if part is None:
            continue
        if part in found and _has_folders(folder) and _has_folders(found[part]):
            raise ValueError(
                f"{found[part]} and {folder} both look like the {part} part: leave one, or move "
                "the images of one to the other"
            )
        if part not in found or _has_folders(folder):
            found[part] = folder
    return found


def _unwrap(folder: Path) -> Path:
    """The part itself where it is in a folder of the same name: training_set/training_set."""
    part = folder_part(folder.name)
    inside = visible(folder) if part else []
    if len(inside) == 1 and inside[0].is_dir() and folder_part(inside[0].name) == part:
        return inside[0]
    return folder


def _has_folders(folder: Path) -> bool:
    return any(entry.is_dir() for entry in visible(folder))


def _is_divided(parts: dict[str, Path], folders: Sequence[Path], labels_from: str | None) -> bool:
    if "train" in parts and _has_folders(parts["train"]):
        return True
    if not parts or len(parts) < len(folders):
        return False
    return labels_from not in (None, _BY_FOLDER) or any(map(_has_folders, parts.values()))


def _divided(
    folder: Path, parts: dict[str, Path], folders: Sequence[Path], labels_from: str | None
) -> Layout:
    """Layout of a folder with parts; those without labels are for predict alone."""
    labelled, notes = {}, []
    for part, part_folder in parts.items():
        if _has_folders(part_folder) or _has_labels(part_folder, folder, labels_from, parts):
            labelled[part] = part_folder
        else:
            n_files = len(_files(part_folder))
            notes.append(
                f"{part_folder} holds {n_files} files without labels: it is no {part} part, but "
                "predict takes it"
            )
    others = [entry.name for entry in folders if folder_part(entry.name) is None]
    if others:
        notes.append(f"{folder}: passed over beside its parts: {listed(others)}")
    return Layout(labelled, True, notes)


def _has_labels(folder: Path, root: Path, labels_from: str | None, parts: dict[str, Path]) -> bool:
    """Whether a flat part has labels; names that follow a rule must be those of train."""
    labels = _find_labels(folder, root, labels_from)
    train = parts.get("train", folder)
    if labels is None or folder == train or labels_from is None or not is_rule(labels_from):
        return labels is not None
    return set(labels) <= set(_find_labels(train, root, labels_from) or labels)


def _divided_without_classes(
    folder: Path, parts: dict[str, Path], labels_from: str | None
) -> Layout:
    """Layout of a folder like Kaggle's: train and test hold pictures, not classes."""
    layout = _divided(folder, parts, list(parts.values()), labels_from)
    if "train" in layout.parts or (layout.parts and "train" not in parts):
        return layout
    flat = parts.get("train", next(iter(parts.values())))
    files = _files(flat)
    raise ValueError(
        f"{flat} holds {len(files)} files but no class folders"
        f"{f', the first {shorten(files[0].name, 40)}' if files else ''}: {propose(files)}"
    )


def _refuse_detection(folder: Path, folders: Sequence[Path]) -> None:
    """Say so if it is a data set of boxes (YOLO), which has folders 'images' and 'labels'."""
    by_name = {entry.name.lower(): entry for entry in folders}
    if {"images", "labels"} <= set(by_name):
        inside = [by_name["labels"], *(e for e in visible(by_name["labels"]) if e.is_dir())]
        if any(entry.suffix == ".txt" for place in inside for entry in visible(place)):
            raise ValueError(
                f"{folder} is laid out for detection (YOLO: images and labels, a text file of "
                "boxes for each image): tinycnn sorts whole images into classes; make a folder "
                "of images for each class"
            )


def list_part(folder: Path, root: Path, labels_from: str | None) -> Listing:
    """List the pictures of one part with their classes.

    Parameters
    ----------
    folder : path
        Of the part.
    root : path
        Of all parts, where a CSV file of labels may be.
    labels_from : str or None
        See `tinycnn.data.load`.

    Raises
    ------
    ValueError
        If there are neither class folders nor other labels, or labels cannot be told.
    """
    by_folder = labels_from in (None, _BY_FOLDER)
    if by_folder and _has_folders(folder):
        return list_classes(folder)
    labels = _find_labels(folder, root, labels_from)
    if labels is None:
        raise ValueError(_why_no_labels(folder))
    files = _files(folder, labels_from)
    notes = [*stray_notes(folder, _visible_files(folder)), *system_notes(folder)]
    chosen = [(file, label) for file, label in zip(files, labels, strict=True) if label is not None]
    if len(chosen) < len(files):
        notes.append(f"{folder}: {len(files) - len(chosen)} images have no label and were left out")
    classes = [label for _, label in chosen]
    return Listing([file for file, _ in chosen], classes, tuple(sorted(set(classes))), [], notes)


def _why_no_labels(folder: Path) -> str:
    files = _files(folder)
    if not files:
        found = "holds no images" if visible(folder) else "is empty"
        return (
            f"{folder} {found}: put the images of each class into a subfolder named after it; a "
            "file of IDX or NPZ data is loaded by its own path"
        )
    foreign = _identify(files[0])
    if foreign is not None:
        return f"{files[0]} {foreign}"
    return (
        f"{folder} has no class folders but {len(files)} files, the first "
        f"{shorten(files[0].name, 40)}: {propose(files)}"
    )


def _identify(file: Path) -> Foreign | None:
    """What a file is that no reader reads, or None."""
    if what_special(file) is not None:
        return None
    return identify(file, glance(file).start)


def _find_labels(folder: Path, root: Path, labels_from: str | None) -> list[str | None] | None:
    """Label of each picture that is not in a class folder, or None if none are to be found."""
    files = _files(folder, labels_from)
    if not files:
        return None
    if labels_from is not None and labels_from != _BY_FOLDER:
        try:
            return _labels_as_asked(files, folder, labels_from)
        except ValueError:
            if folder == root or folder_part(folder.name) == "train":
                raise
            return None  # as the test images of a competition
    for table in _tables(folder, root):
        labels = read_labels_csv(table)
        matched = match_labels(files, folder, labels) if labels else []
        if sum(label is not None for label in matched) * 2 > len(files):
            return matched
    return None


def _labels_as_asked(files: Sequence[Path], folder: Path, labels_from: str) -> list[str | None]:
    if is_rule(labels_from):
        return list(labels_of_names(files, labels_from))
    return _labels_of_csv(files, folder, Path(labels_from))


def _labels_of_csv(files: Sequence[Path], folder: Path, table: Path) -> list[str | None]:
    labels = read_labels_csv(table) if table.suffix.lower() in _TABLES else None
    if labels is None:
        raise ValueError(
            f"labels_from={str(table)!r} must be 'folder', 'name', a pattern with {{label}}, or "
            "the path of a CSV file whose first line names the columns file,label"
        )
    matched = match_labels(files, folder, labels)
    if not any(label is not None for label in matched):
        raise ValueError(f"{table} names none of the files of {folder}, such as {files[0].name}")
    return matched


def _tables(folder: Path, root: Path) -> list[Path]:
    """CSV files in the folder and beside it that may hold its labels.

    Those beside the folder that was given have to be called like it, or like labels.
    """
    name = folder.absolute().name
    part = folder_part(name)
    tables = [entry for entry in visible(folder) if _is_table(entry)]
    beside = [entry for entry in visible(folder.absolute().parent) if _is_table(entry)]
    if folder == root:
        return tables + [entry for entry in beside if _is_called_labels(entry, name)]
    return tables + [entry for entry in beside if folder_part(entry.stem) in (part, None)]


def _is_table(path: Path) -> bool:
    """Whether a file may be a table of labels; a sample of a submission has labels of no worth."""
    return (
        path.suffix.lower() in _TABLES and "submission" not in path.name.lower() and path.is_file()
    )


def _is_called_labels(path: Path, folder_name: str) -> bool:
    name = path.stem.lower()
    return name in _LABEL_TABLES or name.startswith(folder_name.lower())


def _visible_files(folder: Path) -> list[Path]:
    return [entry for entry in visible(folder) if not entry.is_dir()]


def _files(folder: Path, labels_from: str | None = None) -> list[Path]:
    """Files that may be pictures; those of inner folders too where labels are not by folder."""
    if labels_from is not None and labels_from != _BY_FOLDER:
        return list(pictures_below(folder))
    return [entry for entry in _visible_files(folder) if not is_stray(entry)]
