"""README's Python examples run, and print what README says they print."""

import contextlib
import importlib
import io
import re
from pathlib import Path

import numpy as np
import pytest

README = Path(__file__).parent.parent / "README.md"


def run_and_compare(blocks, expected):
    """Run pieces of code one after the other; they must print what is expected."""
    printed = io.StringIO()
    names = {}
    with contextlib.redirect_stdout(printed):
        for block in blocks:
            exec(block, names)
    got, words = percentages(printed.getvalue())
    expected, expected_words = percentages(expected)
    assert words == expected_words
    # Another CPU may round otherwise, and so train to a slightly other percentage.
    assert got == pytest.approx(expected, abs=1)


def percentages(text):
    """Return the percentages in a text, and the text without them."""
    found = re.findall(r"([\d.]+)%", text)
    return [float(number) for number in found], re.sub(r"[\d.]+%", "%", text)


def test_a_wrong_percentage_would_be_noticed():
    run_and_compare(["print('99.0%')"], "99.4%\n")
    for wrong in ("97.9%\n", "100.1%\n", "99.0 percent\n"):
        with pytest.raises(AssertionError):
            run_and_compare(["print('99.0%')"], wrong)


def test_the_examples_print_what_readme_says():
    text = README.read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    [expected] = re.findall(r"prints\n\n```text\n(.*?)```", text, re.DOTALL)
    run_and_compare(blocks, expected)


def test_commands_are_those_that_are_run():
    """The first two by .ci/run, the others by the guide's test, in a folder with such photos."""
    text = README.read_text(encoding="utf-8")
    blocks = re.findall(r"```console\n(.*?)```", text, re.DOTALL)
    assert [block.split("\n")[0] for block in blocks[:2]] == ["$ make train", "$ make test"]
    run = (README.parent / ".ci" / "run").read_text(encoding="utf-8")
    assert "\nmake train\nmake test\n" in run
    guide = (README.parent / "docs" / "your-images.md").read_text(encoding="utf-8")
    for block in blocks[2:]:
        for line in block.splitlines():
            assert line in guide


def test_every_room_is_on_the_map():
    text = (README.parent / "docs" / "map.md").read_text(encoding="utf-8")
    inside = {"__init__.py", "__main__.py", "_checks.py", "datasets"}
    for path in (README.parent / "tinycnn").iterdir():
        is_room = path.suffix in {".py", ".pyx"} or (path / "__init__.py").exists()
        if is_room and path.name not in inside:
            assert f"(../tinycnn/{path.name})" in text, f"docs/map.md lacks {path.name}"


@pytest.mark.parametrize("shade", ["light", "dark"])
def test_the_picture_is_small_and_what_the_code_draws(shade, tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    image_module = pytest.importorskip("PIL.Image")
    docs = README.parent / "docs"
    monkeypatch.syspath_prepend(docs / "_ext")
    for library in ("docutils", "sphinx"):
        pytest.importorskip(library)
    importlib.import_module("pictures").draw_for_readme(tmp_path)
    stored, drawn = (
        np.asarray(image_module.open(folder / f"what-you-get-{shade}.png").convert("L"), float)
        for folder in (docs / "_static", tmp_path)
    )
    assert (docs / "_static" / f"what-you-get-{shade}.png").stat().st_size < 80_000
    assert stored.shape == drawn.shape, "run: python docs/_ext/pictures.py"
    assert np.abs(stored - drawn).mean() < 2, "run: python docs/_ext/pictures.py"
