"""A training that fails leaves an estimator as it was."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def all_or_nothing(estimator: Any) -> Iterator[None]:
    """Put an estimator's attributes and its network's parameters back if the block raises."""
    before = dict(vars(estimator))
    network = before.get("network_")
    flat = None if network is None else network.flat.copy()
    try:
        yield
    except BaseException:
        vars(estimator).clear()
        vars(estimator).update(before)
        if network is not None and network.flat.flags.writeable:
            network.flat = flat
        raise
