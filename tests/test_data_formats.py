"""Formats in which data sets are published, each as its publisher lays it out, but smaller."""

from __future__ import annotations

import builtins
import gzip
import io
import json
import pickle
import struct
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest

from tinycnn.data import Dataset, load, parts

LABELS = np.array([0, 1, 2, 2, 1, 0, 1])
NAMES = ("ant", "bee", "cat")


@pytest.fixture
def grey(rng: np.random.Generator) -> np.ndarray:
    """Bytes, (7, 6, 6), the last column all zeros, as the margins of most data sets are."""
    images = rng.integers(0, 256, size=(7, 6, 6), dtype=np.uint8)
    images[:, :, -1] = 0
    images[0, 0, 0] = 255
    return images


def check(dataset: Dataset, images: np.ndarray, names: tuple[str, ...] = ("0", "1", "2")) -> None:
    """Assert that these are the images, with the first of LABELS."""
    np.testing.assert_array_equal(dataset.images, images if images.ndim == 4 else images[:, None])
    np.testing.assert_array_equal(dataset.labels, LABELS[: len(images)])
    assert dataset.class_names == names


def write_idx(path: Path, values: np.ndarray) -> None:
    """Write an IDX file, packed by gzip if its name ends so."""
    code, order = (8, "u1") if values.dtype == np.uint8 else (12, ">i4")
    header = bytes([0, 0, code, values.ndim]) + struct.pack(f">{values.ndim}i", *values.shape)
    content = header + values.astype(order).tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


# --- NPY, and folders of array files ---------------------------------------------------------


def test_npy_pair(tmp_path, grey):
    np.save(tmp_path / "X.npy", grey)
    with pytest.raises(ValueError, match=r"X\.npy is a single array, and no labels are beside it"):
        load(tmp_path / "X.npy")
    np.save(tmp_path / "y.npy", LABELS)
    with pytest.raises(ValueError, match=r"y\.npy holds labels, as it is called: give the file of"):
        load(tmp_path / "y.npy")
    for path in (tmp_path, tmp_path / "X.npy"):
        assert parts(path) == ("train",)
        check(load(path), grey)


def test_npy_files_of_parts(tmp_path, grey):
    for part, n in (("train", 7), ("valid", 5), ("test", 4)):
        np.save(tmp_path / f"x_{part}.npy", grey[:n])
        np.save(tmp_path / f"y_{part}.npy", LABELS[:n])
    assert parts(tmp_path) == ("train", "validation", "test")
    check(load(tmp_path, "test"), grey[:4])


def test_archives_of_kmnist(tmp_path, grey):
    for part, n in (("train", 7), ("test", 4)):
        np.savez_compressed(tmp_path / f"kmnist-{part}-imgs.npz", grey[:n])
        np.savez_compressed(tmp_path / f"kmnist-{part}-labels.npz", LABELS[:n].astype(np.uint8))
    assert parts(tmp_path) == ("train", "test")
    check(load(tmp_path), grey)
    check(load(tmp_path, "test"), grey[:4])
    check(load(tmp_path / "kmnist-test-imgs.npz"), grey[:4])


def test_npy_file_for_each_class(tmp_path, grey):
    np.save(tmp_path / "cat.npy", grey[:2].reshape(2, 36))
    np.save(tmp_path / "zebra.npy", grey[2:5].reshape(3, 36))
    images, labels, names = load(tmp_path)
    np.testing.assert_array_equal(images[:, 0], grey[:5])
    assert names == ("cat", "zebra")
    assert labels.tolist() == [0, 0, 1, 1, 1]


def test_npy_that_lies_or_runs_code(tmp_path, grey):
    np.save(tmp_path / "y.npy", LABELS)
    for content, words in [
        (b"\x93NUMPY\x01\x00v\x00{'descr': '|u1', 'fortran_order': False, 'shape': (1000000, "
         b"1000, 1000), }" + b" " * 46 + b"\n", "cannot be read as an NPY array"),
        (b"\x93NUMPY\x01\x00\xff\xff", "does not begin as an NPY array"),
    ]:  # fmt: skip
        (tmp_path / "X.npy").write_bytes(content)
        with pytest.raises(ValueError, match=rf"X\.npy {words}"):
            load(tmp_path)
    header = b"{'descr': '<U0', 'fortran_order': False, 'shape': (12,)}\n"
    (tmp_path / "X.npy").write_bytes(b"\x93NUMPY\x01\0" + struct.pack("<H", len(header)) + header)
    with pytest.raises(ValueError, match=r"X\.npy has dtype <U0"):
        load(tmp_path)
    np.save(tmp_path / "X.npy", np.array([print], dtype=object))
    with pytest.raises(ValueError, match=r"X\.npy is an array of Python objects"):
        load(tmp_path)


# --- IDX: MNIST's relatives --------------------------------------------------------------------


def test_idx_files_are_found_from_the_folders_above(tmp_path, grey):
    write_idx(tmp_path / "MNIST" / "raw" / "train-images-idx3-ubyte", grey)
    write_idx(tmp_path / "MNIST" / "raw" / "train-labels-idx1-ubyte", LABELS.astype(np.uint8))
    (tmp_path / "MNIST" / "processed").mkdir()
    for path in (tmp_path / "MNIST" / "raw", tmp_path / "MNIST", tmp_path):
        assert parts(path) == ("train",)
        check(load(path), grey)


def test_names_in_capital_letters(tmp_path, grey):
    write_idx(tmp_path / "TRAIN-IMAGES-IDX3-UBYTE", grey)
    write_idx(tmp_path / "TRAIN-LABELS-IDX1-UBYTE", LABELS.astype(np.uint8))
    check(load(tmp_path), grey)


def test_qmnist(tmp_path, grey):
    for part, n in (("train", 7), ("test", 4)):
        labels = np.full((n, 8), 99, np.int32)
        labels[:, 0] = LABELS[:n]
        write_idx(tmp_path / f"qmnist-{part}-images-idx3-ubyte.gz", grey[:n])
        write_idx(tmp_path / f"qmnist-{part}-labels-idx2-int.gz", labels)
    assert parts(tmp_path) == ("train", "test")
    check(load(tmp_path), grey)
    check(load(tmp_path, "test"), grey[:4])


def write_emnist(folder: Path, name: str, images: np.ndarray, labels: np.ndarray) -> None:
    """Write one of EMNIST's sets: rows and columns exchanged."""
    for part in ("train", "test"):
        stored = np.ascontiguousarray(images.transpose(0, 2, 1))
        write_idx(folder / f"emnist-{name}-{part}-images-idx3-ubyte.gz", stored)
        write_idx(folder / f"emnist-{name}-{part}-labels-idx1-ubyte.gz", labels.astype(np.uint8))


def test_emnist_is_upright_and_its_classes_are_characters(tmp_path, grey):
    write_emnist(tmp_path / "letters", "letters", grey, LABELS + 1)
    alphabet = tuple("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
    for part in parts(tmp_path / "letters"):
        dataset = load(tmp_path / "letters", part)
        check(dataset, grey, alphabet)
        assert any("23 of 26 classes have no images" in note for note in dataset.notes)
    write_emnist(tmp_path / "balanced", "balanced", grey, LABELS + 36)
    _, labels, names = load(tmp_path / "balanced")
    assert [names[label] for label in labels] == ["abd"[label] for label in LABELS]
    write_emnist(tmp_path / "digits", "digits", grey, LABELS)
    assert load(tmp_path / "digits").class_names == tuple("0123456789")


def test_several_sets_of_emnist_in_one_folder(tmp_path, grey):
    write_emnist(tmp_path, "letters", grey, LABELS + 1)
    write_emnist(tmp_path, "digits", grey, LABELS)
    with pytest.raises(ValueError, match="several files for the train images: emnist-digits"):
        load(tmp_path)
    dataset = load(tmp_path / "emnist-letters-test-images-idx3-ubyte.gz")
    assert dataset.class_names[:3] == ("A", "B", "C")


# --- CSV and libsvm ------------------------------------------------------------------------------


def csv_lines(images: np.ndarray, labels: object, label_last: bool = False) -> list[str]:
    """Lines of a CSV file, one an image."""
    lines = []
    for image, label in zip(images.reshape(len(images), -1), labels, strict=False):
        pixels = ",".join(map(str, image))
        lines.append(f"{pixels},{label}" if label_last else f"{label},{pixels}")
    return lines


PIXEL_NAMES = ",".join(f"pixel{i}" for i in range(36))


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_csv_with_names(tmp_path, grey, end):
    lines = ["label," + PIXEL_NAMES, *csv_lines(grey, LABELS)]
    (tmp_path / "train.csv").write_bytes(end.join(lines).encode() + b"\n")
    check(load(tmp_path / "train.csv"), grey)
    (tmp_path / "last.csv").write_text(
        f"id,{PIXEL_NAMES},class\n"
        + "".join(f"{n},{line}\n" for n, line in enumerate(csv_lines(grey, "abccbab", True)))
    )
    images, labels, names = load(tmp_path / "last.csv")
    np.testing.assert_array_equal(images[:, 0], grey)
    assert [names[label] for label in labels] == list("abccbab")


def test_csv_without_names(tmp_path, grey):
    (tmp_path / "first.csv").write_text("\n".join(csv_lines(grey, LABELS)))
    check(load(tmp_path / "first.csv"), grey)
    margin = grey.copy()
    margin[:, 0, 0] = 0  # the first pixel is what the last was
    margin[:, :, -1] = grey[:, :, 0]
    (tmp_path / "last.csv").write_text("\n".join(csv_lines(margin, LABELS, True)))
    check(load(tmp_path / "last.csv"), margin)
    (tmp_path / "unclear.csv").write_text("\n".join(csv_lines(255 - margin[:, ::-1], LABELS)))
    with pytest.raises(ValueError, match=r"unclear\.csv has 37 columns without names, of which it"):
        load(tmp_path / "unclear.csv")


def test_folder_of_csv_files(tmp_path, grey):
    head = "label," + PIXEL_NAMES
    (tmp_path / "fashion_train.csv").write_text("\n".join([head, *csv_lines(grey, LABELS)]))
    (tmp_path / "fashion_test.csv").write_text("\n".join([head, *csv_lines(grey[:4], LABELS)]))
    assert parts(tmp_path) == ("train", "test")
    check(load(tmp_path, "test"), grey[:4])


def test_csv_of_a_competition_has_a_test_without_labels(tmp_path, grey):
    lines = ["label," + PIXEL_NAMES, *csv_lines(grey, LABELS)]
    (tmp_path / "train.csv").write_text("\n".join(lines))
    (tmp_path / "test.csv").write_text(
        "\n".join([PIXEL_NAMES, *(line.partition(",")[2] for line in lines[1:])])
    )
    assert parts(tmp_path) == ("train",)
    with pytest.raises(ValueError, match=r"test\.csv has pixels but no column of labels: .*predic"):
        load(tmp_path / "test.csv")


def test_csv_of_emnist_is_upright(tmp_path, grey):
    stored = np.ascontiguousarray(grey.transpose(0, 2, 1))
    stored[:, -1, -1] = 0
    (tmp_path / "emnist-digits-train.csv").write_text("\n".join(csv_lines(stored, LABELS)))
    images = load(tmp_path / "emnist-digits-train.csv").images
    np.testing.assert_array_equal(images[:, 0], stored.transpose(0, 2, 1))


def test_csv_of_more_than_bytes(tmp_path, grey):
    counts = grey.astype(int) * 10
    lines = ["label," + PIXEL_NAMES, *csv_lines(counts, LABELS)]
    (tmp_path / "a.csv").write_text("\n".join(lines))
    check(load(tmp_path / "a.csv"), counts)
    assert load(tmp_path / "a.csv").images.dtype == np.uint16
    lines[1] = lines[1].replace(",", ",0.5,", 1).rpartition(",")[0]
    (tmp_path / "a.csv").write_text("\n".join(lines))
    assert load(tmp_path / "a.csv").images.dtype == np.float32


@pytest.mark.parametrize("last", [True, False])
def test_csv_with_a_line_without_a_label(tmp_path, grey, last):
    labels = ["7", "7", "", *["8"] * (len(grey) - 3)]
    head = f"{PIXEL_NAMES},label" if last else f"label,{PIXEL_NAMES}"
    (tmp_path / "a.csv").write_text("\n".join([head, *csv_lines(grey, labels, last)]))
    with pytest.raises(ValueError, match=r"a\.csv has a line without a label, .*leave it out"):
        load(tmp_path / "a.csv")


def test_csv_with_names_in_quotes_and_numbers_of_lines(tmp_path, grey):
    labels = ['"a,b"', '"a,c"', '"a,b"', *['"a,c"'] * (len(grey) - 3)]
    lines = [f"{i},{line}" for i, line in enumerate(csv_lines(grey, labels, label_last=True))]
    (tmp_path / "a.csv").write_text("\n".join([f",{PIXEL_NAMES},label", *lines]))
    dataset = load(tmp_path / "a.csv")
    assert dataset.class_names == ("a,b", "a,c")
    np.testing.assert_array_equal(dataset.images[:, 0], grey)
    (tmp_path / "a.csv").write_text("\n".join([f",{PIXEL_NAMES},label", *lines, f"{lines[0]},7"]))
    with pytest.raises(ValueError, match=r"a\.csv has a line of 39 columns, .* must have 38"):
        load(tmp_path / "a.csv")


def test_damaged_csv(tmp_path, grey):
    lines = ["label," + PIXEL_NAMES, *csv_lines(grey, LABELS)]
    for damage in (lines[3][:30], lines[3].replace(",", ",x", 1)):
        broken = [*lines[:3], damage, *lines[4:]]
        (tmp_path / "a.csv").write_text("\n".join(broken))
        with pytest.raises(ValueError, match=r"a\.csv has a line that is no image: .*37 columns"):
            load(tmp_path / "a.csv")


def test_libsvm(tmp_path, grey):
    pytest.importorskip("sklearn")
    values = grey.reshape(7, 36) / 128 - 1
    (tmp_path / "usps").write_text(
        "".join(
            f"{label + 1} " + " ".join(f"{i}:{v:.6f}" for i, v in enumerate(row, 1)) + "\n"
            for label, row in zip(LABELS, values, strict=True)
        )
    )
    dataset = load(tmp_path / "usps")
    np.testing.assert_allclose(dataset.images.reshape(7, 36), values, atol=1e-6)
    assert dataset.class_names == ("1", "2", "3")
    (tmp_path / "wide").write_text("1 1:1 900000000:1\n" * 3)
    with pytest.raises(ValueError, match=r"wide announces 900000000 values an image, hardly any"):
        load(tmp_path / "wide")


# --- CIFAR and STL-10 ----------------------------------------------------------------------------


@pytest.mark.parametrize("n_labels", [1, 2])
def test_cifar(tmp_path, rng, n_labels):
    images = rng.integers(0, 256, size=(7, 3, 32, 32), dtype=np.uint8)
    files = {1: ("data_batch_1.bin", "test_batch.bin"), 2: ("train.bin", "test.bin")}[n_labels]
    for name, n in zip(files, (7, 4), strict=True):
        records = [
            bytes([9] * (n_labels - 1) + [label]) + image.tobytes()
            for label, image in zip(LABELS[:n], images[:n], strict=True)
        ]
        (tmp_path / name).write_bytes(b"".join(records))
    assert parts(tmp_path) == ("train", "test")
    check(load(tmp_path), images, tuple(map(str, range(10 if n_labels == 1 else 100))))
    names_file = {1: "batches.meta.txt", 2: "fine_label_names.txt"}[n_labels]
    (tmp_path / names_file).write_text("ant\nbee\ncat\n\n")
    check(load(tmp_path, "test"), images[:4], NAMES)
    (tmp_path / files[0]).write_bytes(b"x" * 5000)
    with pytest.raises(ValueError, match=r"\.bin has 5000 bytes, which is no whole number of imag"):
        load(tmp_path)


def test_stl10(tmp_path, rng):
    images = rng.integers(0, 256, size=(7, 3, 96, 96), dtype=np.uint8)
    for part, n in (("train", 7), ("test", 4)):
        (tmp_path / f"{part}_X.bin").write_bytes(images[:n].transpose(0, 1, 3, 2).tobytes())
        (tmp_path / f"{part}_y.bin").write_bytes(
            bytes(LABELS[:n].tolist()[i] + 1 for i in range(n))
        )
    (tmp_path / "class_names.txt").write_text("airplane\nbird\ncar\n")
    assert parts(tmp_path) == ("train", "test")
    check(load(tmp_path), images, ("airplane", "bird", "car"))
    check(load(tmp_path, "test"), images[:4], ("airplane", "bird", "car"))


# --- HDF5, MATLAB, Parquet -----------------------------------------------------------------------


def test_hdf5(tmp_path, grey):
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for part, n in (("train", 7), ("test", 4)):
            group = file.create_group(part)
            group["data"] = (grey[:n].reshape(n, 36) / 255).astype(np.float32)
            group["target"] = LABELS[:n]
    assert parts(tmp_path / "a.h5") == ("train", "test")
    check(load(tmp_path / "a.h5", "test"), (grey[:4] / 255).astype(np.float32))
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file.create_dataset("images", data=grey, compression="gzip")
        file["labels"] = ["abc"[label] for label in LABELS]
    check(load(tmp_path / "b.h5"), grey, ("a", "b", "c"))
    with h5py.File(tmp_path / "c.h5", "w") as file:
        file["images"], file["labels"] = grey, np.array(["ä".encode(), b"b", b"c"])[LABELS]
    assert load(tmp_path / "c.h5").class_names == ("b", "c", "ä")
    with h5py.File(tmp_path / "d.h5", "w") as file:
        file.create_dataset("images", (len(grey),), h5py.vlen_dtype(np.uint8))
        file["labels"] = LABELS
    with pytest.raises(ValueError, match=r"'images' has elements that are no numbers: save an"):
        load(tmp_path / "d.h5")


def test_hdf5_that_lies_or_looks_elsewhere(tmp_path, grey):
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("images", (10**6, 1000, 1000), "u1", chunks=(1, 1000, 1000))
        file["labels"] = LABELS
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=r"a\.h5: 'images' announces \(1000000, 1000, 1000\)"):
            load(tmp_path / "a.h5")
        assert tracemalloc.get_traced_memory()[1] < 32 << 20
    finally:
        tracemalloc.stop()
    (tmp_path / "raw").write_bytes(grey.tobytes())
    with h5py.File(tmp_path / "b.h5", "w") as file:
        external = [(str(tmp_path / "raw"), 0, grey.nbytes)]
        file.create_dataset("images", grey.shape, "u1", external=external)
        file["labels"] = LABELS
    with pytest.raises(ValueError, match=r"b\.h5: 'images' has its values in another file"):
        load(tmp_path / "b.h5")
    (tmp_path / "c.h5").write_bytes((tmp_path / "b.h5").read_bytes()[:600])
    with pytest.raises(ValueError, match=r"c\.h5 cannot be read as HDF5"):
        load(tmp_path / "c.h5")


def test_damaged_hdf5_files_read_as_such_or_say_so(tmp_path, grey, rng):
    h5py = pytest.importorskip("h5py")
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["images"], file["labels"] = grey, LABELS
    whole = path.read_bytes()
    for _ in range(150):
        changed = bytearray(whole)
        for _ in range(3):
            changed[rng.integers(0, len(whole))] = rng.choice([0, 1, 0x7F, 0xFF])
        path.write_bytes(changed)
        try:
            assert load(path).images.size == grey.size
        except ValueError as error:
            words = str(error)
            assert words.startswith(str(path))
            assert len(words) < 500


def test_matlab(tmp_path, grey, rng):
    io_ = pytest.importorskip("scipy.io")
    io_.savemat(tmp_path / "a.mat", {"images": grey.transpose(1, 2, 0), "labels": LABELS})
    check(load(tmp_path / "a.mat"), grey)
    colour = rng.integers(0, 256, size=(7, 8, 9, 3), dtype=np.uint8)
    labels = np.where(LABELS == 0, 10, LABELS)[:, None].astype(np.uint8)
    for part, n in (("train", 7), ("test", 4)):
        content = {"X": colour[:n].transpose(1, 2, 3, 0), "y": labels[:n]}
        io_.savemat(tmp_path / f"{part}_32x32.mat", content)
    check(load(tmp_path / "train_32x32.mat"), colour.transpose(0, 3, 1, 2))  # SVHN: 10 is 0
    (tmp_path / "a.mat").unlink()
    assert parts(tmp_path) == ("train", "test")
    check(load(tmp_path, "test"), colour[:4].transpose(0, 3, 1, 2))


def test_matlab_of_version_7_3(tmp_path, grey):
    h5py = pytest.importorskip("h5py")
    path = tmp_path / "a.mat"
    with h5py.File(path, "w", userblock_size=512) as file:  # MATLAB's axes, the other way round
        file["X"] = grey.transpose(0, 2, 1)
        file["y"] = LABELS[None].astype(float)
    with path.open("r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file".ljust(128))
    check(load(path), grey)


def test_damaged_matlab_file(tmp_path, grey):
    io_ = pytest.importorskip("scipy.io")
    io_.savemat(tmp_path / "a.mat", {"labels": LABELS, "images": grey})
    content = (tmp_path / "a.mat").read_bytes()
    (tmp_path / "a.mat").write_bytes(content[:-50])
    with pytest.raises(ValueError, match=r"a\.mat cannot be read as a MATLAB file"):
        load(tmp_path / "a.mat")


def png(image: np.ndarray) -> bytes:
    """Encode a picture."""
    file = io.BytesIO()
    pytest.importorskip("PIL.Image").fromarray(image).save(file, "PNG")
    return file.getvalue()


def write_parquet(path: Path, images: np.ndarray, struct_column: bool = True, **more) -> None:
    """Write a table of pictures as Hugging Face does."""
    pa = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    cells = [png(image) for image in images]
    column = [{"bytes": cell, "path": None} for cell in cells] if struct_column else cells
    features = {"label": {"names": list(NAMES), "_type": "ClassLabel"}}
    schema = {"huggingface": json.dumps({"info": {"features": features}})}
    table = pa.table({"image": column, **more})
    path.parent.mkdir(exist_ok=True)
    parquet.write_table(table.replace_schema_metadata(schema), path)


def test_parquet(tmp_path, grey):
    pq = pytest.importorskip("pyarrow.parquet")
    for part, n in (("train", 7), ("test", 4)):
        path = tmp_path / "data" / f"{part}-00000-of-00001.parquet"
        write_parquet(path, grey[:n], label=LABELS[:n])
    assert parts(tmp_path) == ("train", "test")
    check(load(tmp_path, "test"), grey[:4], NAMES)
    assert load(path, size=(3, 3)).images.shape == (4, 1, 3, 3)
    write_parquet(tmp_path / "a.parquet", grey, False, label=[NAMES[label] for label in LABELS])
    check(load(tmp_path / "a.parquet"), grey, NAMES)
    write_parquet(tmp_path / "c.parquet", grey[:2], label=[-1, -1])
    with pytest.raises(ValueError, match=r"c\.parquet holds the label -1, which is no class"):
        load(tmp_path / "c.parquet")
    write_parquet(tmp_path / "d.parquet", grey, False, label=LABELS, checksum=[b"1"] * len(grey))
    table = pq.read_table(tmp_path / "d.parquet")
    pictures = table["image"].dictionary_encode()
    table = table.select(["checksum", "label"]).append_column("image", pictures)
    pq.write_table(table, tmp_path / "d.parquet")
    check(load(tmp_path / "d.parquet"), grey, NAMES)
    write_parquet(tmp_path / "b.parquet", grey)
    with pytest.raises(ValueError, match=r"b\.parquet has no column of labels: call it 'label'"):
        load(tmp_path / "b.parquet")


def test_parquet_that_repeats_one_value_without_end(tmp_path):
    pa = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    column = pa.DictionaryArray.from_arrays(np.zeros(5000, np.int32), pa.array([bytes(100_000)]))
    table = pa.table({"image": column.cast(pa.binary()), "label": np.arange(5000)})
    parquet.write_table(table, tmp_path / "a.parquet")
    assert (tmp_path / "a.parquet").stat().st_size < 1 << 20
    with pytest.raises(ValueError, match=r"a\.parquet unpacks to more than 20 times its size"):
        load(tmp_path / "a.parquet")


def test_damaged_parquet(tmp_path, grey):
    write_parquet(tmp_path / "a.parquet", grey, label=LABELS)
    content = (tmp_path / "a.parquet").read_bytes()
    (tmp_path / "a.parquet").write_bytes(content[:-40])
    with pytest.raises(ValueError, match=r"a\.parquet cannot be read as a Parquet file"):
        load(tmp_path / "a.parquet")


@pytest.mark.parametrize(
    ("module", "name", "content", "words"),
    [
        ("h5py", "a.h5", b"\x89HDF\r\n\x1a\n", r"a\.h5 needs h5py: pip install 'tinycnn\[hdf5\]'"),
        ("h5py", "a.mat", b"MATLAB 7.3 MAT-file", r"a\.mat needs h5py: .*'tinycnn\[hdf5\]'"),
        ("pyarrow", "a.parquet", b"PAR1", r"a\.parquet needs pyarrow: .*'tinycnn\[parquet\]'"),
        ("sklearn", "a.txt", b"1 1:2 2:3\n", r"a\.txt needs scikit-learn: .*'tinycnn\[sklearn\]'"),
    ],
)
def test_without_a_library_the_words_to_install_it(
    tmp_path, monkeypatch, module, name, content, words
):
    import importlib

    real = importlib.import_module

    def without(wanted, *args):
        if wanted.partition(".")[0] == module:
            raise ImportError(wanted)
        return real(wanted, *args)

    monkeypatch.setattr("tinycnn.data.optional.import_module", without)
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ImportError, match=words):
        load(tmp_path / name)


# --- What is not read ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.pkl", pickle.dumps([1]), r"a Python pickle: it could run code.*np\.savez_compressed"),
        ("data_batch_1", pickle.dumps([1], 2), "a Python pickle: it could run code"),
        ("a.csv", "label,pixel0\n".encode("utf-16"), "a text in UTF-16: save it as UTF-8"),
        ("a.mat", b"\x32\0\0\0\x14\0\0\0", "a MATLAB file of version 4: save it again"),
        ("a.tar", bytes(257) + b"ustar\x0000" + bytes(248), "a tar archive: unpack it first"),
        ("a.heic", bytes(4) + b"ftypheic" + bytes(20), "a HEIC picture: convert it to PNG"),
        ("a.avif", bytes(3) + b"\x20ftypavif" + bytes(20), "an AVIF picture: convert it"),
        ("a.svg", b"<?xml version='1.0'?>\n<svg xmlns=''>", "an SVG drawing: convert it"),
        ("a.pdf", b"%PDF-1.7\n", "a PDF document: convert it"),
        ("a.npz", b"<!DOCTYPE html><html>", "no NPZ archive: it does not begin as a zip"),
        ("a.gz", b"<!DOCTYPE html><html>", "an HTML page: .*fetch it again"),
        ("a.mp4", bytes(4) + b"ftypisom", "a video: take single pictures"),
        ("a.ico", b"\0\0\1\0\1\0\x10\x10", "a Windows icon: convert it"),
    ],
)
def test_what_is_not_read_is_named_with_the_way_out(tmp_path, name, content, words):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=rf"{name} is {words}") as caught:
        load(tmp_path / name)
    assert len(str(caught.value)) < 500
    assert "\n" not in str(caught.value)


def test_pickles_of_cifar_are_named(tmp_path):
    for name in ("data_batch_1", "test_batch"):
        (tmp_path / name).write_bytes(pickle.dumps({b"data": 1}, 2))
    with pytest.raises(ValueError, match=r"data_batch_1 is a Python pickle: it could run code"):
        load(tmp_path)


def test_zip_of_photos_is_to_be_unpacked(tmp_path, grey):
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        archive.writestr("photos/cat/1.png", png(grey[0]))
    with pytest.raises(ValueError, match=r"photos\.zip is a zip archive of 1 files.*unpack it fir"):
        load(tmp_path / "photos.zip")


def test_optional_libraries_are_not_imported_for_others(tmp_path, grey, monkeypatch):
    real = builtins.__import__

    def watched(name, *args, **kwargs):
        assert name.partition(".")[0] not in {"h5py", "scipy", "pyarrow", "sklearn", "PIL"}
        return real(name, *args, **kwargs)

    np.savez(tmp_path / "a.npz", images=grey, labels=LABELS)
    monkeypatch.setattr(builtins, "__import__", watched)
    check(load(tmp_path / "a.npz"), grey)
