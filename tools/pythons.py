"""Which Pythons there are on this machine, and fresh environments of each."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).parent.parent
DIST = ROOT / "dist"

VERSIONS = ("3.11", "3.12", "3.13", "3.14", "3.15", "3.13t", "3.14t", "3.15t")  # t: free-threaded


def run(*command: str | Path, **options: object) -> None:
    """Print a command and run it; raise if it fails."""
    print("+", *command, flush=True)
    subprocess.run([str(word) for word in command], check=True, **options)


def find_pythons() -> dict[str, str | None]:
    """Map each Python that the wheels are for to its path, or to None if it is not here.

    The environment variable PYTHONS names others, separated by blanks.
    """
    names = os.environ.get("PYTHONS", "").split() or [f"python{v}" for v in VERSIONS]
    return {name: path if _runs(path := shutil.which(name)) else None for name in names}


def _runs(path: str | None) -> bool:
    """Tell whether this is a Python; some version managers leave a command that only complains."""
    if path is None:
        return False
    return subprocess.run([path, "-c", ""], capture_output=True, check=False).returncode == 0


@contextmanager
def fresh_environment(python: str) -> Iterator[tuple[Path, Path]]:
    """Make an environment without packages and an empty folder; yield its Python and the folder."""
    with TemporaryDirectory() as name:
        run(python, "-m", "venv", "--without-pip", Path(name, "environment"))
        (folder := Path(name, "empty")).mkdir()
        place = "Scripts/python.exe" if sys.platform == "win32" else "bin/python"
        yield Path(name, "environment", place), folder


def pip(python: str | Path, *arguments: str | Path, **options: object) -> None:
    """Run pip for another Python's environment."""
    run(sys.executable, "-m", "pip", "--python", python, *arguments, "--quiet", **options)


def unpack_source(folder: Path, *names: str) -> Path:
    """Unpack the source archive of dist/ into a folder, or these files and folders of it alone.

    By tar, which every system has: what Python's own module takes differs from 3.11.4 on.
    """
    [source] = DIST.glob("*.tar.gz")
    top = source.name.removesuffix(".tar.gz")
    run("tar", "-xzf", source, "-C", folder, *(f"{top}/{name}" for name in names))
    return folder / top
