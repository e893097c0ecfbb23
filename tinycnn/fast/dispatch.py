"""Which build of the kernels this CPU gets; chosen once, when tinycnn is imported.

The kernels are compiled for several levels of the x86-64 instruction set (as the psABI defines
them: v3 has AVX2 and FMA, v4 has AVX-512). Each build is picked before it is imported, since
importing it may already run an instruction that an older CPU lacks. The higher builds stand in
folders that are no packages, so that nothing which imports every submodule finds them.

``TINYCNN_CPU_LEVEL`` set to ``baseline``, ``v3`` or ``v4`` overrides the choice, downward only. Set
to ``reference``, networks are computed layer by layer in plain NumPy: slow, and easy to step
through.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
from typing import Any

from tinycnn import _bindings, _reference

REFERENCE = "reference"
LEVELS = ("baseline", "v3", "v4")

# What NumPy's table of CPU features calls the instructions of each level.
_FEATURES = {"v3": ("AVX2", "FMA3"), "v4": ("AVX2", "FMA3", "AVX512_SKX")}


def cpu_features() -> dict[str, bool]:
    """Return NumPy's table of CPU features; empty if this NumPy has none at the known place.

    The table is private to NumPy, so every way in which it can be missing is provided for.
    """
    try:
        table = importlib.import_module("numpy._core._multiarray_umath").__cpu_features__
        return {str(name): bool(there) for name, there in table.items()}
    except (ImportError, AttributeError, TypeError, ValueError):
        return {}


def supported_levels() -> list[str]:
    """Return the levels that this CPU can run and this installation has a build of, in order."""
    features = cpu_features()
    return ["baseline"] + [
        level
        for level, needed in _FEATURES.items()
        if all(features.get(name, False) for name in needed) and _is_built(level)
    ]


def choose_level() -> str:
    """Return the level to use: the highest supported one, or what TINYCNN_CPU_LEVEL says.

    Raises
    ------
    ImportError
        If TINYCNN_CPU_LEVEL names no level, or one that cannot be run here.
    """
    supported = supported_levels()
    wanted = os.environ.get("TINYCNN_CPU_LEVEL", "")
    if not wanted:
        return supported[-1]
    if wanted not in (REFERENCE, *supported):
        raise ImportError(
            f"TINYCNN_CPU_LEVEL: this CPU and installation can run {', '.join(supported)} and "
            f"{REFERENCE}, got {wanted!r}; unset it to take the best"
        )
    return wanted


def load_tables(level: str) -> tuple[object, object]:
    """Import the builds of a level; return the tables of their functions, for ``kernels.use``.

    For the reference those are the baseline's: not everything has a twin in NumPy.
    """
    names = _module_names(level)
    return importlib.import_module(names[0]).table, importlib.import_module(names[1]).table


def _module_names(level: str) -> tuple[str, str]:
    """Name the builds of a level: for float32, and for float64."""
    if level in ("baseline", REFERENCE):
        return "tinycnn._kernels", "tinycnn._double._kernels"
    return f"tinycnn._{level}._kernels", f"tinycnn._{level}_double._kernels"


def _is_built(level: str) -> bool:
    try:
        return all(importlib.util.find_spec(name) is not None for name in _module_names(level))
    except ModuleNotFoundError:
        return False


LEVEL = choose_level()
kernels = _bindings
try:
    kernels.use(*load_tables(LEVEL))
except ValueError as error:
    raise ImportError(
        "tinycnn: its compiled modules come from different builds; install it anew: "
        "pip install --force-reinstall --no-cache-dir tinycnn"
    ) from error

# Forward and backward of single layers: compiled, or the plain NumPy that says what they mean.
loops: Any = _reference if LEVEL == REFERENCE else kernels
