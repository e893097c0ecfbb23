"""The model of a command, with what it remembers of its training."""

from __future__ import annotations

from typing import Any, NamedTuple

from tinycnn.cli.provenance import Provenance, read_provenance
from tinycnn.files.model import is_model_file, load_model, load_notes
from tinycnn.network import CNN


class Model(NamedTuple):
    """A network that was read from a file.

    Attributes
    ----------
    net : CNN
    notes : dict
        What else stood in the file.
    provenance : Provenance or None
        What it learned from, if the file tells.
    """

    net: CNN
    notes: dict[str, Any]
    provenance: Provenance | None

    @property
    def dtype(self) -> str:
        """Of the images that it learned from; bytes, if the file does not tell."""
        return "uint8" if self.provenance is None else self.provenance.dtype


def read_model(path: str) -> Model:
    """Read a model.

    Raises
    ------
    ValueError
        If it is none; OSError if it cannot be read.
    """
    with open(path, "rb"):  # tells what is wrong with the path itself
        pass
    if not is_model_file(path):
        raise ValueError(
            f"{path} is no model that `tinycnn train` has saved; the model comes first, as in "
            "`tinycnn predict model.npz photo.jpg`"
        )
    notes = load_notes(path)
    return Model(load_model(path), notes, read_provenance(notes))
