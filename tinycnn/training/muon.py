"""Muon: steps along the gradient with all its directions made equally long."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tinycnn._checks import FloatArray, as_count, as_rate, as_share, shown
from tinycnn.training.optim import AdamW

# Of the polynomial that Jordan found: repeated, it brings singular values from 0 to 1 near to 1.
COEFFICIENTS = (3.4445, -4.7750, 2.0315)

# Sums of squares in float32 are right above this, and below its reciprocal.
SMALLEST = 1e-20


class Muon(AdamW):
    """Muon for the weights of all layers but the last one, AdamW for the rest.

    A weight (K, ...) is taken as a matrix of K rows. The singular values of its velocity are
    brought near to 1, and the step goes there, as in ``torch.optim.Muon``:

    ::

        velocity = momentum * velocity + gradient
        ahead = gradient + momentum * velocity
        weight *= 1 - matrix_lr * weight_decay
        weight -= matrix_lr * sqrt(max(1, rows / columns)) * orthogonal(ahead)

    So what few filters have in common is learned as fast as what all have. Biases and the last
    weight take steps of :class:`tinycnn.AdamW`. It pays in short trainings; a step costs some
    products of small matrices more.

    Parameters
    ----------
    shapes : mapping of str to tuple of int
        Of all parameters in their order: ``net.architecture.parameter_shapes``.
    matrix_lr : float
        Learning rate of the matrices: about how far the longest direction moves in a step.
    momentum : float
        In [0, 1): the share of the last velocity that is kept.
    lr, betas, eps, weight_decay
        AdamW's; lr above 0. A schedule changes both learning rates alike.
    ns_steps : int
        How often the polynomial is applied: 3 to 5 differ little.

    References
    ----------
    Jordan et al., "Muon: An optimizer for hidden layers in neural networks", 2024,
    https://kellerjordan.github.io/posts/muon.
    """

    def __init__(
        self,
        shapes: Mapping[str, Sequence[int]],
        matrix_lr: float = 0.05,
        momentum: float = 0.9,
        *,
        lr: float = 0.01,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        ns_steps: int = 5,
    ) -> None:
        super().__init__(lr, betas, eps, weight_decay)
        if self.lr == 0:
            raise ValueError("lr: must be above 0, got 0")
        self.shapes = _checked_shapes(shapes)
        self.matrix_lr = as_rate("matrix_lr", matrix_lr)
        self.momentum = as_share("momentum", momentum)
        self.ns_steps = as_count("ns_steps", ns_steps, 1)
        self._matrices = _matrices(list(self.shapes.values()))

    def settings(self) -> dict[str, Any]:
        """Return the arguments that make such an optimiser, by name."""
        return {
            "shapes": self.shapes,
            "matrix_lr": self.matrix_lr,
            "momentum": self.momentum,
            **super().settings(),
            "ns_steps": self.ns_steps,
        }

    def _sum_names(self) -> tuple[str, ...]:
        return (*super()._sum_names(), "velocity")

    def _refuse_misfits(self, flat: FloatArray, gradient: FloatArray) -> None:
        super()._refuse_misfits(flat, gradient)
        size = sum(math.prod(shape) for shape in self.shapes.values())
        if flat.size != size:
            raise ValueError(
                f"shapes: have {size} parameters in all, the network has {flat.size}; give "
                "net.architecture.parameter_shapes"
            )

    def _update(
        self, flat: FloatArray, gradient: FloatArray, lr: float, scratch: FloatArray
    ) -> None:
        rate = self.matrix_lr * (lr / self.lr)
        end = self._matrices[-1][0].stop if self._matrices else 0
        velocity = self._sums["velocity"][:end]
        velocity *= self.momentum
        velocity += gradient[:end]
        ahead = gradient[:end] + self.momentum * velocity
        weights = [flat[part] * (1.0 - rate * self.weight_decay) for part, _ in self._matrices]
        super()._update(flat, gradient, lr, scratch)
        for weight, (part, (rows, columns)) in zip(weights, self._matrices, strict=True):
            step = orthogonal(ahead[part].reshape(rows, columns), self.ns_steps)
            flat[part] = weight - rate * math.sqrt(max(1.0, rows / columns)) * step.ravel()


@np.errstate(invalid="ignore", over="ignore")  # what is not finite spreads without a word
def orthogonal(matrix: FloatArray, n_steps: int) -> FloatArray:
    """Bring all singular values of a matrix near to 1, and leave its singular vectors.

    Parameters
    ----------
    matrix : (rows, columns)
    n_steps : int
        The polynomial ``a s + b s**3 + c s**5`` is applied so often to each singular value s, after
        all were divided by the root of the sum of their squares.

    Returns
    -------
    (rows, columns)
        Zeros if the matrix is; not finite if it is not.
    """
    is_high = len(matrix) > matrix.shape[1]
    unit = _unit(matrix.T if is_high else matrix)
    gram = unit @ unit.T.copy()  # without the copy NumPy calls syrk, which is slow on so little
    # Each step multiplies the matrix by a polynomial of its small, square gram matrix. All of these
    # commute; their product is applied once.
    factor = step = _polynomial(gram)
    for _ in range(n_steps - 1):
        gram = step @ gram @ step
        step = _polynomial(gram)
        factor = step @ factor
    product: FloatArray = factor @ unit
    return product.T if is_high else product


def _unit(matrix: FloatArray) -> FloatArray:
    """Divide a matrix by the root of the sum of its squares, unless it is 0."""
    squares = float(np.vdot(matrix, matrix))
    if not SMALLEST < squares < 1 / SMALLEST:
        largest = np.abs(matrix).max()
        if largest == 0:
            return matrix
        matrix = matrix / largest  # squares neither overflow nor vanish
        squares = float(np.vdot(matrix, matrix))
    unit: FloatArray = matrix * (1 / math.sqrt(squares))
    return unit


def _polynomial(gram: FloatArray) -> FloatArray:
    a, b, c = COEFFICIENTS
    value = b * gram + c * (gram @ gram)
    value.flat[:: len(gram) + 1] += a
    return value


def _matrices(shapes: Sequence[tuple[int, ...]]) -> list[tuple[slice, tuple[int, int]]]:
    """Find where the weights stand, all but the last one, with their rows and columns."""
    found, start = [], 0
    for shape in shapes:
        size = math.prod(shape)
        if len(shape) > 1:
            found.append((slice(start, start + size), (shape[0], size // shape[0])))
        start += size
    return found[:-1]


def _checked_shapes(shapes: Any) -> dict[str, tuple[int, ...]]:
    if not isinstance(shapes, Mapping):
        raise TypeError(
            f"shapes: must be net.architecture.parameter_shapes, a mapping, got {shown(shapes)}"
        )
    return {
        name: tuple(as_count(f"shapes[{name!r}]", length, 1) for length in shape)
        for name, shape in shapes.items()
    }
