"""The checked layers: what they refuse, in which words, and that they write to no argument."""

import numpy as np
import pytest

from tinycnn import functional as F  # noqa: N812


def ones(*shape, dtype=np.float32):
    return np.ones(shape, dtype)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (
            lambda: F.conv2d_forward(ones(2, 1, 4, 28), ones(3, 1, 5, 5)),
            ValueError,
            r"conv2d: kernel \(5, 5\) does not fit image \(4, 28\): use at most 4 rows",
        ),
        (
            lambda: F.conv2d_forward(ones(2, 3, 8, 8), ones(4, 1, 3, 3)),
            ValueError,
            r"weight has 1 channels, x has 3",
        ),
        (
            lambda: F.conv2d_forward(ones(2, 1, 8, 8), ones(4, 1, 3, 3), ones(3)),
            ValueError,
            r"bias needs 4 values",
        ),
        (
            lambda: F.conv2d_forward(ones(2, 1, 8, 8), ones(4, 1, 0, 3)),
            ValueError,
            r"at least one tap",
        ),
        (
            lambda: F.conv2d_forward(ones(1, 8, 8), ones(4, 1, 3, 3)),
            ValueError,
            r"conv2d: x: needs 4 dimensions, got 3 with shape \(1, 8, 8\)",
        ),
        (
            lambda: F.conv2d_forward(ones(2, 1, 8, 8, dtype=np.int64), ones(4, 1, 3, 3)),
            TypeError,
            r"conv2d: x: needs dtype float32 or float64, got int64.*astype",
        ),
        (
            lambda: F.conv2d_forward(ones(2, 1, 8, 8, dtype=complex), ones(4, 1, 3, 3)),
            TypeError,
            r"conv2d: x: needs real numbers, got dtype complex128",
        ),
        (
            lambda: F.conv2d_forward(ones(2, 1, 8, 8, dtype=float), ones(4, 1, 3, 3)),
            TypeError,
            r"one dtype, got x float64, weight float32",
        ),
        (
            lambda: F.conv2d_forward(np.ma.ones((1, 1, 8, 8)), ones(4, 1, 3, 3)),
            TypeError,
            r"masked arrays are not supported",
        ),
        (
            lambda: F.conv2d_forward([[1.0], [1.0, 2.0]], ones(4, 1, 3, 3)),
            ValueError,
            r"conv2d: x: cannot be read as an array",
        ),
        (
            lambda: F.conv2d_forward(ones(2, 1, 8, 8), ones(4, 1, 3, 3), padding="valid"),
            ValueError,
            r"padding: must be 'same', a number or two, got 'valid'",
        ),
        (
            lambda: F.conv2d_forward(ones(2, 1, 8, 8), ones(4, 1, 3, 3), padding=(1, -1)),
            ValueError,
            r"padding: must be a whole number of at least 0, got -1",
        ),
        (
            lambda: F.conv2d_forward(ones(2, 1, 8, 8), ones(4, 1, 3, 3), padding=(1, 1, 1)),
            ValueError,
            r"padding: must be one whole number or \(rows, columns\), got \(1, 1, 1\)",
        ),
        (
            lambda: F.conv2d_forward(ones(2, 1, 2, 8), ones(4, 1, 5, 5), padding=1),
            ValueError,
            r"conv2d: kernel \(5, 5\) does not fit image \(4, 10\)",
        ),
        (
            lambda: F.max_pool2d_forward(ones(2, 1, 1, 8)),
            ValueError,
            r"max_pool2d: a 2x2 window does not fit an image of \(1, 8\)",
        ),
        (lambda: F.linear_forward(ones(2, 5), ones(3, 4)), ValueError, r"weight needs 5 columns"),
        (
            lambda: F.linear_forward(ones(2, 5), ones(3, 5), ones(2)),
            ValueError,
            r"bias needs 3 values",
        ),
        (lambda: F.softmax(ones(5)), ValueError, r"softmax: logits: needs 2 dimensions"),
        (
            lambda: F.cross_entropy_forward(ones(2, 3), [0, 3]),
            ValueError,
            r"labels must be whole numbers in \[0, 3\), got .*\[1\] = 3",
        ),
        (lambda: F.cross_entropy_forward(ones(2, 3), [0.0, 1.5]), ValueError, r"\[1\] = 1.5"),
        (
            lambda: F.cross_entropy_forward(ones(2, 3), [0]),
            ValueError,
            r"2 rows of logits need 2 labels",
        ),
        (lambda: F.cross_entropy_forward(ones(0, 3), []), ValueError, r"no logits"),
    ],
)
def test_bad_input_is_refused_in_clear_words(call, error, words):
    with pytest.raises(error, match=words):
        call()


@pytest.mark.parametrize("backward", ["conv2d", "relu", "max_pool2d", "linear"])
def test_backward_refuses_another_shape_or_dtype_than_the_output(backward):
    arguments = {
        "conv2d": (ones(2, 1, 5, 6), ones(3, 1, 2, 3)),
        "relu": (ones(2, 3),),
        "max_pool2d": (ones(2, 1, 4, 4),),
        "linear": (ones(2, 5), ones(3, 5)),
    }[backward]
    out, cache = getattr(F, f"{backward}_forward")(*arguments)
    run = getattr(F, f"{backward}_backward")
    with pytest.raises(ValueError, match=f"{backward}: dout has shape"):
        run(np.concatenate([out, out]), cache)
    if backward != "max_pool2d":  # its cache holds no values, and so no dtype
        with pytest.raises(TypeError, match=f"{backward}: dout is float64"):
            run(out.astype(np.float64), cache)


def test_any_memory_layout_gives_the_same_bits(rng):
    x, weight = rng.normal(size=(3, 2, 6, 7)), rng.normal(size=(4, 2, 3, 2))
    expected, cache = F.conv2d_forward(x, weight)
    for variant in (np.asfortranarray(x), x[::-1].copy()[::-1], x.astype(">f8"), x.tolist()):
        out, _ = F.conv2d_forward(variant, weight)
        np.testing.assert_array_equal(out, expected)
        assert out.dtype == np.float64
        assert out.dtype.isnative
    dout = rng.normal(size=expected.shape)
    for one, other in zip(
        F.conv2d_backward(dout, cache),
        F.conv2d_backward(np.asfortranarray(dout), cache),
        strict=True,
    ):
        np.testing.assert_array_equal(one, other)


def test_no_layer_writes_to_its_arguments(rng):
    x, weight, bias = (rng.normal(size=s) for s in [(2, 3, 6, 6), (4, 3, 3, 3), (4,)])
    for array in (x, weight, bias):
        array.setflags(write=False)
    out, conv = F.conv2d_forward(x, weight, bias)
    out.setflags(write=False)
    relu, relu_cache = F.relu_forward(out)
    relu.setflags(write=False)
    pool, pool_cache = F.max_pool2d_forward(relu)
    pool.setflags(write=False)
    F.conv2d_backward(F.relu_backward(F.max_pool2d_backward(pool, pool_cache), relu_cache), conv)


@pytest.mark.parametrize(
    ("padding", "border"),
    [
        (0, ((0, 0), (0, 0))),
        (2, ((2, 2), (2, 2))),
        ((1, 3), ((1, 1), (3, 3))),
        ("same", ((1, 1), (1, 2))),
    ],
)
def test_padding_is_zeros_around_each_image(rng, padding, border):
    x, weight = rng.normal(size=(2, 3, 5, 6)), rng.normal(size=(4, 3, 3, 4))
    out, cache = F.conv2d_forward(x, weight, padding=padding)
    framed = np.pad(x, ((0, 0), (0, 0), *border))
    expected, framed_cache = F.conv2d_forward(framed, weight)
    np.testing.assert_array_equal(out, expected)
    dx, dweight = F.conv2d_backward(out, cache)
    framed_dx, framed_dweight = F.conv2d_backward(out, framed_cache)
    (top, _), (left, _) = border
    np.testing.assert_array_equal(dx, framed_dx[:, :, top : top + 5, left : left + 6])
    np.testing.assert_array_equal(dweight, framed_dweight)


def test_need_dx_false_leaves_dx_out(rng):
    out, cache = F.conv2d_forward(rng.normal(size=(2, 3, 6, 6)), rng.normal(size=(4, 3, 3, 3)))
    dx, dweight = F.conv2d_backward(out, cache, need_dx=False)
    assert dx is None
    np.testing.assert_array_equal(dweight, F.conv2d_backward(out, cache)[1])


def test_softmax_and_cross_entropy_stand_huge_logits():
    logits = np.array([[1e4, 0.0, -1e4], [-1e30, 1e30, 0.0]])
    np.testing.assert_array_equal(F.softmax(logits), [[1, 0, 0], [0, 1, 0]])
    loss, cache = F.cross_entropy_forward(logits, [2, 1])
    assert loss == 1e4  # the mean of 2e4 and 0
    assert np.isfinite(F.cross_entropy_backward(1.0, cache)).all()
    apart = np.array([[3e38, -3e38, 0]], np.float32)
    for smoothing, expected in ((0, 6e38), (0.3, 0.7 * 6e38 + 0.3 * 3e38)):
        loss, cache = F.cross_entropy_forward(apart, [1], None, smoothing)
        assert loss == pytest.approx(expected)
        assert np.isfinite(F.cross_entropy_backward(1.0, cache)).all()


def test_nan_and_infinity_spread():
    x = np.zeros((1, 1, 4, 4))
    x[0, 0, 0, 0] = np.nan
    x[0, 0, 3, 3] = np.inf
    out, _ = F.conv2d_forward(x, np.ones((1, 1, 1, 1)))
    out, _ = F.relu_forward(out)
    out, _ = F.max_pool2d_forward(out)
    np.testing.assert_array_equal(out[0, 0], [[np.nan, 0], [0, np.inf]])


def test_no_images_give_no_outputs():
    out, cache = F.conv2d_forward(ones(0, 1, 4, 4), ones(2, 1, 3, 3))
    assert out.shape == (0, 2, 2, 2)
    dx, dweight = F.conv2d_backward(out, cache)
    assert dx.shape == (0, 1, 4, 4)
    assert not dweight.any()


def test_softmax_needs_a_class():
    with pytest.raises(ValueError, match=r"softmax: needs at least one class \(got \(2, 0\)\)"):
        F.softmax(np.zeros((2, 0)))


@pytest.mark.parametrize("layer", ["conv2d", "max_pool2d", "linear", "cross_entropy"])
@pytest.mark.parametrize("cache", [None, 3, (1, 2), [[1], [2, 3]]], ids=str)
def test_what_is_no_cache_is_refused(layer, cache):
    with pytest.raises(TypeError, match=f"{layer}: cache: must be what {layer}_forward gave"):
        getattr(F, f"{layer}_backward")(ones(1, 1, 1, 1), cache)


def test_cross_entropy_needs_numbers():
    logits = np.zeros((2, 3))
    for smoothing, error in (("x", TypeError), (1, ValueError), (-0.1, ValueError)):
        with pytest.raises(error, match="label_smoothing: must be"):
            F.cross_entropy_forward(logits, [0, 1], None, smoothing)
    _, cache = F.cross_entropy_forward(logits, [0, 1])
    with pytest.raises(TypeError, match=r"dloss: must be a real number, got array\(\[1\., 1\.\]\)"):
        F.cross_entropy_backward(np.ones(2), cache)
