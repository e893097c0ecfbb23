"""The house: one street of modules, each built on earlier ones; and no long argument lists."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import tinycnn

PACKAGE = Path(tinycnn.__file__).parent

# All modules in the order in which they are built on each other, the story of the house: each one
# may import what stands before it, and nothing else. A new one gets its place here.
IN_ORDER = """
    lesson

    _checks
    _kernels _bindings _reference
    fast fast.dispatch
    functional layer layers architecture parameters
    inputs layered
    fast.threads fast.plan fast.engine
    unusual views network
    zoo evaluation

    training training.augmentation training.weighting training.split training.gradients
    training.optim training.muon training.schedules training.callbacks training.progress
    training.defaults training.choices training.fitting training.contract

    inspection

    files files.writing files.bounded files.archive files.model files.checkpoint

    datasets
    data.image_arrays data.label_arrays data.part_names data.dataset data.digits data.reader
    data.gunzip data.optional data.idx data.emnist data.named_arrays data.npz data.npy data.hdf5
    data.mat data.libsvm data.records data.cifar data.stl10 data.tiff data.pixels data.parallel
    data.folders data.array_files data.csv_pixels data.problems data.file_labels
    data.class_folders data.foreign data.idx_files data.image_file data.pictures data.parquet_pages
    data.parquet
    data.folder_layout data.image_folder data.sources data.conform data.stream data.duplicates
    data

    export.translations export.folding export.stages export.quantized

    __init__

    sklearn.layout sklearn.safety sklearn.threads sklearn.translation sklearn.reading
    sklearn.predicting sklearn.classifier sklearn

    dask.predicting dask.parts dask.crew dask.survey dask.work dask.fitting
    dask.contract dask

    export.pytorch export.safetensors export.onnx
    export.html.page export.html
    export.c.text export.c.plan export.c.functions export.c.source export.c.files export.c
    export

    plots.drawing plots.training plots.results plots.networks plots
    report.facts report.markup report.charts report.sections report.page report

    cli.streams cli.parser cli.options cli.next_command cli.provenance cli.models cli.sources
    cli.run cli.cautions cli.results cli.predictions cli.wording
    cli.train cli.evaluate cli.predict cli.report cli.info cli.export cli.app cli

    __main__
"""
STREET = IN_ORDER.split()
POSITION = {module: i for i, module in enumerate(STREET)}

SOURCES = [path for ext in ("py", "pyx") for path in sorted(PACKAGE.rglob(f"*.{ext}"))]
PYTHON = [path for path in SOURCES if path.suffix == ".py"]
COMPILED = [path for ext in ("pyx", "pxi", "pxd") for path in sorted(PACKAGE.rglob(f"*.{ext}"))]

MOST_POSITIONAL, MOST_COMPILED = 5, 7

# Where `train` has the signature that was asked for.
CONTRACT = ("training.contract", "lesson", "dask.contract")


def module_of(path):
    """Name the module of a file: what stands behind ``tinycnn.``, and __init__ for tinycnn."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


def imported_names(path):
    """Yield the full names that a file imports, wherever in it the import stands."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            folder = path.relative_to(PACKAGE.parent).parts[: -node.level or None]
            start = ".".join(folder) if node.level else None
            source = ".".join(filter(None, (start, node.module)))
            yield from (f"{source}.{alias.name}" for alias in node.names)


def imported_modules(path):
    """Yield the modules of tinycnn that a file imports."""
    for name in imported_names(path):
        first, *parts = name.split(".")
        if first == "tinycnn":
            while parts and ".".join(parts) not in POSITION:
                parts.pop()
            yield ".".join(parts) or "__init__"


def test_every_module_stands_in_the_street_once():
    # Where the package is installed, what is compiled has left no source.
    compiled = set() if COMPILED else {"_kernels", "_bindings"}
    assert sorted(set(STREET) - compiled) == sorted(map(module_of, SOURCES))
    assert len(STREET) == len(set(STREET))


@pytest.mark.parametrize("path", PYTHON, ids=module_of)
def test_every_import_points_earlier_in_the_street(path):
    module = module_of(path)
    for imported in imported_modules(path):
        assert POSITION[imported] < POSITION[module], f"{module} must not import {imported}"


def test_imports_are_found_wherever_they_stand(tmp_path, monkeypatch):
    monkeypatch.setitem(globals(), "PACKAGE", tmp_path / "tinycnn")
    path = tmp_path / "tinycnn" / "data" / "idx.py"
    path.parent.mkdir(parents=True)
    path.write_text(
        "import numpy\n"
        "from tinycnn import CNN\n"
        "from tinycnn.training.fitting import fit\n"
        "def late():\n"
        "    from tinycnn.cli import app\n"
        "    from .dataset import Dataset\n"
        "    from . import npz\n"
        "    from .. import files\n"
        "    import tinycnn.network as network\n"
    )
    assert list(imported_modules(path)) == [
        "__init__",
        "training.fitting",
        "cli.app",
        "data.dataset",
        "data.npz",
        "files",
        "network",
    ]


# ---------------------------------------------------------------------------------- argument lists


def positional_parameters(function):
    """Name the parameters of a function that can be given by position, without self and cls."""
    names = [argument.arg for argument in (*function.args.posonlyargs, *function.args.args)]
    return names[1:] if names[:1] in (["self"], ["cls"]) else names


@pytest.mark.parametrize("path", PYTHON, ids=module_of)
def test_no_function_takes_many_positional_parameters(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            name = getattr(node, "name", "lambda")
            if name == "train" and module_of(path) in CONTRACT:
                continue  # whose signature is the contract
            parameters = positional_parameters(node)
            assert len(parameters) <= MOST_POSITIONAL, f"{path}:{node.lineno}: {name}{parameters}"


# The beginning of a function or of a type of functions, up to its first parameter.
COMPILED_FUNCTION = re.compile(
    r"^[ \t]*(?:cdef|cpdef|def|ctypedef)\b[^\n=#(]*?(\w+|\(\s*\*\s*\w+\s*\))\(", re.MULTILINE
)


def compiled_functions(text):
    """Yield name and parameters of each function in Cython source."""
    for match in COMPILED_FUNCTION.finditer(text):
        depth, parameter, parameters = 1, "", []
        for character in re.sub(r"#[^\n]*", "", text[match.end() :]):
            depth += character in "([{"
            depth -= character in ")]}"
            if depth == 0 or (depth == 1 and character == ","):
                parameters.append(parameter.strip())
                parameter = ""
                if depth == 0:
                    break
            else:
                parameter += character
        names = [each for each in parameters if each and each not in ("self", "*")]
        yield match[1].strip("( *)"), names


def test_compiled_functions_are_found():
    text = """
cdef inline void add(const real[:, :, ::1] x, real* out,  # (a, b)
                     (int, int) pair) noexcept nogil:
    cdef int total = len(x)
cdef class Work:
    def run(self, int first, *, int last=f(1, 2)):
        pass
    cdef int count(self) noexcept: return 0
ctypedef void (*kernel)(Op* op, int n) noexcept nogil
"""
    assert list(compiled_functions(text)) == [
        ("add", ["const real[:, :, ::1] x", "real* out", "(int, int) pair"]),
        ("run", ["int first", "int last=f(1, 2)"]),
        ("count", []),
        ("kernel", ["Op* op", "int n"]),
    ]


@pytest.mark.skipif(not COMPILED, reason="an installed package has no sources of it")
def test_no_compiled_function_takes_many_parameters():
    found = 0
    for path in COMPILED:
        for name, parameters in compiled_functions(path.read_text()):
            found += 1
            assert len(parameters) <= MOST_COMPILED, f"{path.name}: {name}{parameters}"
    assert found > 50


# ------------------------------------------------------------------------------- importing tinycnn


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


def test_the_lesson_needs_nothing_but_numpy():
    names = set(imported_names(PACKAGE / "lesson.py"))
    assert {name.split(".")[0] for name in names} == {"numpy"}


def test_every_public_name_is_there_and_documented():
    assert len(tinycnn.__all__) == len(set(tinycnn.__all__))
    for name in tinycnn.__all__:
        assert getattr(tinycnn, name).__doc__
        assert name in dir(tinycnn)


def test_a_name_that_is_not_there_is_told():
    with pytest.raises(AttributeError, match="module 'tinycnn' has no attribute 'ResNet'"):
        tinycnn.ResNet  # noqa: B018
