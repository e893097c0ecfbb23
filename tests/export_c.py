"""Compiles exported C and calls it, for the tests."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np

WARNINGS = ["-Wall", "-Wextra", "-pedantic", "-Wconversion", "-Werror"]
C99, CPP11 = ["-std=c99", *WARNINGS], ["-x", "c++", "-std=c++11", *WARNINGS]

# What each compiler is called with: Debian's packages of those names install them.
COMPILERS = {
    "gcc": C99,
    "clang": C99,
    "g++": CPP11,
    "clang++": CPP11,
    "arm-none-eabi-gcc": ["--specs=picolibc.specs", "-mthumb", "-mcpu=cortex-m4", *C99],
    "avr-gcc": ["-mmcu=atmega328p", *C99],
}


def installed(*commands: str) -> bool:
    """Tell whether all commands are here."""
    return all(shutil.which(command) for command in commands)


def run(command: list[str | Path], folder: Path | None = None) -> str:
    """Run a command, which must succeed, and return what it prints to both outputs."""
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}\n{done.stderr[-3000:]}"
    return done.stdout + done.stderr


class Library:
    """A header's functions, compiled by a compiler of this machine.

    Parameters
    ----------
    header : Path
    name : str
        What the functions begin with.
    compiler : str
    """

    def __init__(self, header: Path, name: str, compiler: str = "gcc") -> None:
        source, library = header.with_suffix(".c"), header.with_name(f"{name}_{compiler}.so")
        source.write_text(f'#define {name.upper()}_IMPLEMENTATION\n#include "{header.name}"\n')
        flags = ["-O2", "-shared", "-fPIC", *COMPILERS[compiler]]
        run([compiler, *flags, source, "-o", library, "-lm"])
        self._library, self.name = ctypes.CDLL(str(library)), name

    def call(self, function: str, images: np.ndarray, n_values: int, dtype: Any) -> np.ndarray:
        """Call a function that fills an array, for each of some images."""
        called = getattr(self._library, f"{self.name}_{function}")
        outputs = np.empty((len(images), n_values), dtype)
        for image, output in zip(np.ascontiguousarray(images), outputs, strict=True):
            called(image.ctypes.data_as(ctypes.c_void_p), output.ctypes.data_as(ctypes.c_void_p))
        return outputs

    def predict(self, images: np.ndarray) -> np.ndarray:
        """Call the function that returns a class."""
        called = getattr(self._library, f"{self.name}_predict")
        return np.array(
            [
                called(image.ctypes.data_as(ctypes.c_void_p))
                for image in np.ascontiguousarray(images)
            ]
        )

    def class_names(self, n: int) -> list[str]:
        """Read the names of the classes."""
        names = (ctypes.c_char_p * n).in_dll(self._library, f"{self.name}_class_names")
        return [name.decode() for name in names if name is not None]
