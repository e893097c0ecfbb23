"""``python -m tinycnn``: the command line."""

import sys

from tinycnn.cli import main

if __name__ == "__main__":
    sys.exit(main())
