"""Pictures of more than 8 bits, and TIFF files of other kinds: read right, or refused."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest

from tinycnn.data import load, load_image_folder, read_image, stream_images

Image = pytest.importorskip("PIL.Image")


@pytest.fixture
def counts(rng: np.random.Generator) -> np.ndarray:
    """Counts of a 12-bit camera, (6, 9, 8)."""
    return rng.integers(100, 400, size=(6, 9, 8)).astype(np.uint16)


def save(path: Path, pixels: np.ndarray) -> Path:
    """Write pixels as an image, making its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_counts_of_a_microscope_keep_their_values(tmp_path, counts, suffix):
    for n, image in enumerate(counts):
        save(tmp_path / "cell" / f"{n}.{suffix}", image)
    images = load(tmp_path).images
    assert images.dtype == np.uint16
    np.testing.assert_array_equal(images[:, 0], counts)
    path = tmp_path / "cell" / f"0.{suffix}"
    for dtype in (None, np.uint16):
        np.testing.assert_array_equal(read_image(path, (1, 9, 8), dtype)[0], counts[0])
    with pytest.raises(ValueError, match=r"has 16-bit counts up to 3\d\d among images of 8 bits"):
        read_image(path, (1, 9, 8), np.uint8)


def test_counts_are_resized_as_bytes_are(tmp_path, counts):
    path = save(tmp_path / "a.png", counts[0])
    small = read_image(path, (1, 4, 4), np.uint16)
    assert small.dtype == np.uint16
    picture = Image.fromarray(counts[0].astype(np.float32)).resize((4, 4), Image.BILINEAR)
    np.testing.assert_allclose(small[0], np.asarray(picture), atol=0.5)
    stream = stream_images(path, (1, 4, 4), dtype=np.uint16)
    np.testing.assert_array_equal(next(iter(stream)).images[0], small)


def test_bytes_among_counts(tmp_path, counts):
    save(tmp_path / "a" / "1.png", counts[0] * 100)
    save(tmp_path / "a" / "2.png", (counts[1] // 2).astype(np.uint8))
    images, _, _ = dataset = load(tmp_path)
    assert images.dtype == np.uint8
    np.testing.assert_array_equal(images[0, 0], np.rint(counts[0] * 100 / 257))
    assert any("1 images of 16 bits among others" in note for note in dataset.notes)
    save(tmp_path / "a" / "1.png", counts[0])
    with pytest.raises(ValueError, match=r"1\.png has 16-bit counts up to .*; save all images"):
        load(tmp_path)
    with pytest.raises(ValueError, match=r"2\.png has pixels of uint8 where the other images ha"):
        read_image(tmp_path / "a" / "2.png", (1, 9, 8), np.uint16)


def test_white_as_the_least_value(tmp_path, counts):
    tifffile = pytest.importorskip("tifffile")
    (tmp_path / "a").mkdir()
    tifffile.imwrite(tmp_path / "a" / "1.tif", counts[0], photometric="miniswhite")
    np.testing.assert_array_equal(load(tmp_path).images[0, 0], 65535 - counts[0])
    few = (counts[0] // 2).astype(np.uint8)
    tifffile.imwrite(tmp_path / "a" / "1.tif", few, photometric="miniswhite")
    np.testing.assert_array_equal(load(tmp_path).images[0, 0], 255 - few)


def test_floats_and_signed_and_long_whole_numbers_are_floats(tmp_path, counts):
    tifffile = pytest.importorskip("tifffile")
    (tmp_path / "a").mkdir()
    for pixels in (
        (counts[0] / 400).astype(np.float32),
        counts[0].astype(np.int16) - 250,
        counts[0].astype(np.int32) * 1000,
        counts[0].astype(np.uint32) + 2**31,
    ):
        tifffile.imwrite(tmp_path / "a" / "1.tif", pixels)
        images = load(tmp_path).images
        assert images.dtype == np.float32
        np.testing.assert_array_equal(images[0, 0], pixels.astype(np.float32))
    tifffile.imwrite(tmp_path / "a" / "1.tif", np.full((4, 4), np.nan, np.float32))
    with pytest.raises(ValueError, match=r"1\.tif has pixels that are not finite"):
        load(tmp_path)


def test_pages_and_channels_are_refused(tmp_path, counts):
    tifffile = pytest.importorskip("tifffile")
    (tmp_path / "a").mkdir()
    path = tmp_path / "a" / "1.tif"
    words = r"1\.tif has \d+ pages \(a stack, or channels\): save the page that counts"
    tifffile.imwrite(path, counts, imagej=True, metadata={"axes": "ZYX"})
    with pytest.raises(ValueError, match=words):
        load(tmp_path)
    tifffile.imwrite(path, counts[:2], photometric="minisblack")
    with pytest.raises(ValueError, match=words):
        read_image(path, (1, 9, 8), np.uint16)
    for n in (2, 4, 5):
        channels = np.zeros((9, 8, n), np.uint8)
        tifffile.imwrite(path, channels, photometric="minisblack", planarconfig="contig")
        with pytest.raises(ValueError, match=rf"1\.tif (has {n} channels: save|is a TIFF of a k)"):
            load(tmp_path)


def test_smaller_page_behind_the_picture_is_left_alone(tmp_path, counts):
    tifffile = pytest.importorskip("tifffile")
    (tmp_path / "a").mkdir()
    with tifffile.TiffWriter(tmp_path / "a" / "1.tif") as writer:
        writer.write(counts[0])
        writer.write(counts[0, ::2, ::2], subfiletype=1)
    np.testing.assert_array_equal(load(tmp_path).images[0, 0], counts[0])


def colour_png(pixels: np.ndarray) -> bytes:
    """Encode (H, W, 3) of 16 bits, which Pillow does not write."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + check

    H, W, _ = pixels.shape
    head = struct.pack(">IIBBBBB", W, H, 16, 2, 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    data = chunk(b"IDAT", zlib.compress(rows))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + data + chunk(b"IEND", b"")


def test_colour_of_16_bits(tmp_path, rng):
    levels = rng.integers(0, 256, size=(5, 4, 3)).astype(np.uint16)
    (tmp_path / "a.png").write_bytes(colour_png(levels * 257))
    image = read_image(tmp_path / "a.png", (3, 5, 4))
    np.testing.assert_array_equal(image, levels.transpose(2, 0, 1))
    (tmp_path / "a.png").write_bytes(colour_png(levels * 8))
    with pytest.raises(ValueError, match=r"a\.png has 16 bits a channel of which the upper 8 hol"):
        read_image(tmp_path / "a.png", (3, 5, 4))


def test_colour_that_loses_its_lower_bits_is_said(tmp_path, rng):
    levels = rng.integers(0, 65536, size=(5, 4, 3)).astype(np.uint16)
    save(tmp_path / "a" / "2.png", (levels[..., 0] >> 8).astype(np.uint8))
    (tmp_path / "a" / "1.png").write_bytes(colour_png(levels))
    dataset = load(tmp_path)
    [note] = [note for note in dataset.notes if "colour" in note]
    assert "1 colour images of 16 bits a channel became bytes" in note
    np.testing.assert_array_equal(dataset.images[0], (levels >> 8).transpose(2, 0, 1))


def test_bytes_become_floats_where_floats_are_asked_for(tmp_path, counts):
    pixels = (counts[0] // 2).astype(np.uint8)
    path = save(tmp_path / "a.png", pixels)
    image = read_image(path, (1, 9, 8), np.float32)
    assert image.dtype == np.float32
    np.testing.assert_allclose(image[0], pixels / 255, rtol=1e-6)


def test_a_large_transparent_picture_is_laid_over_white_in_strips(tmp_path):
    rgba = np.zeros((2500, 3, 4), np.uint8)
    rgba[:, :, 3] = np.arange(2500)[:, None] % 256
    path = save(tmp_path / "one" / "a.png", rgba)
    expected = np.rint(255 - np.arange(2500) % 256)
    np.testing.assert_array_equal(read_image(path, (1, 2500, 3))[0, :, 0], expected)
    assert load_image_folder(tmp_path, (10, 3)).images.shape == (1, 3, 10, 3)


def test_large_jpeg_is_decoded_smaller(tmp_path):
    yy, xx = np.mgrid[:800, :600]
    pixels = np.stack([yy * 255 // 799, xx * 255 // 599, (yy + xx) * 255 // 1398], axis=-1)
    path = save(tmp_path / "a.jpg", pixels.astype(np.uint8))
    image = read_image(path, (3, 20, 15))
    whole = Image.open(path).resize((15, 20), Image.BILINEAR)
    difference = image.transpose(1, 2, 0).astype(int) - np.asarray(whole)
    assert np.abs(difference).max() <= 3
