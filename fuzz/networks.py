"""Random networks on the fast path against the readable path.

Usage: networks.py SEED SECONDS [PRODUCTS]

PRODUCTS is how many a network may compute for all its images; few, and more networks are tried.
Values of both must agree to rounding, and for any number of threads to the bit. At a kink (a ReLU's
input that is nearly 0, two nearly equal values of a pooling window) rounding alone decides where a
gradient goes; so gradients that differ are compared again with parameters close by, where a kink is
left behind and a fault is not. Run on a build with sanitizers, this is the hunt for reads and
writes outside arrays: see tools/sanitize.py.
"""

from __future__ import annotations

import sys
import time
from typing import Any, NamedTuple

import numpy as np

from tinycnn import Conv, Dropout, Flatten, Linear, MaxPool, ReLU
from tinycnn.architecture import Architecture
from tinycnn.fast.dispatch import LEVEL
from tinycnn.fast.engine import FastPath
from tinycnn.fast.plan import NoPlan
from tinycnn.inputs import Examples, Inputs
from tinycnn.layered import LayeredPath

TOLERANCES = {"float32": 2e-4, "float64": 1e-11}
MOST_PRODUCTS = float((*sys.argv[3:], "4e6")[0])
STEP_OFF_A_KINK, NEIGHBOURS = 1e-4, 3
PIXELS = ("uint8", "float16", "float32", "float64", "uint16", ">f4")


class Case(NamedTuple):
    """A network and what it is given."""

    architecture: Architecture
    dtype: str
    flat: np.ndarray
    examples: Examples
    smoothing: float
    n_threads: int


def draw_layers(rng: np.random.Generator) -> list[Any]:
    """Draw convolutions, with ReLU and MaxPool or without, and then layers of Linear and ReLU."""
    layers: list[Any] = []
    largest = rng.choice((4, 10))
    for _ in range(rng.integers(0, 5)):
        kernel = tuple(int(k) for k in rng.integers(1, largest, 2))
        padding = ("same", 0, int(rng.integers(0, 5)), tuple(map(int, rng.integers(0, 4, 2))))
        conv = Conv(
            int(rng.integers(1, 41)), kernel, padding[rng.integers(4)], bool(rng.random() < 0.7)
        )
        behind = ([ReLU(), MaxPool()], [MaxPool(), ReLU()], [ReLU()], [])
        layers += [*draw_dropout(rng), conv, *behind[rng.choice(4, p=(0.4, 0.2, 0.3, 0.1))]]
    layers.append(Flatten())
    for _ in range(rng.integers(0, 3)):
        layers += [*draw_dropout(rng), Linear(int(rng.integers(1, 71)), bool(rng.random() < 0.7))]
        layers += [ReLU()] if rng.random() < 0.7 else []
    return [*layers, *draw_dropout(rng), Linear(int(rng.integers(1, 41)), bool(rng.random() < 0.7))]


def draw_dropout(rng: np.random.Generator) -> list[Any]:
    """Draw a Dropout, or more often none."""
    return [Dropout(float(rng.choice((0, 0.2, 0.5, 0.9))))] if rng.random() < 0.25 else []


def draw_case(rng: np.random.Generator) -> Case | None:
    """Draw a network and its images; None where they do not fit each other or take too long."""
    largest = rng.choice((12, 24, 81))
    shape = (int(rng.integers(1, 6)), *(int(size) for size in rng.integers(1, largest, 2)))
    try:
        architecture = Architecture(shape, draw_layers(rng))
        products = sum(
            np.prod(step.parameter_shapes.get(f"{step.name}.weight", 0))
            * np.prod(step.output_shape[1:])
            for step in architecture.steps
        )
    except ValueError:
        return None
    if products > MOST_PRODUCTS:
        return None
    dtype = str(rng.choice(list(TOLERANCES)))
    flat = (0.3 * rng.normal(size=architecture.n_parameters)).astype(dtype)
    N = max(
        1, min(int(rng.integers(1, rng.choice((3, 20, 40, 300)))), int(MOST_PRODUCTS / products))
    )
    examples = draw_examples(rng, N, architecture)
    # One class alone has no gradient: with smoothing, rounding would be all that there is of one.
    smoothing = float(rng.choice((0, 0.1))) if architecture.n_classes > 1 else 0.0
    return Case(architecture, dtype, flat, examples, smoothing, int(rng.integers(1, 9)))


def draw_examples(rng: np.random.Generator, N: int, architecture: Architecture) -> Examples:
    """Draw images of any kind and layout, with or without weights, moves and an order."""
    C, H, W = architecture.image_shape
    kind = np.dtype(rng.choice(PIXELS))
    images = rng.random((N, C, H, W))
    images = (255 * images).astype(kind) if kind.kind == "u" else images.astype(kind)
    images = [images, np.asfortranarray(images), images[:, :, ::-1]][rng.integers(3)]
    scale, shift = rng.uniform(0.5, 2, C), rng.normal(size=C)
    inputs = Inputs(images, scale / (255 if kind.kind == "u" else 1), shift)
    most = min(127, *(size - 1 for size in (H, W)))
    moves = np.stack(
        [rng.integers(-most, most + 1, N), rng.integers(-most, most + 1, N), rng.integers(0, 2, N)],
        1,
    ).astype(np.int8)
    order = rng.permutation(N)[: rng.integers(1, N + 1)]
    return Examples(
        inputs,
        rng.integers(0, architecture.n_classes, N),
        order if rng.random() < 0.5 else None,
        rng.random(N) if rng.random() < 0.5 else None,
        moves if rng.random() < 0.5 else None,
    )


def results(path: Any, case: Case, rng: np.random.Generator, n_threads: int) -> dict[str, Any]:
    """Compute all that a path computes."""
    inputs = case.examples.inputs
    dropping = np.random.default_rng(0) if rng.random() < 0.7 else None
    forward, state = path.forward(case.flat, inputs, n_threads, dropping)
    dlogits = rng.normal(size=forward.shape).astype(case.dtype)
    batches = path.gradients(case.flat, n_threads, case.smoothing).over(case.examples, dropping)
    first = int(rng.integers(0, len(batches_order(case))))
    loss, gradient, weight = batches.differentiate(first, first + int(rng.integers(1, 200)))
    return {
        "forward": forward,
        "backward": path.backward(dlogits, state),
        "logits": path.logits(case.flat, inputs, n_threads)[0],
        "features": path.features(case.flat, inputs, n_threads)[0],
        "loss": np.array([loss]),
        "gradient": gradient.copy(),
        "weight": np.array([weight]),
    }


def batches_order(case: Case) -> np.ndarray:
    """Return the images of a batch, in their order."""
    order = case.examples.order
    return np.arange(len(case.examples.labels)) if order is None else order


def differences(case: Case, seed: int) -> list[str]:
    """Say in what the paths differ by more than rounding, or threads by a bit."""
    dtype = np.dtype(case.dtype)
    slow = results(LayeredPath(case.architecture, dtype), case, np.random.default_rng(seed), 1)
    fast_path = FastPath(case.architecture, dtype)
    fast, threaded = (
        results(fast_path, case, np.random.default_rng(seed), n) for n in (1, case.n_threads)
    )
    other_bits = [
        f"{name}: {case.n_threads} threads give other bits"
        for name, value in fast.items()
        if not np.array_equal(value, threaded[name], equal_nan=True)
    ]
    errors = {name: relative_error(value, slow[name]) for name, value in fast.items()}
    return other_bits + [
        f"{name}: error {error:.2g}"
        for name, error in errors.items()
        if not error <= TOLERANCES[case.dtype]
    ]


def relative_error(value: np.ndarray, expected: np.ndarray) -> float:
    """Return the largest error beside the largest value."""
    scale = max(float(np.abs(expected).max(initial=0)), 0.1)
    return float(np.abs(value - expected).max(initial=0)) / scale


def faults(case: Case, seed: int) -> list[str]:
    """Say in what the paths differ, but for gradients at a kink of the network."""
    found = differences(case, seed)
    if not all(said.startswith(("backward: error", "gradient: error")) for said in found):
        return found
    rng = np.random.default_rng(seed)
    for _ in range(NEIGHBOURS if found else 0):
        moved = case.flat * (1 + STEP_OFF_A_KINK * rng.normal(size=case.flat.shape))
        if differences(case._replace(flat=moved.astype(case.dtype)), seed):
            return found
    return []


def main() -> None:
    """Try networks as long as there is time."""
    seed, seconds, tried, failed = int(sys.argv[1]), float(sys.argv[2]), 0, 0
    end = time.monotonic() + seconds
    for number in range(10**9):
        if time.monotonic() > end:
            break
        case = draw_case(np.random.default_rng((seed, number)))
        if case is None:
            continue
        try:
            found = faults(case, number)
        except NoPlan as reason:
            found = [str(reason)]
        tried, failed = tried + 1, failed + bool(found)
        if found:
            print(f"network {number} of seed {seed}:", *found, case.architecture, sep="\n  ")
    print(f"networks, seed {seed}, {LEVEL}: {tried:,} tried, {failed} failures", flush=True)
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
