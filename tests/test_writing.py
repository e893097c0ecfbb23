"""Files are written whole or not at all, whoever else writes to the same path."""

import os
import stat
import subprocess
import sys
import threading
import time

import pytest

import tinycnn
from tinycnn.files import writing
from tinycnn.files.model import is_model_file
from tinycnn.files.writing import atomic_file, require_writable, write_text


def test_a_new_file_has_the_mode_that_others_have(tmp_path):
    write_text(tmp_path / "new", "text")
    (tmp_path / "plain").write_text("text")
    assert (tmp_path / "new").read_text() == "text"
    modes = {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("new", "plain")}
    assert len(modes) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new", "plain"]


def test_mode_and_link_of_an_old_file_stay(tmp_path):
    (tmp_path / "real").write_text("old")
    (tmp_path / "real").chmod(0o640)
    (tmp_path / "link").symlink_to("real")
    write_text(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_text() == "new"
    assert stat.S_IMODE((tmp_path / "real").stat().st_mode) == 0o640


def test_an_exception_leaves_the_old_file_and_no_draft(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")

    def write_half():
        with atomic_file(path) as file:
            file.write(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_half()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_pipes_and_folders_are_not_replaced(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for name, kind in (("pipe", "pipe"), (".", "folder")):
        with pytest.raises(OSError, match=rf"is a .*{kind}.*choose another name"):
            write_text(tmp_path / name, "text")
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        write_text(tmp_path / "nowhere" / "file", "text")


def test_an_error_names_the_file_and_not_its_draft(tmp_path):
    (tmp_path / "link").symlink_to("nowhere/file")
    for name in ("nowhere/file", "link"):
        for write in (lambda path: write_text(path, "text"), require_writable):
            with pytest.raises(FileNotFoundError) as caught:
                write(tmp_path / name)
            assert caught.value.filename == str(tmp_path / "nowhere" / "file")


def test_what_cannot_be_written_is_told_before_training(tmp_path):
    (tmp_path / "link").symlink_to("nowhere/file")
    net = tinycnn.CNN((1, 8, 8), channels=(2,), n_classes=10)
    images, labels = tinycnn.load_digits()
    before = net.flat.copy()
    checkpoint = tinycnn.Checkpoint(tmp_path / "link")
    with pytest.raises(FileNotFoundError):
        tinycnn.fit(net, images, labels, epochs=1, callbacks=checkpoint, verbose=False)
    assert (net.flat == before).all()
    require_writable(tmp_path / "file")
    assert [path.name for path in tmp_path.iterdir()] == ["link"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_what_is_no_file_is_no_model_and_named_by_its_reader(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    assert not is_model_file(tmp_path / "pipe")
    for name in ("pipe", "."):
        with pytest.raises(OSError, match=f"{(tmp_path / name)}: is a .*, not a file"):
            tinycnn.load_model(tmp_path / name)


def test_a_long_name_has_a_draft_too(tmp_path):
    write_text(tmp_path / ("n" * 250), "text")
    assert (tmp_path / ("n" * 250)).read_text() == "text"


def test_the_draft_of_a_killed_writer_is_removed_by_the_next(tmp_path):
    code = (
        "import os, sys; from tinycnn.files.writing import atomic_file\n"
        "with atomic_file(sys.argv[1]) as file:\n"
        "    file.write(b'half'); file.flush(); os.kill(os.getpid(), 9)\n"
    )
    path = tmp_path / "file"
    subprocess.run([sys.executable, "-c", code, path], check=False)
    assert [p.suffix for p in tmp_path.iterdir()] == [".part"]
    (tmp_path / ".other.x.part").write_text("of another file")
    write_text(path, "whole")
    assert sorted(p.name for p in tmp_path.iterdir()) == [".other.x.part", "file"]


def test_a_draft_in_use_is_left_alone(tmp_path):
    path = tmp_path / "file"
    with atomic_file(path) as file:
        file.write(b"slow")
        write_text(path, "fast")
        assert path.read_text() == "fast"
    assert path.read_text() == "slow"


@pytest.mark.skipif(writing.fcntl is None, reason="no locks here")
def test_a_draft_that_another_writer_is_about_to_remove_is_not_used(tmp_path, monkeypatch):
    """Between making a draft and locking it, another writer may hold its lock, to remove it."""
    flock, taken = writing.fcntl.flock, []

    def slow(number, operation):
        if not taken:
            (draft,) = tmp_path.iterdir()
            taken.append(os.open(draft, os.O_RDWR))
            flock(taken[0], operation | writing.fcntl.LOCK_NB)
            threading.Timer(0.2, lambda: (draft.unlink(), os.close(taken[0]))).start()
        flock(number, operation)

    monkeypatch.setattr(writing.fcntl, "flock", slow)
    with atomic_file(tmp_path / "file") as file:
        file.write(b"whole")
        time.sleep(0.4)
    assert (tmp_path / "file").read_text() == "whole"


def test_threads_that_write_to_one_path_leave_one_whole_file(tmp_path):
    path = tmp_path / "file"
    texts = [letter * 200_000 for letter in "abcd"]
    threads = [
        threading.Thread(target=lambda t=text: [write_text(path, t) for _ in range(10)])
        for text in texts
    ]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        if path.exists():
            assert path.read_text() in texts
    assert path.read_text() in texts
    assert list(tmp_path.iterdir()) == [path]
