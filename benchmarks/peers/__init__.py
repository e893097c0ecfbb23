"""The contestants, one file each, with one function that the worker calls.

    prepare(task, folder) -> Prepared

The file imports its library (an ImportError means that the peer is skipped), and the function
loads and converts the data; neither is timed.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple


class Job(NamedTuple):
    """One run from a fresh start.

    Attributes
    ----------
    run : callable
        What is timed. Returns None, or the seconds if it has a clock of its own.
    check : callable, optional
        Called afterwards, not timed: a number that shows that the work was done, such as the
        accuracy after the epoch.
    """

    run: Callable[[], float | None]
    check: Callable[[], float] | None = None


class Prepared(NamedTuple):
    """A peer that is ready to run.

    Attributes
    ----------
    fresh : callable
        Starts over, with a network of initial parameters; not timed.
    scale : float
        Factor from the seconds of a run to the seconds of the task, for peers that do a part of
        the task, or the task several times.
    facts : mapping
        What is worth knowing about the peer's settings.
    """

    fresh: Callable[[], Job]
    scale: float = 1.0
    facts: Mapping[str, Any] = {}
