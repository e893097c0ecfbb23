"""Optimisers: what becomes of a gradient; and schedules: how large the steps are, and when.

An optimiser works on the flat vector of all parameters, so one call updates a whole network.
It holds its settings and its own state, and nothing of the network.

A schedule maps the share of training that is done, in [0, 1), to a factor of the learning rate.
"""

import numpy as np

from tinycnn._checks import FloatArray, as_rate


class SGD:
    """Stochastic gradient descent with momentum and weight decay, as in ``torch.optim.SGD``.

    ``gradient += weight_decay * flat;  velocity = momentum * velocity + gradient;
    flat -= lr * velocity``, with a velocity of 0 before the first step.

    Parameters
    ----------
    lr : float
        Learning rate.
    momentum : float
        In [0, 1): the share of the last velocity that is kept.
    weight_decay : float
        Factor of the parameters that is added to their gradient (an L2 penalty).

    References
    ----------
    Sutskever et al., "On the importance of initialization and momentum in deep learning", 2013.
    """

    def __init__(self, lr: float = 0.05, momentum: float = 0.9, weight_decay: float = 0.0) -> None:
        self.lr = as_rate("lr", lr)
        self.momentum = as_rate("momentum", momentum)
        if self.momentum >= 1:
            raise ValueError(f"momentum: must be below 1, got {momentum}")
        self.weight_decay = as_rate("weight_decay", weight_decay)
        self._velocity: FloatArray | None = None

    def __repr__(self) -> str:
        return f"SGD(lr={self.lr}, momentum={self.momentum}, weight_decay={self.weight_decay})"

    def step(self, flat: FloatArray, gradient: FloatArray, lr_factor: float = 1.0) -> None:
        """Update the parameters in place by one step.

        Parameters
        ----------
        flat : (n_parameters,)
            Written to.
        gradient : (n_parameters,)
            Of the loss, at flat.
        lr_factor : float
            What a learning-rate schedule multiplies lr by in this step.
        """
        if self._velocity is None:
            self._velocity = np.zeros_like(flat)
        if self._velocity.shape != flat.shape:
            raise ValueError(
                f"SGD: this optimiser has trained {self._velocity.size} parameters and cannot go "
                f"on with {flat.size}; make a new one for each network"
            )
        self._velocity *= self.momentum
        self._velocity += gradient
        if self.weight_decay:
            self._velocity += self.weight_decay * flat
        flat -= (self.lr * lr_factor) * self._velocity


def linear_decay(done: float) -> float:
    """Schedule that falls in a straight line from 1 at the start to 0 at the end of training."""
    return 1.0 - done
