"""Types of what calls the compiled kernels; `_bindings.pyx` documents it."""

from typing import Any, Self, final

import numpy as np
import numpy.typing as npt

_FloatArray = npt.NDArray[np.floating]
_WinnerArray = npt.NDArray[np.uint8]
_Bytes = npt.NDArray[np.uint8]
_Whole = npt.NDArray[np.int64]
_Keys = npt.NDArray[np.uint64]
_Doubles = npt.NDArray[np.float64]

__test__: dict[str, str]  # Cython's, for doctest

def use(table: object, double_table: object, /) -> None: ...
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
    def __new__(cls, n_cpus: int, /) -> Self: ...
    def work(self) -> None: ...

def lane_count(itemsize: int) -> int: ...
def plane_moments(
    images: _Bytes, kind: int, n: int, mean: _Doubles, squares: _Doubles, /
) -> None: ...

@final
class Memory:
    def __new__(cls, n_bytes: int, /) -> Self: ...

@final
class Plan:
    @property
    def item(self) -> int: ...
    @property
    def lanes(self) -> int: ...
    @property
    def n_parameters(self) -> int: ...
    @property
    def n_classes(self) -> int: ...
    @property
    def n_features(self) -> int: ...
    @property
    def n_dropouts(self) -> int: ...
    @property
    def group_images(self) -> int: ...
    @property
    def kept_bytes(self) -> int: ...
    @property
    def work_bytes(self) -> int: ...
    def __new__(
        cls,
        rows: npt.NDArray[np.void],
        n_parameters: int,
        item: int,
        group_images: int,
        group_bytes: int,
        /,
    ) -> Self: ...

@final
class Images:
    def __new__(
        cls, pixels: npt.NDArray[Any], kind: int, scale: _Doubles, shift: _Doubles, /
    ) -> Self: ...

@final
class Work:
    @property
    def n_threads(self) -> int: ...
    @property
    def nbytes(self) -> int: ...
    @property
    def training(self) -> bool: ...
    def __new__(cls, plan: Plan, n_threads: int, training: bool, /) -> Self: ...

@final
class State:
    @property
    def nbytes(self) -> int: ...
    def __new__(
        cls, plan: Plan, flat: _FloatArray, n_images: int, keys: _Keys | None = None, /
    ) -> Self: ...

@final
class Batches:
    def __new__(
        cls,
        pool: Pool,
        work: Work,
        flat: _FloatArray,
        examples: tuple[
            Images, _Whole, _Whole | None, _Doubles | None, npt.NDArray[np.int8] | None
        ],
        smoothing: float,
        keys: _Keys | None = None,
        /,
    ) -> Self: ...
    def differentiate(
        self, first: int = 0, last: int = ..., /
    ) -> tuple[float, _FloatArray, float]: ...

def outputs(
    pool: Pool,
    work: Work,
    flat: _FloatArray,
    images: Images,
    out: _FloatArray,
    features: bool,
    /,
) -> bool: ...
def forward(pool: Pool, work: Work, state: State, images: Images, out: _FloatArray, /) -> bool: ...
def backward(
    pool: Pool, work: Work, state: State, dlogits: _FloatArray, gradient: _FloatArray, /
) -> None: ...
def sgd_step(flat: _FloatArray, gradient: _FloatArray, numbers: tuple[float, float], /) -> None: ...
def momentum_step(
    flat: _FloatArray,
    gradient: _FloatArray,
    velocity: _FloatArray,
    numbers: tuple[float, float, float, bool],
    /,
) -> None: ...
def adam_step(
    flat: _FloatArray,
    gradient: _FloatArray,
    gradient_sum: _FloatArray,
    square_sum: _FloatArray,
    numbers: tuple[float, float, float, float, float, float],
    /,
) -> None: ...
