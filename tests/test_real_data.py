"""The study on real pictures: what is held out, and what the table says."""

import sys
from pathlib import Path

import pytest

pytest.importorskip("sklearn")
Image = pytest.importorskip("PIL.Image")
sys.path.append(str(Path(__file__).parent.parent))  # last: the benchmarks are not installed

from benchmarks.real_data import lead, row_text  # noqa: E402
from benchmarks.real_images import Picture, all_differ, split_pictures, write  # noqa: E402

DOT = Image.new("L", (2, 2))


def names(pictures):
    return {(picture.label, picture.name) for picture in pictures}


def test_a_fifth_of_each_class_is_held_out_another_in_each_split():
    pictures = [Picture(c, f"{i}", DOT) for c, n in (("a", 50), ("b", 10)) for i in range(n)]
    parts = [split_pictures(pictures, split) for split in range(2)]
    for part in parts:
        assert names(part["train"]) | names(part["test"]) == names(pictures)
        assert [sum(p.label == c for p in part["test"]) for c in "ab"] == [10, 2]
        assert len(part["train"]) == 48
    assert names(parts[0]["test"]) != names(parts[1]["test"])


def test_a_group_is_in_one_part_alone():
    pictures = [Picture(c, f"{g}{c}", DOT, f"group {g}") for g in range(10) for c in "ab"]
    parts = split_pictures(pictures, 0)
    groups = {part: {picture.group for picture in chosen} for part, chosen in parts.items()}
    assert groups["train"].isdisjoint(groups["test"])
    assert len(groups["test"]) == 2


def test_a_font_without_letters_draws_one_box_for_all():
    assert all_differ([DOT, Image.new("L", (2, 2), 9)])
    assert not all_differ([DOT, Image.new("L", (2, 2))])


def test_pictures_are_written_in_a_folder_a_class(tmp_path):
    write(tmp_path, [Picture("a", "1", DOT), Picture("b", "2", DOT)])
    assert (tmp_path / "a" / "1.png").exists()
    assert (tmp_path / "b" / "2.png").exists()


def test_the_lead_is_over_the_best_of_the_others_with_its_error():
    accuracy = {"tinycnn": [90.0, 92.0], "a": [88.0, 91.0], "b": [70.0, 99.0]}
    best, gain, error = lead({"accuracy": accuracy})
    assert (best, gain, error) == ("a", 1.5, pytest.approx(0.5))
    task = {"title": "t", "train_images": 1000, "test_images": 9, "majority": 12.34}
    text = row_text({**task, "accuracy": accuracy})
    assert text == ("| t | 1,000 | 9 | 12.3 | 91.0 ± 1.4 | 89.5 ± 2.1 | 84.5 ± 20.5 | +1.5 ± 0.5 |")
