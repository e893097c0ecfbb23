"""Optimisers: what becomes of a gradient.

An optimiser works on the flat vector of all parameters, so one call updates a whole network.
It holds its settings and its own state, and nothing of the network.

A step is one compiled pass over all parameters (``_fused/descent.pxi``); arrays that the kernels
cannot take as they stand are copied first.
"""

from __future__ import annotations

import math
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from tinycnn._checks import (
    FLOAT_TYPES,
    FloatArray,
    as_count,
    as_flag,
    as_float_array,
    as_number,
    as_rate,
    require_ndim,
    require_same_dtype,
    shown,
)
from tinycnn.fast.dispatch import kernels


class Optimizer(ABC):
    """What all optimisers share: their checks, their state, and how they are told apart.

    An optimiser belongs to one network from its first step on. To train another, make a new one:
    ``type(optimizer)(**optimizer.settings())``.
    """

    _argument_names: ClassVar[tuple[str, ...]] = ("lr", "weight_decay")

    def __init__(self, lr: float, weight_decay: float) -> None:
        self.lr = as_rate("lr", lr)
        self.weight_decay = as_rate("weight_decay", weight_decay)
        self._n_steps = 0
        self._sums: dict[str, FloatArray] = {}
        self._scratch: FloatArray | None = None  # like the parameters

    def __repr__(self) -> str:
        settings = ", ".join(f"{name}={value}" for name, value in self.settings().items())
        return f"{type(self).__name__}({settings})"

    def settings(self) -> dict[str, Any]:
        """Return the arguments that make such an optimiser, by name."""
        return {name: getattr(self, name) for name in self._argument_names}

    def step(self, flat: FloatArray, gradient: FloatArray, lr_factor: float = 1.0) -> None:
        """Update the parameters in place by one step.

        Parameters
        ----------
        flat : (n_parameters,)
            Float32 or float64. Written to; keeps its dtype.
        gradient : (n_parameters,)
            Of the loss, at flat; of the same dtype. Only read.
        lr_factor : float
            What a learning-rate schedule multiplies lr by in this step.

        Raises
        ------
        ValueError
            For arrays that do not fit each other or the steps before, and for a factor that is
            negative or not finite; nothing is changed then.
        TypeError
            For arrays of another dtype.
        """
        if not (type(lr_factor) is float and 0.0 <= lr_factor <= sys.float_info.max):
            lr_factor = as_rate("lr_factor", lr_factor)
        scratch = self._scratch
        if scratch is None or not _are_alike(scratch, flat, gradient):
            if isinstance(gradient, np.ndarray):  # which may have another machine's byte order
                gradient = gradient.astype(gradient.dtype.newbyteorder("="), copy=False)
            self._refuse_misfits(flat, gradient)
        if scratch is None:
            scratch = self._scratch = np.empty(flat.shape, flat.dtype)
            self._sums = {name: np.zeros(flat.shape, flat.dtype) for name in self._sum_names()}
        self._n_steps += 1
        self._update(flat, gradient, self.lr * lr_factor, scratch)

    def state(self) -> dict[str, npt.NDArray[Any]]:
        """Return a copy of what the optimiser remembers, for :meth:`set_state`.

        Returns
        -------
        dict
            ``n_steps``, a whole number, and after the first step the running sums by name, each
            (n_parameters,); ready for ``np.savez``.
        """
        sums = {name: values.copy() for name, values in self._sums.items()}
        return {"n_steps": np.array(self._n_steps), **sums}

    def set_state(self, state: Mapping[str, npt.ArrayLike]) -> None:
        """Restore a state; later steps equal the original optimiser's bit for bit.

        Parameters
        ----------
        state : mapping
            What :meth:`state` returned, or a file of that; of an optimiser of the same class and
            settings, which are no part of it. The arrays are copied.

        Raises
        ------
        ValueError, TypeError
            For a state of another kind of optimiser, or arrays that do not fit each other;
            nothing is changed then.
        """
        if not isinstance(state, Mapping):
            raise TypeError(f"state: must be what state() gave, got {type(state).__name__}")
        if "n_steps" not in state:
            raise ValueError(f"state: needs n_steps, got {_listed(state)}; give what state() gave")
        require_ndim("state['n_steps']", np.asarray(state["n_steps"]), 0)
        n_steps = as_count("state['n_steps']", np.asarray(state["n_steps"])[()], 0)
        names = self._sum_names() if n_steps else ()
        if set(state) != {"n_steps", *names}:
            raise ValueError(
                f"state: after {n_steps} steps {self} keeps {_listed(['n_steps', *names])}, got "
                f"{_listed(state)}; make the optimiser with the class and settings it had before"
            )
        given = {name: as_float_array(f"state[{name!r}]", state[name], ndim=1) for name in names}
        require_same_dtype(**given)
        if len({values.size for values in given.values()}) > 1:
            sizes = ", ".join(f"{name} {values.size}" for name, values in given.items())
            raise ValueError(f"state: all sums of a network have one size, got {sizes}")
        self._n_steps = n_steps
        self._sums = {name: values.copy() for name, values in given.items()}
        self._scratch = next((np.empty_like(values) for values in given.values()), None)

    @abstractmethod
    def _sum_names(self) -> tuple[str, ...]:
        """Name the running sums that are kept from step to step."""

    @abstractmethod
    def _update(
        self, flat: FloatArray, gradient: FloatArray, lr: float, scratch: FloatArray
    ) -> None:
        """Do one step of checked arrays; scratch is like flat and may be written to."""

    def _refuse_misfits(self, flat: FloatArray, gradient: FloatArray) -> None:
        """Raise the error that tells what is wrong with a step's arrays, if anything is."""
        scratch = self._scratch
        for argument, array in (("flat", flat), ("gradient", gradient)):
            if not isinstance(array, np.ndarray):
                raise TypeError(f"{argument}: must be a NumPy array, got {type(array).__name__}")
            require_ndim(argument, array, 1, "(n_parameters,)")
        if flat.dtype not in FLOAT_TYPES:
            raise TypeError(f"flat: needs dtype float32 or float64, got {flat.dtype}")
        require_same_dtype(flat=flat, gradient=gradient)
        if flat.size != gradient.size:
            raise ValueError(
                f"gradient: needs a value for each of the {flat.size} parameters, "
                f"got {gradient.size}"
            )
        if not flat.flags.writeable:
            raise ValueError("flat: is read-only and cannot be updated; pass a copy: flat.copy()")
        if scratch is not None and (scratch.size, scratch.dtype) != (flat.size, flat.dtype):
            raise ValueError(
                f"{type(self).__name__}: this optimiser has trained {scratch.size} parameters of "
                f"{scratch.dtype} and cannot go on with {flat.size} of {flat.dtype}; "
                "make a new one for each network"
            )


class SGD(Optimizer):
    """Stochastic gradient descent with momentum and weight decay, as in ``torch.optim.SGD``.

    ::

        gradient += weight_decay * flat
        velocity = momentum * velocity + gradient
        flat -= lr * velocity

    with a velocity of 0 before the first step, of which no trace is kept if momentum is 0.
    Nesterov's momentum looks one step ahead: ``flat -= lr * (gradient + momentum * velocity)``.

    Parameters
    ----------
    lr : float
        Learning rate.
    momentum : float
        In [0, 1): the share of the last velocity that is kept.
    weight_decay : float
        Factor of the parameters that is added to their gradient (an L2 penalty).
    nesterov : bool
        Use Nesterov's momentum, in the form that Sutskever et al. gave it.

    References
    ----------
    Sutskever et al., "On the importance of initialization and momentum in deep learning", 2013.
    """

    _argument_names = ("lr", "momentum", "weight_decay", "nesterov")

    def __init__(
        self,
        lr: float = 0.05,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        nesterov: bool = False,
    ) -> None:
        super().__init__(lr, weight_decay)
        self.momentum = _as_decay("momentum", momentum)
        self.nesterov = as_flag("nesterov", nesterov)
        if nesterov and not self.momentum:
            raise ValueError(
                "nesterov: needs a momentum above 0, got momentum=0; set momentum=0.9, say, "
                "or nesterov=False"
            )

    def _sum_names(self) -> tuple[str, ...]:
        return ("velocity",) if self.momentum else ()

    def _update(
        self, flat: FloatArray, gradient: FloatArray, lr: float, scratch: FloatArray
    ) -> None:
        if self.momentum:
            numbers = (lr, self.momentum, self.weight_decay, self.nesterov)
            velocity = self._sums["velocity"]
            _run(kernels.momentum_step, flat, gradient, scratch, (velocity, numbers))
        else:
            _run(kernels.sgd_step, flat, gradient, scratch, ((lr, self.weight_decay),))


class Adam(Optimizer):
    """Adam, as in ``torch.optim.Adam``: every parameter's step is scaled by its own gradients.

    ::

        gradient += weight_decay * flat
        mean = the weighted mean of all gradients so far, the one of k steps ago by betas[0]**k
        mean_square = that of their squares, by betas[1]**k
        flat -= lr * mean / (sqrt(mean_square) + eps)

    Kept are the weighted sums; the sums of the weights, (1 - beta**n) / (1 - beta) after n steps,
    turn them into means. That is the paper's algorithm, whose moments are these sums times
    1 - beta, in fewer operations.

    Parameters
    ----------
    lr : float
        Learning rate: about how far a parameter moves in a step.
    betas : (float, float)
        Each in [0, 1): how much of the gradients, and of their squares, is kept from step to step.
    eps : float
        Above 0; gradients much smaller than this make smaller steps.
    weight_decay : float
        Factor of the parameters that is added to their gradient (an L2 penalty), and so is scaled
        like it. :class:`AdamW` decays them all alike.

    References
    ----------
    Kingma and Ba, "Adam: A Method for Stochastic Optimization", 2014, arXiv:1412.6980.
    """

    _argument_names = ("lr", "betas", "eps", "weight_decay")

    def __init__(
        self,
        lr: float = 0.001,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(lr, weight_decay)
        if not isinstance(betas, (tuple, list)) or len(betas) != 2:
            raise ValueError(
                f"betas: must be two numbers, such as (0.9, 0.999), got {shown(betas)}"
            )
        self.betas = (_as_decay("betas[0]", betas[0]), _as_decay("betas[1]", betas[1]))
        self.eps = as_rate("eps", eps)
        if self.eps == 0:
            raise ValueError(
                "eps: must be above 0, got 0: a parameter whose gradients are all 0 would become "
                "NaN; use a small number such as 1e-8"
            )

    def _sum_names(self) -> tuple[str, ...]:
        return ("gradient_sum", "square_sum")

    def _update(
        self, flat: FloatArray, gradient: FloatArray, lr: float, scratch: FloatArray
    ) -> None:
        beta, square_beta = self.betas
        weight = (1.0 - beta**self._n_steps) / (1.0 - beta)
        root = math.sqrt((1.0 - square_beta**self._n_steps) / (1.0 - square_beta))
        # lr * mean / (sqrt(mean_square) + eps), with numerator and denominator multiplied by
        # sqrt(square_weight) so that each value is divided once.
        numbers = (lr * root / weight, beta, square_beta, self.eps * root, *self._decay(lr))
        sums = (self._sums["gradient_sum"], self._sums["square_sum"])
        _run(kernels.adam_step, flat, gradient, scratch, (*sums, numbers))

    def _decay(self, lr: float) -> tuple[float, float]:
        """Return the penalty's factor, and that of the parameters themselves in a step."""
        return self.weight_decay, 1.0


class AdamW(Adam):
    """Adam with decoupled weight decay, as in ``torch.optim.AdamW``.

    ``flat *= 1 - lr * weight_decay``, and then a step of :class:`Adam` without weight decay.

    Parameters
    ----------
    lr, betas, eps
        As for :class:`Adam`.
    weight_decay : float
        How fast the parameters shrink, in units of the learning rate.

    References
    ----------
    Loshchilov and Hutter, "Decoupled Weight Decay Regularization", 2017, arXiv:1711.05101.
    """

    def __init__(
        self,
        lr: float = 0.001,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.01,
    ) -> None:
        super().__init__(lr, betas, eps, weight_decay)

    def _decay(self, lr: float) -> tuple[float, float]:
        return 0.0, 1.0 - lr * self.weight_decay


def _are_alike(scratch: FloatArray, flat: FloatArray, gradient: FloatArray) -> bool:
    """Tell whether a step's arrays are like the ones before, which were checked at length."""
    return (
        isinstance(flat, np.ndarray)
        and isinstance(gradient, np.ndarray)
        and flat.shape == scratch.shape == gradient.shape
        and flat.dtype == scratch.dtype == gradient.dtype
        and flat.flags.writeable
    )


def _run(
    kernel: Callable[..., None],
    flat: FloatArray,
    gradient: FloatArray,
    scratch: FloatArray,
    arguments: tuple[Any, ...],
) -> None:
    """Do a step by a kernel, on copies if it cannot take the arrays as they are."""
    if _are_plain(flat, gradient):
        kernel(flat, gradient, *arguments)
    else:
        scratch[...] = flat
        kernel(scratch, gradient.copy(), *arguments)
        flat[...] = scratch


def _are_plain(flat: FloatArray, gradient: FloatArray) -> bool:
    """Tell whether two vectors stand in memory value after value, and apart from each other.

    One array may be both: each value is read before it is written.
    """
    a, b = flat.flags, gradient.flags
    in_order = a.c_contiguous and a.aligned and b.c_contiguous and b.aligned
    own_memory = a.owndata and b.owndata  # told sooner than where it stands
    return in_order and (own_memory or not np.may_share_memory(flat, gradient))


def _as_decay(name: str, value: Any) -> float:
    """Return value as a float in [0, 1)."""
    if as_number(name, value) >= 1:
        raise ValueError(f"{name}: must be below 1, got {value}")
    return as_rate(name, value)


def _listed(names: Any) -> str:
    return ", ".join(map(str, names)) or "nothing"
