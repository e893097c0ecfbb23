"""Install the wheels of dist/ into fresh environments and run the tests on them.

On every Python that is found here, in a folder that holds the tests of the source archive and
nothing else of it. A Python that is not here is named, and left out.
"""

import subprocess
import sys
from pathlib import Path

from pythons import DIST, find_pythons, fresh_environment, pip, run, unpack_source

WHAT_TESTS_NEED = ("tests", "pyproject.toml")  # which has pytest's settings

# What these look at is not in the wheel.
ABOUT_THE_SOURCE_TREE = (
    "test_readme.py",
    "test_examples.py",
    "test_guide.py",
    "test_export_guide.py",
    "test_layers_guide.py",
    "test_links.py",
    "test_steps.py",
    "test_benchmarks.py",
    "test_benchmark_checks.py",
    "test_figures.py",
    "test_real_data.py",
    "test_tools.py",
)


def install_and_test(python: str) -> None:
    """Run the tests on the installed wheel; raise CalledProcessError if one fails."""
    with fresh_environment(python) as (fresh, folder):
        source = unpack_source(folder, *WHAT_TESTS_NEED)
        install_wheel(fresh)
        pip(fresh, "install", "--only-binary", ":all:", "--group", f"{source}/pyproject.toml:test")
        ignored = [f"--ignore=tests/{name}" for name in ABOUT_THE_SOURCE_TREE]
        run(fresh, "-m", "pytest", "-q", "-m", "not slow", *ignored, cwd=source)


def install_wheel(fresh: Path) -> None:
    """Install the wheel of dist/ that fits a fresh environment, and NumPy."""
    wheel_only = ("install", "--only-binary", ":all:")
    pip(fresh, *wheel_only, "numpy>=2.0")
    pip(fresh, *wheel_only, "--no-index", "--find-links", DIST, "tinycnn")


def outcome(path: str | None) -> str:
    """Test the wheel on a Python; say how it went."""
    if path is None:
        return "not here, not tested"
    try:
        install_and_test(path)
    except subprocess.CalledProcessError as error:
        return f"FAILED: {error}"
    return "passed"


def main() -> None:
    """Test on each Python; exit with a message if one fails or there is none."""
    pythons = find_pythons()
    outcomes = {name: outcome(path) for name, path in pythons.items()}
    for name, text in outcomes.items():
        print(f"{name:12} {text}")
    failed = [name for name, text in outcomes.items() if text.startswith("FAILED")]
    if failed or not any(pythons.values()):
        sys.exit(f"failed: {', '.join(failed) or 'no Python found'}")


if __name__ == "__main__":
    main()
