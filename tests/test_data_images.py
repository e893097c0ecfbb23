"""Image folders and single images: modes, sizes, transparency, and the words for what is wrong."""

from __future__ import annotations

import builtins
import sys
from pathlib import Path

import numpy as np
import pytest

from tinycnn.data import load, load_image_folder, parts, read_image

Image = pytest.importorskip("PIL.Image")


def save(path: Path, pixels: np.ndarray, mode: str | None = None, **options: object) -> Path:
    """Write pixels (H, W), (H, W, 2), (H, W, 3) or (H, W, 4) as an image, making its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(pixels)
    (picture if mode is None else picture.convert(mode)).save(path, **options)
    return path


@pytest.fixture
def grey(rng: np.random.Generator) -> np.ndarray:
    """Grey bytes, (5, 4)."""
    return rng.integers(0, 256, size=(5, 4), dtype=np.uint8)


@pytest.fixture
def colour(rng: np.random.Generator) -> np.ndarray:
    """RGB bytes, (5, 4, 3)."""
    return rng.integers(0, 256, size=(5, 4, 3), dtype=np.uint8)


@pytest.fixture
def folder(tmp_path: Path, grey: np.ndarray) -> Path:
    """Two classes, cat and dog, with one and two grey images."""
    save(tmp_path / "pets" / "dog" / "b.png", grey)
    save(tmp_path / "pets" / "dog" / "a.png", 255 - grey)
    save(tmp_path / "pets" / "cat" / "z.png", grey // 2)
    return tmp_path / "pets"


def test_classes_and_files_come_sorted(folder, grey):
    images, labels, class_names = load_image_folder(folder)
    assert class_names == ("cat", "dog")
    assert labels.tolist() == [0, 1, 1]
    assert labels.dtype == np.int64
    assert images.dtype == np.uint8
    np.testing.assert_array_equal(images, np.stack([grey // 2, 255 - grey, grey])[:, None])


def test_load_reads_an_image_folder(folder):
    assert parts(folder) == ("train",)
    np.testing.assert_array_equal(load(str(folder)).images, load_image_folder(folder).images)
    assert load(folder, size=(7, 3)).images.shape == (3, 1, 7, 3)


def test_one_coloured_image_makes_all_rgb(folder, colour, grey):
    save(folder / "cat" / "a.png", colour)
    images = load_image_folder(folder).images
    assert images.shape == (4, 3, 5, 4)
    np.testing.assert_array_equal(images[0], colour.transpose(2, 0, 1))
    np.testing.assert_array_equal(images[3], np.stack([grey] * 3))


def test_hidden_and_system_files_are_skipped(folder):
    before = load_image_folder(folder)
    for name in (".DS_Store", "Thumbs.db", "desktop.ini", "cat/.DS_Store", "cat/Thumbs.db"):
        (folder / name).write_bytes(b"not an image")
    for name in (".git", "__MACOSX", "dog/.thumbnails"):
        (folder / name).mkdir()
    after = load_image_folder(folder)
    assert after.class_names == before.class_names
    np.testing.assert_array_equal(after.images, before.images)


def test_texts_are_passed_over_with_a_note(folder):
    (folder / "dog" / "notes.txt").write_text("a dog")
    (folder / "README").write_text("pets")
    dataset = load_image_folder(folder)
    assert len(dataset) == 3
    assert any("passed over as no pictures: 2 (README, dog/notes.txt)" in n for n in dataset.notes)


def test_other_files_are_named(folder):
    (folder / "dog" / "notes.dat").write_text("a dog")
    with pytest.raises(ValueError, match=r"dog.notes\.dat is no image \(PNG, JPEG, .*elsewhere"):
        load_image_folder(folder)


def test_files_beside_the_class_folders_are_named(folder, grey):
    save(folder / "stray.png", grey)
    with pytest.raises(ValueError, match=r"stray\.png stands beside the class folders: move it"):
        load_image_folder(folder)


def test_folder_without_class_folders(tmp_path, grey):
    with pytest.raises(ValueError, match=r" is empty: put the images of each class"):
        load(tmp_path)
    with pytest.raises(ValueError, match="is empty: put the images"):
        parts(tmp_path)
    (tmp_path / "README").write_text("none yet")
    with pytest.raises(ValueError, match="holds no images: put the images of each class into"):
        load(tmp_path)
    save(tmp_path / "a.png", grey)
    with pytest.raises(ValueError, match=r"no class folders but 1 files, the first a\.png: put"):
        load_image_folder(tmp_path)


def test_empty_class_folder_and_folder_in_a_class_folder(folder):
    (folder / "emu").mkdir()
    with pytest.raises(ValueError, match="emu is an empty class folder: put images into it"):
        load_image_folder(folder)
    (folder / "emu" / "young").mkdir()
    with pytest.raises(ValueError, match="young is a folder inside the class folder emu"):
        load_image_folder(folder)


def test_missing_folder_and_file_for_folder(tmp_path, folder):
    with pytest.raises(FileNotFoundError):
        load_image_folder(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "nowhere")
    with pytest.raises(NotADirectoryError):
        load_image_folder(folder / "dog" / "a.png")


def test_sizes_that_differ_name_the_first_two(folder, grey):
    save(folder / "dog" / "a.png", grey[:4, :3])
    words = (
        r"cat.z\.png has 5 x 4 pixels \(height x width\) but .*dog.a\.png 4 x 3; of 3 images, "
        r"sizes .* differ: 2 of 5 x 4, 1 of 4 x 3: give size=\(5, 4\)$"
    )
    with pytest.raises(ValueError, match=words):
        load_image_folder(folder)
    assert load_image_folder(folder, size=(5, 4)).images.shape == (3, 1, 5, 4)


@pytest.mark.parametrize("size", [(5,), (5, 0), (-1, 5), (2.5, 3), (5, 4, 1), 5, [[5], 4]])
def test_impossible_sizes(folder, size):
    with pytest.raises(ValueError, match=r"load_image_folder: size has height and width .*above 0"):
        load_image_folder(folder, size)


def test_damaged_images_are_named(folder, rng):
    noise = rng.integers(0, 256, size=(40, 40), dtype=np.uint8)
    for suffix in ("png", "jpg", "bmp", "tif", "gif"):
        whole = save(folder / "dog" / f"a.{suffix}", noise).read_bytes()
        (folder / "dog" / f"a.{suffix}").write_bytes(whole[: len(whole) // 2])
        with pytest.raises(ValueError, match=rf"dog.a\.{suffix} is (a damaged|no) image"):
            load_image_folder(folder, size=(5, 4))
        (folder / "dog" / f"a.{suffix}").unlink()


def test_damage_anywhere_is_told_or_unseen(tmp_path, rng, colour):
    for suffix in ("png", "jpg", "bmp", "gif", "tif", "webp"):
        whole = save(tmp_path / f"whole.{suffix}", colour).read_bytes()
        for n in range(60):
            changed = bytearray(whole)
            changed[rng.integers(0, len(whole))] = rng.integers(0, 256)
            path = tmp_path / f"{n}.{suffix}"
            path.write_bytes(changed[: rng.integers(1, len(whole))] if n % 4 == 0 else changed)
            try:
                assert read_image(path, (3, 5, 4)).shape == (3, 5, 4)
            except ValueError as error:
                words = str(error)
                assert words.startswith(str(path))


def test_image_of_gigapixels_is_refused(tmp_path):
    (tmp_path / "huge.pgm").write_bytes(b"P5 100000 100000 255\n")
    with pytest.raises(ValueError, match=r"huge\.pgm is too large, or a damaged image: .*pixels"):
        read_image(tmp_path / "huge.pgm", (1, 8, 8))


def test_divided_folder(tmp_path, grey):
    for name in ("train/dog/1.png", "train/cat/1.png", "test/dog/1.png", "test/dog/2.png"):
        save(tmp_path / name, grey)
    save(tmp_path / "other" / "dog" / "1.png", grey)
    (tmp_path / "README.txt").write_text("left alone")
    assert parts(tmp_path) == ("train", "test")
    train, test = load(tmp_path), load(tmp_path, "test", size=(3, 3))
    assert train.class_names == test.class_names == ("cat", "dog")
    assert train.labels.tolist() == [0, 1]
    assert test.labels.tolist() == [1, 1]
    assert test.images.shape == (2, 1, 3, 3)


def test_class_of_test_that_train_has_not(tmp_path, grey):
    for name in ("train/dog/1.png", "test/emu/1.png"):
        save(tmp_path / name, grey)
    with pytest.raises(ValueError, match=r"test.emu is a class that is not in .*train: "):
        load(tmp_path, "test")


def test_part_that_is_not_there(tmp_path, folder, grey):
    with pytest.raises(
        ValueError, match=r"part 'test' is not in .*pets, an image folder: .*'train'"
    ):
        load(folder, "test")
    save(tmp_path / "divided" / "train" / "dog" / "1.png", grey)
    assert parts(tmp_path / "divided") == ("train",)
    assert load(tmp_path / "divided").class_names == ("dog",)


def test_class_may_be_called_train(tmp_path, grey):
    for name in ("train/1.png", "bus/1.png"):
        save(tmp_path / name, grey)
    assert parts(tmp_path) == ("train",)
    assert load(tmp_path).class_names == ("bus", "train")


def test_without_pillow_the_words_to_install_it(folder, monkeypatch):
    real_import = builtins.__import__

    def without_pillow(module, *args, **kwargs):
        if module.partition(".")[0] == "PIL":
            raise ImportError(f"No module named {module}")
        return real_import(module, *args, **kwargs)

    for module in [m for m in sys.modules if m.partition(".")[0] == "PIL"]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setattr(builtins, "__import__", without_pillow)
    words = r" needs Pillow: pip install 'tinycnn\[images\]'$"
    with pytest.raises(ImportError, match="^load_image_folder" + words):
        load_image_folder(folder)
    with pytest.raises(ImportError, match="^read_image" + words):
        read_image(folder / "dog" / "a.png", (1, 5, 4))


def test_read_image_converts_and_resizes(tmp_path, grey, colour):
    grey_path = save(tmp_path / "grey.png", grey)
    colour_path = save(tmp_path / "colour.png", colour)
    np.testing.assert_array_equal(read_image(grey_path, (1, 5, 4)), grey[None])
    np.testing.assert_array_equal(read_image(str(grey_path), (3, 5, 4)), np.stack([grey] * 3))
    np.testing.assert_array_equal(read_image(colour_path, (3, 5, 4)), colour.transpose(2, 0, 1))
    luma = colour @ [0.299, 0.587, 0.114]
    np.testing.assert_allclose(read_image(colour_path, (1, 5, 4))[0], luma, atol=1)
    resized = read_image(colour_path, (3, 10, 7))
    assert resized.shape == (3, 10, 7)
    assert resized.dtype == np.uint8
    assert resized.flags.c_contiguous
    assert resized.flags.writeable


def test_shrinking_takes_the_mean(tmp_path):
    board = np.indices((64, 64)).sum(axis=0) % 2 * 255
    path = save(tmp_path / "board.png", board.astype(np.uint8))
    inner = read_image(path, (1, 8, 8))[0, 1:-1, 1:-1]
    np.testing.assert_allclose(inner, 127.5, atol=2)


@pytest.mark.parametrize("size", [None, (5, 4), (3, 9), (12, 2)])
def test_read_image_gives_the_bytes_of_the_folder(tmp_path, rng, size):
    pixels = rng.integers(0, 256, size=(5, 4, 4), dtype=np.uint8)
    for n, mode in enumerate(["L", "RGB", "RGBA", "LA", "1", "P"]):
        save(tmp_path / "one" / f"{n}.png", pixels, mode)
    images = load_image_folder(tmp_path, size).images
    for path, image in zip(sorted((tmp_path / "one").iterdir()), images, strict=True):
        np.testing.assert_array_equal(read_image(path, image.shape), image)


@pytest.mark.parametrize(
    "image_shape", [(28, 28), (2, 28, 28), (4, 8, 8), (1, 0, 8), (1, 8, 8.5), 8]
)
def test_image_shapes_that_are_none(tmp_path, grey, image_shape):
    path = save(tmp_path / "a.png", grey)
    with pytest.raises(ValueError, match=r"read_image: image_shape .*(must be|above 0)"):
        read_image(path, image_shape)


def test_read_image_of_what_is_none(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_image(tmp_path / "nowhere.png", (1, 8, 8))
    (tmp_path / "a.png").write_bytes(b"nothing of the kind")
    with pytest.raises(ValueError, match=r"a\.png is no image"):
        read_image(tmp_path / "a.png", (1, 8, 8))
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR of another length")
    with pytest.raises(ValueError, match=r"a\.png is a damaged image, .*; fetch it again"):
        read_image(tmp_path / "a.png", (1, 8, 8))
    (tmp_path / "a.eps").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")
    with pytest.raises(ValueError, match=r"a\.eps is a PostScript document: convert it"):
        read_image(tmp_path / "a.eps", (1, 8, 8))


def test_transparency_is_laid_over_white(tmp_path):
    rgba = np.zeros((1, 3, 4), dtype=np.uint8)
    rgba[0, :, 3] = [0, 255, 51]  # clear, opaque, a fifth of black ink
    path = save(tmp_path / "rgba.png", rgba)
    np.testing.assert_array_equal(read_image(path, (1, 1, 3)), [[[255, 0, 204]]])
    assert read_image(path, (3, 1, 3)).tolist() == [[[255, 0, 204]]] * 3
    path = save(tmp_path / "la.png", rgba[..., 2:])
    np.testing.assert_array_equal(read_image(path, (1, 1, 3)), [[[255, 0, 204]]])


def test_clear_level_of_a_png_is_laid_over_white(tmp_path):
    levels = np.array([[0, 100, 200]], dtype=np.uint8)
    path = save(tmp_path / "grey.png", levels, transparency=100)
    assert read_image(path, (1, 1, 3)).tolist() == [[[0, 255, 200]]]
    path = save(tmp_path / "palette.png", levels, "P", transparency=bytes([255] * 100 + [0]))
    with Image.open(path) as picture:
        assert picture.mode == "P"
    assert read_image(path, (1, 1, 3)).tolist() == [[[0, 255, 200]]]
    path = save(tmp_path / "deep.png", levels.astype(np.uint16) * 257, transparency=25700)
    assert read_image(path, (1, 1, 3), np.uint8).tolist() == [[[0, 255, 200]]]


def test_16_bit_grey_is_scaled_not_clipped(tmp_path):
    levels = np.array([[0, 128, 129, 257, 32896, 65535]], dtype=np.uint16)
    expected = [[0, 0, 1, 1, 128, 255]]
    for suffix in ("png", "tif"):
        path = save(tmp_path / "one" / f"a.{suffix}", levels)
        assert read_image(path, (1, 1, 6), np.uint8).tolist() == [expected]
    (tmp_path / "one" / "a.pgm").write_bytes(b"P5 6 1 65535\n" + levels.astype(">u2").tobytes())
    images = load_image_folder(tmp_path).images
    assert images.dtype == np.uint16
    np.testing.assert_array_equal(images, [[levels]] * 3)


def test_pixels_without_a_sure_scale_are_refused_as_bytes(tmp_path, grey):
    words = r"\.tif has pixels of float32 where the other images have uint8, and no scale"
    path = save(tmp_path / "float.tif", grey.astype(np.float32))
    with pytest.raises(ValueError, match="float" + words):
        read_image(path, (1, 5, 4), np.uint8)
    path = save(tmp_path / "deep.tif", grey.astype(np.int32) * 1000 + 1)
    with pytest.raises(ValueError, match="deep" + words):
        read_image(path, (1, 5, 4), np.uint8)


def test_black_and_white_images_are_0_and_255(tmp_path):
    path = save(tmp_path / "one" / "a.png", np.array([[0, 255]], dtype=np.uint8), "1")
    assert read_image(path, (1, 1, 2)).tolist() == [[[0, 255]]]
    assert load_image_folder(tmp_path).images.tolist() == [[[[0, 255]]]]


def test_images_are_turned_upright(tmp_path, grey):
    exif = Image.Exif()
    exif[0x0112] = 6  # Orientation: to be turned a quarter clockwise
    path = save(tmp_path / "one" / "a.png", grey, exif=exif)
    upright = np.rot90(grey, -1)
    np.testing.assert_array_equal(read_image(path, (1, 4, 5))[0], upright)
    np.testing.assert_array_equal(load_image_folder(tmp_path).images[0, 0], upright)


def test_first_frame_of_an_animation_counts(tmp_path):
    frames = [Image.new("L", (3, 2), level) for level in (10, 200)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    assert (read_image(tmp_path / "a.gif", (1, 2, 3)) == 10).all()
