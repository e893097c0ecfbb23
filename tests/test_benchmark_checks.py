"""The benchmark tells a broken contestant from a right one: some are broken here to see it."""

import functools
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import tinycnn

sys.path.append(str(Path(__file__).parent.parent))  # last: they are no package that is installed

from benchmarks import checks, oracle
from benchmarks.networks import (
    Network,
    architecture_of,
    blocks,
    two_convs_one_pool,
)
from benchmarks.peers import adapter, numpy_lesson
from benchmarks.peers import tinycnn as peer
from benchmarks.workloads import Task, store_data
from tinycnn.architecture import make_blocks

NETWORKS = [blocks([4], 3), blocks([3, 5], 5, "same"), two_convs_one_pool(3, 3)]


@pytest.mark.parametrize("network", NETWORKS, ids=lambda network: network.name)
def test_the_oracle_s_gradient_is_the_slope_of_its_loss(network, rng):
    architecture = architecture_of(network.description)
    parameters = {
        name: rng.normal(0, 0.2, shape) for name, shape in architecture.parameter_shapes.items()
    }
    x, labels = rng.random((5, 1, 28, 28)), rng.integers(0, 10, 5)
    _, gradients = oracle.loss_and_gradients(architecture, parameters, x, labels)
    for name, gradient in gradients.items():
        direction, step = rng.normal(size=gradient.shape), 1e-8  # few kinks within
        losses = [
            oracle.loss_and_gradients(
                architecture, {**parameters, name: parameters[name] + s * direction}, x, labels
            )[0]
            for s in (step, -step)
        ]
        slope = (losses[0] - losses[1]) / (2 * step)
        assert slope == pytest.approx(np.sum(gradient * direction), rel=1e-5, abs=1e-6)


def verdict(task, module, folder):
    """Run a contestant as its process does; return its error, as the other process finds it."""
    store_data(folder, task.n_images, None)
    prepared = module.prepare(task, folder)
    timed, small = prepared.fresh(task.n_images), prepared.fresh(checks.checked_images(task))
    timed.run()
    small.run()
    return checks.error_of(task, folder, small.result(), timed.result())


@pytest.mark.parametrize("network", NETWORKS, ids=lambda network: network.name)
@pytest.mark.parametrize("action", ["fit", "predict", "one_image"])
def test_who_computes_what_is_asked_passes_the_check(tmp_path, network, action):
    task = Task("tinycnn", action, network.description, 32, 150)
    assert 0 < verdict(task, peer, tmp_path) < 1e-3


@pytest.mark.parametrize("action", ["train", "train_float32"])
def test_train_passes_the_check(tmp_path, action):
    task = Task("tinycnn", action, NETWORKS[0].description, 150, 150, None)
    assert 0 < verdict(task, peer, tmp_path) < 1e-4


def test_the_numpy_lesson_passes_the_check(tmp_path):
    task = Task("numpy_lesson", "fit", NETWORKS[1].description, 32, 150)
    assert 0 < verdict(task, numpy_lesson, tmp_path) < 1e-3


FIT = Task("tinycnn", "fit", NETWORKS[0].description, 32, 150)


def broken_fit(change):
    """Make a fit that trains on what change makes of images and labels."""
    fit = tinycnn.fit

    @functools.wraps(fit)
    def broken(net, images, labels, **arguments):
        return fit(net, *change(images, labels), **arguments)

    return broken


def test_a_zeroed_gradient_of_the_filters_is_caught(tmp_path, monkeypatch):
    class Broken(tinycnn.SGD):
        def step(self, flat, gradient, *arguments):
            gradient = gradient.copy()
            gradient[:36] = 0
            super().step(flat, gradient, *arguments)

    monkeypatch.setattr(peer.tinycnn, "SGD", Broken)
    with pytest.raises(
        checks.WrongResultError, match=r"conv1\.weight after 106 images: off by 1 of"
    ):
        verdict(FIT, peer, tmp_path)


def test_images_that_are_skipped_are_caught(tmp_path, monkeypatch):
    monkeypatch.setattr(peer.tinycnn, "fit", broken_fit(lambda x, y: (x[::2], y[::2])))
    with pytest.raises(checks.WrongResultError, match="order of an epoch has not each of 106 im"):
        verdict(FIT, peer, tmp_path)
    half = SimpleNamespace(train=lambda a, p, x, y, size: oracle.train(a, p, x[::2], y[::2], size))
    monkeypatch.setattr(numpy_lesson, "oracle", half)
    with pytest.raises(checks.WrongResultError, match="after 106 images: off by"):
        verdict(FIT._replace(peer="numpy_lesson"), numpy_lesson, tmp_path)


def test_images_that_are_skipped_when_it_is_timed_are_caught(tmp_path, monkeypatch):
    def change(images, labels):
        return (images[:64], labels[:64]) if len(images) > 120 else (images, labels)

    monkeypatch.setattr(peer.tinycnn, "fit", broken_fit(change))
    with pytest.raises(checks.WrongResultError, match="has not each of 150 images once"):
        verdict(FIT, peer, tmp_path)


@pytest.mark.parametrize("action", ["fit", "predict"])
def test_wrong_padding_is_caught(tmp_path, monkeypatch, action):
    def padded(first):
        layers = make_blocks([4, 4], 10, kernel_size=3, padding=[first, 0])
        return Network("", "", tuple(layers)).description

    monkeypatch.setattr(peer, "make_network", lambda right: adapter.make_network(padded(2)))
    with pytest.raises(checks.WrongResultError, match="off by"):
        verdict(Task("tinycnn", action, padded(1), 32, 150), peer, tmp_path)


def test_a_timed_run_that_does_nothing_is_caught(tmp_path, monkeypatch):
    half = SimpleNamespace(
        train=lambda a, p, x, y, size: len(x) > 120 or oracle.train(a, p, x, y, size)
    )
    monkeypatch.setattr(numpy_lesson, "oracle", half)
    with pytest.raises(checks.WrongResultError, match="the loss after a timed run is"):
        verdict(FIT._replace(peer="numpy_lesson"), numpy_lesson, tmp_path)
