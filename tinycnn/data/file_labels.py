"""Labels of pictures that are not sorted into folders: in their names, or in a CSV file."""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from tinycnn.files.bounded import refuse_special

from .problems import shorten

_FILE_COLUMNS = (
    *("file", "filename", "file_name", "filepath", "path", "image", "image_name", "image_path"),
    *("image_id", "imageid", "img", "img_name", "id", "id_code", "name", "fname", "picture"),
)
_LABEL_COLUMNS = (
    *("label", "labels", "class", "class_name", "classname", "category", "target", "y"),
    *("species", "breed", "diagnosis", "dx", "level", "type"),
)
_MOST_LINES = 10_000_000

# "cat" of "cat.0.jpg", "american_bulldog" of "american_bulldog_10.jpg", "img" of "img001.png".
_LEADING_WORDS = re.compile(r"[^\W\d_]+(?:[ _-][^\W\d_]+)*")

BY_NAME = "name"


def label_of_name(file_name: str, rule: str) -> str | None:
    """Label in a file's name, with or without its ending; None if the name breaks the rule.

    Parameters
    ----------
    file_name : str
        Without its folder.
    rule : str
        "name" for the letters it begins with, or a pattern in which {label} stands for the label
        and * for anything: "*_{label}.png".

    Examples
    --------
    >>> label_of_name("american_bulldog_10.jpg", "name")
    'american_bulldog'
    >>> label_of_name("0001_7.png", "*_{label}.png")
    '7'
    """
    if rule == BY_NAME:
        found = _LEADING_WORDS.match(file_name.rpartition(".")[0] or file_name)
        return found[0] if found else None
    stem = file_name.rpartition(".")[0]
    matched = re.fullmatch(_pattern(rule), stem) or re.fullmatch(_pattern(rule), file_name)
    return matched["label"] if matched else None


def is_rule(labels_from: str) -> bool:
    """Whether `labels_from` says how labels stand in names, and is no path of a CSV file."""
    return labels_from == BY_NAME or "{label}" in labels_from


def _pattern(rule: str) -> str:
    """Pattern of a rule: label as late and as short as may be.

    Every other star takes the first piece that fits and does not give it back, (?>...), so that a
    rule of many stars takes no longer than one of few.
    """
    before, _, after = rule.partition("{label}")
    first, *pieces = (re.escape(piece) for piece in before.split("*"))
    last = f".*{pieces.pop()}" if pieces else ""
    end, *others = (re.escape(piece) for piece in after.split("*"))
    if others:
        end += "".join(f"(?>.*?{piece})" for piece in others[:-1]) + f".*{others[-1]}"
    start = first + "".join(f"(?>.*?{piece})" for piece in pieces)
    return f"{start}{last}(?P<label>.+?){end}"


def labels_of_names(files: Sequence[Path], rule: str) -> list[str]:
    """Label in the name of each file.

    Raises
    ------
    ValueError
        If a name does not follow the rule; the first is told.
    """
    labels = [label_of_name(file.name, rule) for file in files]
    without = [file for file, label in zip(files, labels, strict=True) if label is None]
    if without:
        raise ValueError(
            f"{without[0]} has no label in its name by labels_from={rule!r}, nor have "
            f"{len(without) - 1} others: give a pattern, labels_from='*_{{label}}.png', "
            "where {label} stands for the label and * for anything"
        )
    return [label for label in labels if label is not None]


def read_labels_csv(path: Path) -> dict[str, str] | None:
    """Labels by file name from a CSV file with a column of files and one of labels.

    Returns
    -------
    dict or None
        None if its first line names no such columns.

    Raises
    ------
    ValueError
        If it is damaged.
    """
    refuse_special(path)
    try:
        with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
            dialect = _dialect(file.readline(1 << 16))
            file.seek(0)
            rows = csv.reader(file, delimiter=dialect)
            columns = _columns(next(rows, []))
            if columns is None:
                return None
            labels: dict[str, str] = {}
            for number, row in enumerate(rows):
                if number >= _MOST_LINES:
                    raise ValueError(f"{path} has more than {_MOST_LINES} lines")
                cells = [cell.strip() for cell in row]
                if len(cells) > max(columns) and cells[columns[1]]:
                    _note_label(path, labels, cells[columns[0]], cells[columns[1]])
            return labels
    except csv.Error as error:
        raise ValueError(f"{path} cannot be read as CSV: {error}") from error


def _note_label(path: Path, labels: dict[str, str], name: str, label: str) -> None:
    known = labels.setdefault(name, label)
    if known != label:
        raise ValueError(
            f"{path} gives {shorten(name, 60)} two labels, {shorten(known, 40)} and "
            f"{shorten(label, 40)}: an image can have one class; leave one line for each"
        )


def _dialect(line: str) -> str:
    return max((",", ";", "\t"), key=line.count)


def _columns(names: Sequence[str]) -> tuple[int, int] | None:
    """Positions of the files and of the labels."""
    lower = [name.strip().lower() for name in names]
    files = [lower.index(name) for name in _FILE_COLUMNS if name in lower]
    labels = [lower.index(name) for name in _LABEL_COLUMNS if name in lower]
    if files and labels:
        return files[0], labels[0]
    if len(names) == 2 and files:
        return files[0], 1 - files[0]
    return None


def match_labels(
    files: Sequence[Path], folder: Path, labels: Mapping[str, str]
) -> list[str | None]:
    """Label of each file: found by its path in the folder, its name, or its name's stem."""
    by_name = {name.replace("\\", "/").rpartition("/")[2]: label for name, label in labels.items()}
    found: list[str | None] = []
    for file in files:
        inside = file.relative_to(folder).as_posix() if file.is_relative_to(folder) else file.name
        names = (inside, f"{folder.name}/{inside}", file.name, file.stem)
        exact = next((labels[name] for name in names if name in labels), None)
        found.append(exact if exact is not None else by_name.get(file.name, by_name.get(file.stem)))
    return found


def propose(files: Sequence[Path]) -> str:
    """How to say where the labels of files stand, by what their names look like."""
    labels = {label_of_name(file.name, BY_NAME) for file in files} - {None}
    if len(labels) > 1 and len(labels) * 2 <= len(files):
        first, second = (shorten(str(label), 30) for label in sorted(map(str, labels))[:2])
        return (
            f"their names begin with {first}, {second}, ...: if these are the labels, give "
            "labels_from='name'"
        )
    return (
        "put the images of each class into a subfolder named after it, or a CSV file with columns "
        "file,label beside them, or give labels_from='*_{label}.png' if names "
        "hold the labels"
    )
