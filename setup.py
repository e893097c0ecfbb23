"""The extension modules and nothing else; all metadata stands in pyproject.toml.

The kernels are translated to C once and compiled once for each level of x86-64 instruction sets;
``tinycnn/_dispatch.py`` picks the build that the CPU can run. Other architectures get one build.
"""

import os
import platform
import subprocess
import sys

from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

# TINYCNN_BOUNDSCHECK=1 builds kernels that check every index, for the test run that hunts
# reads and writes outside the arrays.
CHECKED = os.environ.get("TINYCNN_BOUNDSCHECK") == "1"

SOURCE = "tinycnn/_kernels.pyx"

DIRECTIVES = {
    "language_level": 3,
    "boundscheck": CHECKED,
    "wraparound": False,
    "initializedcheck": False,
    "cdivision": True,
}

MSVC = sys.platform == "win32"
X86_64 = platform.machine().lower() in ("x86_64", "amd64")

# Nobody reads errno or the floating-point exception flags here. With these two, which change no
# result, gcc turns the pool's comparisons into vector selects.
FLAGS = ["/O2"] if MSVC else ["-O3", "-fno-math-errno", "-fno-trapping-math"]

# No symbols for a debugger: they would make the modules four times as large.
LINK_FLAGS = ["-Wl,-s"] if sys.platform == "linux" else []

# What gcc must be kept from to leave the loops over lanes in vector registers: replacing them by
# calls of memset and memcpy, interleaving them with the loops around them, and unrolling them
# before it vectorises (the limit on the number of turns must lie below the number of lanes).
GCC_FLAGS = ["-fno-tree-loop-distribute-patterns", "-fno-loop-unroll-and-jam"]
GCC_UNROLLING = "--param=max-completely-peel-times="

# Each level: its flags, how many bytes a vector register has, whether there are 32 of them (not
# 16), and gcc's limit on unrolling.
LEVELS = {
    "": ([], 16, 0, 3),
    "_v3": (["/arch:AVX2"] if MSVC else ["-march=x86-64-v3", "-mtune=haswell"], 32, 0, 3),
    "_v4": (
        ["/arch:AVX512"]
        if MSVC
        else ["-march=x86-64-v4", "-mtune=icelake-server", "-mprefer-vector-width=512"],
        64,
        1,
        7,
    ),
}


class BuildEachLevelApart(build_ext):
    """Compiles the same C file once per level, each into object files of its own."""

    def run(self):
        """Translate the kernels to C, once for all builds and only when they are to be built."""
        source = Extension("tinycnn._kernels", [SOURCE])
        # Always anew: the C file does not tell with which directives it was made.
        [translated] = cythonize([source], compiler_directives=DIRECTIVES, force=True)
        for ext in self.extensions:
            ext.sources = translated.sources
        super().run()

    def build_extension(self, ext):
        """Build one extension module in a temporary folder that no other one uses."""
        shared = self.build_temp
        self.build_temp = os.path.join(shared, ext.name)
        if is_gcc(self.compiler):
            ext.extra_compile_args = ext.extra_compile_args + ext.gcc_flags
        super().build_extension(ext)
        self.build_temp = shared

    def copy_extensions_to_source(self):
        """Copy what was built beside its sources, for an editable installation."""
        for ext in self.extensions:
            os.makedirs(os.path.join(*ext.name.split(".")[:-1]), exist_ok=True)
        super().copy_extensions_to_source()


def is_gcc(compiler) -> bool:
    """Tell whether this is gcc itself; clang answers to the same name on some systems."""
    command = getattr(compiler, "compiler", None)
    if not command:
        return False
    version = subprocess.run([command[0], "--version"], capture_output=True, text=True, check=False)
    return "Free Software Foundation" in version.stdout


def kernels() -> list[Extension]:
    """The baseline build and, on x86-64, one for each higher level."""
    builds = []
    for name, (flags, vector_bytes, many_registers, unrolling) in LEVELS.items():
        build = Extension(
            f"tinycnn.{name}._kernels" if name else "tinycnn._kernels",
            [SOURCE],
            extra_compile_args=[*FLAGS, *flags],
            extra_link_args=LINK_FLAGS,
            define_macros=[
                ("TINYCNN_VECTOR_BYTES", vector_bytes),
                ("TINYCNN_MANY_REGISTERS", many_registers),
            ],
        )
        build.gcc_flags = [*GCC_FLAGS, f"{GCC_UNROLLING}{unrolling}"]
        builds.append(build)
    return builds if X86_64 else builds[:1]


setup(ext_modules=kernels(), cmdclass={"build_ext": BuildEachLevelApart})
