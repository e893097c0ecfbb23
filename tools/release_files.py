"""Say which files of a release are in dist/, and which of them this machine cannot build."""

import hashlib
import platform
import sys

from build_wheels import free_threaded
from pythons import DIST, find_pythons

# Where .github/workflows/release.yml builds wheels, as Python names system and processor.
PLATFORMS = {
    "Linux x86_64": ("linux", "x86_64"),
    "Linux aarch64": ("linux", "aarch64"),
    "Linux with musl": ("linux-musl", ""),
    "macOS arm64": ("darwin", "arm64"),
    "macOS x86_64": ("darwin", "x86_64"),
    "Windows amd64": ("win32", "AMD64"),
    "Pyodide wasm32": ("emscripten", "wasm32"),
}


def not_built_here(pythons: dict[str, str | None], machine: tuple[str, str]) -> list[str]:
    """List the wheels that a whole release has and this machine cannot build."""
    missing = [name for name, each in PLATFORMS.items() if each != machine]
    here = free_threaded(pythons)
    return missing + [
        f"for {name}, which is not here"
        for name, path in pythons.items()
        if name.endswith("t") and path not in here
    ]


def main() -> None:
    """Print both lists."""
    for path in sorted(DIST.iterdir()):
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        print(f"{path.name}: {path.stat().st_size:,} bytes, sha256 {digest}")
    for each in not_built_here(find_pythons(), (sys.platform, platform.machine())):
        print("not built here:", each)
    print("all of them: push a tag, and .github/workflows/release.yml builds and publishes them")


if __name__ == "__main__":
    main()
