"""Run the wheel of dist/ on processors that this machine does not have, in an emulator.

qemu's user emulation refuses the instructions that the emulated processor lacks, as the processor
itself would. For each of some processors: everything of tinycnn is imported, blindly, the right
build of the kernels must have been picked, and it must give the results that its tests want. That
the emulator refuses is checked too, by calling a build that the processor cannot run.
"""

import shutil
import signal
import subprocess
import sys
from pathlib import Path

from pythons import fresh_environment, pip, run, unpack_source
from test_wheels import WHAT_TESTS_NEED, install_wheel

EMULATOR = "qemu-x86_64"

# Processor, the build it gets, and one it cannot run. Emulators have no AVX-512 so far.
PROCESSORS = [("Nehalem", "baseline", "v3"), ("Haswell", "v3", "v4")]

TESTS = ("test_kernels.py", "test_golden_networks.py")  # emulated, they take a minute

IMPORT_EVERYTHING = """
import importlib, pkgutil, sys, tinycnn
for found in pkgutil.walk_packages(tinycnn.__path__, "tinycnn."):
    try:
        importlib.import_module(found.name)
    except ModuleNotFoundError as error:
        assert "tinycnn" not in error.name, error
assert tinycnn._dispatch.LEVEL == sys.argv[1], tinycnn._dispatch.LEVEL
"""

CALL_ANOTHER_BUILD = """
import sys, numpy
from tinycnn._dispatch import kernels, load_table
kernels.use(load_table(sys.argv[1]))
kernels.relu_forward(numpy.ones(1000), numpy.ones(1000))
"""


def test_processor(python: Path, tests: Path, name: str, level: str, too_new: str) -> None:
    """Run everything on one emulated processor; exit with a message if something is wrong."""
    emulated = (EMULATOR, "-cpu", name, python)
    run(*emulated, "-c", IMPORT_EVERYTHING, level)
    run(*emulated, "-m", "pytest", "-q", "-m", "not slow", *TESTS, cwd=tests)
    other = [*emulated, "-c", CALL_ANOTHER_BUILD, too_new]
    if subprocess.run(other, check=False).returncode != -signal.SIGILL:
        sys.exit(f"{EMULATOR} ran the {too_new} build as a {name}: this proves nothing")
    print(f"{name}: the {level} build passes its tests, the {too_new} build cannot run", flush=True)


def main() -> None:
    """Test all processors."""
    if shutil.which(EMULATOR) is None:
        names = ", ".join(name for name, *_ in PROCESSORS)
        print(f"SKIPPED {names}: {EMULATOR} is not installed (Debian: apt-get install qemu-user)")
        return
    with fresh_environment(sys.executable) as (python, folder):
        source = unpack_source(folder, *WHAT_TESTS_NEED)
        install_wheel(python)
        pip(python, "install", "--group", f"{source}/pyproject.toml:test")
        for processor in PROCESSORS:
            test_processor(python, source / "tests", *processor)


if __name__ == "__main__":
    main()
