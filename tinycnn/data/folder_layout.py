"""How a folder of pictures is laid out: in parts or not, and where each part has its labels.

A part is a folder of class folders, or of pictures whose labels stand in their names or in a CSV
file. Parts are told by the usual names, in any case: train, Training, training_set; val, valid,
validation; test, testing, test_set. A folder is divided if its train has labels of its own, or if
it holds nothing but such folders; a folder called `train` beside others may be a class.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from .bounded import what_special
from .file_labels import is_rule, labels_of_names, match_labels, propose, read_labels_csv
from .folders import is_system_name, visible
from .foreign import Foreign, identify
from .part_names import folder_part
from .problems import Problem, relative, shorten
from .reader import glance

# Files that stand beside pictures and are none, by their endings.
_STRAY_SUFFIXES = frozenset(
    (
        *(".txt", ".md", ".rst", ".csv", ".tsv", ".json", ".jsonl", ".xml", ".yaml", ".yml"),
        *(".html", ".htm", ".ini", ".cfg", ".log", ".db", ".py", ".ipynb", ".sh", ".mat", ".npz"),
        *(".npy", ".docx", ".xlsx", ".url", ".lnk", ".torrent", ".sha256", ".md5"),
    )
)
_STRAY_NAMES = frozenset({"readme", "license", "licence", "copying", "authors", "changelog"})
_TABLES = (".csv", ".tsv")
_BY_FOLDER = "folder"
_NAMED = 3


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


class Layout(NamedTuple):
    """Folder of each part that has labels, and what else there is to say."""

    parts: dict[str, Path]
    divided: bool
    notes: list[str]


def is_stray(path: Path) -> bool:
    """Whether a file is one of those that stand beside pictures and are none, by its name."""
    return path.suffix.lower() in _STRAY_SUFFIXES or path.name.lower() in _STRAY_NAMES


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
        if parts and len(parts) == len(folders):
            return _divided_without_classes(folder, parts, labels_from)
        return Layout({"train": folder}, False, [])
    return _divided(folder, parts, folders, labels_from)


def _part_folders(folders: Sequence[Path]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for folder in folders:
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
        if _has_folders(part_folder) or _find_labels(part_folder, folder, labels_from) is not None:
            labelled[part] = part_folder
        else:
            n_files = len(_files(part_folder))
            notes.append(
                f"{part_folder} holds {n_files} files without labels: it is no {part} part, but "
                "predict takes it"
            )
    others = [entry.name for entry in folders if entry not in parts.values()]
    if others:
        notes.append(f"{folder}: passed over beside its parts: {_listed(others)}")
    return Layout(labelled, True, notes)


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
        return _list_classes(folder)
    labels = _find_labels(folder, root, labels_from)
    if labels is None:
        raise ValueError(_why_no_labels(folder))
    files, notes = _files(folder, True), _stray_notes(folder, _visible_files(folder))
    chosen = [(file, label) for file, label in zip(files, labels, strict=True) if label is not None]
    if len(chosen) < len(files):
        notes.append(f"{folder}: {len(files) - len(chosen)} images have no label and were left out")
    classes = [label for _, label in chosen]
    return Listing([file for file, _ in chosen], classes, tuple(sorted(set(classes))), [], notes)


def _why_no_labels(folder: Path) -> str:
    files = _files(folder, True)
    if not files:
        n_entries = len(visible(folder))
        found = f"{n_entries} files that are no images" if n_entries else "nothing"
        return (
            f"{folder} has no class folders but {found}: put the images of each class into a "
            "subfolder named after it; a file of IDX or NPZ data is loaded by its own path"
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
    """Label of each picture in a flat folder, or None if there are none to be found."""
    files = _files(folder, True)
    if not files:
        return None
    if labels_from is not None and labels_from != _BY_FOLDER:
        if is_rule(labels_from):
            try:
                return list(labels_of_names(files, labels_from))
            except ValueError:
                if folder == root or folder_part(folder.name) == "train":
                    raise
                return None  # as the test images of a competition
        return _labels_of_csv(files, folder, Path(labels_from))
    for table in _tables(folder, root):
        labels = read_labels_csv(table)
        matched = match_labels(files, folder, labels) if labels else []
        if sum(label is not None for label in matched) * 2 > len(files):
            return matched
    return None


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
    """CSV files in the folder and beside it that may hold its labels."""
    part = folder_part(folder.name)
    found = [entry for entry in visible(folder) if entry.suffix.lower() in _TABLES]
    if folder != root:
        found += [
            entry
            for entry in visible(root)
            if entry.suffix.lower() in _TABLES and folder_part(entry.stem) in (part, None)
        ]
    return [entry for entry in found if entry.is_file()]


def _visible_files(folder: Path) -> list[Path]:
    return [entry for entry in visible(folder) if not entry.is_dir()]


def _files(folder: Path, without_strays: bool = True) -> list[Path]:
    return [entry for entry in _visible_files(folder) if not (without_strays and is_stray(entry))]


def _list_classes(folder: Path) -> Listing:
    """Pictures in class folders, and all that stands where they should."""
    files: list[Path] = []
    classes: list[str] = []
    strays: list[Path] = []
    problems: list[Problem] = []
    names = []
    for entry in visible(folder):
        if not entry.is_dir():
            if is_stray(entry):
                strays.append(entry)
            else:
                problems.append(
                    Problem(
                        entry,
                        "beside the class folders",
                        f"{entry} stands beside the class folders: move it into one of them, or "
                        "elsewhere",
                    )
                )
            continue
        names.append(entry.name)
        mine = visible(entry)
        pictures = [file for file in mine if not file.is_dir() and not is_stray(file)]
        strays += [file for file in mine if not file.is_dir() and is_stray(file)]
        problems += [_nested(inner, entry) for inner in mine if inner.is_dir()]
        if not pictures and not any(inner.is_dir() for inner in mine):
            problems.append(_empty(entry, mine))
        files += pictures
        classes += [entry.name] * len(pictures)
    _refuse_wrapper(folder, names, files, problems)
    notes = [*_stray_notes(folder, strays), *_system_notes(folder), *_case_notes(folder, names)]
    return Listing(files, classes, tuple(names), problems, notes)


def _nested(inner: Path, class_folder: Path) -> Problem:
    return Problem(
        inner,
        "folders in a class folder",
        f"{inner} is a folder inside the class folder {class_folder.name}: class folders must "
        "hold images alone; move its images up, or give load the folder above it",
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
    return Problem(class_folder, f"class folders without pictures ({files[0].suffix} files)", words)


def _refuse_wrapper(
    folder: Path, names: Sequence[str], files: Sequence[Path], problems: Sequence[Problem]
) -> None:
    """Name the folder to give where all classes are one folder further down."""
    if len(names) == 1 and not files and len(problems) > 1:
        raise ValueError(
            f"{folder} holds nothing but the folder {names[0]}, whose {len(problems)} folders look "
            f"like the classes: give {folder / names[0]} instead"
        )


def _stray_notes(folder: Path, files: Iterable[Path]) -> list[str]:
    strays = [relative(file, folder) for file in files if is_stray(file)]
    if not strays:
        return []
    return [f"{folder}: passed over as no pictures: {_listed(strays)}"]


def _system_notes(folder: Path) -> list[str]:
    places = [folder, *(entry for entry in visible(folder) if entry.is_dir())]
    found = [e.name for place in places for e in place.iterdir() if is_system_name(e.name)]
    if not found:
        return []
    return [f"{folder}: system files passed over: {_listed(sorted(set(found)), len(found))}"]


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


def _listed(names: Sequence[str], n: int | None = None) -> str:
    n = len(names) if n is None else n
    shown = ", ".join(shorten(name, 40) for name in names[:_NAMED])
    return f"{n} ({shown}{', ...' if len(names) > _NAMED else ''})"
