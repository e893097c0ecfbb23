"""The names people give to the parts of their data, and to the images and labels in them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

PARTS = ("train", "validation", "test")

_PART_OF_WORD = {
    **dict.fromkeys(("train", "training", "trn", "trainset"), "train"),
    **dict.fromkeys(
        ("validation", "valid", "val", "dev", "valset", "validate", "devel"), "validation"
    ),
    **dict.fromkeys(
        ("test", "testing", "tst", "testset", "t10k", "eval", "evaluation", "holdout"), "test"
    ),
}

# Words that say nothing about which part a folder is, as in "training_set" and "seg_test".
_FILLING = frozenset(
    {"set", "data", "dataset", "images", "imgs", "img", "pictures", "seg", "split", "full"}
)

# Likeliest first: of 'images' and 'data', as scikit-learn's digits have both, 'images' counts.
_IMAGE_WORDS = ("images", "image", "imgs", "img", "x", "data", "pixels", "features", "inputs")
_LABEL_WORDS = ("labels", "label", "lbls", "y", "targets", "target", "classes", "class")
_NAME_WORDS = frozenset({"names", "name", "classnames", "labelnames", "targetnames"})

_KNOWN = frozenset({*_PART_OF_WORD, *_IMAGE_WORDS, *_LABEL_WORDS, *_NAME_WORDS})


class Meaning(NamedTuple):
    """What a name says: which part, of what kind, and how likely (0 is best)."""

    part: str | None
    kind: str  # "images", "labels" or "names"
    rank: tuple[int, int]


def folder_part(name: str) -> str | None:
    """Part that a folder's name means, or None: "train" for "Training_Set".

    Examples
    --------
    >>> folder_part("valid"), folder_part("seg_test"), folder_part("trains")
    ('validation', 'test', None)
    """
    words = [word for word in _words(name) if not word.isdigit()]  # "01_train", "train_256"
    parts = [_PART_OF_WORD[word] for word in words if word in _PART_OF_WORD]
    if len(parts) != 1 or any(w not in _PART_OF_WORD and w not in _FILLING for w in words):
        return None
    return parts[0]


def file_part(name: str) -> str | None:
    """Part that a file's name tells among other words: "test" for "fashion-mnist_test.csv"."""
    parts = {_PART_OF_WORD[word] for word in _words(name) if word in _PART_OF_WORD}
    return parts.pop() if len(parts) == 1 else None


def meaning(name: str) -> Meaning | None:
    """What an array's name says, or None if it speaks neither of images nor of labels.

    Examples
    --------
    >>> meaning("x_train")
    Meaning(part='train', kind='images', rank=(4, 0))
    >>> meaning("kmnist-test-labels/arr_0").part
    'test'
    """
    words = _words(name)
    parts = {_PART_OF_WORD[word] for word in words if word in _PART_OF_WORD}
    if len(parts) > 1:
        return None
    part = parts.pop() if parts else None
    if not _NAME_WORDS.isdisjoint(words):
        of_classes = len(words) == 1 or not set(words).isdisjoint(_LABEL_WORDS)
        return Meaning(part, "names", (0, len(words))) if of_classes else None
    for kind, ordered in (("images", _IMAGE_WORDS), ("labels", _LABEL_WORDS)):
        ranks = [ordered.index(word) for word in words if word in ordered]
        if ranks:
            n_other = sum(word not in _KNOWN for word in words)
            return Meaning(part, kind, (min(ranks), n_other))
    return None


def in_order(parts: Iterable[str | None]) -> tuple[str, ...]:
    """Parts in the order train, validation, test."""
    there = set(parts)
    return tuple(part for part in PARTS if part in there)


def _words(name: str) -> list[str]:
    """Words of a name in small letters; "Xtrain" and "trainImages" are two words."""
    found: list[str] = []
    for token in re.findall(r"[a-z]+[0-9]*[a-z]*|[0-9]+", name.lower()):
        found += _split_glued(token)
    return found


def _split_glued(token: str) -> list[str]:
    if token in _KNOWN:
        return [token]
    if token.rstrip("0123456789") in _PART_OF_WORD:  # "test1"
        return [token.rstrip("0123456789")]
    for word in _PART_OF_WORD:
        for rest, pair in (
            (token.removeprefix(word), (word, token.removeprefix(word))),
            (token.removesuffix(word), (token.removesuffix(word), word)),
        ):
            if rest != token and rest in _KNOWN:
                return list(pair)
    return [token]
