"""Run tinycnn on builds that tell what goes wrong in memory or between threads.

Usage: sanitize.py address|thread [SECONDS [TEST...]]

The build goes into .venv/NAME and is run by the Python of .venv, with its packages. A sanitizer
ends the process at its first report. The campaign of random networks takes so many seconds for each
build of the kernels that this CPU can run. Tests are those of tests/test_NAME.py: by default all
that call compiled code in some way of their own.
"""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent

SANITIZERS = {"address": "address,undefined", "thread": "thread"}
LIBRARIES = {"address": "libasan.so", "thread": "libtsan.so"}

# Python never gives all of its memory back. NumPy asks for sizes that nobody has, to say so.
OPTIONS = {
    "ASAN_OPTIONS": "detect_leaks=0:allocator_may_return_null=1",
    "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1",
    "TSAN_OPTIONS": "halt_on_error=1:exitcode=66",
    "PYTHONMALLOC": "malloc",  # each object apart, so that a step beyond its end is seen
    "OPENBLAS_NUM_THREADS": "1",
}

# What calls compiled code in every way.
TESTS = (
    *("kernels", "functional", "engine", "threads", "memory_safety", "golden_networks"),
    *("augmentation", "weighting", "optim", "hidden", "hostile_files"),
)


def build(kind: str) -> Path:
    """Install tinycnn, compiled with the sanitizers of a kind, into a folder of its own."""
    folder = ROOT / ".venv" / kind
    command = ["-m", "pip", "install", "--quiet", "--no-deps", "--upgrade", "--target", folder, "."]
    environment = {**os.environ, "TINYCNN_SANITIZE": SANITIZERS[kind], "PYTHONWARNINGS": "ignore"}
    subprocess.run([sys.executable, *command], cwd=ROOT, env=environment, check=True)
    return folder


def run(kind: str, folder: Path, arguments: list[str], **variables: str) -> None:
    """Run Python on the build, from a folder where nothing else is found first."""
    compiler = [os.environ.get("CC", "gcc"), f"-print-file-name={LIBRARIES[kind]}"]
    library = subprocess.run(compiler, capture_output=True, text=True, check=True).stdout.strip()
    path = os.pathsep.join((str(folder), str(ROOT / "tests")))
    environment = {**os.environ, **OPTIONS, **variables, "LD_PRELOAD": library, "PYTHONPATH": path}
    print("+", *(f"{name}={value}" for name, value in variables.items()), *arguments, flush=True)
    subprocess.run([sys.executable, *arguments], cwd=ROOT / "fuzz", env=environment, check=True)


def supported_levels() -> list[str]:
    """Tell which builds of the kernels this CPU can run."""
    code = "from tinycnn.fast.dispatch import supported_levels as levels; print(*levels())"
    command = [sys.executable, "-c", code]
    told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return told.stdout.split()


def main() -> None:
    """Build, then run the tests and the campaigns of a kind."""
    kind, seconds, names = sys.argv[1], (*sys.argv[2:], "60")[0], sys.argv[3:] or TESTS
    folder = build(kind)
    if kind == "thread":
        run(kind, folder, ["races.py"])
        return
    tests = [f"../tests/test_{name}.py" for name in names]
    options = [
        "-q",
        "-n",
        "auto",
        "-p",
        "no:cacheprovider",
        "-c",
        "../pyproject.toml",
        "-m",
        "not slow",
    ]
    run(kind, folder, ["-m", "pytest", *options, *tests])
    run(kind, folder, ["arguments.py", "0", "2000"])
    for level in supported_levels():
        run(kind, folder, ["networks.py", "0", seconds], TINYCNN_CPU_LEVEL=level)


if __name__ == "__main__":
    main()
