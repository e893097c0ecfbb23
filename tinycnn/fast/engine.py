"""The fast path; to come."""

from __future__ import annotations

from typing import Any

from tinycnn.fast.plan import NoPlan


class FastPath:
    """To come."""

    def __init__(self, architecture: Any, dtype: Any) -> None:
        raise NoPlan("no fast operations yet")

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(name)
