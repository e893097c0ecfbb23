"""``tinycnn evaluate`` keeps to images that the model has not seen, or says that it does not."""

import json
import re

import numpy as np
import pytest
from cli_helpers import halves, run, save_pictures

import tinycnn
from tinycnn.cli import provenance
from tinycnn.cli.provenance import digests_of, read_provenance
from tinycnn.files.model import load_notes

QUICK = ("-q", "--channels", 2, "--epochs", 8)


@pytest.fixture
def noise(tmp_path, rng):
    """An archive of images that can be learned by heart, and nothing else."""
    images = rng.integers(0, 256, (200, 8, 8), dtype=np.uint8)
    labels = np.arange(200) % 4
    np.savez(tmp_path / "noise.npz", images=images, labels=labels)
    return tmp_path / "noise.npz"


@pytest.fixture
def by_heart(tmp_path, noise, capsys):
    """A model that knows its training images by heart."""
    path = tmp_path / "m.npz"
    options = ("-q", "--channels", 32, "--epochs", 60, "--shift", 0, "--json")
    assert run("train", noise, "-o", path, *options) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["train_accuracy"] > 0.95
    assert told["test"]["accuracy"] < 0.5
    return path, told["test"]


def evaluated(capsys, *arguments):
    """Run evaluate; return what it tells as JSON."""
    assert run("evaluate", *arguments, "--json") == 0
    return json.loads(capsys.readouterr().out)


def test_undivided_data_are_split_as_in_training(by_heart, noise, capsys):
    path, told_by_train = by_heart
    told = evaluated(capsys, path, noise)
    assert told["measured_on"] == "what training held out"
    for key, value in told_by_train.items():
        assert told[key] == value, key


def test_the_bundled_digits_too(tmp_path, capsys):
    path = tmp_path / "m.npz"
    assert run("train", "-o", path, *QUICK, "--json") == 0
    expected = json.loads(capsys.readouterr().out)["test"]
    told = evaluated(capsys, path)
    assert told["n_images"] == 359
    assert (told["accuracy"], told["loss"]) == (expected["accuracy"], expected["loss"])


def test_pictures_too_in_the_size_of_the_model(tmp_path, rng, capsys):
    folder = save_pictures(tmp_path / "p", *halves(40, rng, side=12))
    save_pictures(folder, *halves(20, rng, side=9), names=("up", "down"))
    path = tmp_path / "m.npz"
    assert run("train", folder, "-o", path, *QUICK, "--image-size", 8, 8, "--json") == 0
    expected = json.loads(capsys.readouterr().out)["test"]
    told = evaluated(capsys, path, folder)
    assert told["measured_on"] == "what training held out"
    assert told["accuracy"] == expected["accuracy"]


def test_of_changed_data_what_trained_is_left_out(by_heart, noise, tmp_path, rng, capsys):
    path, _ = by_heart
    with np.load(noise) as archive:
        images, labels = archive["images"], archive["labels"]
    more = rng.integers(0, 256, (100, 8, 8), dtype=np.uint8)
    mixed = rng.permutation(300)
    np.savez(
        tmp_path / "more.npz",
        images=np.concatenate([images, more])[mixed],
        labels=np.concatenate([labels, np.arange(100) % 4])[mixed],
    )
    told = evaluated(capsys, path, tmp_path / "more.npz")
    assert told["measured_on"] == "all but 160 images that the model learned from"
    assert told["n_images"] == 140
    assert told["accuracy"] < 0.5


def test_of_training_images_alone_it_is_said_that_they_are(by_heart, noise, tmp_path, capsys):
    path, _ = by_heart
    with np.load(noise) as archive:
        images, labels = archive["images"], archive["labels"]
    train_index, _ = tinycnn.stratified_split(labels, 0.2, 0)
    np.savez(tmp_path / "t.npz", images=images[train_index], labels=labels[train_index])
    told = evaluated(capsys, path, tmp_path / "t.npz")
    assert told["measured_on"] == "all images"
    assert "the model learned from 100.0% of these images" in told["cautions"][0]


def test_of_other_data_all_are_measured(by_heart, tmp_path, rng, capsys):
    path, _ = by_heart
    images = rng.integers(0, 256, (80, 8, 8), dtype=np.uint8)
    np.savez(tmp_path / "new.npz", images=images, labels=np.arange(80) % 4)
    told = evaluated(capsys, path, tmp_path / "new.npz")
    assert (told["measured_on"], told["n_images"]) == ("all images", 80)
    assert not any("learned from" in caution for caution in told["cautions"])


def test_a_test_part_with_training_images_in_it_is_told(by_heart, noise, tmp_path, capsys):
    path, _ = by_heart
    with np.load(noise) as archive:
        images, labels = archive["images"], archive["labels"]
    np.savez(tmp_path / "d.npz", x_train=images, y_train=labels, x_test=images, y_test=labels)
    told = evaluated(capsys, path, tmp_path / "d.npz")
    assert told["measured_on"] == "the test part"
    assert "the model learned from 80.0% of these images" in told["cautions"][0]


def test_a_model_that_does_not_say_what_it_learned_from(noise, tmp_path, capsys):
    net = tinycnn.CNN((1, 8, 8), channels=(2,), n_classes=4)
    tinycnn.save_model(net, tmp_path / "m.npz")
    told = evaluated(capsys, tmp_path / "m.npz", noise)
    assert told["n_images"] == 200
    assert "does not say which images it learned from" in told["cautions"][0]


def test_the_test_part_is_measured_as_train_did(tmp_path, rng, capsys):
    x_train, y_train = halves(40, rng)
    x_test = rng.integers(0, 256, (30, 8, 8), dtype=np.uint8)
    np.savez(
        tmp_path / "d.npz",
        x_train=x_train,
        y_train=y_train,
        x_test=x_test,
        y_test=np.arange(30) % 2,
    )
    assert run("train", tmp_path / "d.npz", "-o", tmp_path / "m.npz", *QUICK, "--json") == 0
    expected = json.loads(capsys.readouterr().out)["test"]
    told = evaluated(capsys, tmp_path / "m.npz", tmp_path / "d.npz")
    assert (told["accuracy"], told["loss"]) == (expected["accuracy"], expected["loss"])


def test_what_is_printed(tmp_path, rng, capsys):
    images, labels = halves(60, rng)
    np.savez(tmp_path / "d.npz", images=images, labels=labels, class_names=["left", "right"])
    assert run("train", tmp_path / "d.npz", "-o", tmp_path / "m.npz", *QUICK) == 0
    capsys.readouterr()
    assert run("evaluate", tmp_path / "m.npz", tmp_path / "d.npz") == 0
    lines = capsys.readouterr().out.splitlines()
    assert re.search(r"d\.npz: 12 images, loss 0\.\d+, accuracy 100\.00%", lines[0])
    assert "measured on what training held out: of 12 images; 95% interval" in lines[1]
    assert [line.split() for line in lines[2:4]] == [
        ["left", "100.00%", "of", "6"],
        ["right", "100.00%", "of", "6"],
    ]
    assert "careful: left, right: fewer than 10 test images" in lines[4]


def test_classes_are_matched_by_name(tmp_path, rng, capsys):
    images, labels = halves(40, rng)
    np.savez(tmp_path / "d.npz", images=images, labels=labels, class_names=["left", "right"])
    assert run("train", tmp_path / "d.npz", "-o", tmp_path / "m.npz", *QUICK) == 0
    images, labels = halves(30, rng)
    right = images[labels == 1]
    np.savez(tmp_path / "one.npz", images=right, labels=np.zeros(15, int), class_names=["right"])
    capsys.readouterr()
    told = evaluated(capsys, tmp_path / "m.npz", tmp_path / "one.npz")
    assert (told["n_right"], told["classes"][1]["n_images"]) == (15, 15)


def test_another_scale_is_one_line_of_warning(tmp_path, rng, capsys):
    images, labels = halves(60, rng)
    np.savez(tmp_path / "d.npz", images=(images / 255).astype(np.float32), labels=labels)
    np.savez(tmp_path / "x.npz", images=images.astype(np.float32) * 1.5, labels=labels)
    assert run("train", tmp_path / "d.npz", "-o", tmp_path / "m.npz", *QUICK) == 0
    capsys.readouterr()
    assert run("evaluate", tmp_path / "m.npz", tmp_path / "x.npz") == 0
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("tinycnn: warning: images: pixels of mean")


# ------------------------------------------------------------------------------------- provenance


def test_digests_tell_images_apart_by_pixels_shape_and_dtype(rng):
    images = rng.integers(0, 2, (50, 1, 4, 6), dtype=np.uint8)
    digests = digests_of(images)
    assert len(np.unique(digests)) == 50
    assert np.array_equal(digests, digests_of(images.copy(order="F")))
    assert not np.isin(digests, digests_of(images.reshape(50, 1, 6, 4))).any()
    assert not np.isin(digests, digests_of(images.astype(np.float32))).any()


def test_of_many_training_images_a_sample_is_remembered(tmp_path, rng, capsys, monkeypatch):
    monkeypatch.setattr(provenance, "MOST_DIGESTS", 100)
    images, labels = halves(1000, rng)
    np.savez(
        tmp_path / "d.npz",
        x_train=images,
        y_train=labels,
        x_test=np.concatenate([images[:300], halves(300, rng)[0]]),
        y_test=np.concatenate([labels[:300], halves(300, rng)[1]]),
    )
    path = tmp_path / "m.npz"
    assert run("train", tmp_path / "d.npz", "-o", path, "-q", "--channels", 2, "--epochs", 1) == 0
    assert len(read_provenance(load_notes(path)).digests) == 100
    capsys.readouterr()
    told = evaluated(capsys, path, tmp_path / "d.npz")
    share = re.search(r"learned from about ([\d.]+)% of these images", told["cautions"][0])[1]
    assert 30 < float(share) < 70  # half of them, estimated from some 50


@pytest.mark.parametrize(
    "notes",
    [
        {},
        {"digests": "?", "dtype": "uint8", "n_images": 1, "split": None},
        {"digests": "AAAA", "dtype": "uint8", "n_images": 1, "split": None},
        {"digests": "", "dtype": "uint-8", "n_images": 1, "split": None},
        {"digests": "", "dtype": "uint8", "n_images": 1, "split": {"seed": 0}},
        {"digests": 3, "dtype": None, "n_images": "x", "split": 1},
        {"digests": "", "dtype": "uint8", "n_images": float("inf"), "split": None},
    ],
)
def test_notes_of_others_are_no_provenance(notes):
    assert read_provenance(notes) is None


def test_without_data_a_model_of_other_data_asks_for_them(by_heart, capsys):
    assert run("evaluate", by_heart[0]) == 2
    words = r"trained on '.*noise\.npz', not on the bundled digits; name data behind the model"
    assert re.search(words, capsys.readouterr().err)
