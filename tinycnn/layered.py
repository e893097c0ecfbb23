"""The readable path: a network computed layer by layer, as its list of layers has it.

It computes what the fast path computes, with the same methods and any layer: it is what the fast
path is held to, what runs where the fast path has no operation for a layer, and what to read.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tinycnn._checks import FloatArray, require_memory
from tinycnn.architecture import Architecture, Step
from tinycnn.functional import cross_entropy_backward, cross_entropy_forward
from tinycnn.inputs import (
    Examples,
    Inputs,
    first_layer_input,
    move_images,
    private_examples,
    slabs,
)
from tinycnn.layer import Arrays, OutAndCache, Random
from tinycnn.layers import DropoutKey
from tinycnn.parameters import Parameters

# Values of all layers' outputs that a slab of images may have.
STATE_VALUES = 2**22

# Infinities and NaN spread without a word, as in the kernels; who needs finite numbers looks.
SPREADING = np.errstate(over="ignore", invalid="ignore")


class LayeredState(NamedTuple):
    """What :meth:`LayeredPath.backward` needs of the forward pass: each layer's cache."""

    caches: list[Any]


class LayeredPath:
    """A network's forward and backward pass, one layer after the other.

    Parameters
    ----------
    architecture : Architecture
    dtype : float32 or float64
    """

    def __init__(self, architecture: Architecture, dtype: np.dtype[Any]) -> None:
        self.architecture = architecture
        self.dtype = dtype
        for step in architecture.steps:
            _require_memory(step, 1, dtype)

    @property
    def slab_images(self) -> int:
        """How many images to compute at a time where memory is not to grow with their number."""
        values = sum(math.prod(step.output_shape) for step in self.architecture.steps)
        return max(1, STATE_VALUES // values)

    @SPREADING
    def forward(
        self,
        flat: FloatArray,
        inputs: Inputs,
        n_threads: int | None = None,
        rng: np.random.Generator | None = None,
    ) -> tuple[FloatArray, LayeredState]:
        """Compute the logits (N, n_classes), and keep what :meth:`backward` needs.

        Arguments are those of the fast path. One layer after the other is computed by one thread,
        whatever n_threads; rng is given in training, where layers such as Dropout need it.
        """
        return self.forward_part(flat, inputs, rng, self.architecture.draw_dropouts(rng))

    @SPREADING
    def forward_part(
        self,
        flat: FloatArray,
        inputs: Inputs,
        rng: Random,
        dropouts: Mapping[str, int],
        first: int = 0,
    ) -> tuple[FloatArray, LayeredState]:
        """Compute some images, the first one on, of those that share the numbers of dropouts."""
        parameters = Parameters(flat, self.architecture.parameter_shapes)
        x = first_layer_input(inputs, self.dtype)
        keys = {name: DropoutKey(number, first) for name, number in dropouts.items()}
        logits, caches = forward_steps(self.architecture.steps, x, parameters, rng, keys)
        return logits, LayeredState(caches)

    @SPREADING
    def backward(self, dlogits: FloatArray, state: LayeredState) -> FloatArray:
        """Compute the gradient (n_parameters,), given that of the logits (N, n_classes)."""
        flat = np.empty(self.architecture.n_parameters, self.dtype)
        gradient = Parameters(flat, self.architecture.parameter_shapes)
        first, *others = self.architecture.steps
        dx, gradients = backward_steps(others, dlogits, state.caches[1:])
        of_first = first.layer.backward_parameters(dx, state.caches[0])
        for name, value in {**gradients, **_by_full_name(first, of_first)}.items():
            gradient[name][...] = value
        return flat

    def logits(
        self, flat: FloatArray, inputs: Inputs, n_threads: int | None = None
    ) -> tuple[FloatArray, bool]:
        """Compute the logits (N, n_classes), and whether all pixels were finite numbers."""
        return self._outputs(flat, inputs, len(self.architecture.steps))

    def features(
        self, flat: FloatArray, inputs: Inputs, n_threads: int | None = None
    ) -> tuple[FloatArray, bool]:
        """Compute what the last layer sees (N, n_features); else as :meth:`logits`."""
        return self._outputs(flat, inputs, len(self.architecture.steps) - 1)

    def gradients(
        self, flat: FloatArray, n_threads: int | None = None, label_smoothing: float = 0.0
    ) -> LayeredGradients:
        """Prepare for training: see :class:`LayeredGradients`."""
        return LayeredGradients(self, flat, label_smoothing)

    @SPREADING
    def _outputs(self, flat: FloatArray, inputs: Inputs, n_steps: int) -> tuple[FloatArray, bool]:
        """Compute the outputs (N, values) of the first n_steps layers, keeping no caches."""
        steps = self.architecture.steps
        width = math.prod(steps[n_steps - 1].output_shape if n_steps else steps[0].input_shape)
        outputs = np.empty((len(inputs.images), width), self.dtype)
        parameters = Parameters(flat, self.architecture.parameter_shapes)
        all_finite = True
        for slab in slabs(inputs.images):
            x = first_layer_input(inputs._replace(images=inputs.images[slab]), self.dtype)
            all_finite = all_finite and bool(np.isfinite(x).all())
            for step in steps[:n_steps]:
                x, _ = _forward(step, x, parameters)
            outputs[slab] = x.reshape(len(x), -1)
        return outputs, all_finite


def forward_steps(
    steps: Sequence[Step],
    x: FloatArray,
    parameters: Arrays,
    rng: Random = None,
    keys: Mapping[str, DropoutKey] = MappingProxyType({}),
) -> tuple[FloatArray, list[Any]]:
    """Run some layers one after the other.

    Parameters
    ----------
    steps : sequence of Step
    x : (N, *input_shape of the first)
    parameters : mapping of str to array
        Under their full names, such as ``conv1.weight``.
    rng : numpy.random.Generator, optional
        Given in training.
    keys : mapping of str to DropoutKey
        What a Dropout takes instead of rng, by name.

    Returns
    -------
    out : (N, *output_shape of the last)
    caches : list
        For :func:`backward_steps`, one a step.

    Raises
    ------
    ValueError
        If a layer does not make what it says of its output.
    """
    caches = []
    for step in steps:
        x, cache = _forward(step, x, parameters, keys.get(step.name, rng))
        caches.append(cache)
    return x, caches


def backward_steps(
    steps: Sequence[Step], dout: FloatArray, caches: Sequence[Any]
) -> tuple[FloatArray, dict[str, FloatArray]]:
    """Run some layers backwards, the last one first.

    Parameters
    ----------
    steps : sequence of Step
    dout : (N, *output_shape of the last)
    caches : sequence
        From :func:`forward_steps`.

    Returns
    -------
    dx : (N, *input_shape of the first)
    gradients : dict of str to array
        Under the full names of the parameters.

    Raises
    ------
    ValueError
        If a layer does not make what it says of its input and its parameters.
    """
    gradients: dict[str, FloatArray] = {}
    for step, cache in zip(reversed(steps), reversed(caches), strict=True):
        dx, own = step.layer.backward(dout, cache)
        _require_kept(f"{step.name}: backward: dx", dx, (len(dout), *step.input_shape), dout.dtype)
        gradients |= _by_full_name(step, own)
        dout = dx
    return dout, gradients


def _forward(step: Step, x: FloatArray, parameters: Arrays, rng: Any = None) -> OutAndCache:
    """Run one layer, and hold it to what it says of its output."""
    _require_memory(step, len(x), x.dtype)
    start = len(step.name) + 1
    own = {name[start:]: parameters[name] for name in step.parameter_shapes}
    out, cache = step.layer.forward(x, own, rng)
    _require_kept(f"{step.name}: forward: out", out, (len(x), *step.output_shape), x.dtype)
    return out, cache


def _require_memory(step: Step, n_images: int, dtype: np.dtype[Any]) -> None:
    """Raise MemoryError if this machine cannot hold what a layer makes of some images."""
    n_bytes = n_images * math.prod(step.output_shape) * dtype.itemsize
    require_memory(f"the output of {step.name}", n_bytes)


def _by_full_name(step: Step, gradients: Arrays) -> dict[str, FloatArray]:
    """Name a layer's gradients as the network does; ValueError unless there is one for each."""
    named = {f"{step.name}.{part}": gradient for part, gradient in gradients.items()}
    if named.keys() != step.parameter_shapes.keys():
        raise ValueError(
            f"{step.name}: backward: needs a gradient for each of {list(step.parameter_shapes)}, "
            f"got {list(named)}; give 0 for what no gradient moves"
        )
    return named


def _require_kept(name: str, array: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    """Raise ValueError unless an array that a layer has made is what the next one counts on."""
    got = np.shape(array), getattr(array, "dtype", type(array).__name__)
    if got != (shape, dtype):
        raise ValueError(
            f"{name}: must have shape {shape} and dtype {dtype}, got {got[0]} and {got[1]}"
        )


class LayeredGradients:
    """Computes the loss and its gradient on one batch after the other, as the fast one does.

    Parameters
    ----------
    path : LayeredPath
    flat : (n_parameters,)
        The network's parameters, read anew for each batch.
    label_smoothing : float
        Share of each target that is spread evenly over all classes.
    """

    def __init__(self, path: LayeredPath, flat: FloatArray, label_smoothing: float) -> None:
        self.path = path
        self.flat = flat
        self.label_smoothing = label_smoothing

    def over(self, examples: Examples, rng: np.random.Generator | None = None) -> LayeredBatches:
        """Prepare for batches of the examples; rng is for layers that are random in training."""
        return LayeredBatches(self, examples, rng)


class LayeredBatches:
    """Labelled images in an order, and the loss of a network on batch after batch of them."""

    def __init__(
        self, gradients: LayeredGradients, examples: Examples, rng: np.random.Generator | None
    ) -> None:
        self._gradients = gradients
        self._examples = private_examples(examples, gradients.path.architecture.n_classes)
        self._rng = rng
        self._dropouts = gradients.path.architecture.draw_dropouts(rng)

    @SPREADING
    def differentiate(
        self, first: int = 0, last: int | None = None
    ) -> tuple[float, FloatArray, float]:
        """Return the mean loss of images first to last of the order, its gradient, their weight.

        The mean is weighted if the images are; where their weights add up to 0, so do loss and
        gradient.
        """
        inputs, labels, order, weights, moves = self._examples
        chosen: Any = slice(first, last) if order is None else order[first:last]
        images = inputs.images[chosen]
        if moves is not None:
            images = move_images(images, moves[chosen])
        path, flat = self._gradients.path, self._gradients.flat
        inputs = inputs._replace(images=images)
        logits, state = path.forward_part(flat, inputs, self._rng, self._dropouts, first)
        counts: npt.NDArray[Any] | None = None if weights is None else weights[chosen]
        loss, cache = cross_entropy_forward(
            logits, labels[chosen], counts, self._gradients.label_smoothing
        )
        gradient = path.backward(cross_entropy_backward(1.0, cache), state)
        return loss, gradient, float(len(images) if counts is None else counts.sum())
