"""Folders of pictures as people have them: parts, labels in names and tables, and what is wrong."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tinycnn.data import load, load_image_folder, parts
from tinycnn.data.file_labels import label_of_name

Image = pytest.importorskip("PIL.Image")


def fill(folder: Path, *names: str, shape: tuple[int, ...] = (4, 4)) -> Path:
    """Write pictures under these names, no two of them alike."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        rng = np.random.default_rng(list(str(path.relative_to(folder)).encode()))
        Image.fromarray(rng.integers(0, 256, size=shape, dtype=np.uint8)).save(path)
    return folder


def one_line(error: pytest.ExceptionInfo[Exception]) -> str:
    """Words of an error, which must be one line that a terminal shows whole."""
    words = str(error.value)
    assert "\n" not in words
    assert len(words) < 500
    return words


@pytest.mark.parametrize(
    "names",
    [
        ("train", "val", "test"),
        ("Train", "Valid", "Test"),
        ("training", "validation", "testing"),
        ("training_set", "val_set", "test_set"),
        ("TRAIN", "VAL", "TEST"),
        ("seg_train", "dev", "seg_test"),
        ("train_images", "valid_images", "test_images"),
        ("01_train", "02_validate", "03_evaluation"),
        ("train_full", "devel", "holdout_256"),
    ],
)
def test_parts_by_all_usual_names(tmp_path, names):
    for n, name in enumerate(names):
        fill(tmp_path, *(f"{name}/{c}/{i}.png" for c in "ab" for i in range(3 - n)))
    assert parts(tmp_path) == ("train", "validation", "test")
    for n, part in enumerate(("train", "validation", "test")):
        dataset = load(tmp_path, part)
        assert dataset.class_names == ("a", "b")
        assert np.bincount(dataset.labels).tolist() == [3 - n, 3 - n]
        assert dataset.files[0] == "a/0.png"


def test_parts_in_folders_of_the_same_name(tmp_path):
    fill(tmp_path, "training_set/training_set/a/1.png", "training_set/training_set/b/1.png")
    fill(tmp_path, "test_set/test_set/a/2.png", "test_set/test_set/b/2.png")
    assert parts(tmp_path) == ("train", "test")
    assert load(tmp_path, "test").class_names == load(tmp_path).class_names == ("a", "b")


def test_only_some_parts(tmp_path):
    fill(tmp_path, "train/a/1.png", "val/a/1.png", "other/a/1.png")
    assert parts(tmp_path) == ("train", "validation")
    assert any("passed over beside its parts: 1 (other)" in n for n in load(tmp_path).notes)
    fill(tmp_path / "b", "test/a/1.png", "test/b/1.png")
    assert parts(tmp_path / "b") == ("test",)
    assert load(tmp_path / "b", "test").class_names == ("a", "b")


def test_two_folders_for_one_part(tmp_path):
    fill(tmp_path, "train/a/1.png", "training/a/1.png")
    with pytest.raises(ValueError, match=r"train and .*training both look like the train part"):
        parts(tmp_path)


def test_classes_called_like_parts(tmp_path):
    fill(tmp_path, "valid/1.png", "invalid/1.png")
    dataset = load(tmp_path)
    assert dataset.class_names == ("invalid", "valid")
    assert any("taken for classes, even 1 (valid)" in note for note in dataset.notes)


def test_unlabelled_test_images_are_for_predict(tmp_path):
    fill(tmp_path, "train/a/1.png", "train/b/1.png", "test/1.png", "test/2.png")
    assert parts(tmp_path) == ("train",)
    assert any("test holds 2 files without labels" in note for note in load(tmp_path).notes)
    with pytest.raises(ValueError, match=r"part 'test' is not in .*: there is 'train'"):
        load(tmp_path, "test")


def test_labels_in_the_names_of_files(tmp_path):
    fill(tmp_path, *(f"train/{c}.{i}.png" for c in ("cat", "dog") for i in range(3)))
    fill(tmp_path, "test1/test_1.png", "test1/test_2.png")
    for read in (parts, load):
        with pytest.raises(ValueError, match=r"begin with cat, dog, .*labels_from='name'") as error:
            read(tmp_path)
        one_line(error)
    assert parts(tmp_path, labels_from="name") == ("train",)
    images, labels, names = load(tmp_path, labels_from="name")
    assert names == ("cat", "dog")
    assert labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert images.shape == (6, 1, 4, 4)
    assert load(tmp_path / "train", labels_from="name").class_names == ("cat", "dog")


def test_a_pattern_of_many_stars_takes_no_longer():
    start = time.process_time()
    assert label_of_name("a" * 250, "*a" * 40 + "{label}" + "a*" * 40 + "b") is None
    assert label_of_name("x_a_b_7.png", "*_*_{label}.png") == "7"
    assert time.process_time() - start < 2


@pytest.mark.parametrize(
    ("names", "rule", "expected"),
    [
        (("american_bulldog_10.png", "Bengal_7.png"), "name", ("Bengal", "american_bulldog")),
        (("img_001_cat.png", "img_002_dog.png"), "*_{label}", ("cat", "dog")),
        (("img_001_cat.png", "img_002_dog.png"), "img_*_{label}.png", ("cat", "dog")),
        (("3-0001.png", "7-0001.png"), "{label}-*", ("3", "7")),
        (("a+b(1).png", "c+d(1).png"), "{label}(*).png", ("a+b", "c+d")),
    ],
)
def test_patterns_of_names(tmp_path, names, rule, expected):
    fill(tmp_path, *names)
    assert load(tmp_path, labels_from=rule).class_names == expected


def test_labels_of_pictures_in_inner_folders(tmp_path):
    fill(tmp_path, "day1/cat_1.png", "day1/dog_1.png", "day2/dog_2.png", "cat_9.png")
    assert load(tmp_path, labels_from="name").labels.tolist() == [0, 0, 1, 1]
    (tmp_path / "m.csv").write_text("file_name,label\nday1/cat_1.png,x\nday2/dog_2.png,y\n")
    dataset = load(tmp_path, labels_from=str(tmp_path / "m.csv"))
    assert dataset.files == ("day1/cat_1.png", "day2/dog_2.png")
    assert dataset.class_names == ("x", "y")


def test_table_that_names_the_training_images_alone(tmp_path):
    fill(tmp_path, "train/1.png", "train/2.png", "test/3.png")
    (tmp_path / "m.csv").write_text("file,label\n1.png,x\n2.png,y\n")
    assert parts(tmp_path, labels_from=str(tmp_path / "m.csv")) == ("train",)


def test_names_that_do_not_follow_the_rule(tmp_path):
    fill(tmp_path, "cat_1.png", "12.png", "13.png")
    with pytest.raises(ValueError, match=r"12\.png has no label in its name .*nor have 1 others"):
        load(tmp_path, labels_from="name")


@pytest.mark.parametrize("where", ["inside", "beside"])
@pytest.mark.parametrize(
    "head", ["file,label", "id,label", "image_id,species", "Filename,Class", "label,filename"]
)
def test_table_of_files_and_labels(tmp_path, where, head):
    fill(tmp_path, "train/1.png", "train/2.png", "train/x.png")
    rows = {"1.png": "cat", "x": "ant", "train/2.png": "cat"}
    first = head.split(",")[0].lower()
    lines = [f"{v},{k}" if first == "label" else f"{k},{v}" for k, v in rows.items()]
    table = tmp_path / ("train" if where == "inside" else "") / "labels.csv"
    table.write_text("\n".join([head, *lines]))
    for path in (tmp_path, tmp_path / "train")[: 2 if where == "inside" else 1]:
        assert parts(path) == ("train",)
        dataset = load(path)
        assert dataset.class_names == ("ant", "cat")
        assert dataset.labels.tolist() == [1, 1, 0]
    assert load(tmp_path, labels_from=str(table)).labels.tolist() == [1, 1, 0]


def test_folder_of_images_with_a_table_beside(tmp_path):
    fill(tmp_path, "images/1.png", "images/2.png", "images/3.png")
    (tmp_path / "labels.csv").write_text("file_name,label\nimages/1.png,b\n2.png,a\n3,b\n")
    for path in (tmp_path, tmp_path / "images"):
        assert parts(path) == ("train",)
        assert load(path).labels.tolist() == [1, 0, 1]
    with (tmp_path / "labels.csv").open("a") as file:
        file.write("3,a\n")
    with pytest.raises(ValueError, match=r"labels\.csv gives 3 two labels, b and a: an image can"):
        load(tmp_path)


def test_sample_of_a_submission_has_no_labels(tmp_path):
    fill(tmp_path, "train_images/1.png", "train_images/2.png", "test_images/3.png")
    (tmp_path / "train.csv").write_text("image_id,label\n1.png,0\n2.png,7\n")
    (tmp_path / "sample_submission.csv").write_text("image_id,label\n3.png,4\n")
    assert parts(tmp_path) == ("train",)
    assert load(tmp_path).class_names == ("0", "7")


@pytest.mark.parametrize("line", ["", "2.png,\n"])
def test_images_without_a_label_in_the_table_are_left_out(tmp_path, line):
    fill(tmp_path, "1.png", "2.png", "3.png")
    (tmp_path / "labels.csv").write_text(f"file,label\n1.png,a\n{line}3.png,b\n")
    dataset = load(tmp_path)
    assert dataset.files == ("1.png", "3.png")
    assert any("1 images have no label and were left out" in note for note in dataset.notes)
    with pytest.raises(ValueError, match=r"must be 'folder', 'name', a pattern with {label}, or"):
        load(tmp_path, labels_from="nmae")
    (tmp_path / "other.csv").write_text("file,label\n8.png,a\n")
    with pytest.raises(ValueError, match=r"other\.csv names none of the files of .*1\.png"):
        load(tmp_path, labels_from=str(tmp_path / "other.csv"))


def test_flat_folder_without_labels_offers_the_ways_to_give_them(tmp_path):
    fill(tmp_path, "1.png", "2.png")
    with pytest.raises(ValueError, match=r"no class folders but 2 files, the first 1\.png: put"):
        load(tmp_path)
    np.savez(tmp_path / "a.npz", images=np.zeros((2, 3, 3)), labels=[0, 1])
    with pytest.raises(ValueError, match="labels_from='name' is for folders of pictures, but"):
        load(tmp_path / "a.npz", labels_from="name")


def test_data_for_detection_are_named(tmp_path):
    fill(tmp_path, "images/train/1.png", "images/val/1.png")
    (tmp_path / "labels" / "train").mkdir(parents=True)
    (tmp_path / "labels" / "train" / "1.txt").write_text("0 .5 .5 .1 .1")
    with pytest.raises(ValueError, match=r"laid out for detection \(YOLO"):
        load(tmp_path)


def test_everything_wrong_is_in_one_report(tmp_path):
    fill(tmp_path, *(f"{c}/{i}.png" for c in "ab" for i in range(3)))
    for name in ("a/x.png", "a/y.png", "b/z.png"):
        content = (tmp_path / "a" / "0.png").read_bytes()
        (tmp_path / name).write_bytes(content[: len(content) - 30])
    (tmp_path / "b" / "t.jpg").write_text("no picture")
    (tmp_path / "b" / "heic.jpg").write_bytes(bytes(4) + b"ftypheic" + bytes(20))
    fill(tmp_path, "b/deeper/1.png")
    (tmp_path / "empty").mkdir()
    (tmp_path / "stray.png").write_bytes(b"")
    with pytest.raises(ValueError, match=r"has \d files or folders that cannot be read: ") as error:
        load(tmp_path)
    words = one_line(error)
    assert "skip_broken=True" in words
    dataset = load(tmp_path, skip_broken=True)
    assert dataset.files == tuple(f"{c}/{i}.png" for c in "ab" for i in range(3))
    assert dataset.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert any("passed over: 3 damaged (a/x.png, ...), " in n for n in dataset.notes)


def test_report_of_many_problems_with_long_names_is_still_one_line(tmp_path):
    folder = tmp_path / ("deep" * 40)
    fill(folder, "a/1.png", "b/1.png")
    for i in range(30):
        (folder / "a" / ("long" * 30 + f"{i}.png")).write_text("x")
        fill(folder, f"b/{'inner' * 30}{i}/1.png")
        (folder / ("empty" * 30 + str(i))).mkdir()
        (folder / "b" / f"{i}.heic").write_bytes(bytes(4) + b"ftypheic" + bytes(20))
        (folder / "b" / f"{i}.jpg").write_bytes(b"")
    with pytest.raises(
        ValueError, match=r"has 150 files or folders that cannot be read: 30 "
    ) as error:
        load(folder)
    one_line(error)


def test_skipping_keeps_images_and_labels_together(tmp_path):
    fill(tmp_path, *(f"{c}/{i:02}.png" for c in "abc" for i in range(30)))
    expected = load(tmp_path)
    broken = [f"{c}/{i:02}.png" for c, i in (("a", 0), ("a", 29), ("b", 7), ("c", 15))]
    for name in broken:
        (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:-25])
    dataset = load(tmp_path, skip_broken=True)
    kept = [i for i, name in enumerate(expected.files) if name not in broken]
    np.testing.assert_array_equal(dataset.images, expected.images[kept])
    np.testing.assert_array_equal(dataset.labels, expected.labels[kept])
    assert dataset.files == expected.take(kept).files


def test_nothing_left_after_skipping(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "1.png").write_bytes(b"x")
    with pytest.raises(ValueError, match=r"has no image that can be read: 1 no image \(a/1\.png\)"):
        load(tmp_path, skip_broken=True)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_pipes_and_devices_do_not_hang(tmp_path):
    fill(tmp_path, "a/1.png", "b/1.png")
    os.mkfifo(tmp_path / "a" / "2.png")
    with pytest.raises(ValueError, match=r"2\.png is a pipe, not a file: leave it out"):
        load(tmp_path)
    assert len(load(tmp_path, skip_broken=True)) == 2
    for read in (load, parts):
        with pytest.raises(ValueError, match=r"2\.png is a pipe, not a file: copy"):
            read(tmp_path / "a" / "2.png")
    (tmp_path / "a" / "2.png").unlink()
    os.symlink("/dev/zero", tmp_path / "a" / "2.png")
    with pytest.raises(ValueError, match=r"2\.png is a device, not a file"):
        load(tmp_path)


@pytest.mark.parametrize("suffix", ["npz", "npy", "h5", "mat", "parquet", "csv"])
def test_pipes_among_data_files_do_not_hang(tmp_path, suffix):
    pytest.importorskip({"h5": "h5py", "parquet": "pyarrow"}.get(suffix, "numpy"))
    os.mkfifo(tmp_path / f"a.{suffix}")
    with pytest.raises((ValueError, OSError)) as caught:
        load(tmp_path)
    assert str(tmp_path) in one_line(caught)


def test_system_files_are_passed_over_and_mentioned(tmp_path):
    fill(tmp_path, "a/1.png", "b/1.png")
    for name in ("@eaDir", "$RECYCLE.BIN", "__MACOSX", ".ipynb_checkpoints", "a/@eaDir"):
        fill(tmp_path, f"{name}/1.png")
    (tmp_path / ".DS_Store").write_bytes(b"junk")
    (tmp_path / "b" / "Thumbs.db").write_bytes(b"junk")
    dataset = load(tmp_path)
    assert dataset.class_names == ("a", "b")
    assert any("system files passed over: 7 (" in note for note in dataset.notes)


def test_classes_that_differ_in_capital_letters_are_pointed_out(tmp_path):
    fill(tmp_path, "cat/1.png", "Cat/1.png", "dog/1.png")
    if len(list(tmp_path.iterdir())) < 3:
        pytest.skip("this file system makes no difference")
    notes = load(tmp_path).notes
    assert any("the classes Cat and cat differ in capital letters alone" in note for note in notes)


def test_classes_one_folder_further_down(tmp_path):
    fill(tmp_path, "archive/a/1.png", "archive/b/1.png")
    with pytest.raises(
        ValueError, match=r"nothing but the folder archive, .*: give .*archive inst"
    ):
        load(tmp_path)


def test_classes_several_folders_further_down(tmp_path):
    fill(tmp_path, "x/photos/a/1.png", "x/photos/b/1.png")
    with pytest.raises(ValueError, match=r"but the folder x.photos, .*: give .*x.photos instead"):
        load(tmp_path)


@pytest.mark.parametrize("names", [("a/train", "a/test", "b/train"), ("lernen/a", "testen/a")])
def test_folders_of_folders_are_told_as_such(tmp_path, names):
    fill(tmp_path, *(f"{name}/{i}.png" for name in names for i in range(2)))
    with pytest.raises(ValueError, match=r"no picture in 2 \(.*call its parts train, validation"):
        load(tmp_path)


def test_folders_of_arrays_in_class_folders_are_told(tmp_path):
    for name in "ab":
        (tmp_path / name).mkdir()
        np.save(tmp_path / name / "1.npy", np.zeros((3, 3)))
    with pytest.raises(ValueError, match=r"2 class folders of \.npy files \(save one NPZ "):
        load(tmp_path)


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
def test_links_in_circles_and_to_nothing(tmp_path):
    fill(tmp_path, "a/1.png", "b/1.png")
    os.symlink(".", tmp_path / "c")
    with pytest.raises(ValueError, match="3 folders in a class folder"):
        load(tmp_path)
    (tmp_path / "c").unlink()
    os.symlink("loop", tmp_path / "a" / "loop")
    with pytest.raises(ValueError, match=r"loop cannot be read: .*symbolic link"):
        load(tmp_path)
    (tmp_path / "a" / "loop").unlink()
    os.symlink("/nowhere", tmp_path / "a" / "link.png")
    with pytest.raises(ValueError, match=r"link\.png is a link to nothing: remove it"):
        load(tmp_path)


def test_photographs_get_a_size_proposed(tmp_path):
    fill(tmp_path, "a/1.png", "b/1.png", shape=(600, 800))
    with pytest.raises(ValueError, match=r"600 x 800 .*: give size=\(64, 64\)"):
        load(tmp_path)
    fill(tmp_path, "b/2.png", shape=(500, 800))
    with pytest.raises(ValueError, match=r"differ: 2 of 600 x 800, 1 of 500 x 800: give size=\(64"):
        load(tmp_path)
    assert load(tmp_path, size=(64, 64)).images.shape == (3, 1, 64, 64)


def test_sizes_and_damage_are_in_one_report(tmp_path):
    fill(tmp_path, "a/1.png", "a/2.png")
    fill(tmp_path, "b/1.png", shape=(5, 5))
    (tmp_path / "b" / "2.png").write_text("x")
    with pytest.raises(
        ValueError, match=r"2\.png is no image .*sizes differ too: give size=\(4, 4\)"
    ) as error:
        load(tmp_path)
    one_line(error)


def test_progress_is_told(tmp_path):
    fill(tmp_path, *(f"a/{i}.png" for i in range(40)))
    told: list[tuple[int, int]] = []
    load(tmp_path, progress=lambda done, total: told.append((done, total)))
    assert told[0] == (0, 40)
    assert told[-1] == (40, 40)
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    told.clear()
    load_image_folder(tmp_path, progress=lambda done, total: told.append((done, total)))
    assert told[-1] == (40, 40)
