"""``--views`` of ``tinycnn evaluate`` and ``predict``: what it does, and what it refuses."""

import json

import numpy as np
import pytest
from cli_helpers import halves, network_of_halves, only_line, run

import tinycnn
from tinycnn import Views


@pytest.fixture(scope="module")
def net():
    """A network that tells bright left halves from bright right ones, not always for sure."""
    return network_of_halves(epochs=3)


@pytest.fixture
def model(net, tmp_path):
    tinycnn.save_model(net, tmp_path / "m.npz")
    return tmp_path / "m.npz"


@pytest.fixture
def data(tmp_path, rng):
    """Images, half of them noise, as an archive; and what is in it."""
    images, labels = halves(40, rng)
    images[20:] = rng.integers(0, 256, (20, 8, 8))
    np.savez(tmp_path / "d.npz", images=images, labels=labels)
    return tmp_path / "d.npz", images[:, None], labels


GIVEN = [
    (("--views", 1), Views(1)),
    (("--views", 2, "--margin", 0.5), Views(2, margin=0.5)),
    (("--views", 0, "--flip"), Views(0, flip=True)),
    (("--views", 1, "--flip", "--margin", 3), Views(1, flip=True, margin=3.0)),
]


@pytest.mark.parametrize(("options", "views"), GIVEN, ids=str)
def test_evaluate_averages_over_views(net, model, data, capsys, options, views):
    path, images, labels = data
    assert run("evaluate", model, path, "--json", *options) == 0
    told = json.loads(capsys.readouterr().out)
    loss, accuracy = tinycnn.evaluate(net, images, labels, views=views)
    assert (told["loss"], told["accuracy"]) == (loss, accuracy)
    assert loss != tinycnn.evaluate(net, images, labels)[0]


@pytest.mark.parametrize(("options", "views"), GIVEN, ids=str)
def test_predict_averages_over_views(net, model, data, capsys, options, views):
    path, images, _ = data
    assert run("predict", model, path, "--json", *options) == 0
    told = [each["probability"] for each in json.loads(capsys.readouterr().out)]
    expected = net.predict_proba(images, views=views).max(axis=1)
    np.testing.assert_allclose(told, expected, rtol=1e-5)
    assert not np.allclose(told, net.predict_proba(images).max(axis=1), rtol=1e-5)


@pytest.mark.parametrize("command", ["evaluate", "predict"])
@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--flip",), "--flip: belongs to --views; give --views 1, say, as well"),
        (("--margin", 2), "--margin: belongs to --views; give --views 1, say, as well"),
        (("--views", 0), "--views: 0 is for mirror images alone; give --flip as well"),
        (("--views", -1), "--views: must be a whole number of at least 0, got -1"),
        (("--views", 1, "--margin", 0), "--margin: must be above 0, got 0; leave it out"),
        (("--views", 1, "--margin", -1), "--margin: must be finite and not negative, got -1.0"),
        (("--views", 1, "--margin", "nan"), "--margin: must be finite and not negative"),
        (("--views", 8), "views: shift must be less than 8 for images of 8 x 8, got 8"),
    ],
    ids=str,
)
def test_nonsense_is_one_line_and_exit_code_2(model, data, capsys, command, options, words):
    assert run(command, model, data[0], *options) == 2
    assert words in only_line(capsys.readouterr().err)
