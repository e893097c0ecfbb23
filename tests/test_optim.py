"""Optimisers: their formulas step by step, against PyTorch; their state; their errors."""

import io
import json
import pickle
import re
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

from tinycnn.training import optim
from tinycnn.training.optim import SGD, Adam, AdamW, Optimizer

GOLDEN = np.load(Path(__file__).parent / "golden" / "optim_cases.npz")
OPTIMISERS = sorted({key.split("/")[1] for key in GOLDEN.files if key.startswith("optimisers/")})

EVERY_KIND = pytest.mark.parametrize(
    "make",
    [
        lambda: SGD(momentum=0),
        lambda: SGD(momentum=0, weight_decay=0.1),
        lambda: SGD(),
        lambda: SGD(weight_decay=0.1),
        lambda: SGD(nesterov=True),
        lambda: SGD(weight_decay=0.1, nesterov=True),
        lambda: Adam(),
        lambda: Adam(weight_decay=0.1),
        lambda: AdamW(),
    ],
    ids=lambda make: str(make()),
)


def golden_optimizer(name):
    kind, arguments = json.loads(str(GOLDEN[f"optimisers/{name}/settings"]))
    return getattr(optim, kind)(**arguments)


@pytest.mark.parametrize("name", OPTIMISERS)
def test_twenty_steps_are_pytorchs(name):
    optimizer, flat = golden_optimizer(name), GOLDEN["start"].copy()
    expected = GOLDEN[f"optimisers/{name}/steps"]
    scale = np.abs(expected).max(axis=0)  # of each parameter: some pass close to 0
    assert len(expected) == 20
    for i in range(20):
        optimizer.step(flat, GOLDEN["gradients"][i], GOLDEN["lr_factors"][i])
        assert (np.abs(flat - expected[i]) <= 1e-12 * scale).all()


@pytest.mark.parametrize("name", OPTIMISERS)
def test_float32_stays_float32_and_close(name):
    optimizer, flat = golden_optimizer(name), GOLDEN["start"].astype(np.float32)
    for gradient, factor in zip(GOLDEN["gradients"], GOLDEN["lr_factors"], strict=True):
        optimizer.step(flat, gradient.astype(np.float32), factor)
    expected = GOLDEN[f"optimisers/{name}/steps"][-1]
    assert flat.dtype == np.float32
    assert all(v.dtype == np.float32 for k, v in optimizer.state().items() if k != "n_steps")
    np.testing.assert_allclose(flat, expected, rtol=2e-5, atol=1e-12)


def test_sgd_follows_its_formula(rng):
    optimizer = SGD(lr=0.1, momentum=0.8, weight_decay=0.01)
    flat = rng.normal(size=7)
    expected, velocity = flat.copy(), np.zeros(7)
    for factor in (1.0, 0.5, 2.0):
        gradient = rng.normal(size=7)
        optimizer.step(flat, gradient, factor)
        velocity = 0.8 * velocity + gradient + 0.01 * expected
        expected = expected - 0.1 * factor * velocity
        np.testing.assert_allclose(flat, expected, rtol=1e-12)


def test_adam_follows_the_algorithm_of_its_paper(rng):
    optimizer, flat = Adam(lr=0.1, betas=(0.8, 0.95), eps=1e-3), rng.normal(size=7)
    expected, m, v = flat.copy(), np.zeros(7), np.zeros(7)
    for t, factor in enumerate((1.0, 0.5, 2.0), start=1):
        gradient = rng.normal(size=7)
        optimizer.step(flat, gradient, factor)
        m = 0.8 * m + 0.2 * gradient
        v = 0.95 * v + 0.05 * gradient**2
        m_hat, v_hat = m / (1 - 0.8**t), v / (1 - 0.95**t)
        expected = expected - 0.1 * factor * m_hat / (np.sqrt(v_hat) + 1e-3)
        np.testing.assert_allclose(flat, expected, rtol=1e-12)


def reference_step(optimizer, flat, sums, gradient, n):
    """Compute the n-th step by the formulas of the docstrings: the new parameters and sums."""
    lr, decay = optimizer.lr, optimizer.weight_decay
    if not isinstance(optimizer, AdamW):
        gradient = gradient + decay * flat if decay else gradient
    elif decay:
        flat = flat * (1 - lr * decay)
    if isinstance(optimizer, SGD) and not optimizer.momentum:
        return flat - lr * gradient, sums
    if isinstance(optimizer, SGD):
        velocity = optimizer.momentum * sums["velocity"] + gradient
        ahead = gradient + optimizer.momentum * velocity if optimizer.nesterov else velocity
        return flat - lr * ahead, {"velocity": velocity}
    weights = [(1 - beta**n) / (1 - beta) for beta in optimizer.betas]
    total = optimizer.betas[0] * sums["gradient_sum"] + gradient
    squares = optimizer.betas[1] * sums["square_sum"] + gradient**2
    move = total / weights[0] / (np.sqrt(squares / weights[1]) + optimizer.eps)
    return flat - lr * move, {"gradient_sum": total, "square_sum": squares}


@EVERY_KIND
@pytest.mark.parametrize(("dtype", "rtol"), [("float32", 2e-6), ("float64", 1e-14)])
@pytest.mark.parametrize("size", [0, 1, 7, 16, 33, 1003])
def test_every_parameter_follows_the_formulas(make, dtype, rtol, size, rng):
    optimizer, flat = make(), rng.normal(size=size).astype(dtype)
    expected, sums = flat.astype(float), defaultdict(float)
    for n in range(1, 5):
        gradient = rng.normal(size=size).astype(dtype)
        optimizer.step(flat, gradient)
        expected, sums = reference_step(optimizer, expected, sums, gradient.astype(float), n)
    np.testing.assert_allclose(flat, expected, rtol, atol=rtol)
    for name, values in sums.items():
        np.testing.assert_allclose(optimizer.state()[name], values, rtol, atol=rtol)


@EVERY_KIND
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_what_is_not_finite_goes_the_way_of_the_formulas(make, dtype):
    odd = np.array([np.nan, np.inf, -np.inf, 1.0])
    starts, gradients = (part.reshape(-1).astype(dtype) for part in np.meshgrid(odd, odd))
    optimizer, flat = make(), np.tile(starts, 3)
    expected, sums = flat.copy(), defaultdict(float)
    with np.errstate(invalid="ignore"):
        for n in range(1, 4):
            optimizer.step(flat, np.tile(gradients, 3))
            expected, sums = reference_step(optimizer, expected, sums, np.tile(gradients, 3), n)
    finite = np.isfinite(expected)
    np.testing.assert_array_equal(flat[~finite], expected[~finite])
    np.testing.assert_allclose(flat[finite], expected[finite], rtol=2e-6)
    for name, values in sums.items():
        np.testing.assert_allclose(optimizer.state()[name], values, rtol=2e-6)


def test_without_momentum_and_decay_it_is_plain_descent_and_keeps_nothing(rng):
    flat, gradient = rng.normal(size=5).astype(np.float32), rng.normal(size=5).astype(np.float32)
    expected = flat - np.float32(0.5) * gradient
    optimizer = SGD(lr=0.5, momentum=0)
    optimizer.step(flat, gradient)
    np.testing.assert_array_equal(flat, expected)
    assert flat.dtype == np.float32
    assert set(optimizer.state()) == {"n_steps"}


@EVERY_KIND
def test_the_gradient_is_only_read(make, rng):
    optimizer, flat, gradient = make(), rng.normal(size=6), rng.normal(size=6)
    kept = gradient.copy()
    gradient.flags.writeable = False
    for _ in range(3):
        optimizer.step(flat, gradient)
    np.testing.assert_array_equal(gradient, kept)


@EVERY_KIND
def test_a_step_of_rate_zero_moves_nothing(make, rng):
    optimizer, flat = make(), rng.normal(size=6)
    kept = flat.copy()
    optimizer.step(flat, rng.normal(size=6), 0)
    np.testing.assert_array_equal(flat, kept)


@EVERY_KIND
def test_a_strided_view_is_updated_like_any_vector(make, rng):
    base, gradients = rng.normal(size=12), rng.normal(size=(3, 12))
    kept, flat, ours, theirs = base.copy(), base[::2].copy(), make(), make()
    for gradient in gradients:
        ours.step(base[::2], gradient[::2])
        theirs.step(flat, gradient[::2].copy())
    np.testing.assert_array_equal(base[::2], flat)
    np.testing.assert_array_equal(base[1::2], kept[1::2])


def unaligned(array):
    """Return a copy that stands at an odd address."""
    copy = np.frombuffer(bytearray(array.nbytes + 1), array.dtype, offset=1)
    copy[...] = array
    assert not copy.flags.aligned
    return copy


@EVERY_KIND
def test_arrays_at_odd_addresses_are_taken(make, rng):
    start, gradient, expected = rng.normal(size=40), rng.normal(size=40), np.empty(40)
    expected[...], flat = start, unaligned(start)
    make().step(expected, gradient)
    make().step(flat, unaligned(gradient))
    np.testing.assert_array_equal(flat, expected)


@EVERY_KIND
@pytest.mark.parametrize("first", [0, 3, 9])
def test_a_gradient_in_the_memory_of_the_parameters_is_read_before_they_change(make, first, rng):
    memory, expected = rng.normal(size=60), np.empty(50)
    expected[...], gradient = memory[5:55], memory[first : first + 50].copy()
    make().step(expected, gradient)
    make().step(memory[5:55], memory[first : first + 50])
    np.testing.assert_array_equal(memory[5:55], expected)


@EVERY_KIND
def test_the_parameters_may_be_the_gradient(make, rng):
    flat = rng.normal(size=50)
    expected = flat.copy()
    make().step(expected, flat.copy())
    make().step(flat, flat)
    np.testing.assert_allclose(flat, expected, rtol=1e-14)


class SignDescent(Optimizer):
    """An optimiser of someone else's."""

    def settings(self):
        return {"lr": self.lr}

    def _sum_names(self):
        return ("signs",)

    def _update(self, flat, gradient, lr, scratch):
        self._sums["signs"] += np.sign(gradient, out=scratch)
        flat -= lr * scratch


def test_an_optimiser_may_be_written_in_numpy(rng):
    optimizer, flat = SignDescent(0.5, 0.0), np.zeros(4)
    for _ in range(3):
        optimizer.step(flat, np.array([1.0, -2.0, 3.0, 0.0]), 0.5)
    np.testing.assert_array_equal(flat, [-0.75, 0.75, -0.75, 0])
    np.testing.assert_array_equal(optimizer.state()["signs"], [3, -3, 3, 0])


def test_factors_of_other_kinds_do_not_change_the_numbers(rng):
    gradient, results = rng.normal(size=6).astype(np.float32), []
    for factor in (0.5, np.float64(0.5), np.float32(0.5)):
        flat = np.ones(6, np.float32)
        Adam().step(flat, gradient, factor)
        results.append(flat)
    assert results[0].dtype == np.float32
    np.testing.assert_array_equal(results[0], results[1])
    np.testing.assert_array_equal(results[0], results[2])


# State.


@EVERY_KIND
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("n_before", [0, 1, 100])
def test_training_goes_on_from_a_state_bit_for_bit(make, dtype, n_before, rng):
    gradients = rng.normal(size=(n_before + 100, 9)).astype(dtype)
    gradients[3:, :3] = 0  # fades: what becomes of it hangs on the number of steps
    straight, flat = make(), np.ones(9, dtype)
    for gradient in gradients[:n_before]:
        straight.step(flat, gradient)
    resumed, resumed_flat = make(), flat.copy()
    file = io.BytesIO()
    np.savez(file, **straight.state())
    file.seek(0)
    with np.load(file) as state:
        resumed.set_state(state)
    for gradient in gradients[n_before:]:
        straight.step(flat, gradient)
        resumed.step(resumed_flat, gradient)
        np.testing.assert_array_equal(flat, resumed_flat)
    for name, values in straight.state().items():
        np.testing.assert_array_equal(values, resumed.state()[name])


@EVERY_KIND
def test_settings_and_repr_tell_how_to_make_it_again(make):
    optimizer = make()
    assert repr(type(optimizer)(**optimizer.settings())) == repr(optimizer)
    assert repr(eval(repr(optimizer))) == repr(optimizer)


@EVERY_KIND
def test_pickling_keeps_settings_and_state(make, rng):
    optimizer, flat, gradient = make(), np.ones(4), rng.normal(size=4)
    optimizer.step(flat, gradient)
    copy, copied_flat = pickle.loads(pickle.dumps(optimizer)), flat.copy()
    optimizer.step(flat, gradient)
    copy.step(copied_flat, gradient)
    np.testing.assert_array_equal(flat, copied_flat)


def test_a_state_is_a_copy_on_both_ways(rng):
    gradient = rng.normal(size=4)
    one, other = SGD(), SGD()
    one.step(np.zeros(4), gradient)
    state = one.state()
    other.set_state(state)
    state["velocity"][...] = 0
    np.testing.assert_array_equal(one.state()["velocity"], gradient)
    np.testing.assert_array_equal(other.state()["velocity"], gradient)


def test_a_state_replaces_that_of_another_network():
    optimizer, fresh = SGD(), SGD().state()
    optimizer.step(np.zeros(3), np.zeros(3))
    optimizer.set_state(fresh)
    optimizer.step(np.zeros(4), np.zeros(4))
    assert optimizer.state()["n_steps"] == 1


def adam_state(**changed):
    return {"n_steps": 3, "gradient_sum": np.ones(4), "square_sum": np.ones(4)} | changed


@pytest.mark.parametrize(
    ("optimizer", "state", "error", "words"),
    [
        (SGD(), [], TypeError, "state: must be what state() gave, got list"),
        (SGD(), {}, ValueError, "state: needs n_steps, got nothing; give what state() gave"),
        (
            SGD(),
            {"n_steps": np.array([1])},
            ValueError,
            "state['n_steps']: needs 0 dimensions, got 1 with shape (1,)",
        ),
        (
            SGD(),
            {"n_steps": -1},
            ValueError,
            "state['n_steps']: must be a whole number of at least 0, got -1",
        ),
        (
            SGD(),
            adam_state(),
            ValueError,
            "state: after 3 steps SGD(lr=0.05, momentum=0.9, weight_decay=0.0, nesterov=False) "
            "keeps n_steps, velocity, got n_steps, gradient_sum, square_sum; make the optimiser "
            "with the class and settings it had before",
        ),
        (SGD(momentum=0), {"n_steps": 1, "velocity": np.ones(2)}, ValueError, "keeps n_steps, got"),
        (SGD(), {"n_steps": 1}, ValueError, "keeps n_steps, velocity, got n_steps;"),
        (
            SGD(),
            {"n_steps": 1, "velocity": np.ones((2, 2))},
            ValueError,
            "state['velocity']: needs 1 dimension, got 2 with shape (2, 2)",
        ),
        (
            SGD(),
            {"n_steps": 1, "velocity": np.ones(2, int)},
            TypeError,
            "state['velocity']: needs dtype float32 or float64, got int64",
        ),
        (
            Adam(),
            adam_state(square_sum=np.ones(5)),
            ValueError,
            "state: all sums of a network have one size, got gradient_sum 4, square_sum 5",
        ),
        (
            Adam(),
            adam_state(square_sum=np.ones(4, np.float32)),
            TypeError,
            "all arrays of a call need one dtype, got gradient_sum float64, square_sum float32",
        ),
    ],
)
def test_a_state_that_does_not_fit_is_refused(optimizer, state, error, words):
    with pytest.raises(error, match=re.escape(words)):
        optimizer.set_state(state)
    assert list(optimizer.state()) == ["n_steps"]
    assert optimizer.state()["n_steps"] == 0


# Gradients that have become 0.


@pytest.mark.parametrize("make", [SGD, lambda: SGD(nesterov=True), Adam, AdamW])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_sums_of_vanished_gradients_end_at_zero_and_never_become_subnormal(make, dtype, rng):
    optimizer, flat = make(), rng.normal(size=5).astype(dtype)
    gradient = rng.normal(size=5).astype(dtype)
    for _ in range(3):
        optimizer.step(flat, gradient)
    gradient[:3] = 0
    name = "velocity" if isinstance(optimizer, SGD) else "gradient_sum"
    for _ in range(8000):
        optimizer.step(flat, gradient)
        values = np.abs(optimizer._sums[name])
        assert not ((values > 0) & (values < np.finfo(dtype).tiny)).any()
    assert (values[:3] == 0).all()
    assert (values[3:] > 0).all()


@pytest.mark.parametrize(("dtype", "small"), [("float32", 1e-29), ("float64", 1e-289)])
def test_small_sums_are_kept(dtype, small):
    flat, gradient = np.zeros(40, dtype), np.full(40, small, dtype)
    optimizer = SGD(lr=0.5)
    optimizer.step(flat, gradient)
    np.testing.assert_array_equal(optimizer.state()["velocity"], gradient)
    np.testing.assert_array_equal(flat, -0.5 * gradient)


def test_small_squares_are_kept():
    optimizer = Adam()
    optimizer.step(np.zeros(40, np.float32), np.full(40, 1e-18, np.float32))
    np.testing.assert_allclose(optimizer.state()["square_sum"], 1e-36, rtol=1e-6)


# Refusals.


@EVERY_KIND
def test_an_optimiser_does_not_move_to_another_network(make):
    optimizer = make()
    optimizer.step(np.zeros(3), np.zeros(3))
    words = r"has trained 3 parameters of float64 and .* 4 of float64; make a new one"
    with pytest.raises(ValueError, match=words):
        optimizer.step(np.zeros(4), np.zeros(4))
    with pytest.raises(ValueError, match=r"3 parameters of float64 .* with 3 of float32"):
        optimizer.step(np.zeros(3, np.float32), np.zeros(3, np.float32))


def read_only(array):
    array.flags.writeable = False
    return array


WRONG_STEPS = [
    (
        (np.ones(3), np.ones(4)),
        ValueError,
        "gradient: needs a value for each of the 3 parameters, got 4",
    ),
    (
        (np.ones(3), np.ones(1)),
        ValueError,
        "gradient: needs a value for each of the 3 parameters, got 1",
    ),
    ((np.ones(3), [1.0, 1.0, 1.0]), TypeError, "gradient: must be a NumPy array, got list"),
    (
        (np.ones(3), np.ones((3, 1))),
        ValueError,
        "gradient: needs 1 dimension (n_parameters,), got 2 with shape (3, 1)",
    ),
    (
        (np.ones(3), np.ones(3, np.float32)),
        TypeError,
        "all arrays of a call need one dtype, got flat float64, gradient float32",
    ),
    (
        (np.ones(3, int), np.ones(3, int)),
        TypeError,
        "flat: needs dtype float32 or float64, got int64",
    ),
    (
        (read_only(np.ones(3)), np.ones(3)),
        ValueError,
        "flat: is read-only and cannot be updated; pass a copy: flat.copy()",
    ),
    (
        (np.ones(3), np.ones(3), -1.0),
        ValueError,
        "lr_factor: must be finite and not negative, got -1.0",
    ),
    (
        (np.ones(3), np.ones(3), float("nan")),
        ValueError,
        "lr_factor: must be finite and not negative, got nan",
    ),
    (
        (np.ones(3), np.ones(3), None),
        TypeError,
        "lr_factor: must be a real number, got None",
    ),
]


@EVERY_KIND
@pytest.mark.parametrize("n_before", [0, 1])
@pytest.mark.parametrize(("step", "error", "words"), WRONG_STEPS, ids=[w[2] for w in WRONG_STEPS])
def test_a_wrong_step_is_refused_and_changes_nothing(make, n_before, step, error, words):
    optimizer = make()
    for _ in range(n_before):
        optimizer.step(np.zeros(3), np.full(3, 2.0))
    before, flat = optimizer.state(), step[0].copy()
    with pytest.raises(error, match=re.escape(words)):
        optimizer.step(*step)
    np.testing.assert_array_equal(step[0], flat)
    after = optimizer.state()
    assert after.keys() == before.keys()
    for name, values in before.items():
        np.testing.assert_array_equal(after[name], values)


@pytest.mark.parametrize(
    ("kind", "arguments", "error", "words"),
    [
        (SGD, {"lr": -1}, ValueError, "lr: must be finite and not negative, got -1"),
        (SGD, {"lr": float("nan")}, ValueError, "lr: must be finite"),
        (SGD, {"lr": "0.1"}, TypeError, "lr: must be a real number, got '0.1'"),
        (SGD, {"momentum": 1.0}, ValueError, "momentum: must be below 1, got 1.0"),
        (SGD, {"momentum": -0.1}, ValueError, "momentum: must be finite and not negative"),
        (SGD, {"weight_decay": -0.1}, ValueError, "weight_decay: must be finite"),
        (
            SGD,
            {"momentum": 0, "nesterov": True},
            ValueError,
            "nesterov: needs a momentum above 0, got momentum=0; set momentum=0.9, say",
        ),
        (SGD, {"nesterov": "no"}, TypeError, "nesterov: must be True or False, got 'no'"),
        (Adam, {"lr": -1}, ValueError, "lr: must be finite and not negative, got -1"),
        (Adam, {"betas": 0.9}, ValueError, "betas: must be two numbers, such as (0.9, 0.999)"),
        (Adam, {"betas": (0.9,)}, ValueError, "betas: must be two numbers"),
        (Adam, {"betas": (1.0, 0.9)}, ValueError, "betas[0]: must be below 1, got 1.0"),
        (Adam, {"betas": (0.9, -1)}, ValueError, "betas[1]: must be finite and not negative"),
        (Adam, {"eps": 0}, ValueError, "eps: must be above 0, got 0"),
        (Adam, {"eps": -1e-8}, ValueError, "eps: must be finite and not negative"),
        (AdamW, {"weight_decay": None}, TypeError, "weight_decay: must be a real number, got None"),
    ],
)
def test_wrong_settings_are_refused(kind, arguments, error, words):
    with pytest.raises(error, match=re.escape(words)):
        kind(**arguments)


@pytest.mark.parametrize("kind", [SGD, Adam, AdamW])
def test_gradients_of_another_byte_order_make_the_same_steps(rng, kind):
    flat, gradients = rng.normal(size=50), rng.normal(size=(3, 50))
    expected, other = flat.copy(), flat.copy()
    one, two = kind(lr=0.1), kind(lr=0.1)
    for gradient in gradients:
        one.step(expected, gradient)
        two.step(other, gradient.astype(gradient.dtype.newbyteorder()))
    np.testing.assert_array_equal(other, expected)
