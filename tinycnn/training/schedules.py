"""Learning-rate schedules: how large the steps are, and when.

A schedule maps the share of training that is done, in [0, 1), to a factor of the learning rate;
any function of that kind will do. Step i of n is taken at the share i / n, so no schedule needs
to know how many steps there are.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from tinycnn._checks import as_rate

Schedule = Callable[[float], float]


def constant(done: float) -> float:
    """Schedule that stays at 1."""
    return 1.0


def linear_decay(done: float) -> float:
    """Schedule that falls in a straight line from 1 at the start to 0 at the end of training."""
    return 1.0 - done


def cosine_decay(done: float) -> float:
    """Schedule that falls along half a cosine from 1 at the start to 0 at the end of training.

    ``(1 + cos(pi * done)) / 2``, as ``torch.optim.lr_scheduler.CosineAnnealingLR``: it stays high
    for longer than a straight line, and low for longer.

    References
    ----------
    Loshchilov and Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts", 2016,
    arXiv:1608.03983, equation 5, without restarts.
    """
    return (1.0 + math.cos(math.pi * done)) / 2.0


class OneCycle:
    """Schedule that rises to 1 and then falls, both along half a cosine.

    The optimiser's learning rate is the highest one. The factors are those of
    ``torch.optim.lr_scheduler.OneCycleLR`` with ``pct_start=warm_up, div_factor=1 / start,
    final_div_factor=start / end``, but for the moment at which they come. That class counts
    steps, and reaches the top after ``warm_up * n - 1`` and the end after ``n - 1`` of n steps;
    here they are reached at the shares ``warm_up`` and 1. Its step i is therefore this schedule's
    value at the share ``i / (n - 1 / warm_up)`` up to the top, and at ``(i + 1) / n`` from there.

    Parameters
    ----------
    warm_up : float
        In [0, 1): the share of training in which the learning rate rises.
    start : float
        Factor of the learning rate at the start.
    end : float
        Factor of the learning rate at the end.

    References
    ----------
    Smith and Topin, "Super-Convergence: Very Fast Training of Neural Networks Using Large
    Learning Rates", 2017, arXiv:1708.07120.
    Smith, "A disciplined approach to neural network hyper-parameters", 2018, arXiv:1803.09820.
    """

    def __init__(self, warm_up: float = 0.3, start: float = 0.04, end: float = 4e-6) -> None:
        self.warm_up = as_rate("warm_up", warm_up)
        if self.warm_up >= 1:
            raise ValueError(f"warm_up: must be below 1, got {warm_up}")
        self.start = as_rate("start", start)
        self.end = as_rate("end", end)

    def __repr__(self) -> str:
        return f"OneCycle(warm_up={self.warm_up}, start={self.start}, end={self.end})"

    def __call__(self, done: float) -> float:
        """Return the factor of the learning rate at a share of training."""
        if done < self.warm_up:
            return 1.0 + (self.start - 1.0) * cosine_decay(done / self.warm_up)
        fallen = (done - self.warm_up) / (1.0 - self.warm_up)
        return self.end + (1.0 - self.end) * cosine_decay(fallen)
