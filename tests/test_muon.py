"""Muon, against the singular values and vectors of its matrices, and what it keeps and refuses."""

import numpy as np
import pytest
from conftest import small_net

import tinycnn
from tinycnn import AdamW, Muon
from tinycnn.training.muon import orthogonal

SHAPES = {
    "conv1.weight": (4, 1, 3, 3),  # wider than high
    "conv1.bias": (4,),
    "conv2.weight": (9, 4, 1, 1),  # higher than wide
    "linear1.weight": (3, 8),
    "linear1.bias": (3,),
}
SIZE = sum(int(np.prod(shape)) for shape in SHAPES.values())
FIRST, SECOND = slice(0, 36), slice(40, 76)  # the weights but the last one


def by_singular_values(matrix, n_steps):
    """Apply the polynomial to the singular values themselves."""
    u, s, v = np.linalg.svd(np.asarray(matrix, np.float64), full_matrices=False)
    s = s / np.sqrt((s**2).sum())
    for _ in range(n_steps):
        s = 3.4445 * s - 4.7750 * s**3 + 2.0315 * s**5
    return (u * s) @ v


@pytest.mark.parametrize("shape", [(8, 25), (25, 8), (5, 5), (1, 9), (9, 1), (32, 288)], ids=str)
@pytest.mark.parametrize("n_steps", [1, 3, 5])
@pytest.mark.parametrize("size", [1e-30, 1.0, 1e30])
def test_singular_values_are_brought_near_to_one(rng, shape, n_steps, size):
    matrix = size * rng.normal(size=shape)
    expected = by_singular_values(matrix, n_steps)
    np.testing.assert_allclose(orthogonal(matrix, n_steps), expected, atol=1e-10)
    single = orthogonal(matrix.astype(np.float32), n_steps)
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, expected, atol=2e-3)
    if n_steps == 5 and shape != (5, 5):  # which has a singular value near 0
        values = np.linalg.svd(single, compute_uv=False)
        assert 0.6 < values.min() <= values.max() < 1.25


def test_zeros_stay_and_what_is_not_finite_is_not_hidden():
    assert not orthogonal(np.zeros((3, 4)), 5).any()
    for bad in (np.nan, np.inf):
        matrix = np.ones((3, 4), np.float32)
        matrix[1, 2] = bad
        assert not np.isfinite(orthogonal(matrix, 5)).all()


def test_steps_follow_their_formula(rng):
    given = {"lr": 0.02, "betas": (0.8, 0.95), "eps": 1e-6, "weight_decay": 0.1}
    optimizer, adamw = Muon(SHAPES, 0.3, 0.7, **given, ns_steps=4), AdamW(**given)
    flat = rng.normal(size=SIZE)
    expected, by_adamw, velocity = flat.copy(), flat.copy(), np.zeros(SIZE)
    for factor in (1.0, 0.5, 0.0, 2.0):
        gradient = rng.normal(size=SIZE)
        optimizer.step(flat, gradient, factor)
        adamw.step(by_adamw, gradient, factor)
        velocity = 0.7 * velocity + gradient
        ahead = gradient + 0.7 * velocity
        rate = 0.3 * factor
        for part, shape, scale in ((FIRST, (4, 9), 1.0), (SECOND, (9, 4), 1.5)):
            move = scale * by_singular_values(ahead[part].reshape(shape), 4).ravel()
            expected[part] = expected[part] * (1 - rate * 0.1) - rate * move
            by_adamw[part] = expected[part]
        np.testing.assert_allclose(flat, by_adamw, rtol=1e-9, atol=1e-12)


def test_a_state_goes_on_bit_for_bit(rng):
    gradients = rng.normal(size=(6, SIZE)).astype(np.float32)
    start = rng.normal(size=SIZE).astype(np.float32)
    straight, flat = Muon(SHAPES), start.copy()
    for gradient in gradients:
        straight.step(flat, gradient)
    first, broken = Muon(SHAPES), start.copy()
    for gradient in gradients[:3]:
        first.step(broken, gradient)
    second = type(first)(**first.settings())
    second.set_state(first.state())
    for gradient in gradients[3:]:
        second.step(broken, gradient)
    np.testing.assert_array_equal(broken, flat)
    assert set(first.state()) == {"n_steps", "gradient_sum", "square_sum", "velocity"}


def test_it_trains_and_goes_on_from_a_checkpoint(tmp_path, digits):
    def train(epochs, callbacks=()):
        net = small_net(channels=(8, 16), padding="same")
        optimizer = Muon(net.architecture.parameter_shapes)
        tinycnn.fit(
            net, *digits, epochs=epochs, optimizer=optimizer, callbacks=callbacks, verbose=False
        )
        return net

    class Stop(tinycnn.Callback):
        def on_epoch_end(self, state):
            return state.epoch == 2

    expected = train(4)
    assert expected.score(*digits) > 0.95
    keep = tinycnn.Checkpoint(tmp_path / "run.npz", resume=True)
    train(4, [keep, Stop()])
    np.testing.assert_array_equal(train(4, keep).flat, expected.flat)


def test_a_network_of_one_layer_has_adamw_alone(rng):
    shapes, flat = {"linear1.weight": (3, 4)}, rng.normal(size=12)
    expected, gradient = flat.copy(), rng.normal(size=12)
    Muon(shapes, lr=0.1).step(flat, gradient)
    AdamW(0.1, weight_decay=0.0).step(expected, gradient)
    np.testing.assert_array_equal(flat, expected)


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"shapes": None}, TypeError, "shapes: must be net.architecture.parameter_shapes, a map"),
        ({"shapes": {"a": (0, 2)}}, ValueError, r"shapes\['a'\]: must be a whole number of at"),
        ({"matrix_lr": -1}, ValueError, "matrix_lr: must be finite and not negative"),
        ({"momentum": 1}, ValueError, r"momentum: must be in \[0, 1\)"),
        ({"lr": 0}, ValueError, "lr: must be above 0, got 0"),
        ({"ns_steps": 0}, ValueError, "ns_steps: must be a whole number of at least 1"),
    ],
    ids=str,
)
def test_nonsense_is_refused(arguments, error, words):
    with pytest.raises(error, match=words):
        Muon(**{"shapes": SHAPES, **arguments})


def test_parameters_of_another_network_are_refused_and_unchanged(rng):
    flat, gradient = rng.normal(size=(2, SIZE + 1))
    before = flat.copy()
    with pytest.raises(ValueError, match=f"shapes: have {SIZE} parameters in all, the network has"):
        Muon(SHAPES).step(flat, gradient)
    np.testing.assert_array_equal(flat, before)
