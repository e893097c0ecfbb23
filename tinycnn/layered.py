"""The readable path: a network computed layer by layer, as its list of layers has it.

It computes what the fast path computes, with the same methods and any layer: it is what the fast
path is held to, what runs where the fast path has no operation for a layer, and what to read.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from tinycnn._checks import FloatArray
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

        Parameters
        ----------
        flat : (n_parameters,)
        inputs : Inputs
        n_threads : int, optional
            Not used: one layer after the other is computed by one thread.
        rng : numpy.random.Generator, optional
            Given in training, where layers such as Dropout need it.
        """
        x = first_layer_input(inputs, self.dtype)
        caches = []
        for step, parameters in self._with_parameters(flat):
            x, cache = step.layer.forward(x, parameters, rng)
            caches.append(cache)
        return x, LayeredState(caches)

    @SPREADING
    def backward(self, dlogits: FloatArray, state: LayeredState) -> FloatArray:
        """Compute the gradient (n_parameters,), given that of the logits (N, n_classes)."""
        flat = np.empty(self.architecture.n_parameters, self.dtype)
        gradient = Parameters(flat, self.architecture.parameter_shapes)
        steps, dx = self.architecture.steps, dlogits
        for i in reversed(range(len(steps))):
            layer, cache = steps[i].layer, state.caches[i]
            if i > 0:
                dx, gradients = layer.backward(dx, cache)
            else:
                gradients = layer.backward_parameters(dx, cache)
            for part, value in gradients.items():
                gradient[f"{steps[i].name}.{part}"][...] = value
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
        all_finite = True
        for slab in slabs(inputs.images):
            x = first_layer_input(inputs._replace(images=inputs.images[slab]), self.dtype)
            all_finite = all_finite and bool(np.isfinite(x).all())
            for step, parameters in self._with_parameters(flat)[:n_steps]:
                x, _ = step.layer.forward(x, parameters)
            outputs[slab] = x.reshape(len(x), -1)
        return outputs, all_finite

    def _with_parameters(self, flat: FloatArray) -> list[tuple[Step, dict[str, FloatArray]]]:
        """Pair each step with its parameters."""
        parameters = Parameters(flat, self.architecture.parameter_shapes)
        return [(step, parameters.of(step.name)) for step in self.architecture.steps]


class LayeredGradients:
    """The loss and its gradient on one batch after the other; a context manager, as the fast one.

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

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        pass

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
        logits, state = path.forward(flat, inputs._replace(images=images), rng=self._rng)
        counts: npt.NDArray[Any] | None = None if weights is None else weights[chosen]
        loss, cache = cross_entropy_forward(
            logits, labels[chosen], counts, self._gradients.label_smoothing
        )
        gradient = path.backward(cross_entropy_backward(1.0, cache), state)
        return loss, gradient, float(len(images) if counts is None else counts.sum())
