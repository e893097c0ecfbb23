"""Types of what calls the compiled kernels; `_bindings.pyx` documents it."""

from typing import Self, final

import numpy as np
import numpy.typing as npt

_FloatArray = npt.NDArray[np.floating]
_WinnerArray = npt.NDArray[np.uint8]
_Bytes = npt.NDArray[np.uint8]
_Whole = npt.NDArray[np.int64]
_Doubles = npt.NDArray[np.float64]

__test__: dict[str, str]  # Cython's, for doctest

def use(table: object, /) -> None: ...
def conv2d_forward(
    x: _FloatArray, weight: _FloatArray, bias: _FloatArray, out: _FloatArray, /
) -> None: ...
def conv2d_backward_weight(x: _FloatArray, dout: _FloatArray, dweight: _FloatArray, /) -> None: ...
def conv2d_backward_bias(dout: _FloatArray, dbias: _FloatArray, /) -> None: ...
def conv2d_backward_input(weight: _FloatArray, dout: _FloatArray, dx: _FloatArray, /) -> None: ...
def relu_forward(x: _FloatArray, out: _FloatArray, /) -> None: ...
def relu_backward(dout: _FloatArray, x: _FloatArray, dx: _FloatArray, /) -> None: ...
def max_pool2d_forward(x: _FloatArray, out: _FloatArray, winner: _WinnerArray, /) -> None: ...
def max_pool2d_backward(dout: _FloatArray, winner: _WinnerArray, dx: _FloatArray, /) -> None: ...

@final
class Pool:
    @property
    def n_workers(self) -> int: ...
    def __new__(cls, n_workers: int, looks: int) -> Self: ...
    def work(self, worker: int) -> None: ...
    def close(self) -> None: ...

def lane_count(itemsize: int) -> int: ...
def plane_moments(
    images: _Bytes, kind: int, n: int, mean: _Doubles, squares: _Doubles, /
) -> None: ...
def memory_needs(
    shapes: _Whole, padding: int, hidden: int, M: int, bias: bool, item: int, group: int
) -> tuple[int, int, int]: ...

@final
class Batches:
    def __new__(
        cls,
        pool: Pool,
        n_threads: int,
        shapes: _Whole,
        padding: int,
        hidden: int,
        M: int,
        bias: bool,
        item: int,
        flat: _Bytes,
        images: _Bytes,
        kind: int,
        order: _Whole | None,
        moves: npt.NDArray[np.int8] | None,
        labels: _Whole,
        weights: _Doubles | None,
        smoothing: float,
        scale: _Doubles,
        shift: _Doubles,
        group: int,
        tables: _Bytes,
        slots: _Bytes,
        chunks: _Bytes,
        losses: _Doubles,
        gradient: _FloatArray,
        /,
    ) -> Self: ...
    def differentiate(
        self, first: int = 0, last: int = ..., /
    ) -> tuple[float, _FloatArray, float]: ...

def outputs(
    pool: Pool,
    n_threads: int,
    shapes: _Whole,
    padding: int,
    hidden: int,
    M: int,
    bias: bool,
    item: int,
    flat: _Bytes,
    images: _Bytes,
    kind: int,
    scale: _Doubles,
    shift: _Doubles,
    group: int,
    tables: _Bytes,
    slots: _Bytes,
    out: _Bytes,
    /,
) -> bool: ...
def sgd_step(
    item: int, flat: _FloatArray, gradient: _FloatArray, lr: float, weight_decay: float, /
) -> None: ...
def momentum_step(
    item: int,
    flat: _FloatArray,
    gradient: _FloatArray,
    velocity: _FloatArray,
    lr: float,
    momentum: float,
    weight_decay: float,
    nesterov: bool,
    /,
) -> None: ...
def adam_step(
    item: int,
    flat: _FloatArray,
    gradient: _FloatArray,
    gradient_sum: _FloatArray,
    square_sum: _FloatArray,
    lr: float,
    beta: float,
    square_beta: float,
    eps: float,
    weight_decay: float,
    kept: float,
    /,
) -> None: ...
