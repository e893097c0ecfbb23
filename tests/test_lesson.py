"""The lesson computes the contract: against loops, finite differences and PyTorch's numbers."""

from __future__ import annotations

import ast
from pathlib import Path

import numpy as np
import pytest
from conftest import numeric_gradient, relative_error
from test_contract import CASES

from tinycnn import lesson

SOURCE = Path(lesson.__file__).read_text(encoding="utf-8")


def test_it_is_one_page_and_imports_nothing_of_ours():
    assert len(SOURCE.splitlines()) <= 80
    imported = set()
    for node in ast.walk(ast.parse(SOURCE)):
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            imported.add(node.module)
    assert {name.split(".")[0] for name in imported} == {"numpy"}


@pytest.mark.parametrize("kernel", [(3, 3), (2, 4), (4, 1), (5, 6)])
def test_conv2d_is_the_sum_of_its_docstring(kernel, rng):
    (R, S), x = kernel, rng.normal(size=(2, 3, 5, 6))
    weight = rng.normal(size=(4, 3, R, S))
    out = lesson.conv2d(x, weight)
    assert out.shape == (2, 4, 5 - R + 1, 6 - S + 1)
    for n, k, i, j in np.ndindex(out.shape):
        taps = [
            x[n, c, i + r, j + s] * weight[k, c, r, s]
            for c in range(3)
            for r in range(R)
            for s in range(S)
        ]
        assert out[n, k, i, j] == pytest.approx(sum(taps), rel=1e-12, abs=1e-12)


def test_max_pool_takes_the_first_of_equals():
    x = np.array([[[[1, 3, 5, 5, 9], [3, 2, 5, 5, 9], [0, 0, -1, -4, 9]]]], float)
    out, winner = lesson.max_pool(x)
    np.testing.assert_array_equal(out, [[[[3, 5]]]])
    np.testing.assert_array_equal(winner, [[[[1, 0]]]])
    dx = lesson.max_pool_dx(np.array([[[[7.0, 8.0]]]]), winner, x.shape)
    np.testing.assert_array_equal(dx[0, 0], [[0, 7, 8, 0, 0], [0] * 5, [0] * 5])


def test_the_loss_stands_huge_logits():
    loss, dlogits = lesson.softmax_cross_entropy(np.array([[1e4, 0.0], [-1e4, 0.0]]), [1, 1])
    assert loss == 5e3
    np.testing.assert_array_equal(dlogits, [[0.5, -0.5], [0, 0]])


@pytest.mark.parametrize("N", [1, 4])
def test_gradients_are_the_slopes_of_the_loss(N, rng):
    x, y = rng.normal(size=(N, 1, 6, 7)), rng.integers(0, 3, N)
    weights = rng.normal(size=(2, 1, 3, 2)), rng.normal(size=(2 * 2 * 3, 3))
    _, *gradients = lesson.loss_and_gradients(x, y, *weights)
    for weight, gradient in zip(weights, gradients, strict=True):
        expected = numeric_gradient(lambda: lesson.loss_and_gradients(x, y, *weights)[0], weight)
        assert relative_error(gradient, expected) < 1e-7


def test_train_divides_the_filters_step_by_n_once_more(rng):
    x, y, lr = rng.normal(size=(5, 1, 6, 6)), np.array([0.0, 1, 2, 1, 0]), 0.7
    w_conv, w_fc = rng.normal(size=(2, 1, 3, 3)), rng.normal(size=(8, 3))
    _, dw_conv, dw_fc = lesson.loss_and_gradients(x, y.astype(int), w_conv, w_fc)
    after_one = w_conv - lr * dw_conv / 5, w_fc - lr * dw_fc
    _, _, second = lesson.loss_and_gradients(x, y.astype(int), *after_one)
    before = w_conv.copy(), w_fc.copy()
    np.testing.assert_allclose(
        lesson.train(x, y, w_conv, w_fc, lr, 2), after_one[1] - lr * second, rtol=1e-12
    )
    np.testing.assert_array_equal(w_conv, before[0])
    np.testing.assert_array_equal(w_fc, before[1])


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_train_gives_what_pytorch_computed(case):
    assert relative_error(lesson.train(**vars(case.call)), case.expected) <= case.tolerance
