"""Checks of arguments that all exporters share."""

from __future__ import annotations

from typing import Any

from tinycnn.network import CNN


def require_network(net: Any) -> CNN:
    """Raise TypeError unless net is a CNN."""
    if not isinstance(net, CNN):
        raise TypeError(f"net: must be a tinycnn.CNN, got {net!r}")
    return net
