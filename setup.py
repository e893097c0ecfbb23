"""The extension modules, and README as the index shows it; all else stands in pyproject.toml.

The kernels are translated to C once and compiled once for each level of x86-64 instruction sets;
``tinycnn/fast/dispatch.py`` picks the build that the CPU can run. Other architectures get one
build. What Python calls is compiled once: it takes as much room as the loops.
"""

import copy
import os
import re
import subprocess
import sys
import sysconfig
import tomllib
import zlib
from collections.abc import Iterable
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

# TINYCNN_BOUNDSCHECK=1 builds kernels that check every index, for the test run that hunts
# reads and writes outside the arrays.
CHECKED = os.environ.get("TINYCNN_BOUNDSCHECK") == "1"

# TINYCNN_SANITIZE=address,undefined or =thread builds modules that tell what goes wrong in memory
# or between threads: see tools/sanitize.py.
SANITIZERS = os.environ.get("TINYCNN_SANITIZE", "")
# Compiled in a third of the time than with -O3, and what is wrong is seen sooner.
SANITIZED = [f"-fsanitize={SANITIZERS}", "-g", "-O1"] if SANITIZERS else []
if "undefined" in SANITIZERS:
    SANITIZED.append("-fno-sanitize-recover=undefined")

KERNELS = "tinycnn._kernels"
BINDINGS = "tinycnn._bindings"

# Where Cython puts its own code for typed memoryviews, which both of them use.
SHARED = "tinycnn._memoryviews"

# Of what the modules are compiled from.
SUFFIXES = {".pyx", ".pxd", ".pxi", ".h"}

# With the limited API, one build serves this and every later Python. Free-threaded Pythons, whose
# objects look different, get builds of their own.
GIL_DISABLED = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))
LIMITED_API = sys.implementation.name == "cpython" and not GIL_DISABLED
OLDEST_PYTHON = 0x030B0000  # 3.11

DIRECTIVES = {
    "language_level": 3,
    "boundscheck": CHECKED,
    "wraparound": False,
    "initializedcheck": False,
    "cdivision": True,
    "auto_pickle": False,
    # Whatever Python objects share is guarded by locks of its own: see fast/threads.py.
    "freethreading_compatible": True,
}

PLATFORM = sysconfig.get_platform()  # what is built for, not always what builds
MSVC = PLATFORM.startswith("win")
X86_64 = PLATFORM.endswith(("x86_64", "amd64"))

# On Linux: functions with arrays on the stack notice when one was written beyond its end, and the
# table of what the loader has found cannot be written to. Elsewhere compilers do so by themselves.
# No symbols for a debugger: they would make the modules four times as large.
LINUX = PLATFORM.startswith("linux")
HARDENING = ["-fstack-protector-strong"] if LINUX else []
LINK_FLAGS = ["-Wl,-s", "-Wl,-z,relro,-z,now"] if LINUX else []
if SANITIZED:  # their reports tell functions and lines
    LINK_FLAGS = SANITIZED

# Nobody reads errno or the floating-point exception flags here. With these two, which change no
# result, gcc turns the pool's comparisons into vector selects. A product and a sum may be rounded
# once, which gcc and clang take for granted. No tables for unwinding: C code throws nothing. Most
# Pythons are built with -fwrapv and hand it on: named here, all get the same code, which for the
# baseline is a tenth faster with it.
FLAGS = (
    ["/O2", "/fp:contract"]
    if MSVC
    else [
        "-O3",
        "-fno-math-errno",
        "-fno-trapping-math",
        "-fno-asynchronous-unwind-tables",
        "-fwrapv",
        *HARDENING,
    ]
)
# What a call costs is in the bindings: at -O2 it is a quarter less than at -Os, for 14 KB of the
# wheel.
FLAGS_OF_BINDINGS = [] if MSVC else ["-O2", "-fno-asynchronous-unwind-tables", *HARDENING]
FLAGS_FOR_SIZE = [] if MSVC else ["-Os", "-fno-asynchronous-unwind-tables", *HARDENING]

# Tiles are inlined where they are called, and nothing else is: a block kernel that was inlined
# elsewhere would have to share its registers.
ALWAYS_INLINE = "-DCYTHON_INLINE=inline __attribute__((always_inline, unused))"
INLINING = [] if MSVC else ["-fno-inline", ALWAYS_INLINE]
# Loops that copy a few values do not become calls.
GCC_FLAGS = ["-fno-tree-loop-distribute-patterns"]

# Each level: its flags, and how many bytes a vector register has.
LEVELS = {
    "": ([], 16),
    "_v3": (["/arch:AVX2"] if MSVC else ["-march=x86-64-v3"], 32),
    "_v4": (["/arch:AVX512"] if MSVC else ["-march=x86-64-v4"], 64),
}


class BuildEachLevelApart(build_ext):
    """Compiles the kernels' C file once per level, each extension into object files of its own."""

    def run(self):
        """Translate to C, once for all builds and only when they are to be built."""
        # Always anew: the C file does not tell with which directives it was made.
        translated = cythonize(
            [
                Extension(SHARED, ["tinycnn/_memoryviews.c"]),
                Extension(BINDINGS, ["tinycnn/_bindings.pyx"]),
                Extension(KERNELS, ["tinycnn/_kernels.pyx"]),
            ],
            compiler_directives=DIRECTIVES,
            shared_utility_qualified_name=SHARED,
            shared_utility_features_disabled=["AutoPickle", "PythonClasses", "StringTools"],
            force=True,
        )
        sources = {module_of(ext): ext.sources for ext in translated}
        for ext in self.extensions:
            ext.sources = sources[module_of(ext)]
        super().run()

    def build_extensions(self):
        """Leave out where the building Python looks for libraries: others have no such folders."""
        command = getattr(self.compiler, "linker_so", [])
        self.compiler.linker_so = [word for word in command if not word.startswith("-Wl,-rpath")]
        super().build_extensions()

    def build_extension(self, ext):
        """Build one extension module in a temporary folder that no other one uses."""
        if not MSVC and is_gcc(self.compiler):
            ext.extra_compile_args = ext.extra_compile_args + ext.gcc_flags
        # A copy, since several extensions are built at the same time.
        apart = copy.copy(self)
        apart.build_temp = os.path.join(self.build_temp, ext.name)
        build_ext.build_extension(apart, ext)

    def copy_extensions_to_source(self):
        """Copy what was built beside its sources, for an editable installation."""
        for ext in self.extensions:
            folder = Path(*ext.name.split(".")[:-1])
            folder.mkdir(exist_ok=True)
            if ext.py_limited_api:
                # A build for one Python alone, made here before, would be found first.
                suffix = sysconfig.get_config_var("EXT_SUFFIX")
                (folder / f"{module_of(ext)}{suffix}").unlink(missing_ok=True)
        super().copy_extensions_to_source()


def module_of(ext: Extension) -> str:
    """Return the last part of a module's name, which is the same for all builds of the kernels."""
    return ext.name.rpartition(".")[2]


def is_gcc(compiler) -> bool:
    """Tell whether this is gcc itself; clang answers to the same name on some systems."""
    command = getattr(compiler, "compiler", None)
    if not command:
        return False
    version = subprocess.run([command[0], "--version"], capture_output=True, text=True, check=False)
    return "Free Software Foundation" in version.stdout


def number_of_build() -> int:
    """Return a number that other sources do not have: modules of two builds refuse each other."""
    sources = sorted(path for path in Path("tinycnn").rglob("*") if path.suffix in SUFFIXES)
    return zlib.crc32(b"".join(path.read_bytes() for path in (Path("setup.py"), *sources)))


def extension(name: str, flags: list[str], macros: Iterable[tuple[str, int]] = ()) -> Extension:
    """Return an extension module, for the limited API where there is one."""
    limited = [("Py_LIMITED_API", f"{OLDEST_PYTHON:#x}")] if LIMITED_API else []
    return Extension(
        name,
        [],  # to be translated first
        extra_compile_args=[*flags, *SANITIZED],
        extra_link_args=LINK_FLAGS,
        define_macros=[*macros, *limited, ("TINYCNN_BUILD", number_of_build())],
        py_limited_api=LIMITED_API,
    )


def extensions() -> list[Extension]:
    """The kernels' baseline build, on x86-64 one for each higher level, and what they all need."""
    builds = []
    for level, (flags, vector_bytes) in LEVELS.items():
        for double in (0, 1):
            folder = f"{level}_double" if double else level
            build = extension(
                KERNELS.replace("_kernels", f"{folder}._kernels") if folder else KERNELS,
                [*FLAGS, *INLINING, *flags],
                [("TINYCNN_VECTOR_BYTES", vector_bytes), ("TINYCNN_DOUBLE", double)],
            )
            build.gcc_flags = GCC_FLAGS
            build.include_dirs = ["tinycnn"]
            builds.append(build)
    once = [extension(BINDINGS, FLAGS_OF_BINDINGS), extension(SHARED, FLAGS_FOR_SIZE)]
    for ext in once:
        ext.gcc_flags = []
    return [*(builds if X86_64 else builds[:2]), *once]


def readme() -> str:
    """README.md, with links that lead into the repository from anywhere."""
    project = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]
    source = project["urls"]["Source"]

    def absolute(link: re.Match[str]) -> str:
        kind = "blob" if link[1] == "](" else "raw"
        return f"{link[1]}{source}/{kind}/HEAD/{link[2]}"

    text = Path("README.md").read_text(encoding="utf-8")
    return re.sub(r'(\]\(|src="|srcset=")(?!https?:|#)([^)"]+)', absolute, text)


setup(
    long_description=readme(),
    long_description_content_type="text/markdown",
    ext_modules=extensions(),
    cmdclass={"build_ext": BuildEachLevelApart},
    options={
        "build_ext": {"parallel": True},
        "bdist_wheel": {"py_limited_api": "cp311"} if LIMITED_API else {},
    },
)
