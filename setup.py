"""The extension modules and nothing else; all metadata stands in pyproject.toml."""

import os
import sys

from Cython.Build import cythonize
from setuptools import Extension, setup

# TINYCNN_BOUNDSCHECK=1 builds kernels that check every index, for the test run that hunts
# reads and writes outside the arrays.
CHECKED = os.environ.get("TINYCNN_BOUNDSCHECK") == "1"

KERNEL_DIRECTIVES = {
    "language_level": 3,
    "boundscheck": CHECKED,
    "wraparound": False,
    "initializedcheck": False,
    "cdivision": True,
}

KERNEL_FLAGS = ["/O2"] if sys.platform == "win32" else ["-O3"]

setup(
    ext_modules=cythonize(
        [Extension("tinycnn._kernels", ["tinycnn/_kernels.pyx"], extra_compile_args=KERNEL_FLAGS)],
        compiler_directives=KERNEL_DIRECTIVES,
        force=True,  # the C file does not tell which directives made it
    )
)
