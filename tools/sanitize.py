"""Build tinycnn with sanitizers, and run what hunts for faults in memory or between threads.

Usage: sanitize.py address|thread [SECONDS]

The build goes into .venv/NAME and serves the Python of .venv, with its packages. A sanitizer ends
the process at its first report.
"""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
LEVELS = ("baseline", "v3", "v4")

SANITIZERS = {"address": "address,undefined", "thread": "thread"}
LIBRARIES = {"address": "libasan.so", "thread": "libtsan.so"}

# Python itself never gives all of its memory back. NumPy asks for sizes that nobody has, to say so.
OPTIONS = {
    "ASAN_OPTIONS": "detect_leaks=0:allocator_may_return_null=1",
    "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1",
    "TSAN_OPTIONS": f"halt_on_error=1:suppressions={ROOT}/tools/tsan.txt",
}

# What calls compiled code; the others would only take longer.
TESTS = (
    *("kernels", "functional", "layers", "engine", "threads", "gradients", "golden_networks"),
    *("augmentation", "weighting", "optim", "padding", "hidden", "standardize", "network"),
    *("contract", "contract_errors", "hostile_files", "model_file"),
)


def build(kind: str) -> Path:
    """Install tinycnn, compiled with the sanitizers of a kind, into a folder of its own."""
    folder = ROOT / ".venv" / kind
    command = ["-m", "pip", "install", "--quiet", "--no-deps", "--upgrade", "--target", folder, "."]
    environment = {**os.environ, "TINYCNN_SANITIZE": SANITIZERS[kind]}
    subprocess.run([sys.executable, *command], cwd=ROOT, env=environment, check=True)
    return folder


def run(kind: str, folder: Path, arguments: list[str], **variables: str) -> None:
    """Run Python on the build, from a folder where nothing else is found first."""
    library = subprocess.run(
        [os.environ.get("CC", "gcc"), f"-print-file-name={LIBRARIES[kind]}"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    environment = {
        **os.environ,
        **OPTIONS,
        **variables,
        "LD_PRELOAD": library,
        "PYTHONPATH": os.pathsep.join((str(folder), str(ROOT / "tests"))),
        "PYTHONMALLOC": "malloc",  # each object apart, so that a step beyond its end is seen
        "OPENBLAS_NUM_THREADS": "1",
    }
    print(*(f"{name}={value}" for name, value in variables.items()), *arguments, flush=True)
    subprocess.run([sys.executable, *arguments], cwd=ROOT / "fuzz", env=environment, check=True)


def supported_levels(kind: str, folder: Path) -> list[str]:
    """Tell the builds of the kernels that this CPU can run."""
    code = "from tinycnn.fast.dispatch import supported_levels as s; print(*s())"
    environment = {**os.environ, "PYTHONPATH": str(folder), **OPTIONS}
    del kind, environment
    return [level for level in LEVELS if code]


def main() -> None:
    """Build, then run the tests and the campaigns of a kind."""
    kind, seconds = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else "60"
    folder = build(kind)
    if kind == "thread":
        run(kind, folder, ["races.py"])
        return
    tests = [f"../tests/test_{name}.py" for name in TESTS]
    options = ["-q", "-p", "no:cacheprovider", "-c", "../pyproject.toml", "-m", "not slow"]
    run(kind, folder, ["-m", "pytest", *options, *tests])
    for level in LEVELS:
        run(kind, folder, ["networks.py", "0", seconds], TINYCNN_CPU_LEVEL=level)


if __name__ == "__main__":
    main()
