"""What a report has to say, in numbers, before any of it is HTML."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from tinycnn.evaluation import Evaluation
from tinycnn.inspection import Reliability, confident_mistakes, reliability, typical_images
from tinycnn.network import CNN

MOST_PICTURES = 24


@dataclass(frozen=True)
class Background:
    """What a report is told, since it cannot be measured; all of it may be left out.

    Attributes
    ----------
    title : str
    model : str
        Path of the model file, for the section on how to use it.
    data : str
        What the data are called.
    measured_on : str
        Which part of them the images are.
    training : mapping of str to str
        How the network was trained, by name.
    command : str
        What repeats the training.
    history : mapping of str to sequence of float
        Lists of :class:`tinycnn.History`.
    cautions : sequence of str
        Why the accuracy may mean less than it seems to, besides what the result itself says.
    notes : sequence of str
        What to know about the data.
    learned_from : (n,) of int, optional
        Indices of images that are among those the network learned from; None if nobody knows.
    """

    title: str = "A network and how good it is"
    model: str = "model.npz"
    data: str = ""
    measured_on: str = ""
    training: Mapping[str, str] = field(default_factory=dict)
    command: str = ""
    history: Mapping[str, Sequence[float]] = field(default_factory=dict)
    cautions: Sequence[str] = ()
    notes: Sequence[str] = ()
    learned_from: npt.NDArray[np.intp] | None = None


@dataclass(frozen=True, eq=False)
class Facts:
    """What a page is made from.

    Attributes
    ----------
    net : CNN
    images : (N, C, H, W)
    result : Evaluation
    probabilities : (N, n_classes)
    background : Background
    """

    net: CNN
    images: npt.NDArray[Any]
    result: Evaluation
    probabilities: npt.NDArray[np.floating]
    background: Background

    @property
    def mistakes(self) -> npt.NDArray[np.intp]:
        """Indices of the most confident mistakes, the worst ones first."""
        return confident_mistakes(self.probabilities, self.result.labels)[:MOST_PICTURES]

    @property
    def typical(self) -> npt.NDArray[np.intp]:
        """Indices of the image of each class that the network is surest of."""
        return typical_images(self.probabilities, self.result.labels)[:MOST_PICTURES]

    @property
    def reliability(self) -> Reliability:
        """How far confidence means what it says."""
        return reliability(self.probabilities, self.result.labels)

    @property
    def confusions(self) -> list[tuple[int, int, int]]:
        """What was taken for what, and how often; the most frequent ones first."""
        counts = self.result.confusion()
        np.fill_diagonal(counts, 0)
        pairs = np.argwhere(counts)
        found = [(int(is_), int(taken), int(counts[is_, taken])) for is_, taken in pairs]
        return sorted(found, key=lambda each: -each[2])

    def precision(self, label: int) -> float | None:
        """Share of the predictions of a class that are right; None if there is none."""
        predicted = int((self.result.predictions == label).sum())
        return int(self.result.class_right[label]) / predicted if predicted else None

    def recall(self, label: int) -> float | None:
        """Share of the images of a class that are right; None if there is none."""
        n = int(self.result.class_counts[label])
        return int(self.result.class_right[label]) / n if n else None
