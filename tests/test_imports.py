"""The house: who may import whom, and that importing tinycnn brings nothing optional."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import tinycnn

PACKAGE = Path(tinycnn.__file__).parent

# Each room with the rooms it may import; anything else of ours is out of bounds.
CORE = {
    "network",
    "architecture",
    "functional",
    "optim",
    "data",
    "callbacks",
    "schedules",
    "augmentation",
    "contract",
    "training",
    "model_file",
    "checkpoint",
    "_checks",
}
ALLOWED = {
    "__init__": CORE,
    "__main__": {"cli"},
    "cli": CORE | {"__init__", "arguments", "automatic"},
    "arguments": {"__init__", "automatic"},
    "contract": {"network", "engine", "_checks"},
    "training": {
        "network",
        "functional",
        "optim",
        "schedules",
        "augmentation",
        "weighting",
        "engine",
        "data",
        "callbacks",
        "checkpoint",
        "_checks",
    },
    "checkpoint": {"callbacks", "data", "model_file", "network", "_checks"},
    "model_file": {"network", "architecture", "data"},
    "callbacks": {"network", "optim", "_checks"},  # the first two for type checking alone
    "sklearn": CORE | {"automatic", "weighting"},
    "network": {"architecture", "engine", "functional", "weighting", "_checks"},
    "engine": {"architecture", "_checks", "_dispatch", "_parallel"},
    "_parallel": {"_checks", "_dispatch"},
    "_dispatch": {"_bindings"},
    "schedules": {"_checks"},
    "augmentation": {"_checks"},
    "automatic": {"architecture"},
    "weighting": {"_checks"},
    "architecture": {"_checks"},
    "functional": {"_dispatch", "_checks"},
    "optim": {"_checks", "_dispatch"},
    "data": set(),
    "datasets": set(),
    "_checks": set(),
    "_reference": set(),
}


def room_of(path):
    """Name the room of a file: the module, or the folder of a package in the package."""
    first = path.relative_to(PACKAGE).parts[0]
    return first.removesuffix(".py")


def imported_rooms(path):
    """Yield the rooms of tinycnn that a file imports, wherever in it the import stands."""
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        for name in names:
            parts = name.split(".")
            if parts[0] == "tinycnn":
                room = parts[1] if len(parts) > 1 else "__init__"
                yield room if room in ALLOWED or room == "_bindings" else "__init__"


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda p: p.stem)
def test_imports_run_downward_only(path):
    room = room_of(path)
    assert room in ALLOWED, f"{path} is no room of the house: give it a place in this test"
    for imported in imported_rooms(path):
        assert imported == room or imported in ALLOWED[room], f"{room} must not import {imported}"


def test_importing_tinycnn_imports_nothing_optional():
    code = (
        "import sys, numpy; before = set(sys.modules); import tinycnn;"
        "print(*sorted({name.split('.')[0] for name in set(sys.modules) - before}))"
    )
    output = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    brought = set(output.stdout.split())
    assert "tinycnn" in brought
    # Nor what only files need: that is imported when it is asked for.
    assert not brought & {"zipfile", "gzip", "json", "tempfile", "argparse"}
    assert not brought & {"PIL", "tqdm", "sklearn", "matplotlib", "onnx", "dask", "torch", "scipy"}


def test_every_public_name_is_there_and_documented():
    for name in tinycnn.__all__:
        assert getattr(tinycnn, name).__doc__
