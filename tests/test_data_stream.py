"""Images for prediction, batch by batch, and what happens to those that cannot be read."""

from __future__ import annotations

import io
import os
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from tinycnn.data import ImageStream, read_image, stream_images

Image = pytest.importorskip("PIL.Image")


def save(path: Path, pixels: np.ndarray) -> Path:
    """Write pixels as an image, making its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


@pytest.fixture
def folder(tmp_path: Path, rng: np.random.Generator) -> Path:
    """Sixty pictures of 6 x 5 in three folders."""
    for i in range(60):
        pixels = rng.integers(0, 256, size=(6, 5), dtype=np.uint8)
        save(tmp_path / "photos" / "abc"[i % 3] / f"{i:02}.png", pixels)
    return tmp_path / "photos"


def collect(stream: ImageStream) -> tuple[list[str], np.ndarray]:
    """All names and images of a stream."""
    batches = list(stream)
    names = [name for batch in batches for name in batch.names]
    return names, np.concatenate([batch.images for batch in batches])


def test_a_folder_is_read_with_its_folders(folder):
    stream = stream_images(folder, (1, 6, 5), batch_size=16)
    batches = list(stream)
    assert [len(batch.names) for batch in batches] == [16, 16, 16, 12]
    names = [name for batch in batches for name in batch.names]
    assert names == sorted(str(path) for path in folder.rglob("*.png"))
    for name, image in zip(names[:16], batches[0].images, strict=True):
        np.testing.assert_array_equal(image, read_image(name, (1, 6, 5)))
    assert stream.n_images == 60
    assert stream.failures == []


def test_pictures_are_converted_and_resized(folder):
    path = folder / "a" / "00.png"
    (batch,) = stream_images([path], (3, 4, 4))
    np.testing.assert_array_equal(batch.images[0], read_image(path, (3, 4, 4)))


def test_patterns_and_several_sources(folder):
    names, _ = collect(stream_images([str(folder / "a" / "0*.png"), folder / "b"], (1, 6, 5)))
    assert len(names) == 4 + 20
    names, _ = collect(stream_images(str(folder / "**" / "1?.png"), (1, 6, 5)))
    assert len(names) == 10


def test_what_cannot_be_read_is_collected(folder, tmp_path):
    (folder / "a" / "broken.png").write_bytes((folder / "a" / "00.png").read_bytes()[:-30])
    (folder / "b" / "new.heic").write_bytes(bytes(4) + b"ftypheic" + bytes(20))
    (folder / "c" / "README.txt").write_text("passed over")
    stream = stream_images(
        [folder, tmp_path / "nowhere.png", str(tmp_path / "no*.gif"), tmp_path / "nothing"],
        (1, 6, 5),
    )
    (tmp_path / "nothing").mkdir()
    names, _ = collect(stream)
    assert len(names) == 60
    assert stream.n_failures == 5
    reasons = [failure.reason for failure in stream.failures]
    assert "broken.png is a damaged image" in reasons[0]
    assert "new.heic is a HEIC picture: convert it" in reasons[1]
    assert "there is no such file or folder" in reasons[2]
    assert "no file fits this pattern" in reasons[3]
    assert "holds no pictures" in reasons[4]
    assert all("\n" not in reason and len(reason) < 500 for reason in reasons)


def test_what_is_bad_in_a_pattern_or_a_list_stops_none_of_the_others(tmp_path, rng, monkeypatch):
    images = rng.integers(0, 256, size=(9, 6, 5), dtype=np.uint8)
    (tmp_path / "a.npz").write_bytes(b"PK\3\4 is no archive")
    np.savez(tmp_path / "b.npz", images=images)
    stream = stream_images(str(tmp_path / "*.npz"), (1, 6, 5))
    np.testing.assert_array_equal(collect(stream)[1][:, 0], images)
    assert [failure.name for failure in stream.failures] == [str(tmp_path / "a.npz")]
    names = [tmp_path / "a.npz", tmp_path / ("long" * 99), tmp_path / "b.npz"]
    listed = io.TextIOWrapper(io.BytesIO("\n".join(map(str, names)).encode()))
    monkeypatch.setattr(sys, "stdin", listed)
    stream = stream_images("-", (1, 6, 5))
    np.testing.assert_array_equal(collect(stream)[1][:, 0], images)
    assert [failure.name for failure in stream.failures] == list(map(str, names[:2]))


def test_without_standard_input_it_is_a_failure(monkeypatch):
    monkeypatch.setattr(sys, "stdin", None)
    stream = stream_images("-", (1, 6, 5))
    assert list(stream) == []
    assert stream.failures[0].reason == "there is no standard input to read: name files or folders"


def test_arrays_in_files(tmp_path, rng):
    images = rng.integers(0, 256, size=(9, 6, 5), dtype=np.uint8)
    labels = np.arange(9) % 3
    np.save(tmp_path / "X.npy", images)
    np.savez(tmp_path / "a.npz", x_train=images[::-1], y_train=labels, x_test=images)
    np.savez(tmp_path / "b.npz", pictures=images)
    (tmp_path / "x-idx3-ubyte").write_bytes(
        b"\0\0\x08\x03" + np.array(images.shape, ">i4").tobytes() + images.tobytes()
    )
    for name in ("X.npy", "a.npz", "b.npz", "x-idx3-ubyte"):
        names, read = collect(stream_images(tmp_path / name, (1, 6, 5), batch_size=4))
        np.testing.assert_array_equal(read[:, 0], images)
        assert names[8] == f"{tmp_path / name}[8]"
    names, read = collect(stream_images(images, (3, 6, 5)))
    assert names[1] == "array 0[1]"
    np.testing.assert_array_equal(read, np.repeat(images[:, None], 3, axis=1))


def test_csv_without_labels(tmp_path, rng):
    images = rng.integers(0, 256, size=(9, 5, 5), dtype=np.uint8)
    lines = [
        ",".join(f"pixel{i}" for i in range(25)),
        *(",".join(map(str, x.flat)) for x in images),
    ]
    (tmp_path / "test.csv").write_text("\n".join(lines))
    _, read = collect(stream_images(tmp_path / "test.csv", (1, 5, 5)))
    np.testing.assert_array_equal(read[:, 0], images)


def test_arrays_that_do_not_fit_are_failures(tmp_path, rng, folder):
    np.save(tmp_path / "X.npy", np.zeros((3, 9, 9), np.uint8))
    np.save(tmp_path / "deep.npy", np.zeros((3, 6, 5), np.uint16))
    stream = stream_images([tmp_path / "X.npy", tmp_path / "deep.npy", folder], (1, 6, 5))
    assert len(collect(stream)[0]) == 60
    first, second = stream.failures
    assert (
        "images of 9 x 9 pixels (height x width) do not fit 6 x 5; only pictures are resized"
        in first.reason
    )
    assert "images of uint16 do not fit others of uint8" in second.reason


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b""])
def test_standard_input_is_a_picture_or_a_list(folder, monkeypatch, end):
    path = folder / "a" / "00.png"
    other = folder / "b" / "01.png"
    for content in (
        path.read_bytes(),
        os.fsencode(path) + (end or b"\n") + os.fsencode(other) + end,
    ):
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(content)))
        names, images = collect(stream_images("-", (1, 6, 5)))
        np.testing.assert_array_equal(images[0], read_image(path, (1, 6, 5)))
        assert names in (["-"], [str(path), str(other)])


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_pipes_and_circles_end(folder):
    os.mkfifo(folder / "a" / "pipe.png")
    os.symlink(folder, folder / "b" / "circle")
    stream = stream_images(folder, (1, 6, 5))
    assert len(collect(stream)[0]) == 60
    assert "pipe.png is a pipe, not a file" in stream.failures[0].reason


def test_failures_are_counted_but_not_all_kept(tmp_path):
    stream = stream_images([tmp_path / f"{i}.png" for i in range(1500)], (1, 6, 5))
    assert list(stream) == []
    assert stream.n_failures == 1500
    assert len(stream.failures) == 1000


def test_who_stops_early_leaves_no_threads(folder):
    stream = iter(stream_images(folder, (1, 6, 5), batch_size=2))
    next(stream)
    stream.close()
    assert not [t for t in threading.enumerate() if t.name.startswith("tinycnn-read")]


def test_impossible_arguments(folder):
    for image_shape in ((28, 28), 28, None, [[1], 28, 28]):
        with pytest.raises(ValueError, match=r"image_shape .* must be \(C, H, W\)"):
            stream_images(folder, image_shape)
    with pytest.raises(ValueError, match="batch_size: must be a whole number of at least 1, got 0"):
        stream_images(folder, (1, 28, 28), batch_size=0)
