"""Model files: bit-identical predictions, nothing lost, nothing trusted."""

import json
import os
import zipfile

import numpy as np
import pytest

import tinycnn
from tinycnn import CNN
from tinycnn.model_file import is_model_file


@pytest.fixture
def net():
    return CNN((3, 20, 18), (4, 5), [3, (2, 3)], 3, class_names=["ant", "bee", "cé"], seed=2)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("bias", [True, False])
def test_a_loaded_model_predicts_the_same_bits_from_raw_images(tmp_path, rng, dtype, bias):
    net = CNN((3, 20, 18), (4, 5), [3, (2, 3)], 3, bias=bias, dtype=dtype, seed=2)
    tinycnn.save_model(net, tmp_path / "m.npz")
    loaded = tinycnn.load_model(tmp_path / "m.npz")
    assert loaded.architecture == net.architecture
    assert loaded.flat.dtype == dtype
    np.testing.assert_array_equal(loaded.flat, net.flat)
    images = rng.integers(0, 256, (40, 3, 20, 18), dtype=np.uint8)
    np.testing.assert_array_equal(loaded.predict_proba(images), net.predict_proba(images))


def test_class_names_live_with_the_model(tmp_path, net):
    tinycnn.save_model(net, str(tmp_path / "m.npz"))
    assert tinycnn.load_model(str(tmp_path / "m.npz")).class_names == ("ant", "bee", "cé")


def test_the_file_holds_plain_arrays_and_json(tmp_path, net):
    tinycnn.save_model(net, tmp_path / "m.npz")
    with np.load(tmp_path / "m.npz", allow_pickle=False) as file:
        assert set(file) == {"tinycnn", *net.parameters}
        np.testing.assert_array_equal(file["conv2.weight"], net.parameters["conv2.weight"])
        description = json.loads(str(file["tinycnn"][0]))
    assert description["format_version"] == 2
    assert description["byte_scale"] == 255
    assert description["architecture"]["channels"] == [4, 5]


def test_the_same_model_gives_the_same_file(tmp_path, net):
    for name in ("a.npz", "b.npz"):
        tinycnn.save_model(net, tmp_path / name)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_a_failed_save_leaves_the_old_model_and_no_litter(tmp_path, net, monkeypatch):
    path = tmp_path / "m.npz"
    tinycnn.save_model(net, path)
    old = path.read_bytes()

    def full_disk(*arguments, **arrays):
        arguments[0].write(b"half")
        raise OSError("no space left on device")

    monkeypatch.setattr(np, "savez", full_disk)
    with pytest.raises(OSError, match="no space"):
        tinycnn.save_model(net, path)
    assert path.read_bytes() == old
    assert os.listdir(tmp_path) == ["m.npz"]


def test_a_draft_that_a_killed_process_left_is_not_in_the_way(tmp_path, net):
    # In a container a program has the same process number each time.
    draft = tmp_path / f".m.npz.{os.getpid()}.part"
    draft.write_bytes(b"half, and longer than the model" * 10_000)
    tinycnn.save_model(net, tmp_path / "m.npz")
    assert os.listdir(tmp_path) == ["m.npz"]
    np.testing.assert_array_equal(tinycnn.load_model(tmp_path / "m.npz").flat, net.flat)


def test_saving_through_a_link_keeps_the_link(tmp_path, net):
    (tmp_path / "real").mkdir()
    (tmp_path / "link.npz").symlink_to(tmp_path / "real" / "m.npz")
    tinycnn.save_model(net, tmp_path / "link.npz")
    assert (tmp_path / "link.npz").is_symlink()
    assert is_model_file(tmp_path / "real" / "m.npz")


def test_is_model_file_tells_models_from_other_files(tmp_path, net):
    tinycnn.save_model(net, tmp_path / "m.npz")
    np.savez(tmp_path / "other.npz", images=np.zeros(3))
    (tmp_path / "text.npz").write_text("hello")
    assert [is_model_file(tmp_path / name) for name in ("m.npz", "other.npz", "text.npz")] == [
        True,
        False,
        False,
    ]


def rewrite(path, **changes):
    """Write a model's arrays once more with some replaced (or left out, for None)."""
    with np.load(path) as file:
        arrays = {key: file[key] for key in file} | changes
    np.savez(path, **{key: value for key, value in arrays.items() if value is not None})


def described(path, **changes):
    """Return a model's description with some entries replaced, as its array."""
    with np.load(path) as file:
        return np.array([json.dumps(json.loads(str(file["tinycnn"][0])) | changes)])


def test_damaged_and_foreign_files_are_refused_in_clear_words(tmp_path, net):
    path = tmp_path / "m.npz"

    def refused(words, **changes):
        tinycnn.save_model(net, path)
        if "description" in changes:
            changes = {"tinycnn": described(path, **changes["description"])}
        rewrite(path, **changes)
        with pytest.raises(ValueError, match=words) as caught:
            tinycnn.load_model(path)
        assert str(path) in str(caught.value)

    refused("not a tinycnn model", tinycnn=None)
    refused("description cannot be read", tinycnn=np.array(["{"]))
    refused("description cannot be read", tinycnn=np.array(["[]"]))
    refused("format version 99, this tinycnn reads up to 2", description={"format_version": 99})
    refused("divides bytes by 15, this tinycnn by 255", description={"byte_scale": 15})
    refused("architecture makes no network", description={"architecture": {}})
    refused("is float32 .* the architecture needs float16", description={"dtype": "float16"})
    refused("architecture makes no network", description={"class_names": ["only one"]})
    refused(r"parameter conv1\.bias is missing", **{"conv1.bias": None})
    refused(
        r"conv1\.bias is float32 \(5,\), the architecture needs float32 \(4,\)",
        **{"conv1.bias": np.zeros(5, np.float32)},
    )
    refused(r"conv1\.bias is float64", **{"conv1.bias": np.zeros(4)})
    half = {name: values.astype("float16") for name, values in net.parameters.items()}
    half["tinycnn"] = described(path, dtype="float16")
    refused("makes no network: dtype: must be 'float32' or 'float64'", **half)
    refused("Python objects", **{"conv1.bias": np.array([None] * 4)})


MISSING = object()


@pytest.mark.parametrize("name", ["input_mean", "input_std"])
@pytest.mark.parametrize(
    "values",
    [
        MISSING,
        None,
        0.5,
        [],
        [0.5],
        [0.5] * 4,
        [[0.5]] * 3,
        [0.5, 0.5, None],
        [0.5, 0.5, "0.5"],
        ["0.5"] * 3,
        [True] * 3,
        "0.5",
        {"0": 0.5},
        [0.5, 0.5, float("nan")],
        [0.5, float("inf"), 0.5],
        [0.5, 10**400, 0.5],
    ],
    ids=lambda values: "missing" if values is MISSING else None,
)
def test_a_damaged_mean_or_deviation_is_refused_in_clear_words(tmp_path, net, name, values):
    path = tmp_path / "m.npz"
    tinycnn.save_model(net, path)
    with np.load(path) as file:
        description = json.loads(str(file["tinycnn"][0])) | {name: values}
    if values is MISSING:
        del description[name]
    rewrite(path, tinycnn=np.array([json.dumps(description)]))
    with pytest.raises(
        ValueError, match=rf"m\.npz: damaged: {name} must be a list of length 3, of fin"
    ):
        tinycnn.load_model(path)


@pytest.mark.parametrize("deviation", [0, 0.0, -1.0])
def test_a_deviation_that_is_none_is_refused(tmp_path, net, deviation):
    path = tmp_path / "m.npz"
    tinycnn.save_model(net, path)
    rewrite(path, tinycnn=described(path, input_std=[1, 1, deviation]))
    with pytest.raises(
        ValueError, match=r"damaged: input_std must be .*, of finite numbers above 0"
    ):
        tinycnn.load_model(path)


def test_truncated_and_missing_files(tmp_path, net):
    path = tmp_path / "m.npz"
    tinycnn.save_model(net, path)
    whole = path.read_bytes()
    for length in (0, 10, len(whole) // 2, len(whole) - 5):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match=r"m\.npz"):
            tinycnn.load_model(path)
    with pytest.raises(FileNotFoundError):
        tinycnn.load_model(tmp_path / "none.npz")
    with pytest.raises(FileNotFoundError):
        tinycnn.save_model(net, tmp_path / "no folder" / "m.npz")


@pytest.mark.parametrize(
    "gigantic",
    [
        {"image_shape": [1, 10**6, 10**6], "channels": [10**6], "kernel_sizes": [[3, 3]]},
        {"hidden": 10**12},
        {"n_classes": 10**12},
        {"hidden": 10**400},
    ],
    ids=["image", "hidden", "classes", "no memory at all"],
)
def test_a_description_of_a_gigantic_network_allocates_nothing(tmp_path, net, gigantic):
    path = tmp_path / "m.npz"
    tinycnn.save_model(net, path)
    rewrite(path, tinycnn=described(path, architecture=net.architecture._asdict() | gigantic))
    with pytest.raises(ValueError, match=r"damaged"):
        tinycnn.load_model(path)


def test_a_corrupt_member_is_noticed(tmp_path, net):
    path = tmp_path / "m.npz"
    tinycnn.save_model(net, path)
    data = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        offset = archive.getinfo("fc.weight.npy").header_offset
    data[offset + 300] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"fc\.weight"):
        tinycnn.load_model(path)
