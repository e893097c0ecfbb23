"""Libraries that only some formats need: imported when such a file is read."""

from __future__ import annotations

from importlib import import_module
from typing import Any


def require(module: str, package: str, extra: str, what: str) -> Any:
    """Import a module that the package does without otherwise.

    Parameters
    ----------
    module, package, extra : str
        Name to import, name to install, and the extra of tinycnn that brings it.
    what : str
        What needs it; the message begins with it.

    Raises
    ------
    ImportError
        With the words to install it, if it is not there.
    """
    try:
        return import_module(module)
    except ImportError as error:
        raise ImportError(f"{what} needs {package}: pip install 'tinycnn[{extra}]'") from error
