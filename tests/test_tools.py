"""The release tools: what they find fault with, and that all ways to test a wheel are one."""

import sys
import tomllib
from pathlib import Path
from zipfile import ZipFile

import pytest

ROOT = Path(__file__).parent.parent
sys.path.append(str(ROOT / "tools"))

import build_wheels  # noqa: E402
import check_wheels  # noqa: E402
import pythons  # noqa: E402
import test_wheels  # noqa: E402

GOOD = {
    "tinycnn/py.typed": b"",
    "tinycnn/_bindings.pyi": b"",
    "tinycnn/_kernels.abi3.so": b"\0.text\0",
    "tinycnn/_bindings.abi3.so": b"\0.text\0",
    "tinycnn/_memoryviews.abi3.so": b"\0.text\0",
    "tinycnn/_double/_kernels.abi3.so": b"\0.text\0",
    "tinycnn/_v3/_kernels.abi3.so": b"\0.text\0",
    "tinycnn/_v3_double/_kernels.abi3.so": b"\0.text\0",
    "tinycnn/_v4/_kernels.abi3.so": b"\0.text\0",
    "tinycnn/_v4_double/_kernels.abi3.so": b"\0.text\0",
}


def problems(folder, files):
    path = folder / "tinycnn-1.0-cp311-abi3-manylinux_2_17_x86_64.whl"
    with ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return check_wheels.problems(path)


def test_a_good_wheel_passes(tmp_path):
    assert problems(tmp_path, GOOD) == []


@pytest.mark.parametrize("name", GOOD)
def test_what_is_missing_is_named(tmp_path, name):
    [problem] = problems(tmp_path, {n: data for n, data in GOOD.items() if n != name})
    assert name.removesuffix(".abi3.so") in problem


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("tinycnn/_kernels.c", b"", "source tinycnn/_kernels.c"),
        ("tinycnn/_fused/conv.pxi", b"", "source tinycnn/_fused/conv.pxi"),
        ("tinycnn/_kernels.abi3.so", b"\0.symtab\0", "not stripped"),
        ("tinycnn/large", bytes(2_000_001), "when installed"),
    ],
)
def test_what_does_not_belong_is_named(tmp_path, name, data, words):
    found = problems(tmp_path, {**GOOD, name: data})
    assert any(words in problem for problem in found)


def test_a_python_that_only_complains_is_not_here(tmp_path, monkeypatch):
    complaining = tmp_path / "python9.9"
    complaining.write_text("#!/bin/sh\nexit 127\n")
    complaining.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("PYTHONS", "python9.9 python8.8")
    assert pythons.find_pythons() == {"python9.9": None, "python8.8": None}


def test_the_release_leaves_out_the_same_tests():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["cibuildwheel"]
    for commands in (settings, settings["windows"]):
        for name in test_wheels.ABOUT_THE_SOURCE_TREE:
            assert f"--ignore=tests/{name}" in commands["test-command"]


@pytest.mark.skipif(sys.platform != "linux", reason="warnings are errors on Linux")
def test_refusing_warnings_keeps_the_flags_that_python_was_built_with(monkeypatch):
    ccompiler = pytest.importorskip("setuptools._distutils.ccompiler")
    sysconfig = pytest.importorskip("setuptools._distutils.sysconfig")

    def flags():
        compiler = ccompiler.new_compiler()
        sysconfig.customize_compiler(compiler)
        return compiler.compiler_so

    monkeypatch.delenv("CFLAGS", raising=False)
    monkeypatch.setenv("CPPFLAGS", "")
    monkeypatch.delenv("CPPFLAGS")  # as it was, afterwards
    before = flags()
    build_wheels.refuse_warnings()
    assert [flag for flag in flags() if flag not in before] == ["-Wextra", "-Werror"]
    assert set(before) <= set(flags())
