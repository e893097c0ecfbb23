"""The extension modules and nothing else; all metadata stands in pyproject.toml.

The kernels are translated to C once and compiled once for each level of x86-64 instruction sets;
``tinycnn/_dispatch.py`` picks the build that the CPU can run. Other architectures get one build.
"""

import os
import platform
import sys

from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

# TINYCNN_BOUNDSCHECK=1 builds kernels that check every index, for the test run that hunts
# reads and writes outside the arrays.
CHECKED = os.environ.get("TINYCNN_BOUNDSCHECK") == "1"

DIRECTIVES = {
    "language_level": 3,
    "boundscheck": CHECKED,
    "wraparound": False,
    "initializedcheck": False,
    "cdivision": True,
}

MSVC = sys.platform == "win32"
X86_64 = platform.machine().lower() in ("x86_64", "amd64")

# Neither flag changes a result: nobody reads errno or the floating-point exception flags here, and
# with them gcc would not turn the pool's comparisons into vector selects.
FLAGS = ["/O2"] if MSVC else ["-O3", "-fno-math-errno", "-fno-trapping-math"]

# Vector registers of one level: how many bytes each, and whether there are 32 of them (or 16).
LEVELS = {
    "_v3": {
        "flags": ["/arch:AVX2"] if MSVC else ["-march=x86-64-v3", "-mtune=haswell"],
        "vector_bytes": 32,
        "many_registers": 0,
    },
    "_v4": {
        "flags": (
            ["/arch:AVX512"]
            if MSVC
            else ["-march=x86-64-v4", "-mtune=icelake-server", "-mprefer-vector-width=512"]
        ),
        "vector_bytes": 64,
        "many_registers": 1,
    },
}


class BuildEachLevelApart(build_ext):
    """Compiles the same C file once per level, each into object files of its own."""

    def build_extension(self, ext):
        """Build one extension module in a temporary folder that no other one uses."""
        shared = self.build_temp
        self.build_temp = os.path.join(shared, ext.name)
        super().build_extension(ext)
        self.build_temp = shared

    def copy_extensions_to_source(self):
        """Copy what was built beside its sources, for an editable installation."""
        for ext in self.extensions:
            os.makedirs(os.path.join(*ext.name.split(".")[:-1]), exist_ok=True)
        super().copy_extensions_to_source()


def kernels() -> list[Extension]:
    """The baseline build and, on x86-64, one for each higher level."""
    baseline = Extension("tinycnn._kernels", ["tinycnn/_kernels.pyx"], extra_compile_args=FLAGS)
    # Always translated anew: the C file does not tell with which directives it was made.
    [baseline] = cythonize([baseline], compiler_directives=DIRECTIVES, force=True)
    higher = [
        Extension(
            f"tinycnn.{name}._kernels",
            baseline.sources,
            extra_compile_args=[*FLAGS, *level["flags"]],
            define_macros=[
                ("TINYCNN_VECTOR_BYTES", level["vector_bytes"]),
                ("TINYCNN_MANY_REGISTERS", level["many_registers"]),
            ],
        )
        for name, level in LEVELS.items()
    ]
    return [baseline, *(higher if X86_64 else [])]


setup(ext_modules=kernels(), cmdclass={"build_ext": BuildEachLevelApart})
