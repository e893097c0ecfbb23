"""What a model learned from, as it remembers it: so that a test can keep to other images.

A model that ``tinycnn train`` saves has these notes (:func:`tinycnn.files.model.load_notes`):

    version        of tinycnn
    data           what they are called
    training       the options of the training, by name
    epochs         how many were trained
    best_epoch     which of them was kept
    history        loss and, if something validated, accuracy of every epoch
    dtype          of the training images: "uint8", "uint16", "float32" or "float64"
    n_images       how many images trained
    digests        their digests, six bytes an image, as base64; of many images only the smallest
    split          of data without a test part: which share was held out, by which seed, of how many
                   images, and the digest of them all; else null
    result         what the test said
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tinycnn.data import Dataset

DIGEST_BYTES = 6
DIGEST = np.dtype(f"S{DIGEST_BYTES}")

# So many digests are kept, the smallest ones: those of all images, or a fair sample of them.
MOST_DIGESTS = 4096

Digests = npt.NDArray[np.bytes_]


class Split(NamedTuple):
    """How images were held out of data that have no test part."""

    fraction: float
    seed: int
    n_images: int
    digest: str


class Provenance(NamedTuple):
    """What a model learned from.

    Attributes
    ----------
    dtype : str
        Of the training images.
    n_images : int
        How many trained.
    digests : (n,)
        Of the training images, sorted; of all of them, or only the smallest.
    split : Split or None
        None if the data had a test part.
    """

    dtype: str
    n_images: int
    digests: Digests
    split: Split | None

    @property
    def knows_all(self) -> bool:
        """Whether it remembers every single training image."""
        return len(self.digests) < MOST_DIGESTS

    def as_notes(self) -> dict[str, Any]:
        """Put it into JSON's terms."""
        return {
            "dtype": self.dtype,
            "n_images": self.n_images,
            "digests": base64.b64encode(self.digests.tobytes()).decode("ascii"),
            "split": None if self.split is None else self.split._asdict(),
        }


def provenance_of(train_set: Dataset, split: Split | None) -> Provenance:
    """Take down what a training learns from."""
    digests = np.unique(digests_of(train_set.images))[:MOST_DIGESTS]
    return Provenance(train_set.images.dtype.name, len(train_set.images), digests, split)


def read_provenance(notes: Mapping[str, Any]) -> Provenance | None:
    """Find out what a model learned from; None if its notes do not tell."""
    try:
        content = base64.b64decode(notes["digests"], validate=True)
        digests = np.frombuffer(content, DIGEST)
        split = notes["split"]
        return Provenance(
            str(np.dtype(notes["dtype"])),
            int(notes["n_images"]),
            np.unique(digests),
            None if split is None else _read_split(split),
        )
    except (KeyError, TypeError, ValueError, OverflowError, binascii.Error):
        return None


def digests_of(images: npt.NDArray[Any]) -> Digests:
    """Compute a digest (N,) of each image."""
    head = f"{images.dtype.str}{images.shape[1:]}".encode()
    digests = bytearray()
    for image in images:
        digests += blake2b(head + image.tobytes(), digest_size=DIGEST_BYTES).digest()
    return np.frombuffer(bytes(digests), DIGEST)


def digest_of_all(data: Dataset) -> str:
    """Compute one digest of images with their labels, in their order."""
    whole = blake2b(digests_of(data.images).tobytes(), digest_size=16)
    whole.update(data.labels.tobytes())
    return whole.hexdigest()


def share_learned_from(provenance: Provenance, digests: Digests) -> float:
    """Estimate the share of images that trained the model, by those it would remember."""
    if not provenance.knows_all:
        digests = digests[digests <= provenance.digests[-1]]
    return float(np.isin(digests, provenance.digests).mean()) if len(digests) else 0.0


def _read_split(split: Mapping[str, Any]) -> Split:
    return Split(
        float(split["fraction"]), int(split["seed"]), int(split["n_images"]), str(split["digest"])
    )
