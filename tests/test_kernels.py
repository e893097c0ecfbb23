"""The compiled loops against their plain NumPy twins, on every shape that has bitten someone."""

import inspect

import numpy as np
import pytest
from conftest import relative_error

from tinycnn import _reference
from tinycnn.fast.dispatch import kernels

DTYPES = [np.float32, np.float64]
TOLERANCE = {np.float32: 1e-5, np.float64: 1e-13}

# (N, C, H, W, K, R, S): kernels and images that are not square, odd sizes, single ones, colour.
SHAPES = [
    (1, 1, 2, 2, 1, 1, 1),
    (2, 1, 5, 7, 3, 3, 2),
    (1, 3, 7, 4, 2, 1, 3),
    (5, 2, 6, 9, 4, 5, 4),
    (3, 4, 9, 6, 7, 2, 5),
    (2, 3, 29, 31, 5, 4, 4),
]


def draw(rng, shape, dtype):
    return rng.normal(size=shape).astype(dtype)


def both(name, inputs, output_like):
    """Run a kernel and its twin on the same inputs; outputs start as garbage."""
    results = []
    for module in (kernels, _reference):
        outputs = [np.full_like(array, 7) for array in output_like]
        getattr(module, name)(*inputs, *outputs)
        results.append(outputs)
    return zip(*results, strict=True)


def kernel_names():
    return [
        name
        for name in vars(_reference)
        if name.endswith(("forward", "backward")) or name.startswith("conv2d_backward")
    ]


def test_each_kernel_has_a_twin_with_the_same_parameters():
    public = {name for name in vars(kernels) if name.split("_")[0] in ("conv2d", "relu", "max")}
    assert public == set(kernel_names())
    for name in public:
        kernel, twin = getattr(kernels, name), getattr(_reference, name)
        assert kernel.__doc__
        assert list(inspect.signature(kernel).parameters) == list(
            inspect.signature(twin).parameters
        )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_conv2d(rng, shape, dtype):
    N, C, H, W, K, R, S = shape
    x, weight = draw(rng, (N, C, H, W), dtype), draw(rng, (K, C, R, S), dtype)
    bias, dout = draw(rng, (K,), dtype), draw(rng, (N, K, H - R + 1, W - S + 1), dtype)
    for name, inputs, output in [
        ("conv2d_forward", (x, weight, bias), dout),
        ("conv2d_backward_weight", (x, dout), weight),
        ("conv2d_backward_bias", (dout,), bias),
        ("conv2d_backward_input", (weight, dout), x),
    ]:
        for fast, slow in both(name, inputs, [output]):
            assert relative_error(fast, slow) < TOLERANCE[dtype], name


@pytest.mark.parametrize("dtype", DTYPES)
def test_relu_is_exact_and_closed_at_zero(rng, dtype):
    x = np.concatenate([draw(rng, (50,), dtype), np.array([0.0, -0.0, np.nan, np.inf, -np.inf])])
    x = x.astype(dtype)
    dout = draw(rng, x.shape, dtype)
    for fast, slow in both("relu_forward", (x,), [x]):
        np.testing.assert_array_equal(fast, slow)
    for fast, slow in both("relu_backward", (dout, x), [x]):
        np.testing.assert_array_equal(fast, slow)
        assert (fast[[50, 51, 54]] == 0).all()
        assert (fast[52:54] == dout[52:54]).all()  # of NaN and infinity, as PyTorch has it


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("values", ["normal", "ties", "equal", "with NaN"])
@pytest.mark.parametrize("size", [(2, 2), (4, 6), (5, 7), (3, 8)])
def test_max_pool2d_is_exact(rng, dtype, values, size):
    x = draw(rng, (3, 2, *size), dtype)
    if values == "ties":
        x = np.round(x)
    elif values == "equal":
        x[...] = 1.5
    elif values == "with NaN":
        x[rng.random(x.shape) < 0.3] = np.nan
    out = np.zeros((3, 2, size[0] // 2, size[1] // 2), dtype)
    for fast, slow in both("max_pool2d_forward", (x,), [out, out.astype(np.uint8)]):
        np.testing.assert_array_equal(fast, slow)


@pytest.mark.parametrize("dtype", DTYPES)
def test_max_pool2d_backward_pays_one_position_a_window(rng, dtype):
    dout = draw(rng, (2, 3, 2, 4), dtype)
    winner = rng.integers(0, 4, dout.shape, dtype=np.uint8)
    for fast, slow in both("max_pool2d_backward", (dout, winner), [np.empty((2, 3, 5, 8), dtype)]):
        np.testing.assert_array_equal(fast, slow)
        assert np.count_nonzero(fast) == dout.size


def test_kernels_take_read_only_arrays(rng):
    x, weight = draw(rng, (2, 1, 5, 5), np.float32), draw(rng, (3, 1, 2, 2), np.float32)
    for array in (x, weight):
        array.setflags(write=False)
    out = np.empty((2, 3, 4, 4), np.float32)
    kernels.conv2d_forward(x, weight, np.zeros(3, np.float32), out)
    assert np.isfinite(out).all()


def test_wrong_dtypes_and_layouts_are_refused(rng):
    x, out = draw(rng, (4,), np.float32), np.empty(4, np.float32)
    with pytest.raises(TypeError):
        kernels.relu_forward(x.astype(np.int32), out)
    for wrong in (draw(rng, (4,), np.float64), draw(rng, (8,), np.float32)[::2], x[None]):
        with pytest.raises(ValueError, match=r"dtype|contiguous|dimensions"):
            kernels.relu_backward(x, wrong, out)
    for arrays in ((None, x, out), (x, None, out), (x, x, None)):
        with pytest.raises(TypeError):
            kernels.relu_backward(*arrays)
    out.setflags(write=False)
    with pytest.raises(ValueError, match="read-only"):
        kernels.relu_forward(x, out)


def test_only_a_table_of_kernels_is_taken():
    for wrong in (None, 1, kernels.conv2d_forward):
        with pytest.raises(ValueError, match="PyCapsule"):
            kernels.use(wrong, wrong)
    out = np.empty(2)
    kernels.relu_forward(np.array([-1.0, 1.0]), out)
    assert out.tolist() == [0, 1]
