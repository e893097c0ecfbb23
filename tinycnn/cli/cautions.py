"""What may be wrong with a training that ended well."""

from __future__ import annotations

import numpy as np

from tinycnn.cli.run import Run, Trained
from tinycnn.evaluation import Evaluation, listed

# Bytes that deviate by less, in parts of white, hardly show anything: half a grey level.
LEAST_DEVIATION = 0.5 / 255

# From so many images on, chance is told from learning.
ENOUGH_IMAGES = 100


def cautions_about_training(run: Run, trained: Trained, learned: Evaluation) -> list[str]:
    """Say in sentences why a network may be worth little.

    Parameters
    ----------
    run, trained
        The training.
    learned : Evaluation
        How good the network is on its training images.
    """
    cautions = _about_images(run)
    if trained.epochs == 0:
        cautions.append("the network was not trained: --epochs 0")
    elif _is_no_better(learned):
        cautions.append(
            "the network has learned next to nothing: it is right in "
            f"{learned.accuracy:.1%} of its training images, always answering "
            f"{learned.class_names[learned.majority_class]} in {learned.majority_share:.1%}; try "
            f"another --lr than {run.options.lr:g}, or more --epochs"
        )
    if run.source.part == "validation" and run.options.patience is not None:
        cautions.append(
            "the best epoch was chosen by the images it was tested on: on others it is less good"
        )
    return cautions


def _is_no_better(learned: Evaluation) -> bool:
    """Tell whether naming the majority class always does as well on the training images."""
    if np.count_nonzero(learned.class_counts) < 2:
        return False
    enough = learned.n_images >= ENOUGH_IMAGES
    return learned.accuracy <= learned.majority_share or (enough and not learned.beats_majority)


def _about_images(run: Run) -> list[str]:
    """Say so if the training images show next to nothing, or one class alone."""
    cautions = []
    images, class_names = run.source.train.images, run.source.train.class_names
    low, high = images.min(), images.max()
    if low == high:
        cautions.append(f"all pixels of all training images are the same, {low:g}")
    elif len(run.provenance.digests) == 1:
        cautions.append("all training images are the same")
    elif images.dtype == np.uint8 and run.net.input_std.max() < LEAST_DEVIATION:
        cautions.append(
            f"the training images are nearly constant: pixels of {low} to {high}, most of them the "
            "same; if they were made from images of more than 8 bits, use those"
        )
    counts = np.bincount(run.source.train.labels, minlength=len(class_names))
    missing = [name for name, n in zip(class_names, counts, strict=True) if n == 0]
    if missing:
        cautions.append(f"no training images, so never the answer: {listed(missing)}")
    if len(class_names) == 1:
        cautions.append(f"there is one class alone, {class_names[0]}: nothing can be told apart")
    return cautions
