"""Pictures of a training, of its result, and of what a network sees.

Every function draws into the axes it is given, or into new ones, and returns them; none shows or
saves anything. Colours follow Matplotlib's current style, so that pictures fit a dark page as well
as a light one. They need Matplotlib: ``pip install 'tinycnn[plot]'``.
"""

from tinycnn.plots.networks import feature_maps, filters, saliency
from tinycnn.plots.results import (
    accuracy_by_margin,
    confusion_matrix,
    mistakes,
    reliability_diagram,
)
from tinycnn.plots.training import accuracy_curve, loss_curves

__all__ = [
    "accuracy_by_margin",
    "accuracy_curve",
    "confusion_matrix",
    "feature_maps",
    "filters",
    "loss_curves",
    "mistakes",
    "reliability_diagram",
    "saliency",
]
