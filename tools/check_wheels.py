"""Check the source archive and the wheels in dist/: metadata, contents, size, binary interface."""

import sys
from pathlib import Path
from zipfile import ZipFile

from pythons import DIST, run

MAX_WHEEL_BYTES = 1_000_000
MAX_INSTALLED_BYTES = 2_200_000

TYPES = ("tinycnn/py.typed", "tinycnn/_bindings.pyi")
SOURCES = (".pyx", ".pxi", ".pxd", ".c", ".h")
# The builds that a wheel for x86-64 has: of each level for float32, and for float64.
BUILDS = ("", "_double/", "_v3/", "_v3_double/", "_v4/", "_v4_double/")


def problems(wheel: Path) -> list[str]:
    """Say what is wrong with the contents of a wheel."""
    with ZipFile(wheel) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    x86_64 = wheel.stem.endswith(("x86_64", "amd64"))
    modules = [name.partition(".")[0] for name in files if name.endswith((".so", ".pyd"))]
    builds = [f"tinycnn/{build}_kernels" for build in BUILDS[: 6 if x86_64 else 2]]
    builds += ["tinycnn/_bindings", "tinycnn/_memoryviews"]
    found = [f"has no {name}" for name in TYPES if name not in files]
    found += [f"has no module {name}" for name in builds if name not in modules]
    found += [f"has the source {name}" for name in files if name.endswith(SOURCES)]
    # The name of the table that strip removes stands in the file wherever the table does.
    found += [f"{name} is not stripped" for name, data in files.items() if b"\0.symtab" in data]
    installed = sum(map(len, files.values()))
    if wheel.stat().st_size > MAX_WHEEL_BYTES:
        found.append(f"is larger than {MAX_WHEEL_BYTES:,} bytes")
    if installed > MAX_INSTALLED_BYTES:
        found.append(f"takes more than {MAX_INSTALLED_BYTES:,} bytes when installed")
    print(f"{wheel.name}: {wheel.stat().st_size:,} bytes, {installed:,} when installed")
    return [f"{wheel.name} {problem}" for problem in found]


def main() -> None:
    """Run all checks; exit with a message if one fails."""
    wheels = sorted(DIST.glob("*.whl"))
    run(sys.executable, "-m", "twine", "check", "--strict", *sorted(DIST.iterdir()))
    run(sys.executable, "-m", "check_wheel_contents", *wheels)
    for wheel in wheels:
        if "-abi3-" in wheel.name:
            run(sys.executable, "-m", "abi3audit", "--strict", wheel)
        if sys.platform == "linux" and "linux" in wheel.name:
            run(sys.executable, "-m", "auditwheel", "show", wheel)
    found = [problem for wheel in wheels for problem in problems(wheel)]
    if not wheels or found:
        sys.exit("\n".join(found) or f"no wheels in {DIST}")


if __name__ == "__main__":
    main()
