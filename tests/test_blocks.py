"""Each block kernel alone against its twin in NumPy, in every build that this CPU can run."""

import importlib.util
import shutil
import subprocess
import sysconfig
from pathlib import Path

import numpy as np
import pytest
from conftest import relative_error

from tinycnn import _reference
from tinycnn.fast import dispatch
from tinycnn.layers import Dropout, DropoutKey

ROOT = Path(__file__).parent.parent
VECTORS = {
    "baseline": ("", 16),
    "v3": ("-march=x86-64-v3", 32),
    "v4": ("-march=x86-64-v4", 64),
}
FLAGS = [
    *("-O3", "-fno-math-errno", "-fno-trapping-math", "-fwrapv", "-fno-inline", "-shared", "-fPIC"),
    "-DCYTHON_INLINE=inline __attribute__((always_inline, unused))",
]

# C, H, W, K, R, S: odd sizes, filters and channels beside whole tiles, kernels that are not square.
SHAPES = [
    (1, 28, 28, 8, 3, 3),
    (1, 12, 13, 5, 5, 5),
    (3, 9, 8, 7, 3, 3),
    (4, 4, 4, 1, 3, 3),
    (8, 12, 12, 16, 5, 5),
    (6, 9, 10, 13, 4, 3),
    (2, 8, 9, 3, 2, 4),
    (16, 10, 10, 9, 3, 3),
    (1, 3, 2, 4, 1, 1),
    (48, 6, 5, 10, 3, 3),
]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (ROOT / "tinycnn" / "_kernels.pyx").is_file() or shutil.which("cc") is None,
        reason="needs the sources and a compiler",
    ),
]


@pytest.fixture(scope="module")
def translated(tmp_path_factory):
    """Translate the wrappers to C, with checks of every index."""
    compiler = pytest.importorskip("Cython.Compiler.Main")
    path = tmp_path_factory.mktemp("blocks") / "blocks.c"
    options = compiler.CompilationOptions(
        include_path=[str(ROOT), str(ROOT / "tinycnn")],
        output_file=str(path),
        compiler_directives={
            "language_level": 3,
            "wraparound": False,
            "initializedcheck": False,
            "cdivision": True,
        },
    )
    assert compiler.compile(str(Path(__file__).parent / "blocks.pyx"), options).num_errors == 0
    return path


@pytest.fixture(
    scope="module", params=[(v, d) for v in dispatch.supported_levels() for d in (0, 1)]
)
def blocks(request, translated):
    """Build the kernels for one level and one type."""
    level, double = request.param
    march, n_bytes = VECTORS[level]
    path = translated.parent / f"{level}{double}" / "blocks.so"
    path.parent.mkdir()
    macros = [f"-DTINYCNN_VECTOR_BYTES={n_bytes}", f"-DTINYCNN_DOUBLE={double}"]
    folders = ["-I", sysconfig.get_paths()["include"], "-I", ROOT / "tinycnn"]
    command = ["cc", *FLAGS, *march.split(), *macros, *folders, translated, "-o", path]
    subprocess.run(command, check=True)
    spec = importlib.util.spec_from_file_location("blocks", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.tolerance = 1e-12 if double else 2e-5
    return module


def draw(rng, blocks, *shape):
    array = blocks.aligned(*shape)
    array[:] = rng.normal(size=shape)
    return array


def images(lane_block):
    """(C, H, W, L) -> (L, C, H, W) in float64."""
    return np.ascontiguousarray(np.moveaxis(lane_block, -1, 0).astype(np.float64))


def block_of(rng, blocks, shape):
    """Return a block and what it should give: pooled values and winners, -1 where ReLU closed."""
    C, H, W, K, R, S = shape
    weight, bias = rng.normal(size=(K, C, R, S)), rng.normal(size=K)
    weight, bias = weight.astype(blocks.DTYPE), bias.astype(blocks.DTYPE)
    block = blocks.Block(draw(rng, blocks, C, H, W, blocks.L), weight, bias)
    x = images(block.x)
    conv = np.empty((blocks.L, K, H - R + 1, W - S + 1))
    _reference.conv2d_forward(x, weight.astype(np.float64), bias.astype(np.float64), conv)
    pooled = np.empty((blocks.L, *block.pooled.shape[:3]))
    winner = np.empty(pooled.shape, np.uint8)
    _reference.max_pool2d_forward(conv, pooled, winner)
    open_windows = pooled > 0
    return block, weight, np.where(open_windows, pooled, 0), np.where(open_windows, winner, -1.0)


def gradients(block, weight):
    """Return dweight, dbias and dx of a block by the layers, from its winners and d."""
    x, d, winner = images(block.x), images(block.d), images(block.winner)
    (K, C, R, S), (H, W) = weight.shape, x.shape[2:]
    dpool = np.where(winner >= 0, d, 0)
    dconv = np.empty((len(x), K, H - R + 1, W - S + 1))
    _reference.max_pool2d_backward(dpool, np.maximum(winner, 0).astype(np.uint8), dconv)
    dweight, dbias, dx = np.empty((K, C, R, S)), np.empty(K), np.empty(x.shape)
    _reference.conv2d_backward_weight(x, dconv, dweight)
    _reference.conv2d_backward_bias(dconv, dbias)
    _reference.conv2d_backward_input(weight.astype(np.float64), dconv, dx)
    return dweight.reshape(K, -1), dbias, dx


def close(blocks, got, wanted):
    return relative_error(np.asarray(got, np.float64), wanted) < blocks.tolerance


@pytest.mark.parametrize("shape", SHAPES)
def test_a_block_forward(blocks, shape):
    rng = np.random.default_rng(0)
    block, _, pooled, winner = block_of(rng, blocks, shape)
    ways = [lambda: block.direct(False), lambda: block.direct(True)]
    for way in ways + [block.winograd] * (shape[4:] == (3, 3)):
        block.pooled[:] = block.winner[:] = 7
        way()
        assert close(blocks, images(block.pooled), pooled)
        assert (images(block.winner) != winner).mean() < 1e-3


@pytest.mark.parametrize("shape", SHAPES)
def test_a_block_of_one_image(blocks, shape):
    block, _, pooled, _ = block_of(np.random.default_rng(0), blocks, shape)
    ways = {"direct": lambda: block.direct(False), "careful": lambda: block.direct(True)}
    if shape[4:] == (3, 3):
        ways["winograd"] = block.winograd
    for name, among_others in ways.items():
        alone = block.alone(1, name)
        assert close(blocks, alone, pooled[1])
        among_others()
        np.testing.assert_array_equal(alone, block.pooled[..., 1])


def test_nan_closes_its_windows(blocks):
    block = blocks.Block(
        blocks.aligned(1, 4, 4, blocks.L),
        np.ones((1, 1, 1, 1), blocks.DTYPE),
        np.ones(1, blocks.DTYPE),
    )
    block.x[0, 1, 2, 0] = np.nan
    block.x[0, 3, 3, 1] = np.inf
    np.testing.assert_array_equal(block.alone(0, "careful"), [[[1, np.nan], [1, 1]]])
    block.direct(True)
    pooled, winner = images(block.pooled), images(block.winner)
    assert np.isnan(pooled[0, 0, 0, 1])
    assert winner[0, 0, 0, 1] == -1
    assert pooled[1, 0, 1, 1] == np.inf
    assert winner[1, 0, 1, 1] == 3
    assert np.isnan(pooled).sum() == 1


@pytest.mark.parametrize("shape", SHAPES)
def test_a_block_backward(blocks, shape):
    rng = np.random.default_rng(1)
    block, weight, _, winner = block_of(rng, blocks, shape)
    block.winner[:] = np.moveaxis(winner, 0, -1)
    block.d[:] = rng.normal(size=block.d.shape) * (rng.random(block.d.shape) < 0.9)
    dweight, dbias, dx = gradients(block, weight)
    ways = [lambda: block.first(False), block.later]
    if shape[5] == 5 or shape[4:] == (3, 3):
        ways.append(lambda: block.first(True))
    for way in ways:
        got, lanes_of_dbias = way()
        assert close(blocks, got, dweight)
        assert close(blocks, lanes_of_dbias[: len(dbias)].sum(1), dbias)
    # What goes by Winograd has no places in frames.
    ways = [] if shape[0] >= 4 and shape[4:] == (3, 3) else [block.dx_by_patches]
    for way in ways + [block.dx_by_winograd] * (shape[4:] == (3, 3)):
        assert close(blocks, images(way()), dx)


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_convolution_without_pool(blocks, shape, relu):
    rng = np.random.default_rng(6)
    C, H, W, K, R, S = shape
    weight, bias = rng.normal(size=(K, C, R, S)), rng.normal(size=K)
    weight, bias = weight.astype(blocks.DTYPE), bias.astype(blocks.DTYPE)
    x = draw(rng, blocks, C, H + 1, W + 1, blocks.L)
    dout = draw(rng, blocks, K, H - R + 1, W - S + 1, blocks.L)
    out, dweight, dbias, dx = blocks.maps(x, weight, bias, relu, dout)

    seen, doubled = images(x)[:, :, :H, :W].copy(), weight.astype(np.float64)
    conv, dconv = np.empty((2, blocks.L, K, H - R + 1, W - S + 1))
    _reference.conv2d_forward(seen, doubled, bias.astype(np.float64), conv)
    assert close(blocks, images(out), np.maximum(conv, 0) if relu else conv)
    dconv[:] = np.where(images(out) > 0, images(dout), 0) if relu else images(dout)
    wanted = np.empty((K, C, R, S)), np.empty(K), np.empty(seen.shape)
    _reference.conv2d_backward_weight(seen, dconv, wanted[0])
    _reference.conv2d_backward_bias(dconv, wanted[1])
    _reference.conv2d_backward_input(doubled, dconv, wanted[2])
    assert close(blocks, dweight, wanted[0].reshape(K, -1))
    assert close(blocks, dbias.sum(1), wanted[1])
    assert close(blocks, images(dx)[:, :, :H, :W], wanted[2])


@pytest.mark.parametrize(
    ("M", "F", "n"), [(10, 70, 4), (2, 9, 1), (13, 1300, 2), (1, 8, 3), (84, 17, 1), (11, 3, 1)]
)
def test_a_linear_layer(blocks, M, F, n):
    rng = np.random.default_rng(2)
    x, dout = draw(rng, blocks, n, F, blocks.L), draw(rng, blocks, n, M, blocks.L)
    weight, bias = (rng.normal(size=s).astype(blocks.DTYPE) for s in ((M, F), M))
    out, dx, dweight, alone = blocks.linear(x, weight, bias, dout)
    np.testing.assert_array_equal(alone, out[0, :, 0])
    x, dout, weight = (a.astype(np.float64) for a in (x, dout, weight))
    assert close(blocks, out, np.einsum("mf,bfl->bml", weight, x) + bias[:, None])
    assert close(blocks, dx, np.einsum("mf,bml->bfl", weight, dout))
    assert close(blocks, dweight, np.einsum("bml,bfl->mf", dout, x))


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("spare", [0, 1])
def test_cross_entropy(blocks, smoothing, spare):
    rng = np.random.default_rng(3)
    M, count = 7, blocks.L - spare
    logits = draw(rng, blocks, M, blocks.L)
    z = logits[:, :count].astype(np.float64)
    labels = rng.integers(0, M, count)
    target = np.full((M, count), smoothing / M)
    target[labels, np.arange(count)] += 1 - smoothing
    log_p = z - np.log(np.exp(z).sum(0))
    total = blocks.loss(logits, labels, smoothing, count)
    assert abs(total + (target * log_p).sum()) < blocks.tolerance * total
    assert close(blocks, logits[:, :count], 0.25 * (np.exp(log_p) - target))
    assert not logits[:, count:].any()


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
@pytest.mark.parametrize("border", [(0, 0, 0, 0), (1, 2, 3, 1)])
@pytest.mark.parametrize("size", [(1, 28, 28), (3, 5, 7), (1, 1, 3)])
def test_packing(blocks, dtype, border, size):
    rng = np.random.default_rng(4)
    for count in (1, blocks.L):
        pixels = rng.integers(0, 256, (count, *size)).astype(dtype)
        x = blocks.packed(pixels, border, count)
        rows = (border[0], border[1]), (border[2], border[3])
        wanted = np.pad(pixels * 0.5 + 0.25, ((0, 0), (0, 0), *rows))
        assert (images(x)[:count] == wanted).all()
        assert not images(x)[count:].any()


@pytest.mark.parametrize("rate", [0.0, 0.3, 1 - 2**-40])
def test_dropout(blocks, rate):
    key, place, first, n = 2**62 + 12345678912345, 2**32 - 5, 70, 40
    x = draw(np.random.default_rng(7), blocks, n, blocks.L)
    layer = Dropout(rate)
    values = np.ones((blocks.L, first + n), blocks.DTYPE)
    wanted = layer.forward(values, {}, DropoutKey(key, place))[0][:, first:].T * x
    blocks.dropped(key, place, rate, x, first)
    assert (x == wanted).all()
    assert (x == 0).any() == (rate > 0)


def test_shuffles(blocks):
    a = np.random.default_rng(5).normal(size=(blocks.L, blocks.L)).astype(blocks.DTYPE)
    sums, transposed = blocks.lanes(a)
    assert (transposed == a.T).all()
    assert close(blocks, sums, a.sum(1, dtype=np.float64))
