"""Model files: bit-identical predictions, nothing lost, nothing trusted."""

import copy
import json
import os
import pickle
import tracemalloc
import zipfile
from dataclasses import dataclass

import numpy as np
import pytest
from conftest import named

import tinycnn
from tinycnn import CNN, Conv, Dropout, Flatten, Layer, Linear, MaxPool, ReLU
from tinycnn.files.model import NOTES_KEY, is_model_file, load_notes
from tinycnn.layers import LAYERS, register

# Every kind of layer, and every spelling of its arguments.
LAYERS_OF_ALL_KINDS = [
    *(Conv(4, bias=False), ReLU(), MaxPool()),
    *(Conv(5, (2, 3), padding=(0, 2)), ReLU()),
    *(Conv(3, padding="same"), ReLU(), MaxPool()),
    *(Flatten(), Dropout(0.3), Linear(6), ReLU(), Linear(3)),
]


def make_net(**arguments):
    return CNN((3, 20, 18), LAYERS_OF_ALL_KINDS, **{"seed": 2, **arguments})


@pytest.fixture
def net():
    return make_net(class_names=["ant", "bee", "cé"])


def same_bits_elsewhere(net, images, others):
    """Check that other networks are like this one, and share nothing that may change with it."""
    expected = net.predict_proba(images)
    for other in others:
        assert other.architecture == net.architecture
        assert other.flat.dtype == net.flat.dtype
        assert other.class_names == net.class_names
        np.testing.assert_array_equal(other.flat, net.flat)
        np.testing.assert_array_equal(other.input_mean, net.input_mean)
        np.testing.assert_array_equal(other.input_std, net.input_std)
        np.testing.assert_array_equal(other.predict_proba(images), expected)
        other.parameters["linear2.bias"][...] += 1  # still a view over other.flat
        assert (other.flat[-3:] != net.flat[-3:]).all()
        other.set_scaling([0, 0, 0], [2, 2, 2])
        np.testing.assert_array_equal(net.predict_proba(images), expected)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_loaded_model_predicts_the_same_bits_from_raw_images(tmp_path, rng, dtype):
    net = make_net(dtype=dtype)
    images = rng.integers(0, 256, (40, 3, 20, 18), dtype=np.uint8)
    net.standardize(images)
    tinycnn.save_model(net, tmp_path / "m.npz")
    same_bits_elsewhere(net, images, [tinycnn.load_model(tmp_path / "m.npz") for _ in range(2)])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_so_do_pickles_and_deep_copies(rng, dtype):
    net = make_net(dtype=dtype, class_names=["ant", "bee", "cé"])
    images = rng.integers(0, 256, (40, 3, 20, 18), dtype=np.uint8)
    net.standardize(images)
    pickles = [pickle.loads(pickle.dumps(net, protocol)) for protocol in (2, 5)]
    same_bits_elsewhere(net, images, [copy.deepcopy(net), *pickles])


def test_all_kinds_of_layers_are_saved(net):
    assert {type(layer) for layer in net.layers} == {
        kind for kind in LAYERS.values() if kind.__module__ == "tinycnn.layers"
    }


def test_class_names_live_with_the_model(tmp_path, net):
    tinycnn.save_model(net, str(tmp_path / "m.npz"))
    assert tinycnn.load_model(str(tmp_path / "m.npz")).class_names == ("ant", "bee", "cé")


def test_the_file_holds_plain_arrays_and_json(tmp_path, net):
    tinycnn.save_model(net, tmp_path / "m.npz")
    with np.load(tmp_path / "m.npz", allow_pickle=False) as file:
        assert set(file) == {"tinycnn", *net.parameters}
        np.testing.assert_array_equal(file["conv2.weight"], net.parameters["conv2.weight"])
        description = json.loads(str(file["tinycnn"][0]))
    assert description["format_version"] == 3
    assert description["byte_scale"] == 255
    assert description["image_shape"] == [3, 20, 18]
    assert description["layers"][:5] == [
        {"kind": "conv", "filters": 4, "kernel_size": [3, 3], "padding": [0, 0], "bias": False},
        {"kind": "relu"},
        {"kind": "maxpool"},
        {"kind": "conv", "filters": 5, "kernel_size": [2, 3], "padding": [0, 2], "bias": True},
        {"kind": "relu"},
    ]
    assert description["layers"][-3] == {"kind": "linear", "units": 6, "bias": True}
    assert description["layers"][-4] == {"kind": "dropout", "rate": 0.3}


def test_a_layer_of_ones_own_is_read_once_it_is_registered(tmp_path, rng, registered):
    @dataclass(frozen=True)
    class SlopedReLU(Layer):
        slope: float = 0.01
        sizes: tuple[int, ...] = (1, 2)

        def forward(self, x, parameters, rng=None):
            return np.where(x > 0, x, self.slope * x).astype(x.dtype), x

        def backward(self, dout, cache):
            return np.where(cache > 0, dout, self.slope * dout).astype(dout.dtype), {}

    net = CNN((1, 6, 6), [Conv(3), SlopedReLU(0.2), Flatten(), Linear(2)])
    path = tmp_path / "m.npz"
    tinycnn.save_model(net, path)
    with pytest.raises(
        ValueError,
        match=r"no layer is called 'slopedrelu'; import its class .*tinycnn\.layers\.register",
    ):
        tinycnn.load_model(path)
    register(SlopedReLU)
    loaded = tinycnn.load_model(path)
    assert loaded.layers == net.layers
    images = rng.random((5, 1, 6, 6))
    np.testing.assert_array_equal(loaded.logits(images), net.logits(images))


@pytest.mark.parametrize("version", [1, 2])
def test_older_versions_are_refused_with_a_way_out(tmp_path, net, version):
    path = tmp_path / "m.npz"
    tinycnn.save_model(net, path)
    rewrite(path, tinycnn=described(path, format_version=version))
    with pytest.raises(
        ValueError,
        match=rf"m\.npz: has format version {version}, this tinycnn reads 3: train it again",
    ):
        tinycnn.load_model(path)


@pytest.mark.parametrize("version", [4, 99, -1, "3", 3.0, True, None, [3]])
def test_other_versions_are_refused(tmp_path, net, version):
    path = tmp_path / "m.npz"
    tinycnn.save_model(net, path)
    rewrite(path, tinycnn=described(path, format_version=version))
    with pytest.raises(ValueError, match=r"has format version .* reads 3: install a later"):
        tinycnn.load_model(path)


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
    refused("divides bytes by 15, this tinycnn by 255", description={"byte_scale": 15})
    refused("is float32 .* the architecture needs 'float16'", description={"dtype": "float16"})
    refused("architecture makes no network", description={"class_names": ["only one"]})
    refused("class_names must be a list of strings", description={"class_names": [1, 2, 3]})
    refused("class_names must be a list of strings", description={"class_names": "abc"})
    refused(r"parameter conv2\.bias is missing", **{"conv2.bias": None})
    refused(
        r"conv2\.bias is float32 \(6,\), the architecture needs 'float32' \(5,\)",
        **{"conv2.bias": np.zeros(6, np.float32)},
    )
    refused(r"conv2\.bias", **{"conv2.bias": np.zeros(5)})
    refused(r"conv2\.bias has values that are not finite", **{"conv2.bias": NOT_FINITE})
    half = {name: values.astype("float16") for name, values in net.parameters.items()}
    half["tinycnn"] = described(path, dtype="float16")
    refused("makes no network: .*dtype: must be 'float32' or 'float64'", **half)
    refused("Python objects", **{"conv2.bias": np.array([None] * 5)})


NOT_FINITE = np.array([0, 0, np.nan, 0, 0], np.float32)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "3",
        "null",
        '"tinycnn"',
        "[" * 100_000,
        '{"a":' * 100_000,
        '{"format_version": 3, "format_version": 3}',
        "9" * 5000,
        "NaN",
    ],
    ids=lambda text: text[:20],
)
def test_a_description_that_is_none_is_refused(tmp_path, net, text):
    path = tmp_path / "m.npz"
    tinycnn.save_model(net, path)
    rewrite(path, tinycnn=np.array([text]))
    with pytest.raises(ValueError, match=r"m\.npz: damaged: its description cannot be read"):
        tinycnn.load_model(path)


@pytest.mark.parametrize("text", ["", "{", "[]", "3", "[[1, 2]]", "[" * 100_000, "null"])
def test_notes_that_are_none_are_refused(tmp_path, net, text):
    path = tmp_path / "m.npz"
    tinycnn.save_model(net, path, notes={"epochs": 3})
    rewrite(path, **{NOTES_KEY: np.array([text])})
    with pytest.raises(ValueError, match=r"m\.npz: damaged: its notes cannot be read"):
        load_notes(path)


FIRST = {"kind": "conv", "filters": 4, "kernel_size": [3, 3], "padding": [0, 0], "bias": False}


@pytest.mark.parametrize(
    "layers",
    [
        MISSING_LAYERS := object(),
        None,
        [],
        {},
        "conv",
        3,
        [None],
        ["conv"],
        [[]],
        [["kind", "conv"]],
        [{}],
        [{"kind": None}],
        [{"kind": ["conv"]}],
        [{"kind": "__class__"}],
        [{"kind": "Conv"}],
        [{"kind": "conv"}],
        [FIRST | {"filters": "4"}],
        [FIRST | {"filters": 0}],
        [FIRST | {"filters": True}],
        [FIRST | {"filters": float("nan")}],
        [FIRST | {"filters": [4]}],
        [FIRST | {"kernel_size": [3, [3]]}],
        [FIRST | {"kernel_size": [3, 3, 3]}],
        [FIRST | {"kernel_size": {"0": 3}}],
        [FIRST | {"padding": "valid"}],
        [FIRST | {"padding": [-1, 0]}],
        [FIRST | {"padding": [10**400, 0]}],
        [FIRST | {"bias": 1}],
        [FIRST | {"stride": 2}],
        [FIRST | {"__post_init__": 2}],
        [{"kind": "dropout", "rate": float("nan")}],
        [{"kind": "relu", "kind ": "relu"}],
        [{"kind": "linear", "units": 3}],
        [{"kind": "relu"}],
        [{"kind": "flatten"}],
    ],
    ids=lambda layers: named(layers)[:50],
)
def test_layers_that_are_none_are_refused(tmp_path, net, layers):
    path = tmp_path / "m.npz"
    tinycnn.save_model(net, path)
    with np.load(path) as file:
        description = json.loads(str(file["tinycnn"][0])) | {"layers": layers}
    if layers is MISSING_LAYERS:
        del description["layers"]
    rewrite(path, tinycnn=np.array([json.dumps(description)]))
    with pytest.raises(ValueError, match=r"m\.npz: (damaged: |no layer is called)") as caught:
        tinycnn.load_model(path)
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize(
    "image_shape",
    [None, [], [20, 18], [3, 20, "18"], [3, 20, 0], [3, 20, 18, 1], "abc", {"C": 3}, [[3, 20, 18]]],
    ids=str,
)
def test_an_image_shape_that_is_none_is_refused(tmp_path, net, image_shape):
    path = tmp_path / "m.npz"
    tinycnn.save_model(net, path)
    rewrite(path, tinycnn=described(path, image_shape=image_shape))
    with pytest.raises(ValueError, match=r"m\.npz: damaged: its architecture makes no network"):
        tinycnn.load_model(path)


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


@pytest.mark.parametrize("size", [10**6, 10**12, 10**300, 10**400])
@pytest.mark.parametrize("where", ["image", "filters", "units", "kernel", "padding"])
def test_a_description_of_a_gigantic_network_allocates_nothing(tmp_path, net, where, size):
    path = tmp_path / "m.npz"
    tinycnn.save_model(net, path)
    linear = {"kind": "linear", "units": size if where == "units" else 3}
    conv = FIRST | {"filters": size} if where == "filters" else FIRST
    if where in ("kernel", "padding"):
        conv = conv | {"kernel_size": [size, size], "padding": [size, size]}
    changes = {
        "image_shape": [1, size, size] if where == "image" else [3, 20, 18],
        "layers": [conv, {"kind": "flatten"}, linear],
    }
    rewrite(path, tinycnn=described(path, **changes))
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=r"damaged"):
            tinycnn.load_model(path)
        assert tracemalloc.get_traced_memory()[1] < 5e6
    finally:
        tracemalloc.stop()


def test_a_corrupt_member_is_noticed(tmp_path, net):
    path = tmp_path / "m.npz"
    tinycnn.save_model(net, path)
    data = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        offset = archive.getinfo("linear1.weight.npy").header_offset
    data[offset + 300] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"linear1\.weight"):
        tinycnn.load_model(path)
