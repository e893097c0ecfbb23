"""From a list of layers to a table of operations, if the kernels have them all."""

from __future__ import annotations


class NoPlan(ValueError):
    """The kernels have no operation for a layer; says for which."""
