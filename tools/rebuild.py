"""Build the wheel once more, elsewhere, and compare it with the one in dist/ byte by byte."""

import hashlib
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from build_wheels import build_wheel, fix_date
from pythons import DIST, unpack_source


def main() -> None:
    """Exit with a message if the two wheels differ."""
    fix_date()
    with TemporaryDirectory() as name:
        build_wheel(unpack_source(Path(name)), sys.executable, Path(name))
        [again] = Path(name).glob("*.whl")
        first = DIST / again.name
        if again.read_bytes() != first.read_bytes():
            sys.exit(f"{first.name}: another folder gives other bytes")
        print(f"{first.name}: the same bytes from another folder")
        print("sha256", hashlib.sha256(first.read_bytes()).hexdigest())


if __name__ == "__main__":
    main()
