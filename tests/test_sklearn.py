"""CNNClassifier: what scikit-learn asks of an estimator, and what images ask."""

import doctest
import pickle
import subprocess
import sys

import numpy as np
import pytest

import tinycnn
from tinycnn import Conv, Dropout, Flatten, Linear, MaxPool, ReLU
from tinycnn.training import fitting
from tinycnn.training.weighting import image_weights

pytest.importorskip("sklearn", minversion="1.6")

import joblib
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_digits
from sklearn.ensemble import VotingClassifier
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, StratifiedKFold, cross_val_score
from sklearn.multiclass import OneVsRestClassifier
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import (
    check_dataframe_column_names_consistency,
    check_estimator,
    check_set_output_transform,
    check_set_output_transform_pandas,
    check_transformer_get_feature_names_out,
    check_transformer_get_feature_names_out_pandas,
)

import tinycnn.sklearn.classifier
from tinycnn.sklearn import CNNClassifier
from tinycnn.sklearn.threads import threads_of
from tinycnn.sklearn.translation import draw_seed
from tinycnn.training.choices import as_optimizer
from tinycnn.training.defaults import auto_channels

# What scikit-learn skips where pandas is not installed, or array libraries are not asked for.
NEED_MORE = {
    "check_sample_weights_pandas_series",
    "check_classifier_data_not_an_array",
    "check_array_api_input",
}


@pytest.fixture(scope="module")
def small():
    """300 of the digits, flat and as bytes: X (300, 64), y (300,)."""
    X, y = load_digits(return_X_y=True)
    return X[:300].astype(np.uint8), y[:300]


@pytest.fixture(scope="module")
def fitted(small):
    return CNNClassifier(channels=(8,), max_iter=5, random_state=0).fit(*small)


def quick(**parameters):
    return CNNClassifier(**{"channels": (8,), "max_iter": 5, "random_state": 0, **parameters})


def test_all_of_scikit_learns_checks_pass():
    results = check_estimator(CNNClassifier(), on_skip=None, on_fail=None)
    assert len(results) > 50
    odd = {r["check_name"]: r["exception"] for r in results if r["status"] != "passed"}
    assert set(odd) <= NEED_MORE, odd
    assert {r["status"] for r in results} <= {"passed", "skipped"}


@pytest.mark.parametrize(
    "check",
    [
        check_dataframe_column_names_consistency,
        check_set_output_transform,
        check_set_output_transform_pandas,
        check_transformer_get_feature_names_out,
        check_transformer_get_feature_names_out_pandas,
    ],
    ids=lambda check: check.__name__,
)
@pytest.mark.filterwarnings("ignore:X (has|does not have valid) feature names")
def test_checks_of_names_and_containers_pass(check):
    if check.__name__.endswith(("pandas", "consistency")):
        pytest.importorskip("pandas")
    check("CNNClassifier", quick(channels="auto"))


def test_the_example_of_the_docstring_runs():
    assert doctest.testmod(tinycnn.sklearn.classifier) == (0, 8)


def test_the_defaults_do_well_on_the_digits():
    X, y = load_digits(return_X_y=True)
    cv = StratifiedKFold(5, shuffle=True, random_state=1)
    [train, test] = next(cv.split(X, y))
    X = X.astype(np.float32)
    assert CNNClassifier(random_state=0).fit(X[train], y[train]).score(X[test], y[test]) > 0.975


# Images in all their shapes


def test_every_layout_of_the_same_images_gives_the_same_network(rng):
    images = rng.integers(0, 256, (60, 3, 8, 10), dtype=np.uint8)  # N, C, H, W
    last = images.transpose(0, 2, 3, 1)
    y = images[:, 0, 0, 0] > 127
    expected = quick().fit(images, y)
    assert expected.image_shape_ == (3, 8, 10)
    assert expected.n_features_in_ == 240
    for X, image_shape in [
        (last, None),
        (images, (8, 10, 3)),
        (last.reshape(60, -1), (8, 10, 3)),
        (images.reshape(60, -1), (3, 8, 10)),
    ]:
        other = quick(image_shape=image_shape).fit(X, y)
        np.testing.assert_array_equal(other.network_.flat, expected.network_.flat)
        np.testing.assert_array_equal(other.predict_proba(last), expected.predict_proba(images))


def test_grey_images_are_flat_or_not(small):
    X, y = small
    expected = quick().fit(X, y).network_.flat
    for shape in [(300, 8, 8), (300, 8, 8, 1), (300, 1, 8, 8)]:
        np.testing.assert_array_equal(quick().fit(X.reshape(shape), y).network_.flat, expected)


@pytest.mark.parametrize(("n_features", "side"), [(1, 2), (2, 2), (4, 2), (5, 3), (64, 8), (65, 9)])
def test_flat_images_fill_the_smallest_square(rng, n_features, side):
    X = rng.normal(size=(20, n_features))
    net = quick().fit(X, X[:, 0] > 0)
    assert net.image_shape_ == (1, side, side)
    images = np.zeros((20, 1, side, side))
    for i in range(n_features):
        images[:, 0, i // side, i % side] = X[:, i]
    np.testing.assert_array_equal(net.decision_function(X) > 0, net.network_.predict(images) == 1)


def test_flat_images_that_are_likely_coloured_are_told(rng):
    X = rng.integers(0, 256, (20, 3 * 8 * 8), dtype=np.uint8)
    y = X[:, 0] > 127
    words = r"^X: 192 features are taken for a grey image of 14 x 14.* image_shape=\(3, 8, 8\), or"
    with pytest.warns(UserWarning, match=words) as told:
        assert quick().fit(X, y).image_shape_ == (1, 14, 14)
    assert told[0].filename == __file__
    assert quick(image_shape=(3, 8, 8)).fit(X, y).image_shape_ == (3, 8, 8)


def test_bytes_are_not_copied_to_floats(small, monkeypatch):
    seen = []
    original = tinycnn.CNN.inputs
    monkeypatch.setattr(
        tinycnn.CNN, "inputs", lambda net, images: seen.append(images) or original(net, images)
    )
    X, y = small
    net = quick().fit(X, y)
    net.predict(X)
    assert {images.dtype for images in seen} == {np.dtype(np.uint8)}
    assert all(np.shares_memory(images, X) for images in seen)


@pytest.mark.parametrize(
    ("dtype", "computed"),
    [
        ("uint8", "float32"),
        ("int64", "float32"),
        ("bool", "float32"),
        ("float16", "float32"),
        ("float32", "float32"),
        ("float64", "float64"),
    ],
)
def test_any_real_dtype(small, dtype, computed):
    X, y = small
    net = quick().fit(X.astype(dtype), y)
    assert net.network_.flat.dtype == computed
    assert net.transform(X.astype(dtype)).dtype == computed


def test_images_of_another_shape_are_refused(rng):
    X, y = rng.random((20, 8, 10)), np.arange(20) % 2
    with pytest.raises(ValueError, match=r"image_shape: \(8, 8\) has 64 values, X has 80 features"):
        quick(image_shape=(8, 8)).fit(X.reshape(20, -1), y)
    with pytest.raises(ValueError, match=r"samples must have shape .* got \(8, 10\)"):
        quick(image_shape=(10, 8)).fit(X, y)
    with pytest.raises(ValueError, match="image_shape: images are"):
        quick(image_shape=(80,)).fit(X, y)
    net = quick().fit(X, y)
    with pytest.raises(ValueError, match=r"got \(10, 8\)"):
        net.predict(X.reshape(20, 10, 8))


# Labels, weights and classes


@pytest.mark.parametrize(
    "names",
    [np.array(["no", "yes"]), np.array(["no", "yes"], object), np.array([False, True]), [-3, 7]],
    ids=["strings", "objects", "booleans", "numbers"],
)
def test_labels_of_any_kind(small, names):
    X, y = small
    labels = np.asarray(names)[(y == 0).astype(int)]
    net = quick(max_iter=20).fit(X, labels)
    np.testing.assert_array_equal(net.classes_, names)
    assert net.predict(X).dtype == labels.dtype
    assert net.score(X, labels) > 0.95
    assert net.network_.class_names == tuple(str(name) for name in names)


def test_weight_zero_is_as_good_as_not_there(small, rng):
    X, y = small
    counted = rng.random(300) < 0.7
    weighted = quick().fit(X, y, sample_weight=counted)
    np.testing.assert_array_equal(
        weighted.network_.flat, quick().fit(X[counted], y[counted]).network_.flat
    )


def test_equal_weights_are_no_weights(small):
    X, y = small
    expected = quick().fit(X, y).network_.flat
    ones = quick().fit(X, y, sample_weight=np.ones(300)).network_.flat
    np.testing.assert_array_equal(ones, expected)


def test_class_weights_go_by_label(small, monkeypatch):
    X, y = small
    names = np.array(list("abcdefghij"))[y]
    given = []
    fit = fitting.fit

    def spy(*args, sample_weight, **kwargs):
        given.append(sample_weight)
        return fit(*args, sample_weight=sample_weight, **kwargs)

    monkeypatch.setattr(fitting, "fit", spy)
    quick(class_weight={"b": 3.0}).fit(X, names)
    np.testing.assert_array_equal(given[-1], np.where(names == "b", 3.0, 1.0))
    quick(class_weight="balanced").fit(X, names)
    everything = np.arange(300)
    expected = image_weights(y.astype(np.int64), everything, 10, None, "balanced")
    np.testing.assert_array_equal(given[-1], expected)
    with pytest.raises(ValueError, match="class_weight: 'z' is not among"):
        quick(class_weight={"z": 3.0}).fit(X, names)
    with pytest.raises(ValueError, match="partial_fit sees a part"):
        quick(class_weight="balanced").partial_fit(X, names, classes=list("abcdefghij"))


def test_one_class_is_refused(small):
    X, y = small
    with pytest.raises(ValueError, match=r"at least 2 classes, got 1 class: .*0"):
        quick().fit(X, np.zeros(300, int))
    with pytest.raises(ValueError, match=r"at least 2 classes, got 1 class: .*4"):
        quick().fit(X, y, sample_weight=y == 4)


# What a fitted estimator tells


def test_predictions_agree_with_each_other(small, fitted):
    X, _ = small
    scores = fitted.decision_function(X)
    assert scores.shape == (300, 10)
    probabilities = fitted.network_.predict_proba(X.reshape(-1, 1, 8, 8))
    np.testing.assert_allclose(fitted.predict_proba(X), probabilities, rtol=1e-5)
    np.testing.assert_array_equal(fitted.predict(X), fitted.classes_[scores.argmax(axis=1)])
    np.testing.assert_allclose(np.log(fitted.predict_proba(X)), fitted.predict_log_proba(X), 1e-5)


@pytest.mark.parametrize(
    "method", ["predict", "predict_proba", "decision_function", "transform", "score"]
)
def test_images_on_another_scale_are_told_once(small, method):
    X, y = small
    fitted = quick().fit(X, y)
    labels = [y] if method == "score" else []
    getattr(fitted, method)(X, *labels)  # of the training images' own scale nothing is said
    with pytest.warns(tinycnn.UnusualImagesWarning, match="another scale"):
        getattr(fitted, method)(X * 15, *labels)
    getattr(fitted, method)(X * 15, *labels)


def test_log_probabilities_stay_finite(small):
    X, y = small
    net = quick().fit(X, y)
    net.network_.parameters["linear1.weight"][...] *= 1e4
    assert np.isfinite(net.predict_log_proba(X)).all()
    assert (net.predict_proba(X) == 0).any()


@pytest.mark.parametrize("hidden", [0, 12, (20, 12)])
def test_transform_gives_what_the_last_layer_sees(small, hidden):
    X, y = small
    net = quick(hidden=hidden).fit(X, y)
    features = net.transform(X)
    assert features.shape == (300, 12 if hidden else 8 * 4 * 4)
    last = net.network_.architecture.steps[-1].name
    weight, bias = net.network_.parameters.of(last).values()
    np.testing.assert_allclose(
        features @ weight.T + bias, net.decision_function(X), rtol=1e-4, atol=1e-4
    )
    names = net.get_feature_names_out()
    assert len(names) == features.shape[1]
    assert names[0] == "cnnclassifier0"


def test_what_is_recorded(fitted):
    assert fitted.n_iter_ == len(fitted.loss_curve_) == 5
    assert fitted.loss_ == fitted.loss_curve_[-1] < fitted.loss_curve_[0]
    assert fitted.validation_scores_ is None


def test_early_stopping_returns_to_the_best_epoch(small):
    X, y = small
    net = quick(max_iter=200, schedule="constant", early_stopping=True, validation_fraction=0.2)
    net.set_params(n_iter_no_change=3).fit(X, y)
    assert net.n_iter_ == len(net.validation_scores_) < 200
    assert max(net.validation_scores_) == net.validation_scores_[-4] > 0.7


def test_warm_start_goes_on(small):
    X, y = small
    net = quick(warm_start=True).fit(X, y)
    first, loss = net.network_, net.loss_
    net.fit(X, y)
    assert net.network_ is first
    assert net.n_iter_ == 10
    assert net.loss_ < loss
    with pytest.raises(ValueError, match="warm_start: the network knows the classes"):
        net.fit(X, y + 1)


def test_partial_fit_goes_on(small):
    X, y = small
    net = quick(shift=0)
    with pytest.raises(ValueError, match="classes: the first call"):
        net.partial_fit(X, y)
    for i in range(40):
        part = slice(100 * (i % 3), 100 * (i % 3) + 100)
        net.partial_fit(X[part], y[part], classes=range(10) if i == 0 else None)
    assert net.n_iter_ == 40
    assert net.score(X, y) > 0.95
    with pytest.raises(ValueError, match="classes: the network knows"):
        net.partial_fit(X, y, classes=range(11))
    with pytest.raises(ValueError, match="y: 10 is not among the classes"):
        net.partial_fit(X, y + 1)


def test_optimizers_differ_and_learn(small):
    X, y = small
    losses = set()
    for optimizer in ("adam", "adamw", "sgd"):
        net = quick(optimizer=optimizer).fit(X, y)
        assert net.loss_ < net.loss_curve_[0]
        losses.add(net.loss_)
    assert len(losses) == 3


@pytest.mark.parametrize("optimizer", ["adamw", "adam", "sgd"])
def test_an_optimizer_by_name_is_the_one_of_fit(small, monkeypatch, optimizer):
    X, y = small
    given = {}
    fit = fitting.fit
    monkeypatch.setattr(fitting, "fit", lambda *a, **k: given.update(k) or fit(*a, **k))
    quick(optimizer=optimizer).fit(X, y)
    assert repr(given["optimizer"]) == repr(as_optimizer(optimizer))
    quick(optimizer=optimizer, learning_rate_init=0.02, alpha=0.3, momentum=0.7).fit(X, y)
    assert (given["optimizer"].lr, given["optimizer"].weight_decay) == (0.02, 0.3)
    assert getattr(given["optimizer"], "momentum", 0.7) == 0.7


def test_the_defaults_are_those_of_fit(small):
    """Nothing said, estimator and functions give the same network, bit for bit."""
    X, y = small
    X, y = X[::5], y[::5]
    estimator = CNNClassifier(random_state=4).fit(X, y)
    random = np.random.RandomState(4)
    images = X.reshape(-1, 1, 8, 8)
    channels = auto_channels((1, 8, 8))
    net = tinycnn.CNN(
        (1, 8, 8), channels=channels, padding="same", n_classes=10, seed=draw_seed(random)
    )
    net.standardize(images)
    tinycnn.fit(net, images, y, seed=draw_seed(random), verbose=False)
    assert estimator.network_.architecture == net.architecture
    np.testing.assert_array_equal(estimator.network_.flat, net.flat)


@pytest.mark.parametrize(
    "layers",
    [
        [Conv(8, padding="same"), ReLU(), MaxPool(), Flatten(), Dropout(0.2), Linear(16), ReLU()],
        (Conv(8, padding="same"), ReLU(), MaxPool()),
        [Flatten(), Linear(30), ReLU()],
        [],
    ],
)
def test_layers_of_ones_own(small, layers):
    X, y = small
    net = clone(CNNClassifier(layers=layers, max_iter=20, random_state=0)).fit(X, y)
    flatten = [] if Flatten() in layers else [Flatten()]
    assert net.network_.layers == (*layers, *flatten, Linear(10))
    assert net.score(X, y) > 0.8
    assert net.transform(X).shape == (300, net.network_.architecture.n_features)
    assert repr(layers) in repr(net.get_params()["layers"])


def test_layers_in_a_grid_search(small):
    X, y = small
    grid = {"layers": [None, [Flatten()], [Flatten(), Linear(8), ReLU()]]}
    search = GridSearchCV(CNNClassifier(max_iter=3, random_state=0), grid, cv=2).fit(X, y)
    assert len(search.cv_results_["params"]) == 3


@pytest.mark.parametrize("offset", [300, 30_000])
def test_an_offset_of_all_pixels_changes_nothing(offset):
    X, y = load_digits(return_X_y=True)
    cv = StratifiedKFold(3, shuffle=True, random_state=0)
    without, with_offset = (
        cross_val_score(quick(max_iter=10), data, y, cv=cv).mean() for data in (X, X + offset)
    )
    assert without > 0.93
    assert with_offset == pytest.approx(without, abs=0.003)


@pytest.mark.parametrize(
    ("parameters", "error", "message"),
    [
        ({"channels": "many"}, ValueError, "channels: must be one of 'auto', got 'many'"),
        ({"channels": 8}, ValueError, r"channels: .* such as \(8, 16\), got 8"),
        ({"channels": (8,) * 4}, ValueError, "layers: maxpool4: maps of 1 x 1 leave no 2x2"),
        ({"kernel_size": "3"}, TypeError, "kernel_size: must be a real number, got '3'"),
        ({"hidden": -1}, ValueError, "hidden: must be a whole number of at least 0, got -1"),
        ({"padding": -1}, ValueError, "padding: must be a whole number of at least 0"),
        ({"padding": "full"}, ValueError, "padding: must be 'same', a number or two, got 'full'"),
        ({"layers": ReLU()}, TypeError, "layers: must be a list of layers without the last"),
        ({"layers": [ReLU]}, TypeError, r"layers\[0\]: .*the class ReLU; call it: ReLU"),
        ({"layers": [Conv(8, 9)]}, ValueError, "layers: conv1: its 9 x 9 kernel does not fit"),
        ({"layers": [ReLU()], "hidden": 5}, ValueError, "hidden: give this or layers, not both"),
        ({"layers": [ReLU()], "channels": (8,)}, ValueError, "channels: give this or layers"),
        ({"shift": "far"}, ValueError, "shift: must be 'auto' or a whole number, got 'far'"),
        ({"shift": 8}, ValueError, "shift: must be less than 8 for images of 8 x 8, got 8"),
        ({"flip": "no"}, TypeError, "flip: must be True or False, got 'no'"),
        ({"optimizer": "lbfgs"}, ValueError, "optimizer: must be one of .*'sgd', got 'lbfgs'"),
        ({"optimizer": tinycnn.Adam()}, ValueError, "optimizer: must be one of .*got Adam"),
        ({"learning_rate_init": -1}, ValueError, "learning_rate_init: must be finite and not"),
        ({"learning_rate_init": "low"}, ValueError, "learning_rate_init: must be 'auto' or a"),
        ({"alpha": None}, TypeError, "alpha: must be a real number, got None"),
        ({"optimizer": "sgd", "momentum": 1}, ValueError, "momentum: must be below 1, got 1"),
        ({"schedule": "adaptive"}, ValueError, "schedule: must be one of 'one_cycle', .*adaptive"),
        ({"schedule": None}, ValueError, "schedule: must be one of 'one_cycle', .*got None"),
        ({"batch_size": "all"}, ValueError, "batch_size: must be 'auto' or a whole number, got"),
        ({"max_iter": 0}, ValueError, "max_iter: must be a whole number of at least 1, got 0"),
        ({"max_iter": "many"}, ValueError, "max_iter: must be 'auto' or a whole number"),
        ({"label_smoothing": 1}, ValueError, r"label_smoothing: must be in \[0, 1\), got 1"),
        ({"class_weight": "auto"}, ValueError, "class_weight: the only word it takes is"),
        ({"class_weight": [1, 2]}, TypeError, "class_weight: must be a dict .* or None, got"),
        ({"early_stopping": "yes"}, TypeError, "early_stopping: must be True or False, got 'yes'"),
        ({"early_stopping": True, "tol": -1}, ValueError, "tol: must be finite and not negative"),
        (
            {"early_stopping": True, "validation_fraction": 0},
            ValueError,
            r"validation_fraction: must be in \(0, 1\), got 0",
        ),
        (
            {"early_stopping": True, "n_iter_no_change": 0},
            ValueError,
            "n_iter_no_change: must be a whole number of at least 1, got 0",
        ),
        ({"image_shape": (3, 3)}, ValueError, r"image_shape: \(3, 3\) has 9 values, X has 64"),
        ({"random_state": "now"}, ValueError, "'now' cannot be used to seed"),
    ],
    ids=str,
)
def test_wrong_parameters_are_named(small, parameters, error, message):
    with pytest.raises(error, match=message):
        quick(**({"channels": "auto"} if "layers" in parameters else {}) | parameters).fit(*small)


def test_unfitted_is_not_fitted(small):
    X, _ = small
    for method in ("predict", "predict_proba", "decision_function", "transform"):
        with pytest.raises(NotFittedError):
            getattr(CNNClassifier(), method)(X)


# Copies, processes and meta-estimators


def test_copies_predict_the_same_bits(small, fitted, tmp_path):
    X, _ = small
    expected = fitted.predict_proba(X)
    joblib.dump(fitted, tmp_path / "model.joblib")
    for copy in (
        pickle.loads(pickle.dumps(fitted)),
        joblib.load(tmp_path / "model.joblib"),
        joblib.load(tmp_path / "model.joblib", mmap_mode="r"),
    ):
        np.testing.assert_array_equal(copy.predict_proba(X), expected)
    assert not hasattr(clone(fitted), "network_")
    assert "CNNClassifier" in fitted._repr_html_()


def test_the_seed_decides_in_any_number_of_threads_and_processes(small):
    X, y = small
    expected = cross_val_score(quick(), X, y, cv=2)
    assert (cross_val_score(quick(n_jobs=2), X, y, cv=2) == expected).all()
    assert (cross_val_score(quick(n_jobs=-1), X, y, cv=2, n_jobs=2) == expected).all()
    one, two, other = (
        quick(n_jobs=n, random_state=seed).fit(X, y).network_.flat
        for n, seed in [(1, 0), (2, 0), (1, 1)]
    )
    assert (one == two).all()
    assert (one != other).any()


def test_joblibs_workers_keep_to_their_share():
    assert threads_of(None) == 1
    assert threads_of(3) == 3
    with joblib.parallel_config(n_jobs=2):
        assert threads_of(None) == 2
    with joblib.parallel_config(backend="loky", inner_max_num_threads=1):
        shares = joblib.Parallel(n_jobs=2)(joblib.delayed(nested_shares)(n) for n in (None, 2, -1))
    assert shares == [[1, 1, 1]] * 3


def nested_shares(n_jobs):
    """Threads of a task, and of the tasks that it starts."""
    inner = joblib.Parallel(n_jobs=2)(joblib.delayed(threads_of)(n) for n in (None, -1))
    return [threads_of(n_jobs), *inner]


def test_in_a_grid_search_in_a_pipeline_in_processes(small):
    X, y = small
    pipeline = make_pipeline(StandardScaler(), quick(max_iter=20))
    grid = {"cnnclassifier__channels": [(4,), (8,)], "cnnclassifier__hidden": [0, 16]}
    search = GridSearchCV(pipeline, grid, cv=2, n_jobs=2).fit(X.astype(np.float32), y)
    assert len(search.cv_results_["params"]) == 4
    assert search.best_score_ > 0.6


def test_features_for_another_estimator(small):
    X, y = small
    pipeline = make_pipeline(quick(max_iter=20), KNeighborsClassifier())
    assert pipeline.fit(X, y).score(X, y) > 0.8


@pytest.mark.parametrize(
    "make",
    [
        lambda net: CalibratedClassifierCV(net, cv=2),
        lambda net: VotingClassifier([("a", net), ("b", clone(net))], voting="soft"),
        lambda net: OneVsRestClassifier(net, n_jobs=2),
    ],
    ids=["calibrated", "voting", "one_vs_rest"],
)
def test_meta_estimators(small, make):
    X, y = small
    model = make(quick(max_iter=20)).fit(X, y)
    assert model.score(X, y) > 0.8
    assert model.predict_proba(X).shape == (300, 10)


def test_weights_are_routed(small):
    import sklearn

    X, y = small
    with sklearn.config_context(enable_metadata_routing=True):
        net = quick().set_fit_request(sample_weight=True)
        weights = (y != 3).astype(float)
        unweighted = net.set_score_request(sample_weight=False)
        scores = cross_val_score(unweighted, X, y, cv=2, params={})
        pipeline = make_pipeline(net).fit(X, y, sample_weight=weights)
    assert 3 not in pipeline.predict(X)
    assert len(scores) == 2


def test_without_scikit_learn_the_error_says_what_to_install():
    code = (
        "import sys; sys.modules['sklearn'] = None; sys.modules['joblib'] = None\n"
        "import tinycnn\n"
        "try:\n    import tinycnn.sklearn\n"
        "except ImportError as error: print(error)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert "needs scikit-learn 1.6 or later: pip install 'tinycnn[sklearn]'" in result.stdout


def test_views_change_predictions_and_nothing_else(small, fitted):
    X, _ = small
    views = tinycnn.Views(1, margin=3.0)
    viewing = clone(fitted).set_params(views=views).fit(*small)
    assert viewing.get_params()["views"] == views
    np.testing.assert_array_equal(viewing.network_.flat, fitted.network_.flat)
    images = X.reshape(-1, 1, 8, 8)
    logits = fitted.network_.logits(images, views=views)
    assert (logits != fitted.decision_function(X)).any()
    np.testing.assert_array_equal(viewing.decision_function(X), logits)
    np.testing.assert_array_equal(viewing.predict(X), viewing.classes_[logits.argmax(axis=1)])
    np.testing.assert_allclose(
        viewing.predict_proba(X), fitted.network_.predict_proba(images, views=views), rtol=1e-5
    )
    np.testing.assert_array_equal(viewing.transform(X), fitted.transform(X))


def test_views_that_are_none_are_refused(small, fitted):
    wrong = clone(fitted).set_params(views=2).fit(*small)
    with pytest.raises(TypeError, match="views: must be None or"):
        wrong.predict(small[0])
