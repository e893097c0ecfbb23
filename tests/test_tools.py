"""The release tools: what they find fault with, and that all ways to test a wheel are one."""

import re
import shutil
import sys
import tomllib
from importlib.metadata import metadata
from pathlib import Path
from zipfile import ZipFile

import pytest

ROOT = Path(__file__).parent.parent
sys.path.append(str(ROOT / "tools"))

import build_wheels  # noqa: E402
import check_wheels  # noqa: E402
import cut_release  # noqa: E402
import pythons  # noqa: E402
import release_files  # noqa: E402
import test_wheels  # noqa: E402

import tinycnn  # noqa: E402

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
        ("tinycnn/large", bytes(check_wheels.MAX_INSTALLED_BYTES + 1), "when installed"),
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


# ------------------------------------------------------------------------------------- the version

CHANGELOG = """# Changelog

## Unreleased

### Added

- New.

### Fixed

- Mended.

## 0.1.0 (2026-01-01)

### Added

- Old.
"""


def test_what_is_unreleased_gets_a_version_and_a_date():
    assert cut_release.cut_changelog(CHANGELOG, "0.2.0", "2026-02-03") == CHANGELOG.replace(
        "## Unreleased\n", "## Unreleased\n\n## 0.2.0 (2026-02-03)\n"
    )


def test_lines_that_come_late_are_added_to_the_section():
    first = cut_release.cut_changelog(CHANGELOG, "0.2.0", "2026-02-03")
    late = first.replace(
        "## Unreleased\n", "## Unreleased\n\n### Added\n\n- Late.\n\n### Removed\n\n- Gone.\n"
    )
    again = cut_release.cut_changelog(late, "0.2.0", "2026-02-04")
    assert again == first.replace("2026-02-03", "2026-02-04").replace(
        "- New.\n", "- New.\n- Late.\n"
    ).replace("- Mended.\n", "- Mended.\n\n### Removed\n\n- Gone.\n")


def test_a_cut_changes_three_files(tmp_path):
    (tmp_path / "tinycnn").mkdir()
    for name in ("CHANGELOG.md", "CITATION.cff", "tinycnn/__init__.py"):
        shutil.copy(ROOT / name, tmp_path / name)
    cut_release.cut(tmp_path, "9.8.7", "2030-01-02")
    assert '\n__version__ = "9.8.7"\n' in (tmp_path / "tinycnn/__init__.py").read_text()
    assert (
        "\nversion: 9.8.7\ndate-released: 2030-01-02\n" in (tmp_path / "CITATION.cff").read_text()
    )
    assert "\n## 9.8.7 (2030-01-02)\n" in (tmp_path / "CHANGELOG.md").read_text()


@pytest.mark.parametrize("version", ["0.2", "v0.2.0", "0.2.0-1"])
def test_what_is_no_version_is_refused(version):
    with pytest.raises(SystemExit, match="VERSION: must be like"):
        cut_release.main(version)


def test_all_places_that_name_the_version_agree():
    assert metadata("tinycnn")["Version"] == tinycnn.__version__, "install it again: make test"
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    [newest, *_] = re.findall(r"^## (\S+) \((\S+)\)$", changelog, re.MULTILINE)
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    cited = [re.findall(rf"^{key}: (\S+)$", citation, re.M) for key in ("version", "date-released")]
    assert cited == [[newest[0]], [newest[1]]]
    assert newest[0] == tinycnn.__version__
    others = [path for path in (ROOT / "tinycnn").rglob("*.py") if path.parent.name != "tinycnn"]
    for path in (ROOT / "pyproject.toml", ROOT / "setup.py", ROOT / "docs" / "conf.py", *others):
        assert f'"{tinycnn.__version__}"' not in path.read_text(encoding="utf-8"), path


def test_what_a_machine_cannot_build_is_named():
    here = {"python3.13": "/bin/python3.13", "python3.13t": "/bin/python3.13t", "python3.14t": None}
    missing = release_files.not_built_here(here, ("linux", "x86_64"))
    assert "Linux x86_64" not in missing
    assert {"Windows amd64", "macOS arm64", "for python3.14t, which is not here"} <= set(missing)
    assert not any("3.13t" in each for each in missing)


def test_the_description_leads_into_the_repository_from_anywhere():
    found = metadata("tinycnn")
    text = found["Description"] or found.get_payload()
    links = re.findall(r'\]\(([^)]+)\)|(?:src|srcset)="([^"]+)"', text)
    [source] = [url.split(", ")[1] for url in found.get_all("Project-URL")]
    assert links
    assert all((link or image).startswith(f"{source}/") for link, image in links)
