"""The command line: ``tinycnn train`` and its sisters.

app.py           main: runs a command; errors in one line, exit codes, Ctrl-C
streams.py       what goes to the terminal, safe to show
parser.py        what can be typed: commands, options, help
options.py       the options of train, checked before data are read
provenance.py    what a model learned from, as it remembers it
models.py        the model of a command, with its notes
sources.py       the data of a command: training, validation and test part
run.py           one training: fit, keep what Ctrl-C leaves, save
cautions.py      what may be wrong with a training that ended well
results.py       how results are told
next_command.py  what to type next
wording.py       advice for Python in the words of the command line
predictions.py   how predictions are written: lines, CSV, JSON
train.py evaluate.py predict.py report.py info.py export.py   the commands
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; see :func:`tinycnn.cli.app.main`."""
    try:
        # Here, as it takes a while, in which Ctrl-C must not print a page.
        from tinycnn.cli import app
    except KeyboardInterrupt:
        if sys.stderr is not None:
            sys.stderr.write("tinycnn: interrupted: nothing was changed\n")
        return 130
    return app.main(argv)
