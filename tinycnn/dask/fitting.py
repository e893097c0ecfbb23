"""``fit`` over shards: steps that all make together, or steps of their own and an average."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import distributed
import numpy as np
import numpy.typing as npt

from tinycnn._checks import as_count, as_flag, as_seed, as_share
from tinycnn.dask.crew import TIMEOUT, Crew, crew_of
from tinycnn.dask.parts import Shards
from tinycnn.dask.survey import Facts, merged_moments, survey
from tinycnn.dask.work import Epoch, Step, Stretch, averaged, descend, differentiate
from tinycnn.network import CNN
from tinycnn.training.augmentation import Augmentation
from tinycnn.training.callbacks import Callback, History, TrainingState
from tinycnn.training.choices import (
    Auto,
    as_augmentation,
    as_callbacks,
    as_count_or_auto,
    as_optimizer,
    as_schedule,
)
from tinycnn.training.defaults import (
    LABEL_SMOOTHING,
    OPTIMIZER,
    SCHEDULE,
    auto_batch_size,
    auto_epochs,
)
from tinycnn.training.fitting import checked_validation, require_usual_moments, run_epochs
from tinycnn.training.gradients import merge
from tinycnn.training.optim import Optimizer
from tinycnn.training.progress import progress
from tinycnn.training.schedules import Schedule
from tinycnn.training.weighting import ClassWeight, class_weights, require_usual_total

# Images of a step of all shards together: fewer take less time than asking the workers.
SYNCHRONOUS_BATCH = 8192

# Arguments of tinycnn.fit that have no sense here, and what has.
ELSEWHERE = {
    "sample_weight": "give it to tinycnn.dask.shards, beside the images",
    "validation_fraction": "hold some shards out, or give validation_data=(images, labels)",
}


class _Plan(NamedTuple):
    """How a training over shards goes: all that is the same from its first step to its last."""

    epoch: Epoch  # with the seed 0
    average_every: int | None
    schedule: Schedule


def fit(
    net: CNN,
    shards: Shards,
    *,
    epochs: int | Auto = "auto",
    batch_size: int | Auto = "auto",
    average_every: int | None = None,
    optimizer: str | Optimizer = OPTIMIZER,
    schedule: str | Schedule | None = SCHEDULE,
    augmentation: Augmentation | Auto | None = "auto",
    class_weight: ClassWeight | None = None,
    label_smoothing: float = LABEL_SMOOTHING,
    validation_data: tuple[npt.ArrayLike, npt.ArrayLike] | None = None,
    callbacks: Callback | Iterable[Callback] = (),
    seed: int | None = 0,
    n_threads: int = 1,
    verbose: bool = True,
    client: distributed.Client | None = None,
    timeout: float = TIMEOUT,
    **others: Any,
) -> History:
    """Train a network on images that lie on the workers of a Dask cluster.

    Without `average_every`, all shards compute their part of each batch, their gradients are added
    up in the order of the shards, and the client makes one step: the same mathematics as
    :func:`tinycnn.fit`, for full batches and batches of thousands. With it, every shard makes that
    many steps of its own before parameters and the optimiser's state are averaged: fewer questions
    to the workers, and another path to the goal.

    The result depends on the shards, the seed and the workers' build of the kernels: not on how
    many workers there are, nor on whether some die. What a lost worker had is made again, and the
    step repeated.

    Parameters
    ----------
    net : CNN
        Its parameters are trained in place, in this process.
    shards : Shards
        From :func:`shards`; of one dtype, and each with at least one image.
    epochs : int or "auto"
        As for :func:`tinycnn.fit`.
    batch_size : int or "auto"
        Images per step: of all shards together, or of each with `average_every`, where shards are
        of equal size; larger ones take more. "auto" is 8,192 together; each, as in
        :func:`tinycnn.fit`.
    average_every : int, optional
        Steps that every shard makes on its own between two averages; an epoch ends with one.
    optimizer, schedule, augmentation, label_smoothing, callbacks, seed, verbose
        As for :func:`tinycnn.fit`. Callbacks run here; a batch is for them what the workers are
        asked for at once. ``Checkpoint(..., resume=True)`` resumes where this process died, with
        any number of workers.
    class_weight : mapping of int to float, (n_classes,) or "balanced", optional
        As for :func:`tinycnn.fit`, over the images of all shards.
    validation_data : (images, labels), optional
        Arrays in this process, on which loss and accuracy are measured after every epoch.
    n_threads : int
        Of each task on a worker. It does not change the result.
    client : distributed.Client, optional
        The default client, if there is one.
    timeout : float
        Seconds that the workers may take to answer.

    Returns
    -------
    History

    Raises
    ------
    ValueError, TypeError
        For arguments that do not fit the network, the shards or each other.
    FloatingPointError
        If the loss or a parameter is no longer finite after an epoch; network and optimiser are
        put back to what they were before the call.
    TimeoutError
        If the workers do not answer in time.
    RuntimeError
        If a task kills one worker after the other, or the shards cannot be made again.
    """
    _refuse(others)
    crew = crew_of(net, shards, client, timeout)
    seed, verbose = as_seed("seed", seed), as_flag("verbose", verbose)
    validation = checked_validation(net, validation_data, 0.0)
    smoothing, schedule = as_share("label_smoothing", label_smoothing), as_schedule(schedule)
    augmentation = as_augmentation(augmentation, net.architecture.image_shape)
    chosen, optimizer = as_callbacks(callbacks), as_optimizer(optimizer)
    every = None if average_every is None else as_count("average_every", average_every, 1)
    threads = as_count("n_threads", n_threads, 1)
    with crew:
        facts = survey(crew)
        weights = _class_weights(net, facts, class_weight)
        n_steps = _steps_per_epoch(facts, batch_size, every)
        epoch = Epoch(0, n_steps, weights, smoothing, augmentation, threads)
        state = TrainingState(
            net,
            optimizer,
            np.random.default_rng(seed),
            np.arange(len(facts)),
            validation,
            (progress(), *chosen) if verbose else chosen,
            as_count_or_auto("epochs", epochs, auto_epochs(sum(f.n_images for f in facts))),
            n_steps if every is None else math.ceil(n_steps / every),
            arguments={
                "images": tuple(each.words for each in facts),
                "class_weight": weights,
                "label_smoothing": smoothing,
                "augmentation": augmentation,
                "average_every": every,
                "batch_size": f"{n_steps} steps an epoch",
                "schedule": schedule,
                "optimizer": optimizer,
                "seed": seed,
                "validation_data": validation,
                "validation_fraction": 0.0,
            },
        )
        run_epochs(state, _epochs_of(state, _Plan(epoch, every, schedule), crew), threads)
    return state.history


def _refuse(others: dict[str, Any]) -> None:
    """Raise TypeError for an argument that there is not."""
    for name in others:
        way_out = ELSEWHERE.get(name)
        told = f"{name}: not here; {way_out}" if way_out else f"fit: there is no argument {name!r}"
        raise TypeError(told)


def _class_weights(
    net: CNN, facts: list[Facts], class_weight: ClassWeight | None
) -> npt.NDArray[np.float64] | None:
    """Return what each class counts; check scale and weight of the images of all shards."""
    if not net.is_standardized and facts[0].dtype != np.uint8:
        require_usual_moments(*merged_moments(facts))
    counts = np.sum([each.counts for each in facts], axis=0)
    if class_weight is None:
        require_usual_total(counts.sum())
        return None
    weights = class_weights(class_weight, len(counts), counts).astype(np.float64)
    with np.errstate(over="ignore"):
        require_usual_total((weights * counts).sum())
    return weights


def _steps_per_epoch(facts: list[Facts], batch_size: int | Auto, every: int | None) -> int:
    """Return into how many steps all images are divided, the same number for each shard."""
    n_images = sum(each.n_images for each in facts)
    automatic = SYNCHRONOUS_BATCH if every is None else auto_batch_size(n_images)
    together = as_count_or_auto("batch_size", batch_size, automatic, 1)
    if every is None:
        return math.ceil(n_images / together)
    n_steps = math.ceil(n_images / (together * len(facts)))
    for i, each in enumerate(facts):
        if each.n_images < n_steps:
            raise ValueError(
                f"shards[{i}]: {each.n_images} images are too few for an epoch of {n_steps} steps "
                "of each shard; make shards of about the same size, or batch_size larger"
            )
    return n_steps


def _epochs_of(state: TrainingState, plan: _Plan, crew: Crew) -> Callable[[], None]:
    """Return the function that runs the epoch at hand."""
    run = _run_together if plan.average_every is None else _run_apart

    def run_epoch() -> None:
        start = time.perf_counter()
        seed = int(state.rng.integers(2**63))
        loss = run(state, plan._replace(epoch=plan.epoch._replace(seed=seed)), crew)
        state.history.train_loss.append(loss)
        state.history.seconds.append(time.perf_counter() - start)

    return run_epoch


def _run_together(state: TrainingState, plan: _Plan, crew: Crew) -> float:
    """Make a step of every batch, whose parts the shards compute; return the mean loss."""
    net, total_loss, total_weight = state.net, 0.0, 0.0
    for number in range(plan.epoch.n_steps):
        parts = crew.ask(differentiate, Step(plan.epoch, net.flat.copy(), number))
        loss, gradient, weight = merge(parts)
        lr_factor = _lr_factor(state, plan, number)
        state.optimizer.step(net.flat, gradient.astype(net.flat.dtype), lr_factor)
        total_loss += loss * weight
        total_weight += weight
        for callback in state.callbacks:
            callback.on_batch_end(state)
    return total_loss / total_weight


def _run_apart(state: TrainingState, plan: _Plan, crew: Crew) -> float:
    """Let each shard make some steps at a time, and average; return the mean loss."""
    net, total_loss, total_weight = state.net, 0.0, 0.0
    n_steps, every = plan.epoch.n_steps, plan.average_every or 1
    for first in range(0, n_steps, every):
        numbers = range(first, min(first + every, n_steps))
        factors = [_lr_factor(state, plan, number) for number in numbers]
        optimizer = type(state.optimizer), state.optimizer.settings(), state.optimizer.state()
        stretch = Stretch(plan.epoch, net.flat.copy(), optimizer, first, factors)
        arrival = averaged(crew.ask(descend, stretch))
        net.flat = arrival.flat
        state.optimizer.set_state(arrival.optimizer)
        total_loss += arrival.loss * arrival.weight
        total_weight += arrival.weight
        for callback in state.callbacks:
            callback.on_batch_end(state)
    return total_loss / total_weight


def _lr_factor(state: TrainingState, plan: _Plan, number: int) -> float:
    """Compute the factor of the learning rate for a step of the epoch at hand."""
    n_steps = plan.epoch.n_steps
    step = (state.epoch - 1) * n_steps + number
    return plan.schedule(step / (state.epochs * n_steps))
