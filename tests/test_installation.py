"""What is installed can be imported as a whole, anywhere, and leaves the interpreter as it was."""

import ctypes
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

import tinycnn
from tinycnn.fast import dispatch


def run_python(code, cwd=None, **environment):
    """Run code in a fresh interpreter, return what it prints."""
    command = [sys.executable, "-W", "error", "-c", code]
    output = subprocess.run(
        command, capture_output=True, text=True, cwd=cwd, env={**os.environ, **environment}
    )
    assert output.returncode == 0, output.stderr
    return output.stdout


def test_modules_of_different_builds_refuse_each_other():
    """As two packages, or a build that was half replaced, would leave them."""
    make = ctypes.pythonapi.PyCapsule_New
    make.restype = ctypes.py_object
    make.argtypes = (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p)
    name = b"tinycnn.Kernels of build 1"
    with pytest.raises(ValueError, match="incorrect name"):
        dispatch.kernels.use(*[make(1, name, None)] * 2)


@pytest.mark.skipif(not shutil.which("readelf"), reason="binutils are not installed")
@pytest.mark.skipif(sys.platform != "linux", reason="these flags are Linux's")
def test_modules_are_hardened_and_know_no_folder_of_the_machine_they_were_built_on():
    folder = Path(tinycnn.__file__).parent
    modules = [*folder.glob("*.so"), *folder.glob("_*/*.so")]
    assert len(modules) >= 3
    for module in modules:
        told = subprocess.run(
            ["readelf", "-Wd", "--dyn-syms", module], capture_output=True, text=True, check=True
        ).stdout
        assert "BIND_NOW" in told, module
        assert "RUNPATH" not in told, module
        assert "RPATH" not in told, module
    assert "__stack_chk_fail" in told


@pytest.mark.parametrize("level", dispatch.supported_levels())
def test_importing_every_submodule_runs_no_other_build_of_the_kernels(level):
    code = (
        "import importlib, pkgutil, sys, tinycnn\n"
        "for found in pkgutil.walk_packages(tinycnn.__path__, 'tinycnn.'):\n"
        "    try: importlib.import_module(found.name)\n"
        "    except ModuleNotFoundError as error: assert 'tinycnn' not in (error.name or '')\n"
        "print(*{m.__file__ for n, m in sys.modules.items() if n.endswith('._kernels')})\n"
    )
    paths = run_python(code, TINYCNN_CPU_LEVEL=level).split()
    assert sorted("_double" in path for path in paths) == [False, True]
    for other in ("v3", "v4"):
        assert all((f"_{other}" in path) == (other == level) for path in paths)


@pytest.mark.skipif(not sysconfig.get_config_var("Py_GIL_DISABLED"), reason="has a GIL anyway")
def test_a_free_threaded_python_stays_so():
    code = "import sys, tinycnn; print(sys._is_gil_enabled())"
    assert run_python(code).strip() == "False"


def test_a_script_beside_a_clone_imports_the_package_and_not_the_clone(tmp_path):
    (tmp_path / "tinycnn" / "tinycnn").mkdir(parents=True)
    assert run_python("import tinycnn; print(tinycnn.CNN.__name__)", cwd=tmp_path) == "CNN\n"
