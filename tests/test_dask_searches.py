"""Searches with joblib's backends: the scores of a search on one core, and one thread a task."""

import numpy as np
import pytest

pytest.importorskip("sklearn", minversion="1.6")
pytest.importorskip("distributed")

import joblib
from dask_cluster import cluster
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.model_selection import GridSearchCV, HalvingRandomSearchCV, cross_val_score

from tinycnn.fast import threads
from tinycnn.sklearn import CNNClassifier
from tinycnn.sklearn.threads import threads_of

GRID = {"channels": [(2,), (4,)]}


@pytest.fixture
def client(monkeypatch):
    """A cluster of four workers in this process, where nothing says how many threads a task has."""
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    with cluster(4) as client:
        yield client


@pytest.fixture
def fresh_pool(monkeypatch):
    """A pool without threads, on a machine of two cores."""
    monkeypatch.setattr(threads, "_available_cpus", lambda: 2)
    monkeypatch.setattr(threads, "_shared", threads._Shared())
    return threads._shared


@pytest.fixture
def small(digits):
    images, labels = digits
    return images[:240].reshape(240, -1).astype(np.float32), labels[:240]


def quick(**parameters):
    return CNNClassifier(max_iter=3, random_state=0, **parameters)


def nested(n_jobs):
    """Threads of a task, and of the tasks that it starts."""
    inner = joblib.Parallel(n_jobs=2)(joblib.delayed(threads_of)(n) for n in (None, -1))
    return [threads_of(n_jobs), *inner]


@pytest.mark.parametrize("n_jobs", [None, 2, -1])
def test_four_tasks_on_two_cores_start_no_thread_beside_their_own(
    client, fresh_pool, small, n_jobs
):
    with joblib.parallel_config("dask"):
        search = GridSearchCV(quick(n_jobs=n_jobs), GRID, cv=2).fit(*small)
    assert len(search.cv_results_["split0_test_score"]) == 2
    assert fresh_pool.n_started == 0


def test_a_thread_too_many_would_be_noticed(fresh_pool, small):
    quick(n_jobs=2).fit(*small)
    assert fresh_pool.n_started == 1


def test_a_search_on_a_cluster_is_the_search_on_one_core(client, small):
    expected = GridSearchCV(quick(), GRID, cv=2).fit(*small)
    with joblib.parallel_config("dask"):
        found = GridSearchCV(quick(), GRID, cv=2).fit(*small)
    for split in ("split0_test_score", "split1_test_score"):
        np.testing.assert_array_equal(found.cv_results_[split], expected.cv_results_[split])
    expected_flat, flat = (each.best_estimator_.network_.flat for each in (expected, found))
    np.testing.assert_array_equal(flat, expected_flat)


def test_other_searches_work_there_too(client, small):
    with joblib.parallel_config("dask"):
        scores = cross_val_score(quick(), *small, cv=2)
        halving = HalvingRandomSearchCV(quick(), GRID, n_candidates=2, cv=2, random_state=0)
        halving.fit(*small)
    np.testing.assert_array_equal(scores, cross_val_score(quick(), *small, cv=2))
    assert halving.best_params_["channels"] in GRID["channels"]


def test_tasks_within_tasks_have_a_thread_each(client):
    with joblib.parallel_config("dask"):
        told = joblib.Parallel()(joblib.delayed(nested)(n) for n in (None, 2, -1))
    assert told == [[1, 1, 1]] * 3


def test_a_cluster_may_give_its_tasks_more(client, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    with joblib.parallel_config("dask"):
        assert [threads_of(n) for n in (None, 1, 2, 8, -1)] == [3, 1, 2, 3, 3]
