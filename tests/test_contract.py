"""The contract of ``tinycnn.train``, held against numbers that PyTorch computed and its words.

The numbers are those of ``golden/train_cases.npz``; ``golden/make_train_cases.py`` made them and
says how. What must be refused is in ``test_contract_errors.py``.

Letters: N images of H x W; K filters of R x S; pooled P x Q; F = K*P*Q features; C classes.
"""

from __future__ import annotations

import inspect
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import numeric_gradient, relative_error

from tinycnn import lesson, train

GOLDEN = Path(__file__).parent / "golden" / "train_cases.npz"
TOLERANCE = {"float32": 1e-4, "float64": 1e-10}


@dataclass(frozen=True)
class Call:
    """The arguments of one call of ``train``."""

    x: Any
    y: Any
    w_conv: Any
    w_fc: Any
    lr: Any
    n_epochs: Any

    def run(self) -> np.ndarray:
        """Call ``train``."""
        return train(self.x, self.y, self.w_conv, self.w_fc, self.lr, self.n_epochs)


@dataclass(frozen=True)
class Case:
    """One golden case: a call, and what the contract and a wrong variant of it return."""

    name: str
    call: Call
    expected: np.ndarray
    without_second_division: np.ndarray
    filters_matter: bool

    @property
    def tolerance(self) -> float:
        """How far the result may be from the expected one, relative to its largest value."""
        return TOLERANCE[str(self.call.w_fc.dtype)]


def read_cases() -> Iterator[Case]:
    """Unpack the golden cases, which lie end to end in one array per field."""
    with np.load(GOLDEN) as file:
        fields = dict(file)
    position = dict.fromkeys(fields, 0)

    def take(name: str, *shape: int) -> np.ndarray:
        start = position[name]
        position[name] += int(np.prod(shape))
        return fields[name][start : position[name]].reshape(shape)

    for i, (N, H, W, K, R, S, C) in enumerate(fields["sizes"].astype(int)):
        F = K * ((H - R + 1) // 2) * ((W - S + 1) // 2)
        dtype = str(fields["dtype"][i])
        levels = take("x", N, 1, H, W), take("w_conv", K, 1, R, S), take("w_fc", F, C)
        x, w_conv, w_fc = (
            (level / divisor).astype(dtype)
            for level, divisor in zip(levels, fields["divisors"][i], strict=True)
        )
        yield Case(
            name=f"{i}-{fields['kind'][i]}-{dtype}",
            call=Call(
                x=x,
                y=take("y", N).astype(dtype),
                w_conv=w_conv,
                w_fc=w_fc,
                lr=float(fields["lr"][i]),
                n_epochs=int(fields["n_epochs"][i]),
            ),
            expected=take("expected", F, C),
            without_second_division=take("without_second_division", F, C),
            filters_matter=bool(fields["filters_matter"][i]),
        )


CASES = list(read_cases())
TELLING = [case for case in CASES if case.filters_matter and len(case.call.x) >= 2]


def bits(array: np.ndarray) -> tuple[str, tuple[int, ...], bytes]:
    """Return all that tells two arrays apart, signs of zeros included."""
    return array.dtype.str, array.shape, array.tobytes()


def make_call(dtype: str = "float64", *, N: int = 7, seed: int = 0) -> Call:
    """Draw a small call with whole-number images, odd sizes and a kernel that is not square.

    Whole numbers below 16 have the same value in every dtype, so that results can be compared
    bit for bit whatever dtype the images came in.
    """
    rng = np.random.default_rng(seed)
    H, W, K, R, S, C = 8, 7, 3, 3, 2, 4
    F = K * ((H - R + 1) // 2) * ((W - S + 1) // 2)
    return Call(
        x=rng.integers(0, 16, size=(N, 1, H, W)).astype(dtype),
        y=rng.integers(0, C, size=N).astype(dtype),
        w_conv=(rng.normal(size=(K, 1, R, S)) / 20).astype(dtype),
        w_fc=rng.normal(size=(F, C)).astype(dtype),
        lr=0.5,
        n_epochs=3,
    )


# ----------------------------------------------------------------------------------- golden numbers


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_result_is_the_one_pytorch_computed(case: Case) -> None:
    result = case.call.run()

    assert result.shape == case.expected.shape
    assert result.dtype == case.call.w_fc.dtype
    assert relative_error(result, case.expected) <= case.tolerance


@pytest.mark.parametrize("case", TELLING, ids=lambda case: case.name)
def test_the_filters_step_is_divided_by_n_twice(case: Case) -> None:
    result = case.call.run()

    assert relative_error(result, case.without_second_division) > 5 * case.tolerance


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_lesson_computes_the_same(case: Case) -> None:
    result = lesson.train(**vars(case.call))

    assert relative_error(result, case.expected) <= case.tolerance


def test_the_second_division_shows_in_the_second_epoch_and_only_there() -> None:
    call = replace(make_call(), lr=2.0)

    def without(n_epochs: int) -> np.ndarray:
        """The contract's pipeline, but with one rate for both weights."""
        w_conv, w_fc = call.w_conv, call.w_fc
        for _ in range(n_epochs):
            _, dw_conv, dw_fc = lesson.loss_and_gradients(call.x, call.y.astype(int), w_conv, w_fc)
            w_conv, w_fc = w_conv - call.lr * dw_conv, w_fc - call.lr * dw_fc
        return w_fc

    assert relative_error(replace(call, n_epochs=1).run(), without(1)) < 1e-12
    result = replace(call, n_epochs=2).run()
    assert relative_error(result, lesson.train(**vars(replace(call, n_epochs=2)))) < 1e-12
    assert relative_error(result, without(2)) > 1e-3


def test_the_golden_cases_cover_what_they_should() -> None:
    sizes = [(*case.call.x.shape, *case.call.w_conv.shape) for case in CASES]
    conv_rows = [H - R + 1 for _, _, H, _, _, _, R, _ in sizes]
    conv_columns = [W - S + 1 for _, _, _, W, _, _, _, S in sizes]

    assert len(CASES) == 200
    assert sum(case.call.w_fc.dtype == np.float32 for case in CASES) == 100
    assert len(TELLING) >= 100
    assert {case.call.n_epochs for case in CASES} == set(range(6))
    assert any(len(case.call.x) == 1 for case in CASES)
    assert max(len(case.call.x) for case in CASES) > 256
    assert any(case.call.w_fc.shape[1] == 1 for case in CASES)
    assert any(case.call.lr == 0 for case in CASES)
    assert sum(R != S for *_, R, S in sizes) > 100
    assert any(rows % 2 for rows in conv_rows)
    assert any(columns % 2 for columns in conv_columns)
    assert any(rows == columns == 2 for rows, columns in zip(conv_rows, conv_columns, strict=True))


# ----------------------------------------------------- the gradient, from the loss and nothing else


@pytest.fixture(scope="module")
def descent() -> tuple[Call, np.ndarray, np.ndarray]:
    """Two epochs of the contract by finite differences: the call, w_fc after one and after two."""
    rng = np.random.default_rng(5)
    call = Call(  # N, H, W = 3, 5, 6; K, R, S = 2, 2, 3; P, Q = 2, 2; C = 3
        x=rng.normal(size=(3, 1, 5, 6)),
        y=np.array([2.0, 0.0, 2.0]),
        w_conv=rng.normal(size=(2, 1, 2, 3)),
        w_fc=rng.normal(size=(8, 3)),
        lr=0.8,
        n_epochs=2,
    )
    w_conv, w_fc = call.w_conv.copy(), call.w_fc.copy()
    path = []
    for _ in range(2):

        def loss(w_conv: np.ndarray = w_conv, w_fc: np.ndarray = w_fc) -> float:
            return lesson.loss_and_gradients(call.x, call.y.astype(int), w_conv, w_fc)[0]

        dw_conv, dw_fc = numeric_gradient(loss, w_conv), numeric_gradient(loss, w_fc)
        # the gradient of the mean loss, and the contract's second division by N
        w_conv = w_conv - call.lr * dw_conv / len(call.x)
        w_fc = w_fc - call.lr * dw_fc
        path.append(w_fc)
    return call, path[0], path[1]


def test_one_epoch_descends_the_numerical_gradient(descent) -> None:
    call, after_one, _ = descent

    gradient = (call.w_fc - replace(call, n_epochs=1).run()) / call.lr

    np.testing.assert_allclose(gradient, (call.w_fc - after_one) / call.lr, rtol=0, atol=1e-8)


def test_the_second_epoch_shows_the_numerical_gradient_of_the_filters(descent) -> None:
    call, _, after_two = descent

    np.testing.assert_allclose(call.run(), after_two, rtol=0, atol=1e-8)


# --------------------------------------------------------------------------------- nothing to learn


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("change", [{"lr": 0}, {"lr": 0.0}, {"lr": -0.0}, {"n_epochs": 0}], ids=str)
def test_without_rate_or_epochs_the_weights_come_back_bit_for_bit(dtype: str, change: dict) -> None:
    call = replace(make_call(dtype), **change)
    call.w_fc[::2] = -0.0  # -0.0 - 0.0 * gradient may well be +0.0
    call.w_fc[1, 0] = np.nextafter(np.array(0, dtype), np.array(1, dtype))

    result = call.run()

    assert bits(result) == bits(call.w_fc)
    assert not np.shares_memory(result, call.w_fc)
    assert result.flags.writeable


def test_without_epochs_the_layout_of_the_weights_does_not_matter() -> None:
    call = replace(make_call(), n_epochs=0)

    result = replace(call, w_fc=np.asfortranarray(call.w_fc)).run()

    np.testing.assert_array_equal(result, call.w_fc)


def test_one_class_leaves_nothing_to_learn() -> None:
    call = make_call()
    call = replace(call, y=np.zeros_like(call.y), w_fc=call.w_fc[:, :1])

    np.testing.assert_array_equal(call.run(), call.w_fc)


def test_dead_filters_leave_nothing_to_learn() -> None:
    call = make_call()
    call = replace(call, w_conv=-np.abs(call.w_conv))

    np.testing.assert_array_equal(call.run(), call.w_fc)


def test_blank_images_leave_nothing_to_learn() -> None:
    call = make_call()
    call = replace(call, x=np.zeros_like(call.x))

    np.testing.assert_array_equal(call.run(), call.w_fc)


# ------------------------------------------------------------------------------ the caller's arrays


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_callers_arrays_are_not_written(dtype: str) -> None:
    call = make_call(dtype)
    arrays = call.x, call.y, call.w_conv, call.w_fc
    before = [bits(array) for array in arrays]

    result = call.run()

    assert [bits(array) for array in arrays] == before
    assert not any(np.shares_memory(result, array) for array in arrays)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_read_only_arrays_are_taken(dtype: str) -> None:
    call, frozen = make_call(dtype), make_call(dtype)
    for array in (frozen.x, frozen.y, frozen.w_conv, frozen.w_fc):
        array.flags.writeable = False

    result = frozen.run()

    assert bits(result) == bits(call.run())
    assert result.flags.writeable


def test_calls_do_not_remember_each_other() -> None:
    call, other = make_call(), make_call("float32", N=40, seed=1)
    first = call.run()
    kept = first.copy()

    other.run()

    np.testing.assert_array_equal(call.run(), first)
    np.testing.assert_array_equal(first, kept)


# --------------------------------------------------------------------------------- dtypes and kinds


def test_the_weights_decide_float32() -> None:
    call = make_call("float32")
    wide = replace(call, x=call.x.astype("float64"), y=call.y.astype("float64"))

    result = wide.run()

    assert bits(result) == bits(call.run())
    assert result.dtype == np.float32


def test_the_weights_decide_float64() -> None:
    call = make_call("float64")
    narrow = replace(call, x=call.x.astype("float32"), y=call.y.astype("float32"))

    assert bits(narrow.run()) == bits(call.run())


def test_float64_images_are_rounded_once_for_float32_weights() -> None:
    call = make_call("float32")
    images = call.x.astype("float64") / 15  # not a float32

    result = replace(call, x=images).run()

    assert bits(result) == bits(replace(call, x=images.astype("float32")).run())


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", ["uint8", "int8", "int16", "uint16", "int32", "int64", "uint64"])
def test_whole_number_images_and_labels_are_taken(dtype: str, kind: str) -> None:
    call = make_call(dtype)

    result = replace(call, x=call.x.astype(kind), y=call.y.astype(kind)).run()

    assert bits(result) == bits(call.run())


def test_dark_pixels_of_signed_images_stay_negative() -> None:
    call = make_call()
    images = (call.x - 8).astype("int8")

    assert bits(replace(call, x=images).run()) == bits(replace(call, x=images * 1.0).run())


def test_plain_lists_are_taken() -> None:
    call = make_call()
    lists = replace(
        call,
        x=call.x.tolist(),
        y=call.y.tolist(),
        w_conv=call.w_conv.tolist(),
        w_fc=call.w_fc.tolist(),
    )

    assert bits(lists.run()) == bits(call.run())


def test_lists_of_whole_numbers_are_taken() -> None:
    call = make_call()
    lists = replace(call, x=call.x.astype(int).tolist(), y=call.y.astype(int).tolist())

    assert bits(lists.run()) == bits(call.run())


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_other_byte_order_is_taken(dtype: str) -> None:
    call = make_call(dtype)
    swapped = np.dtype(dtype).newbyteorder()
    arrays = {name: getattr(call, name).astype(swapped) for name in ("x", "y", "w_conv", "w_fc")}

    result = replace(call, **arrays).run()

    np.testing.assert_array_equal(result, call.run())
    assert result.dtype == np.dtype(dtype)


@pytest.mark.parametrize("lr", [np.float64(0.5), np.float32(0.5)], ids=repr)
@pytest.mark.parametrize("n_epochs", [np.int64(3), np.uint8(3)], ids=repr)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_numpy_scalars_are_taken(dtype: str, lr: Any, n_epochs: Any) -> None:
    call = make_call(dtype)

    assert bits(replace(call, lr=lr, n_epochs=n_epochs).run()) == bits(call.run())


def test_a_whole_number_rate_is_taken() -> None:
    call = make_call()

    assert bits(replace(call, lr=1).run()) == bits(replace(call, lr=1.0).run())


class Foreign:
    """An array of another library, of which NumPy knows the protocol only."""

    def __init__(self, values: np.ndarray) -> None:
        self._values = values

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self._values, dtype=dtype, copy=copy)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_arrays_of_other_libraries_are_taken(dtype: str) -> None:
    call = make_call(dtype)
    foreign = Call(
        *(Foreign(array) for array in (call.x, call.y, call.w_conv, call.w_fc)), call.lr, 3
    )

    result = foreign.run()

    assert type(result) is np.ndarray
    assert bits(result) == bits(call.run())


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_pytorch_tensors_are_taken(dtype: str) -> None:
    torch = pytest.importorskip("torch")
    call = make_call(dtype)
    tensors = [torch.tensor(array) for array in (call.x, call.y, call.w_conv, call.w_fc)]

    result = Call(*tensors, call.lr, call.n_epochs).run()

    assert type(result) is np.ndarray
    assert bits(result) == bits(call.run())
    for tensor, array in zip(tensors, (call.x, call.y, call.w_conv, call.w_fc), strict=True):
        np.testing.assert_array_equal(tensor.numpy(), array)


# ------------------------------------------------------------------------------------------ layouts


def fortran(array: np.ndarray) -> np.ndarray:
    """Lay an array out column by column."""
    return np.asfortranarray(array)


def strided(array: np.ndarray) -> np.ndarray:
    """Spread an array over every second element of a larger one, along every axis."""
    spread = np.full([2 * size for size in array.shape], 99, dtype=array.dtype)
    view = spread[(slice(None, None, 2),) * array.ndim]
    view[...] = array
    return view


def backwards(array: np.ndarray) -> np.ndarray:
    """Store an array in reverse along every axis, and look at it in reverse."""
    turn = (slice(None, None, -1),) * array.ndim
    return array[turn].copy()[turn]


def misaligned(array: np.ndarray) -> np.ndarray:
    """Begin an array at an odd address, as in a file read into one buffer."""
    memory = np.zeros(array.nbytes + 1, dtype=np.uint8)[1:]
    view = memory.view(array.dtype).reshape(array.shape)
    view[...] = array
    return view


@pytest.mark.parametrize("layout", [fortran, strided, backwards, misaligned])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_layout_of_the_inputs_does_not_matter(dtype: str, layout: Callable) -> None:
    call = make_call(dtype, N=19)
    laid_out = Call(
        *(layout(array) for array in (call.x, call.y, call.w_conv, call.w_fc)), call.lr, 3
    )

    assert bits(laid_out.run()) == bits(call.run())


def test_one_image_repeated_without_memory_is_taken() -> None:
    call = make_call()
    images = np.broadcast_to(call.x[:1], call.x.shape)  # stride 0 along N

    assert bits(replace(call, x=images).run()) == bits(replace(call, x=images.copy()).run())


@pytest.mark.parametrize("stored", ["<f4", ">f4", "<f8", "u1"])
def test_images_mapped_from_a_file_are_taken(stored: str, tmp_path: Path) -> None:
    call = make_call("float32", N=50)
    call.x.astype(stored).tofile(tmp_path / "images")
    images = np.memmap(tmp_path / "images", dtype=stored, mode="r", shape=call.x.shape)

    result = replace(call, x=images).run()

    assert type(result) is np.ndarray
    assert bits(result) == bits(call.run())


# -------------------------------------------------------------------------------------- the numbers


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("size", [1e4, -1e4])
def test_huge_logits_are_harmless(dtype: str, size: float) -> None:
    call = make_call(dtype)
    call = replace(call, w_fc=call.w_fc * np.array(size, dtype), lr=0.01, n_epochs=2)
    call = replace(call, w_conv=np.abs(call.w_conv) * np.array(1e4, dtype))

    result = call.run()  # a warning is an error here

    assert np.isfinite(result).all()
    assert (result != call.w_fc).any()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_infinite_logits_spread_without_a_warning(dtype: str) -> None:
    largest = np.finfo(dtype).max
    call = Call(
        x=np.ones((600, 1, 4, 4), dtype),  # more than one thread's
        y=np.arange(600) % 3,
        w_conv=np.full((1, 1, 3, 3), 1e3, dtype),
        w_fc=np.full((1, 3), largest / 2, dtype),
        lr=0.1,
        n_epochs=2,
    )

    result = call.run()  # a warning is an error here

    assert np.isnan(result).all()


def test_a_shift_of_the_logits_does_not_change_the_step() -> None:
    call = replace(make_call(), n_epochs=1)
    shifted = replace(call, w_fc=call.w_fc + 100)  # adds the same to every class's logit

    step = call.run() - call.w_fc

    np.testing.assert_allclose(shifted.run() - shifted.w_fc, step, rtol=0, atol=1e-9)


def test_an_odd_last_row_and_column_take_no_part() -> None:
    call = make_call()  # the conv output is 6 x 6
    x = np.pad(call.x, ((0, 0), (0, 0), (0, 1), (0, 1)), constant_values=15)

    np.testing.assert_allclose(replace(call, x=x).run(), call.run(), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("N", [5, 40, 300])
def test_the_order_of_the_images_matters_to_rounding_only(N: int) -> None:
    call = make_call(N=N)
    order = np.random.default_rng(1).permutation(N)

    result = replace(call, x=call.x[order], y=call.y[order]).run()

    np.testing.assert_allclose(result, call.run(), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("N", [1, 33, 1000])
def test_the_same_call_gives_the_same_bits(dtype: str, N: int) -> None:
    call = make_call(dtype, N=N)

    assert len({bits(call.run()) for _ in range(5)}) == 1


# -------------------------------------------------------------------------------- signature, memory


def test_the_signature_is_the_contracts() -> None:
    names = list(inspect.signature(train).parameters)

    assert names == ["x", "y", "w_conv", "w_fc", "lr", "n_epochs"]


def test_arguments_may_be_named() -> None:
    call = make_call()

    assert bits(train(**vars(call))) == bits(call.run())


def peak_memory(call: Call) -> int:
    """Return the most memory, in bytes, that a call held beyond its inputs."""
    tracemalloc.start()
    try:
        call.run()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("stored", "layout"),
    [
        ("float32", np.ascontiguousarray),
        ("float64", np.ascontiguousarray),
        ("uint8", np.ascontiguousarray),
        (">f4", np.ascontiguousarray),
        ("float32", fortran),
        ("float32", strided),
    ],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_extra_memory_does_not_grow_with_the_batch(stored: str, layout: Callable) -> None:
    rng = np.random.default_rng(0)
    large = Call(  # an image has 100 pixels, its conv output 256 values
        x=layout(rng.integers(0, 16, size=(60_000, 1, 10, 10)).astype(stored)),
        y=rng.integers(0, 3, size=60_000).astype("float32"),
        w_conv=rng.normal(size=(4, 1, 3, 3)).astype("float32"),
        w_fc=rng.normal(size=(64, 3)).astype("float32"),
        lr=0.01,
        n_epochs=1,
    )
    # So many that each thread has several slabs of them, and all hold one at the same time.
    small = replace(large, x=large.x[:30_000], y=large.y[:30_000])
    small.run()  # whatever is made once, such as threads

    # How many blocks are in work at once may vary from run to run, what grows with N does not.
    growth = min(peak_memory(large) for _ in range(2)) - max(peak_memory(small) for _ in range(3))

    # Labels as int64 are 8 bytes an image; even one byte a pixel would be 100.
    assert growth < 40 * 30_000
