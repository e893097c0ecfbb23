"""The estimator when something is wrong: what fails leaves it as it was, what was set counts."""

import copy
import pickle

import joblib
import numpy as np
import pytest
from sklearn.datasets import load_digits

import tinycnn
from tinycnn.sklearn import CNNClassifier
from tinycnn.training import fitting


@pytest.fixture(scope="module")
def small():
    """300 of the digits: X (300, 64), y (300,)."""
    X, y = load_digits(return_X_y=True)
    return X[:300], y[:300]


def quick(**parameters):
    return CNNClassifier(**{"channels": (8,), "max_iter": 2, "random_state": 0, **parameters})


def attributes(net):
    """All that an estimator knows, as bytes; its generator may have drawn a number meanwhile."""
    return {name: pickle.dumps(value) for name, value in vars(net).items() if name != "_random"}


def diverging(net):
    return net.set_params(optimizer="sgd", learning_rate_init=1e30)


@pytest.mark.parametrize("warm_start", [False, True])
@pytest.mark.parametrize(
    ("change", "images", "labels", "weights", "error"),
    [
        (None, np.s_[:, :49], np.s_[:], -1.0, ValueError),
        (None, np.s_[:5], np.s_[:1], None, ValueError),
        (None, np.s_[:], np.s_[:], -1.0, ValueError),
        (diverging, np.s_[:], np.s_[:], None, FloatingPointError),
    ],
)
def test_a_fit_that_fails_changes_nothing(
    small, warm_start, change, images, labels, weights, error
):
    X, y = small
    net = quick(warm_start=warm_start).fit(X, y)
    if change is not None:
        change(net)
    before, network = attributes(net), net.network_
    sample_weight = None if weights is None else np.full(300, weights)
    with pytest.raises(error):
        net.fit(X[images], y[labels], sample_weight=sample_weight)
    assert attributes(net) == before
    assert net.network_ is network


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_an_interrupt_changes_nothing(small, monkeypatch, method):
    X, y = small
    net = quick(warm_start=True).fit(X, y)
    fit = fitting.fit

    class Interrupt(tinycnn.Callback):
        def on_batch_end(self, state):
            raise KeyboardInterrupt

    monkeypatch.setattr(fitting, "fit", lambda *a, **k: fit(*a, **k, callbacks=Interrupt()))
    before = attributes(net)
    with pytest.raises(KeyboardInterrupt):
        getattr(net, method)(X, y)
    assert attributes(net) == before


def test_a_first_call_that_fails_leaves_the_estimator_unfitted(small):
    X, y = small
    net = quick()
    before = attributes(net)
    with pytest.raises(ValueError, match="not among the classes"):
        net.partial_fit(X, y, classes=range(5))
    assert attributes(net) == before
    assert net.fit(X, y).n_iter_ == 2


def test_partial_fit_takes_the_learning_rate_that_is_set(small):
    X, y = small
    net = quick(optimizer="sgd", learning_rate_init=0.05, momentum=0.0, alpha=0.0)
    net.partial_fit(X, y, classes=range(10))
    before = net.network_.flat.copy()
    net.set_params(learning_rate_init=0.0).partial_fit(X, y)
    np.testing.assert_array_equal(net.network_.flat, before)


def test_partial_fit_keeps_the_momentum_as_long_as_the_optimizer_is_the_same(small):
    X, y = small
    net = quick().partial_fit(X, y, classes=range(10)).partial_fit(X, y)
    assert net._optimizer.state()["n_steps"] == 10
    net.set_params(optimizer="sgd").partial_fit(X, y)
    assert net._optimizer.state()["n_steps"] == 5
    with pytest.raises(ValueError, match=r"optimizer: must be one of .* got 'nonsense'"):
        net.set_params(optimizer="nonsense").partial_fit(X, y)


@pytest.mark.parametrize("optimizer", ["adamw", "adam", "sgd"])
@pytest.mark.parametrize(
    "copied",
    [copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net))],
    ids=["deep copy", "pickle"],
)
def test_copies_go_on_to_the_same_bits(small, optimizer, copied):
    X, y = small
    first = quick(optimizer=optimizer)
    first.partial_fit(X, y, classes=range(10))
    second = copied(first)
    for net in (first, second):
        net.partial_fit(X, y)
    np.testing.assert_array_equal(second.network_.flat, first.network_.flat)
    alone = copied(first).partial_fit(X, y).network_.flat
    assert not np.array_equal(alone, first.network_.flat)


@pytest.mark.parametrize("change", [{"hidden": 5}, {"channels": (9,)}, {"padding": 0}])
def test_another_architecture_cannot_go_on(small, change):
    X, y = small
    net = quick(warm_start=True).fit(X, y).set_params(**change)
    with pytest.raises(ValueError, match="warm_start: set it to False to start anew: the network"):
        net.fit(X, y)
    with pytest.raises(ValueError, match="partial_fit: call fit to start anew"):
        net.partial_fit(X, y)
    net.set_params(warm_start=False).fit(X, y)


@pytest.mark.parametrize(
    "class_weight", [{i: 1.0 + i for i in range(10)}, {0: 2.0}, {0: 2.0, 99: 1.0}, {99: 1.0}]
)
def test_class_weights_of_classes_that_a_fold_lacks_are_as_in_scikit_learn(small, class_weight):
    """The oracle is the function that scikit-learn's own classifiers call."""
    from sklearn.utils.class_weight import compute_class_weight

    X, y = small
    few = y < 7
    try:
        expected = compute_class_weight(class_weight, classes=np.arange(7), y=y[few])
    except ValueError:
        with pytest.raises(ValueError, match="class_weight: 99 is not among"):
            quick(class_weight=class_weight).fit(X[few], y[few])
        return
    net = quick(class_weight=class_weight).fit(X[few], y[few])
    other = quick().fit(X[few], y[few], sample_weight=expected[y[few]])
    np.testing.assert_array_equal(net.network_.flat, other.network_.flat)


def test_masked_arrays_are_refused(small):
    X, y = small
    masked = np.ma.masked_less(X, 8)
    for arguments, name in (
        ((masked, y), "X"),
        ((masked.reshape(-1, 8, 8), y), "X"),
        ((X, np.ma.masked_equal(y, 3)), "y"),
        ((X, y, np.ma.masked_equal(np.ones(300), 0)), "sample_weight"),
    ):
        with pytest.raises(TypeError, match=f"{name}: masked arrays are not supported"):
            quick().fit(*arguments)
    with pytest.raises(TypeError, match="X: masked arrays"):
        quick().fit(X, y).predict(masked)


def more(net, X, y):
    return net.partial_fit(X, y).network_.flat.tobytes()


def test_training_goes_on_in_workers_that_share_a_network_read_only(small, tmp_path):
    X, y = small
    net = quick(hidden=100).fit(X, y)
    joblib.dump(net, tmp_path / "net.joblib")
    expected = more(copy.deepcopy(net), X, y)
    shared = joblib.load(tmp_path / "net.joblib", mmap_mode="r")
    before = shared.network_.flat
    assert not before.flags.writeable
    assert more(shared, X, y) == expected
    np.testing.assert_array_equal(before, net.network_.flat)
    shared = joblib.load(tmp_path / "net.joblib", mmap_mode="r").set_params(warm_start=True)
    assert shared.fit(X, y).n_iter_ == 4
    parallel = joblib.Parallel(n_jobs=2, max_nbytes=1000)
    assert parallel(joblib.delayed(more)(net, X, y) for _ in range(2)) == [expected] * 2


def test_a_network_that_is_read_only_is_not_trained(small):
    X, y = small
    net = tinycnn.CNN((1, 8, 8), channels=(4,), n_classes=10)
    shared = copy.deepcopy(net)
    shared._flat.flags.writeable = False
    with pytest.raises(ValueError, match=r"net: .* read-only.*copy.deepcopy\(net\)"):
        tinycnn.fit(shared, X.reshape(-1, 1, 8, 8) / 16, y, verbose=False)
