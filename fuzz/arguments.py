"""Throw hostile arguments at the public functions.

Usage: arguments.py SEED N

Each outcome must be a value, or a clear ValueError, TypeError or OSError, within 5 seconds of CPU
and 1 GB; nothing may be read or written outside an array, which a build with sanitizers tells.
"""

from __future__ import annotations

import os
import random
import sys
import tempfile
from collections.abc import Callable
from typing import Any

import numpy as np
import outcomes

import tinycnn
from tinycnn import export, functional, inspection, report
from tinycnn.training import gradients

LABELS = np.arange(20) % 3
EXAMPLES = np.full((2, 1, 8, 8), 100, np.uint8)


def draw_array(rng: random.Random) -> Any:
    """Draw an array of some shape, kind and layout, or what is no array at all."""
    shape = tuple(
        rng.choice((0, 1, 2, 3, 4, 6, 8, 20)) for _ in range(rng.choice((0, 1, 2, 4, 4, 4)))
    )
    kind = rng.choice(("f4", "f4", "f8", "f8", "u1", "f2", ">f4", "i8", "?", "c8", "u2", "g"))
    array = np.full(shape, rng.choice((0, 1, 2, 7)), kind)
    turn = rng.randrange(6)
    if turn == 0 and array.ndim:
        return array[::-1]
    if turn == 1:
        return np.asfortranarray(array)
    if turn == 2:
        array.flags.writeable = False
    if turn == 3 and array.dtype.kind == "f" and array.size:
        array.flat[-1] = rng.choice((np.nan, np.inf, -np.inf, 3e38))
    return array


def draw_value(rng: random.Random) -> Any:
    """Draw anything that somebody may hand over."""
    if rng.random() < 0.5:
        return draw_array(rng)
    values: tuple[Any, ...] = (
        *(None, True, 0, 1, 2, 3, -1, 2**63, 10**30, 0.5, 1e308, -0.0, float("nan"), float("inf")),
        *(
            "",
            "x",
            "same",
            "adam",
            "balanced",
            b"x",
            (),
            (1,),
            (2, 3),
            (0, 0),
            (1, -1),
            [[1], [2, 3]],
        ),
        *(
            {},
            {0: 1},
            {"a": 2},
            object(),
            int,
            len,
            np.float32(2),
            np.ma.array([1, 2]),
            1j,
            range(3),
        ),
        *(slice(None), np.array(None), np.datetime64(0, "s"), np.array(["a"]), LABELS),
    )
    return rng.choice(values)


def is_large(value: Any) -> bool:
    """Tell numbers of epochs that would take for ever, as they should."""
    try:
        return bool(float(value) > 100)
    except (TypeError, ValueError, OverflowError):
        return isinstance(value, int)


def spoil(rng: random.Random, cache: Any) -> Any:
    """Change what a forward function has handed over for its backward function."""
    if isinstance(cache, np.ndarray):
        return rng.choice((draw_array(rng), cache[..., :1], np.full_like(cache, 200)))
    fields = list(cache._fields)
    name = rng.choice(fields)
    value = getattr(cache, name)
    if isinstance(value, np.ndarray) and value.flags.writeable and rng.random() < 0.5:
        value[...] = rng.choice((0, 255, -1)) if value.dtype.kind != "u" else 255
        return cache
    return cache._replace(**{name: draw_value(rng)})


def backward(rng: random.Random) -> None:
    """Call a backward function with a cache or a gradient that was changed."""
    x = np.ones((2, 3, 8, 8), rng.choice(("f4", "f8")))
    pairs: tuple[tuple[Callable[[], Any], Callable[..., Any]], ...] = (
        (
            lambda: functional.conv2d_forward(x, np.ones((4, 3, 3, 2), x.dtype), padding=1),
            functional.conv2d_backward,
        ),
        (lambda: functional.relu_forward(x), functional.relu_backward),
        (lambda: functional.max_pool2d_forward(x), functional.max_pool2d_backward),
        (
            lambda: functional.linear_forward(x[:, 0, 0], np.ones((5, 8), x.dtype)),
            functional.linear_backward,
        ),
    )
    forward, back = rng.choice(pairs)
    out, cache = forward()
    if rng.random() < 0.7:
        cache = spoil(rng, cache)
    back(draw_value(rng) if rng.random() < 0.4 else out, cache)


def layers(rng: random.Random) -> None:
    """Call a forward function with anything."""
    name = rng.choice(("conv2d", "relu", "max_pool2d", "linear", "cross_entropy"))
    function = getattr(functional, f"{name}_forward")
    n = {"relu": 1, "max_pool2d": 1}.get(name, 2)
    function(*(draw_value(rng) for _ in range(n)))


def small_network() -> tinycnn.CNN:
    """Make a network for images (1, 8, 8)."""
    return tinycnn.CNN((1, 8, 8), channels=(2,), n_classes=3)


def network(rng: random.Random) -> None:
    """Call a method of a network with anything."""
    net = small_network()
    method = rng.choice(
        (
            "logits",
            "features",
            "predict",
            "predict_proba",
            "forward",
            "standardize",
            "flat",
            "score",
        )
    )
    if method == "flat":
        net.flat = draw_value(rng)
    elif method == "score":
        net.score(np.zeros((3, 1, 8, 8)), draw_value(rng))
    elif rng.random() < 0.5:
        getattr(net, method)(draw_value(rng))
    else:
        keyword = "sample_weight" if method == "standardize" else "n_threads"
        getattr(net, method)(np.zeros((3, 1, 8, 8)), **{keyword: draw_value(rng)})


def states(rng: random.Random) -> None:
    """Hand a network a gradient or a state that is not its own."""
    net, other = small_network(), tinycnn.CNN((1, 8, 8), channels=(9,), n_classes=3)
    logits, state = rng.choice((net, net, other)).forward(
        np.ones((rng.choice((1, 20)), 1, 8, 8), "f4")
    )
    if rng.random() < 0.3:
        state = state._replace(**{rng.choice(state._fields): draw_value(rng)})
    net.backward(draw_value(rng) if rng.random() < 0.5 else logits, state)


class Meddle(tinycnn.Callback):
    """Changes what a callback gets to see."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng

    def on_batch_end(self, state: Any) -> None:
        """Change one thing, in place or for another."""
        rng, kind = self.rng, self.rng.randrange(5)
        arrays = [state.order, *(v for v in state.arguments.values() if isinstance(v, np.ndarray))]
        array = rng.choice(arrays)
        if kind == 0 and array.flags.writeable:
            array[...] = rng.choice((0, 1, 100))
            array[...] *= np.array(10**6, array.dtype) if array.itemsize > 4 else 1
        elif kind == 1:
            state.order = draw_array(rng)
        elif kind == 2:
            state.batches_per_epoch = rng.choice((1, 3, 100))
        elif kind == 3:
            state.net.set_scaling([rng.random()], [rng.random() + 0.1])
        else:
            state.validation = draw_value(rng), draw_value(rng)


def training(rng: random.Random) -> None:
    """Call fit with one argument that may be anything, or with a callback that meddles."""
    net, images = small_network(), np.random.default_rng(0).random((20, 1, 8, 8))
    arguments: dict[str, Any] = {"epochs": 2, "batch_size": 7, "verbose": False, "n_threads": 2}
    names = (
        *("epochs", "batch_size", "optimizer", "schedule", "augmentation", "sample_weight"),
        *("class_weight", "label_smoothing", "validation_data", "validation_fraction"),
        *("callbacks", "seed", "n_threads", "images", "labels"),
    )
    name, value = rng.choice(names), draw_value(rng)
    data = {"images": images, "labels": LABELS.copy()}
    if rng.random() < 0.3:
        arguments["callbacks"] = Meddle(rng)
    elif name in data:
        data[name] = value
    elif not (name == "epochs" and is_large(value)):
        arguments[name] = value
    tinycnn.fit(net, **data, **arguments)


def contract(rng: random.Random) -> None:
    """Call the contract's train with one argument that may be anything."""
    x, w_conv, w_fc = np.ones((4, 1, 8, 8)), np.ones((2, 1, 3, 3)), np.ones((18, 3))
    arguments = [x, np.arange(4) % 3, w_conv, w_fc, 0.1, 2]
    at = rng.randrange(6)
    value = draw_value(rng)
    if at == 5 and is_large(value):
        return
    arguments[at] = value
    tinycnn.train(*arguments)


def optimisers(rng: random.Random) -> None:
    """Step with arrays that do not fit, and restore states that are none."""
    made = rng.choice((tinycnn.SGD, tinycnn.Adam, tinycnn.AdamW))()
    flat = np.ones(6, rng.choice(("f4", "f8")))
    for _ in range(2):
        made.step(flat, rng.choice((flat, draw_value(rng))))
    if rng.random() < 0.5:
        made.set_state({**made.state(), rng.choice(list(made.state())): draw_value(rng)})
    made.step(rng.choice((flat, draw_value(rng))), flat)


def construction(rng: random.Random) -> None:
    """Describe a network by anything, and compute with it if that makes one."""
    described: dict[str, Any] = {"channels": (2,), "n_classes": 3}
    names = (
        "channels",
        "kernel_size",
        "hidden",
        "padding",
        "n_classes",
        "bias",
        "dtype",
        "class_names",
    )
    described[rng.choice(names)] = draw_value(rng)
    shape = draw_value(rng) if rng.random() < 0.2 else (1, 8, 8)
    net = tinycnn.CNN(shape, **described)
    net.logits(np.zeros((2, *net.architecture.image_shape)))


def exports(rng: random.Random) -> None:
    """Write a network with one argument that may be anything."""
    functions: tuple[tuple[Callable[..., Any], dict[str, Any]], ...] = (
        (export.to_c, {"path": "a.h", "name": "a", "layout": "header", "input": "uint8"}),
        (export.to_html, {"path": "a.html", "title": "a", "examples": EXAMPLES, "labels": [0, 1]}),
        (export.to_onnx, {"path": "a.onnx", "input": "float32", "metadata": {"a": "b"}}),
        (export.to_safetensors, {"path": "a.safetensors"}),
        (export.pytorch_source, {"weights": "a"}),
        (export.quantize, {"images": EXAMPLES}),
        (tinycnn.save_model, {"path": "a.npz"}),
    )
    function, arguments = rng.choice(functions)
    name = rng.choice(["net", *arguments])
    arguments = {"net": small_network(), **arguments, name: draw_value(rng)}
    function(arguments.pop("net"), **arguments)


def inspections(rng: random.Random) -> None:
    """Measure and report on what may be anything."""
    net, labels = small_network(), [0, 1]
    shares = np.full((2, 3), 1 / 3)
    functions: tuple[tuple[Callable[..., Any], tuple[Any, ...]], ...] = (
        (tinycnn.evaluate, (net, EXAMPLES, labels)),
        (inspection.layer_outputs, (net, EXAMPLES)),
        (inspection.input_gradient, (net, EXAMPLES, labels)),
        (inspection.margins, (shares,)),
        (inspection.confident_mistakes, (shares, labels)),
        (inspection.typical_images, (shares, labels)),
        (inspection.reliability, (shares, labels)),
        (gradients.loss_and_gradient, (net, EXAMPLES, labels)),
        (report.write_report, (net, EXAMPLES, labels, "a.html")),
    )
    function, given = rng.choice(functions)
    at = rng.randrange(len(given))
    function(*given[:at], draw_value(rng), *given[at + 1 :])


KINDS = (
    *(backward, layers, network, states, training, contract, optimisers, construction),
    *(exports, inspections),
)


def main() -> None:
    """Try N calls."""
    seed, n = int(sys.argv[1]), int(sys.argv[2])
    # What training raises of its own: a loss that is not finite, a batch that the order lacks.
    clear = (*outcomes.CLEAR, FloatingPointError, IndexError)

    def attempt(number: int) -> str:
        rng = random.Random(seed * 10**9 + number)
        kind = rng.choice(KINDS)
        words = outcomes.failure(lambda: quietly(kind, rng), clear)
        return f"{kind.__name__}: {words}" if words else ""

    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)  # a path may be anything, too
        outcomes.campaign(f"arguments, seed {seed}", n, attempt)


def quietly(kind: Callable[[random.Random], None], rng: random.Random) -> None:
    """Run a kind of call where infinities may come up without a word."""
    with np.errstate(all="ignore"):
        kind(rng)


if __name__ == "__main__":
    main()
