"""Advice for Python in the words of the command line.

The rooms below name arguments, as Python calls them: ``size=(64, 64)``. Who types commands needs
the option: ``--image-size 64 64``.
"""

from __future__ import annotations

import re

# Each argument that is advised somewhere, and its option.
_OPTIONS = (
    (re.compile(r"\bsize=\((\w+), (\w+)\)"), r"--image-size \1 \2"),
    (re.compile(r"\blabels_from='(\w+)'"), r"--labels-from \1"),
    (re.compile(r"\blabels_from=(?=['\"])"), "--labels-from "),  # the quotes are the shell's too
    (re.compile(r"\bskip_broken=True\b"), "--skip-broken"),
    (re.compile(r"\bepochs=(?=\d)"), "--epochs "),
)


def in_options(text: str) -> str:
    """Return a message with options where it names arguments.

    Examples
    --------
    >>> in_options("give size=(64, 64), or pass over them with skip_broken=True")
    'give --image-size 64 64, or pass over them with --skip-broken'
    """
    for argument, option in _OPTIONS:
        text = argument.sub(option, text)
    return text
