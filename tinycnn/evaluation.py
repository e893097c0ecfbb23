"""What a result rests on: accuracy with its interval, beside what guessing would reach.

An accuracy alone says little: of ten test images 90% may be luck, and where nine of ten images are
of one class, always naming that class reaches 90% as well. :func:`assess` measures a network on
labelled images and keeps what is needed to judge: how many images there were, of which classes,
and which of them were right.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from tinycnn._checks import as_count, require_same_length
from tinycnn.functional import cross_entropy_forward
from tinycnn.network import CNN
from tinycnn.views import Views

# Below so many test images, the accuracy of a class says next to nothing.
FEW_IMAGES = 10

# The quantile of the normal distribution that 95% lie within.
NORMAL_95 = 1.959963984540054


@dataclass(frozen=True, eq=False)
class Evaluation:
    """How a network did on labelled images.

    Attributes
    ----------
    class_names : tuple of str
    labels : (N,)
        What the images are.
    predictions : (N,)
        What the network took them for.
    loss : float
        Mean cross-entropy.
    n_images, n_right : int
    accuracy : float
        n_right / n_images.
    interval : (float, float)
        In which the accuracy on all such images lies, with a confidence of 95%.
    majority_class : int
        The class that most images are of, the lower number on a tie.
    majority_share : float
        The accuracy of naming it always.
    class_counts, class_right : (n_classes,)
        Number of images of each class, and of those that were right.
    """

    class_names: tuple[str, ...]
    labels: npt.NDArray[np.int64]
    predictions: npt.NDArray[np.intp]
    loss: float
    n_images: int = field(init=False)
    n_right: int = field(init=False)
    class_counts: npt.NDArray[np.intp] = field(init=False, repr=False)
    class_right: npt.NDArray[np.intp] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        right = self.predictions == self.labels
        n_classes = len(self.class_names)
        for name, value in (
            ("n_images", len(self.labels)),
            ("n_right", int(right.sum())),
            ("class_counts", np.bincount(self.labels, minlength=n_classes)),
            ("class_right", np.bincount(self.labels[right], minlength=n_classes)),
        ):
            object.__setattr__(self, name, value)

    @property
    def accuracy(self) -> float:
        """Share of the images that are right."""
        return self.n_right / self.n_images

    @property
    def interval(self) -> tuple[float, float]:
        """In which the accuracy on all such images lies, with a confidence of 95%."""
        return wilson_interval(self.n_right, self.n_images)

    @property
    def majority_class(self) -> int:
        """The class that most images are of."""
        return int(self.class_counts.argmax())

    @property
    def majority_share(self) -> float:
        """The accuracy of always naming the majority class."""
        return int(self.class_counts.max()) / self.n_images

    @property
    def beats_majority(self) -> bool:
        """Whether the network is better than always naming the majority class, beyond chance."""
        return self.interval[0] > self.majority_share

    def confusion(self) -> npt.NDArray[np.intp]:
        """Count (n_classes, n_classes) how many images of each class were taken for which."""
        n = len(self.class_names)
        pairs = np.bincount(self.labels * n + self.predictions, minlength=n * n)
        counts: npt.NDArray[np.intp] = pairs.reshape(n, n)
        return counts

    def cautions(self) -> list[str]:
        """Say in sentences why the accuracy may mean less than it seems to."""
        cautions = []
        present = self.class_counts[self.class_counts > 0]
        if len(self.class_names) == 1:
            pass  # there is nothing that it could be taken for
        elif len(present) == 1:
            name = self.class_names[self.majority_class]
            cautions.append(f"all test images are of one class, {name}: others are not measured")
        elif not self.beats_majority:
            cautions.append(
                "not clearly better than always answering "
                f"{self.class_names[self.majority_class]}, which is right in "
                f"{self.majority_share:.1%}"
            )
        few = np.flatnonzero((self.class_counts < FEW_IMAGES) & (self.class_counts > 0))
        if len(few):
            cautions.append(
                f"{listed([self.class_names[label] for label in few])}: fewer than {FEW_IMAGES} "
                "test images, too few to tell the accuracy of a class"
            )
        missing = np.flatnonzero(self.class_counts == 0)
        if len(missing) and len(present) > 1:
            names = listed([self.class_names[label] for label in missing])
            cautions.append(f"{names}: no test images, so nothing is known about them")
        return cautions

    def as_dict(self) -> dict[str, Any]:
        """Return all numbers, ready for JSON."""
        return {
            "n_images": self.n_images,
            "n_right": self.n_right,
            "accuracy": self.accuracy,
            "interval_95": list(self.interval),
            "loss": self.loss if math.isfinite(self.loss) else None,
            "majority_class": self.class_names[self.majority_class],
            "majority_share": self.majority_share,
            "classes": [
                {"name": name, "n_images": int(n), "n_right": int(right)}
                for name, n, right in zip(
                    self.class_names, self.class_counts, self.class_right, strict=True
                )
            ],
            "cautions": self.cautions(),
        }


def assess(
    net: CNN,
    images: npt.NDArray[Any],
    labels: npt.NDArray[np.int64],
    n_threads: int | None = None,
    *,
    views: Views | None = None,
) -> Evaluation:
    """Measure a network on labelled images.

    Parameters
    ----------
    net : CNN
    images : (N, C, H, W)
        N at least 1; see :class:`tinycnn.CNN`.
    labels : (N,)
        Whole numbers in [0, n_classes).
    n_threads : int, optional
        As many as this process has CPUs by default.
    views : Views, optional
        Average over moved and mirrored copies of an image.

    Returns
    -------
    Evaluation

    Raises
    ------
    ValueError
        If images or labels do not fit the network or each other.
    """
    require_same_length(images, labels, "images", "labels")
    logits = net.logits(images, n_threads, views=views)
    loss, _ = cross_entropy_forward(logits, labels)
    return Evaluation(net.class_names, labels, logits.argmax(axis=1), float(loss))


def wilson_interval(n_right: int, n_images: int) -> tuple[float, float]:
    """Compute the 95% confidence interval of a share, after Wilson.

    Parameters
    ----------
    n_right, n_images : int
        How many were right, of at least one.

    Returns
    -------
    low, high : float
        In [0, 1]. Unlike the usual ``p +- 1.96 * sqrt(p (1 - p) / n)``, it is right for few images
        too: 10 right of 10 give 72% to 100%.

    References
    ----------
    Wilson, "Probable Inference, the Law of Succession, and Statistical Inference", Journal of the
    American Statistical Association 22, 1927.
    """
    n_images = as_count("n_images", n_images, 1)
    share, z2 = as_count("n_right", n_right, 0) / n_images, NORMAL_95**2
    if share > 1:
        raise ValueError(f"n_right: must be at most n_images={n_images}, got {n_right}")
    middle = (share + z2 / (2 * n_images)) / (1 + z2 / n_images)
    spread = math.sqrt(share * (1 - share) / n_images + z2 / (4 * n_images**2))
    reach = NORMAL_95 * spread / (1 + z2 / n_images)
    # Rounding must not leave the share itself outside.
    return max(0.0, min(share, middle - reach)), min(1.0, max(share, middle + reach))


def listed(names: list[str]) -> str:
    """Join names, of many only the first."""
    shown = ", ".join(names[:5])
    return shown if len(names) <= 5 else f"{shown} and {len(names) - 5} more classes"
