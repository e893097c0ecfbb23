"""What to type next: a command line that works as it is printed."""

from __future__ import annotations

import os
import shlex
import shutil
import string
import subprocess
import sys
from pathlib import Path

# What stands for itself between a POSIX shell's quotes of either kind.
PLAIN = frozenset(string.ascii_letters + string.digits + "/._- ")


def command_line(*arguments: str) -> str:
    """Quote a call of tinycnn for the shell."""
    words = [*this_command(), *arguments]
    if os.name == "nt":
        return subprocess.list2cmdline(words)
    return " ".join(map(_quoted, words))


def as_argument(path: str | os.PathLike[str]) -> str:
    """Return a path as an argument that is not taken for an option."""
    text = os.fspath(path)
    return os.path.join(os.curdir, text) if text.startswith("-") else text


def this_command() -> list[str]:
    """Return what runs this tinycnn again: its name, if the shell finds it, or its path."""
    script = Path(sys.argv[0])
    if script.stem == "__main__" or not script.is_file():
        python = shutil.which("python")
        same = python is not None and os.path.samefile(python, sys.executable)
        return ["python" if same else sys.executable, "-m", "tinycnn"]
    found = shutil.which(script.name)
    if found is not None and os.path.samefile(found, script):
        return [script.name]
    return [sys.argv[0]]


def _quoted(word: str) -> str:
    """Quote a word for a POSIX shell; what cannot be shown as it is, as bash's escapes."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    if word.isprintable() and word.encode(encoding, "ignore").decode(encoding) == word:
        return shlex.quote(word)
    escaped = (chr(byte) if chr(byte) in PLAIN else f"\\x{byte:02x}" for byte in os.fsencode(word))
    return f"$'{''.join(escaped)}'"
