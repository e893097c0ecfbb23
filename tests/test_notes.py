"""What a model file remembers beside the network."""

import numpy as np
import pytest

import tinycnn
from tinycnn.files.model import load_notes


@pytest.fixture
def net():
    return tinycnn.CNN((1, 4, 4), channels=(2,), n_classes=2)


def test_notes_come_back_and_leave_the_network_as_it_is(net, tmp_path):
    notes = {"split": {"fraction": 0.2, "seed": 0}, "names": ["kätzchen", None], "n": 3}
    tinycnn.save_model(net, tmp_path / "m.npz", notes=notes)
    assert load_notes(tmp_path / "m.npz") == notes
    assert np.array_equal(tinycnn.load_model(tmp_path / "m.npz").flat, net.flat)


def test_a_model_without_notes_has_none(net, tmp_path):
    tinycnn.save_model(net, tmp_path / "m.npz")
    assert load_notes(tmp_path / "m.npz") == {}


@pytest.mark.parametrize("notes", [{"x": object()}, {"x": float("nan")}])
def test_notes_that_json_does_not_have_are_refused_before_anything_is_written(net, tmp_path, notes):
    with pytest.raises((TypeError, ValueError)):
        tinycnn.save_model(net, tmp_path / "m.npz", notes=notes)
    assert not (tmp_path / "m.npz").exists()


@pytest.mark.parametrize("text", ["{", "[1, 2]", "3"])
def test_damaged_notes_are_told(net, tmp_path, text):
    tinycnn.save_model(net, tmp_path / "m.npz", notes={"a": 1})
    with np.load(tmp_path / "m.npz") as archive:
        entries = {**archive, "notes": np.array([text])}
    np.savez(tmp_path / "m.npz", **entries)
    with pytest.raises(ValueError, match="damaged: its notes"):
        load_notes(tmp_path / "m.npz")
