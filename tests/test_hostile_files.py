"""Damaged and hostile model files and checkpoints: one clear error, at once, nothing changed."""

import io
import json
import os
import struct
import time
import zipfile

import numpy as np
import pytest

import tinycnn


def npy(descr, shape, data=b"", blanks=0):
    """An NPY member with the header as announced, whatever the data."""
    header = f"{{'descr': {descr!r}, 'fortran_order': False, 'shape': {shape!r}, }}".encode()
    header += b" " * blanks + b"\n"
    return b"\x93NUMPY\x01\0" + struct.pack("<H", len(header)) + header + data


def lists_in_lists(n):
    """Nest n lists: JSON's reader takes as many as Python's stack has room for, nearly."""
    return json.loads("[" * n + "]" * n)


@pytest.fixture
def net():
    return tinycnn.CNN((1, 6, 6), channels=(2,), n_classes=3, class_names=["a", "b", "c"])


@pytest.fixture
def entries(tmp_path, net):
    """The arrays of a good model file, by name."""
    tinycnn.save_model(net, tmp_path / "good.npz")
    with np.load(tmp_path / "good.npz") as archive:
        return dict(archive)


def described(entries, **changes):
    """The entries with a changed description."""
    metadata = {**json.loads(str(entries["tinycnn"][0])), **changes}
    return {**entries, "tinycnn": np.array([json.dumps(metadata)])}


def refusal(path, read=tinycnn.load_model):
    """What the reader says of a file: short, at once, and with the file's name in it."""
    start = time.perf_counter()
    with pytest.raises(ValueError, match="npz") as caught:
        read(path)
    assert time.perf_counter() - start < 2
    assert len(str(caught.value)) < 500
    return str(caught.value)


@pytest.mark.parametrize(
    "member",
    [
        b"\x93NUMPY\x01\0" + struct.pack("<H", 9968) + b"{'descr': '<f4', " + b" " * 9950 + b"\0\n",
        npy("<f4", (3,))[:40],
        b"\x93NUMPY\x01\0" + struct.pack("<H", 9000) + b"(" * 9000,
        npy("|O", (1,), b"x"),
        npy([["a", "<f4"]], (1,)),
        npy("<f4", (-1,)),
        npy("<f4", (2**40, 2**40)),
        npy("<f4", "no shape"),
        npy("<f4", (3.5,)),
        b"no array",
    ],
    ids=lambda member: repr(member[-20:]),
)
def test_headers_that_are_none(tmp_path, member):
    path = tmp_path / "x.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("tinycnn.npy", member)
    assert "'tinycnn'" in refusal(path)


def test_headers_as_python_2_and_other_programs_write_them_are_read(tmp_path, net, entries):
    path = tmp_path / "x.npz"
    with zipfile.ZipFile(path, "w") as archive:
        for name, values in entries.items():
            stream = io.BytesIO()
            np.lib.format.write_array(stream, values)
            member = stream.getvalue()
            if name == "linear1.bias":
                member = npy("<f4", "SHAPE", values.tobytes()).replace(b"'SHAPE'", b"  (3L,)")
            archive.writestr(f"{name}.npy", member)
    np.testing.assert_array_equal(tinycnn.load_model(path).flat, net.flat)


@pytest.mark.parametrize(
    "text",
    [
        "[" * 200_000,
        '{"a":' * 100_000,
        "[1]",
        "null",
        '"x"',
        "{}",
        '{"format_version": 3, "a": NaN}',
    ],
    ids=lambda text: text[:10],
)
def test_descriptions_that_are_none(tmp_path, entries, text):
    np.savez(tmp_path / "x.npz", **{**entries, "tinycnn": np.array([text])})
    refusal(tmp_path / "x.npz")


@pytest.mark.parametrize(
    "changes",
    [
        {"format_version": True},
        {"format_version": 3.0},
        {"format_version": 2},
        {"format_version": 10**400},
        {"class_names": None},
        {"class_names": [1, 2, 3]},
        {"class_names": ["a"] * 10**5},
        {"image_shape": [1, 10**18, 10**18]},
        {"image_shape": [1, float("nan"), 8]},
        {"layers": []},
        {"layers": 3},
        {"layers": [[]]},
        {"layers": [{"kind": "flatten"}] * 100_000},
        {"layers": [{"kind": "linear", "units": lists_in_lists(600)}]},
        {"input_mean": lists_in_lists(800)},
        {"layers": [{"kind": "flatten"}, {"kind": "linear", "units": 10**15}]},
        {"layers": [{"kind": "flatten"}, {"kind": "linear", "units": 3, "bias": "false"}]},
        {"layers": [{"kind": "flatten"}, {"kind": "linear", "units": 3, "more": 1}]},
        {"layers": [{"kind": "os.system", "units": 3}]},
        {"dtype": "float16"},
        {"dtype": ["f4"]},
        {"input_std": [0]},
        {"input_mean": ["0"]},
        {"input_mean": [10**400]},
        {"input_mean": [-1e308], "input_std": [1e-10]},
        {"input_std": [1e-320]},
        {"byte_scale": 1},
    ],
    ids=lambda changes: str(changes)[:80],
)
def test_descriptions_of_nothing(tmp_path, entries, changes):
    np.savez(tmp_path / "x.npz", **described(entries, **changes))
    refusal(tmp_path / "x.npz")


def test_a_key_or_a_member_that_is_there_twice(tmp_path, entries):
    path = tmp_path / "x.npz"
    text = str(entries["tinycnn"][0])[:-1] + ', "dtype": "float64"}'
    np.savez(path, **{**entries, "tinycnn": np.array([text])})
    assert "twice" in refusal(path)
    np.savez(path, **entries)
    with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(path, "a") as archive:
        archive.writestr("linear1.bias.npy", b"junk")
    assert "'linear1.bias.npy' twice" in refusal(path)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_the_last_of_many_members_that_is_there_twice_is_found_at_once(tmp_path):
    path = tmp_path / "x.npz"
    with zipfile.ZipFile(path, "w") as archive:
        for i in [*range(30_000), 29_999]:
            archive.writestr(f"{i}.npy", b"")
    assert "'29999.npy' twice" in refusal(path)


def test_parameters_that_are_not_finite(tmp_path, entries):
    entries["conv1.weight"][0, 0, 0, 0] = np.nan
    np.savez(tmp_path / "x.npz", **entries)
    assert "conv1.weight has values that are not finite" in refusal(tmp_path / "x.npz")


def test_a_small_file_that_claims_much_memory(tmp_path, entries):
    path = tmp_path / "x.npz"
    layers = [{"kind": "flatten"}, {"kind": "linear", "units": 3, "bias": False}]
    changed = described(entries, layers=layers, image_shape=[1, 10_000, 10_000])
    changed = {"tinycnn": changed["tinycnn"]}
    np.savez(path, **changed)
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        data = bytes(2**20)
        with archive.open("linear1.weight.npy", "w", force_zip64=True) as member:
            member.write(npy("<f4", (3, 10**8)))
            for _ in range(1145):
                member.write(data)
    assert path.stat().st_size < 2**21
    assert "compress so well" in refusal(path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "x.npz")
    with pytest.raises(OSError, match="is a pipe"):
        tinycnn.load_model(tmp_path / "x.npz")


IMAGES = np.random.default_rng(0).integers(0, 256, (12, 1, 6, 6), dtype=np.uint8)
LABELS = np.arange(12) % 3


def train(path, epochs, resume=True):
    """Train on with a checkpoint; return the network, its optimiser and the history."""
    net = tinycnn.CNN((1, 6, 6), channels=(2,), n_classes=3)
    optimizer = tinycnn.SGD(0.05, momentum=0.9)
    before = net.flat.copy()
    callbacks = [tinycnn.EarlyStopping(9), tinycnn.Checkpoint(path, resume=resume)]
    arguments = {"schedule": None, "validation_fraction": 0.3, "batch_size": 5, "verbose": False}
    try:
        history = tinycnn.fit(
            net,
            IMAGES,
            LABELS,
            epochs=epochs,
            optimizer=optimizer,
            callbacks=callbacks,
            **arguments,
        )
    except ValueError:
        np.testing.assert_array_equal(net.flat, before)
        assert optimizer.state()["n_steps"] == 0
        raise
    return net, history


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """The arrays of a checkpoint after two epochs, by name."""
    path = tmp_path_factory.mktemp("run") / "run.npz"
    train(path, 2)
    with np.load(path) as archive:
        return dict(archive)


def test_the_untouched_checkpoint_goes_on(tmp_path, checkpoint):
    np.savez(tmp_path / "run.npz", **checkpoint)
    _, history = train(tmp_path / "run.npz", 3)
    assert len(history.train_loss) == 3


def change(checkpoint, **changes):
    metadata = {**json.loads(str(checkpoint["checkpoint"][0])), **changes}
    return {**checkpoint, "checkpoint": np.array([json.dumps(metadata)])}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("callback0/best_epoch", np.array([1, 2])),
        ("callback0/best_flat", np.array(np.nan)),
        ("history/train_loss", np.ones((2, 2))),
        ("history/train_loss", np.ones(7)),
        ("history/train_loss", np.array(["a", "b"])),
        ("history/validation_loss", np.array([1.0, np.nan])),
        ("optimizer/velocity", np.ones(5, np.float32)),
        ("optimizer/velocity", np.full(47, np.nan, np.float32)),
        ("optimizer/velocity", np.ones(47)),
        ("order", np.zeros(9, np.uint8)),
        ("order", np.full(9, 200, np.uint8)),
        ("checkpoint", np.array(["[" * 100_000])),
        ("junk", None),
    ],
    ids=lambda value: str(value)[:30],
)
def test_checkpoints_with_inconsistent_contents(tmp_path, checkpoint, name, value):
    path = tmp_path / "run.npz"
    if value is None:  # what no checkpoint has is not read at all, however large it claims to be
        np.savez(path, **checkpoint)
        with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("junk.npy", npy("|u1", (10**12,)))
        train(path, 3)
        return
    assert checkpoint["optimizer/velocity"].shape == (47,)
    np.savez(path, **{**checkpoint, name: value})
    refusal(path, lambda path: train(path, 3))


def test_best_parameters_of_another_network(tmp_path, checkpoint):
    path = tmp_path / "run.npz"
    np.savez(path, **{**checkpoint, "callback0/best_flat": np.ones(3)})
    with pytest.raises(ValueError, match=r"best parameters are \(3,\), the network has \(47,\)"):
        train(path, 3)


@pytest.mark.parametrize("name", ["callback0/min_delta", "callback0/best_epoch", "order"])
def test_checkpoints_that_lack_something(tmp_path, checkpoint, name):
    np.savez(tmp_path / "run.npz", **{k: v for k, v in checkpoint.items() if k != name})
    refusal(tmp_path / "run.npz", lambda path: train(path, 3))


@pytest.mark.parametrize(
    "changes", [{"callbacks": [1.5]}, {"epoch": 1}, {"epoch": True}, {"arguments": None}], ids=str
)
def test_checkpoints_whose_description_is_wrong(tmp_path, checkpoint, changes):
    np.savez(tmp_path / "run.npz", **change(checkpoint, **changes))
    refusal(tmp_path / "run.npz", lambda path: train(path, 3))
