"""What people do, in any order: train, predict, save, load, set parameters, go on, be interrupted.

The model is what must be true of a network whatever was done to it: a list of its parameters, and
what it predicts by the readable path.
"""

import tempfile
from pathlib import Path

import numpy as np
import pytest
from conftest import layered_logits
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from sklearn.datasets import load_digits

import tinycnn
from tinycnn.sklearn import CNNClassifier

IMAGES = np.random.default_rng(0).integers(0, 256, (40, 1, 8, 8), dtype=np.uint8)
LABELS = np.arange(40) % 3
OPTIMIZERS = ("adamw", "adam", "sgd")
MOMENTS = st.sampled_from(("before_fit", "on_fit_begin", "on_batch_end", "on_epoch_end"))


class Break(tinycnn.Callback):
    """Raises an error in one of its methods."""

    def __init__(self, moment, error):
        def fail(state):
            raise error

        setattr(self, moment, fail)


class NetworkInUse(RuleBasedStateMachine):
    """A network, its file and its checkpoint."""

    def __init__(self):
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.model, self.run = (Path(self.folder.name) / name for name in ("m.npz", "run.npz"))
        self.saved = self.epochs = None

    def teardown(self):
        self.folder.cleanup()

    @initialize(hidden=st.sampled_from((0, 5)), dtype=st.sampled_from(("float32", "float64")))
    def start(self, hidden, dtype):
        blocks = {"channels": (3,), "hidden": hidden, "n_classes": 3}
        self.net = tinycnn.CNN((1, 8, 8), dtype=dtype, **blocks)
        self.known = self.net.flat.copy()

    def fit(self, **arguments):
        defaults = {"epochs": 1, "batch_size": 16, "n_threads": 2, "verbose": False}
        return tinycnn.fit(self.net, IMAGES, LABELS, **{**defaults, **arguments})

    @rule(optimizer=st.sampled_from(OPTIMIZERS), epochs=st.integers(0, 2))
    def train(self, optimizer, epochs):
        history = self.fit(optimizer=optimizer, epochs=epochs)
        assert len(history.train_loss) == epochs
        assert (epochs == 0) == np.array_equal(self.net.flat, self.known)
        self.known = self.net.flat.copy()

    @rule(moment=MOMENTS, error=st.sampled_from((RuntimeError("mine"), KeyboardInterrupt())))
    def train_and_break(self, moment, error):
        with pytest.raises(type(error)):
            self.fit(epochs=2, callbacks=Break(moment, error))
        if moment in ("before_fit", "on_fit_begin"):
            np.testing.assert_array_equal(self.net.flat, self.known)
        self.known = self.net.flat.copy()

    @rule()
    def diverge(self):
        with pytest.raises(FloatingPointError), np.errstate(all="ignore"):
            self.fit(optimizer=tinycnn.SGD(1e300, 0.0), schedule=None)
        np.testing.assert_array_equal(self.net.flat, self.known)

    @rule(wrong=st.sampled_from(({"epochs": -1}, {"batch_size": 0}, {"sample_weight": [1]})))
    def train_with_wrong_arguments(self, wrong):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            self.fit(**wrong)

    @rule()
    def save(self):
        tinycnn.save_model(self.net, self.model)
        self.saved = self.known

    @precondition(lambda self: self.saved is not None)
    @rule()
    def load(self):
        self.net, self.known = tinycnn.load_model(self.model), self.saved

    @rule(values=st.floats(-1, 1))
    def set_parameters(self, values):
        self.net.flat = np.full(self.net.flat.shape, values)
        self.known = np.full_like(self.known, values)

    @rule()
    def standardize(self):
        self.net.standardize(IMAGES)

    @rule(epochs=st.integers(1, 3))
    def train_with_a_checkpoint_and_resume(self, epochs):
        """A training in two parts is one training."""
        start, whole = self.known, {"schedule": None, "optimizer": tinycnn.Adam()}
        self.fit(epochs=epochs + 1, **whole)
        expected, self.net.flat = self.net.flat.copy(), start
        self.run.unlink(missing_ok=True)
        for n in (epochs, epochs + 1):
            checkpoint = tinycnn.Checkpoint(self.run, resume=True)
            again = {"schedule": None, "optimizer": tinycnn.Adam(), "callbacks": checkpoint}
            self.fit(epochs=n, **again)
            self.net.flat = self.net.flat if n > epochs else start
        np.testing.assert_array_equal(self.net.flat, expected)
        np.testing.assert_array_equal(tinycnn.load_model(self.run).flat, expected)
        self.known = expected

    @invariant()
    def parameters_are_known(self):
        if hasattr(self, "net"):
            np.testing.assert_array_equal(self.net.flat, self.known)

    @invariant()
    def predictions_are_those_of_the_readable_path(self):
        if hasattr(self, "net"):
            logits = self.net.logits(IMAGES, 3)
            expected = layered_logits(self.net, IMAGES)
            np.testing.assert_allclose(logits, expected, rtol=1e-3, atol=1e-3)


X, Y = load_digits(return_X_y=True)
X, Y = X[:60].astype(np.float32), Y[:60] % 3


class EstimatorInUse(RuleBasedStateMachine):
    """An estimator: whatever fails changes nothing, whatever succeeds counts its epochs."""

    def __init__(self):
        super().__init__()
        self.net = CNNClassifier(channels=(3,), max_iter=1, random_state=0, shift=0)
        self.n_iter = 0

    @rule()
    def fit(self):
        before = self.n_iter if self.net.warm_start else 0
        self.net.fit(X, Y)
        self.n_iter = before + 1

    @rule()
    def partial_fit(self):
        self.net.partial_fit(X[:20], Y[:20], classes=range(3))
        self.n_iter += 1

    @rule(warm_start=st.booleans(), optimizer=st.sampled_from(OPTIMIZERS))
    def set_params(self, warm_start, optimizer):
        self.net.set_params(warm_start=warm_start, optimizer=optimizer)

    @rule(
        method=st.sampled_from(("fit", "partial_fit")),
        wrong=st.sampled_from(((X, Y[:5]), (X * np.nan, Y), (X[:0], Y[:0]))),
    )
    def fail(self, method, wrong):
        before = self.predictions()
        with pytest.raises(ValueError):  # noqa: PT011 - of whatever argument
            getattr(self.net, method)(*wrong)
        assert before == self.predictions()

    def predictions(self):
        return self.net.predict_proba(X).tobytes() if self.n_iter else None

    @invariant()
    def epochs_are_counted(self):
        assert getattr(self.net, "n_iter_", 0) == self.n_iter
        if self.n_iter:
            assert len(self.net.loss_curve_) == self.n_iter
            assert set(self.net.predict(X)) <= {0, 1, 2}


QUICK = settings(
    max_examples=15,
    stateful_step_count=12,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)

TestNetworkInUse = NetworkInUse.TestCase
TestNetworkInUse.settings = QUICK
TestEstimatorInUse = EstimatorInUse.TestCase
TestEstimatorInUse.settings = QUICK
