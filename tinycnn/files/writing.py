"""The one way in which tinycnn writes a file: all of it or nothing."""

from __future__ import annotations

import contextlib
import importlib
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

DRAFT_SUFFIX = ".part"
NAME_LENGTH = 64  # of a target's name, what its drafts are called by: names have an end

fcntl: Any = None
with contextlib.suppress(ImportError):  # Windows has none
    fcntl = importlib.import_module("fcntl")


@contextmanager
def atomic_file(path: str | os.PathLike[str]) -> Iterator[IO[bytes]]:
    """Open a file to write; what was at its path stays until the new one is complete.

    The new file is a draft beside the old one, under a name that nobody can guess, and takes its
    place when the block ends without an exception; else it is removed. Any number of threads and
    processes may write to one path: each file that anybody sees there is whole. Drafts of writers
    that were killed are removed by the next one. Mode and, where that is allowed, owner stay those
    of the old file; a link stays one, and what it points to is written.

    Parameters
    ----------
    path : path-like
        Taken as it is.

    Yields
    ------
    file : binary file

    Raises
    ------
    OSError
        If the folder does not exist or cannot be written to, the disk is full, or something other
        than a file is at the path.
    """
    target = Path(os.path.realpath(path))
    old = _status_of_file(target)
    _remove_abandoned_drafts(target)
    draft, file = _open_draft(target)
    try:
        with file:
            yield file
            file.flush()
            _keep_mode_and_owner(file.fileno(), old)
            os.fsync(file.fileno())
            os.replace(draft, target)  # while the lock is held: nobody takes it for abandoned
    except BaseException:
        with contextlib.suppress(OSError):
            draft.unlink()
        raise
    _synchronise_folder(target.parent)


def require_writable(path: str | os.PathLike[str]) -> None:
    """Raise OSError unless a file can be written to a path, before there is anything to write.

    Raises
    ------
    OSError
        As :func:`atomic_file` would, but for what a full disk does not take.
    """
    target = Path(os.path.realpath(path))
    _status_of_file(target)
    draft, file = _open_draft(target)
    file.close()
    draft.unlink()


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write a text as UTF-8, all of it or nothing: see :func:`atomic_file`."""
    with atomic_file(path) as file:
        file.write(text.encode("utf-8"))


def _status_of_file(target: Path) -> os.stat_result | None:
    """Return the status of what is at the path, None if nothing; refuse all but plain files."""
    try:
        status = target.stat()
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(status.st_mode):
        kind = "a folder" if stat.S_ISDIR(status.st_mode) else "a device, pipe or socket"
        raise OSError(f"{target}: is {kind}, which no file may replace; choose another name")
    return status


def _open_draft(target: Path) -> tuple[Path, IO[bytes]]:
    """Make a draft that is locked as long as it is open."""
    while True:
        try:
            number, name = tempfile.mkstemp(DRAFT_SUFFIX, _draft_prefix(target), target.parent)
        except OSError as error:  # which names the draft
            raise OSError(error.errno, error.strerror, str(target)) from error
        draft, file = Path(name), os.fdopen(number, "w+b")
        if fcntl is None:
            return draft, file
        # Between its making and its lock, another writer may take it for abandoned: that one holds
        # the lock until the draft is gone.
        with contextlib.suppress(OSError):  # some network file systems know no locks
            fcntl.flock(number, fcntl.LOCK_EX)
        if os.fstat(number).st_nlink:
            return draft, file
        file.close()


def _remove_abandoned_drafts(target: Path) -> None:
    """Remove the drafts for this target that nobody holds the lock of."""
    if fcntl is None:
        return
    prefix = _draft_prefix(target)
    with contextlib.suppress(OSError):
        for entry in os.scandir(target.parent):
            if entry.name.startswith(prefix) and entry.name.endswith(DRAFT_SUFFIX):
                _remove_if_abandoned(entry.path)


def _remove_if_abandoned(path: str) -> None:
    with contextlib.suppress(OSError):  # gone, or another user's
        number = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            if stat.S_ISREG(os.fstat(number).st_mode):
                fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
                os.unlink(path)
        finally:
            os.close(number)


def _draft_prefix(target: Path) -> str:
    return f".{target.name[:NAME_LENGTH]}."


def _keep_mode_and_owner(number: int, old: os.stat_result | None) -> None:
    """Give the draft the mode and owner of the old file, or those that a new file has."""
    if not hasattr(os, "fchmod"):
        return
    if old is None:
        os.fchmod(number, 0o666 & ~_umask())
        return
    new = os.fstat(number)
    if (new.st_uid, new.st_gid) != (old.st_uid, old.st_gid):
        with contextlib.suppress(PermissionError):
            os.fchown(number, old.st_uid, old.st_gid)
    os.fchmod(number, stat.S_IMODE(old.st_mode))


def _umask() -> int:
    """Return which permissions new files do not get, without a moment in which it is another."""
    with contextlib.suppress(OSError, ValueError):
        for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
            if line.startswith("Umask:"):
                return int(line.split()[1], 8)
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def _synchronise_folder(folder: Path) -> None:
    """Let the new name outlive a power failure, where the system knows how."""
    with contextlib.suppress(OSError):
        number = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(number)
        finally:
            os.close(number)
