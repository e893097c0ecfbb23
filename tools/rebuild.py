"""Build the wheel once more, elsewhere, and compare it with the one in dist/ byte by byte."""

import hashlib
import sys
import tarfile
from pathlib import Path
from tempfile import TemporaryDirectory

from build_wheels import build_wheel, fix_date
from pythons import DIST


def main() -> None:
    """Exit with a message if the two wheels differ."""
    fix_date()
    [source] = DIST.glob("*.tar.gz")
    with TemporaryDirectory() as name:
        with tarfile.open(source) as archive:
            archive.extractall(name, filter="data")
        [unpacked] = Path(name).iterdir()
        build_wheel(unpacked, sys.executable, Path(name))
        [again] = Path(name).glob("*.whl")
        first = DIST / again.name
        if again.read_bytes() != first.read_bytes():
            sys.exit(f"{first.name}: another folder gives other bytes")
        print(f"{first.name}: the same bytes from another folder")
        print("sha256", hashlib.sha256(first.read_bytes()).hexdigest())


if __name__ == "__main__":
    main()
