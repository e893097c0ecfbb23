"""What a shard does in a step of training; all of it follows from the shard and the message."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tinycnn._checks import FloatArray
from tinycnn.dask.parts import Shard
from tinycnn.inputs import Examples
from tinycnn.training.augmentation import Augmentation
from tinycnn.training.gradients import Part, merge, parts_of
from tinycnn.training.optim import Optimizer


class Epoch(NamedTuple):
    """What stays the same in an epoch.

    Attributes
    ----------
    seed : int
        Of the order of the images, their moves, and what layers draw.
    n_steps : int
        How many steps each shard's images are divided into.
    """

    seed: int
    n_steps: int
    class_weights: npt.NDArray[np.float64] | None
    label_smoothing: float
    augmentation: Augmentation | None
    n_threads: int


class Step(NamedTuple):
    """A step that all shards make together: the message to each."""

    epoch: Epoch
    flat: FloatArray
    number: int  # in the epoch


class Stretch(NamedTuple):
    """Some steps that each shard makes on its own: the message to each.

    Attributes
    ----------
    first : int
        The first of them, in the epoch.
    lr_factors : sequence of float
        Of each.
    """

    epoch: Epoch
    flat: FloatArray
    optimizer: tuple[type[Optimizer], dict[str, Any], dict[str, npt.NDArray[Any]]]
    first: int
    lr_factors: Sequence[float]


class Arrival(NamedTuple):
    """Where a shard's steps have led: parameters, state of the optimiser, mean loss and weight."""

    flat: FloatArray
    optimizer: dict[str, npt.NDArray[Any]]
    loss: float
    weight: float


def differentiate(shard: Shard, step: Step) -> Part:
    """Return mean loss and gradient of a shard's part of a batch, and what its images weigh."""
    some = _images_of(shard, step.epoch, step.number)
    if not some:
        return 0.0, np.zeros_like(step.flat), 0.0
    batches = _batches(shard, step.epoch, step.flat, step.number)
    loss, gradient, weight = merge(parts_of(batches, some, shard.net.path.slab_images))
    return loss, gradient.astype(step.flat.dtype), weight


def descend(shard: Shard, stretch: Stretch) -> Arrival:
    """Make some steps on a shard's images alone."""
    kind, settings, state = stretch.optimizer
    optimizer, flat = kind(**settings), stretch.flat.copy()
    optimizer.set_state(state)
    batches = _batches(shard, stretch.epoch, flat, stretch.first)
    loss = weight = 0.0
    for number, lr_factor in enumerate(stretch.lr_factors, stretch.first):
        some = _images_of(shard, stretch.epoch, number)
        mean_loss, gradient, batch_weight = batches.differentiate(some.start, some.stop)
        optimizer.step(flat, gradient, lr_factor)
        loss += batch_weight * mean_loss
        weight += batch_weight
    return Arrival(flat, optimizer.state(), loss / weight if weight else 0.0, weight)


def _images_of(shard: Shard, epoch: Epoch, number: int) -> range:
    """Return which images of its order a shard has in a step."""
    n = len(shard.images)
    return range(n * number // epoch.n_steps, n * (number + 1) // epoch.n_steps)


def _batches(shard: Shard, epoch: Epoch, flat: FloatArray, first: int) -> Any:
    """Prepare to differentiate the images of a shard, in the order of the epoch."""
    n = len(shard.images)
    flat = np.require(flat, requirements=["A"])  # on its way it may come to stand at any address
    rng = np.random.default_rng([epoch.seed, shard.number])
    order = rng.permutation(n) if epoch.n_steps > 1 else None
    moves = None if epoch.augmentation is None else epoch.augmentation.draw(n, rng)
    weights = shard.weights
    if epoch.class_weights is not None:
        weights = (1.0 if weights is None else weights) * epoch.class_weights[shard.labels]
    examples = Examples(shard.net.inputs(shard.images), shard.labels, order, weights, moves)
    gradients = shard.net.path.gradients(flat, epoch.n_threads, epoch.label_smoothing)
    return gradients.over(examples, np.random.default_rng([epoch.seed, shard.number, first]))


def averaged(arrivals: Sequence[Arrival]) -> Arrival:
    """Average where the shards have arrived, each by the weight of its images, in their order."""
    weights = np.array([each.weight for each in arrivals])
    total = weights.sum()
    shares = weights / total if total > 0 else np.full(len(weights), 1 / len(weights))

    def average(arrays: Sequence[npt.NDArray[Any]]) -> npt.NDArray[Any]:
        mean = np.zeros(arrays[0].shape)
        for share, array in zip(shares, arrays, strict=True):
            mean += share * array.astype(np.float64)
        return mean.astype(arrays[0].dtype)

    state = copy.copy(arrivals[0].optimizer)  # all have made as many steps
    for name in state.keys() - {"n_steps"}:
        state[name] = average([each.optimizer[name] for each in arrivals])
    loss = float(sum(share * each.loss for share, each in zip(shares, arrivals, strict=True)))
    return Arrival(average([each.flat for each in arrivals]), state, loss, float(total))
