"""What is installed can be imported as a whole, anywhere, and leaves the interpreter as it was."""

import os
import subprocess
import sys
import sysconfig

import pytest

from tinycnn.fast import dispatch


def run_python(code, **environment):
    """Run code in a fresh interpreter, return what it prints."""
    command = [sys.executable, "-W", "error", "-c", code]
    output = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, **environment}
    )
    assert output.returncode == 0, output.stderr
    return output.stdout


@pytest.mark.parametrize("level", dispatch.supported_levels())
def test_importing_every_submodule_runs_no_other_build_of_the_kernels(level):
    code = (
        "import importlib, pkgutil, sys, tinycnn\n"
        "for found in pkgutil.walk_packages(tinycnn.__path__, 'tinycnn.'):\n"
        "    try: importlib.import_module(found.name)\n"
        "    except ModuleNotFoundError as error: assert 'tinycnn' not in (error.name or '')\n"
        "print(*{m.__file__ for n, m in sys.modules.items() if n.endswith('._kernels')})\n"
    )
    [path] = run_python(code, TINYCNN_CPU_LEVEL=level).split()
    for other in ("v3", "v4"):
        assert (f"_{other}" in path) == (other == level)


@pytest.mark.skipif(not sysconfig.get_config_var("Py_GIL_DISABLED"), reason="has a GIL anyway")
def test_a_free_threaded_python_stays_so():
    code = "import sys, tinycnn; print(sys._is_gil_enabled())"
    assert run_python(code).strip() == "False"
