"""README's Python examples run, and print what README says they print."""

import contextlib
import io
import re
from pathlib import Path

import pytest

README = Path(__file__).parent.parent / "README.md"


def test_the_examples_print_what_readme_says():
    text = README.read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    expected = re.search(r"prints\n\n```text\n(.*?)```", text, re.DOTALL)[1]
    assert len(blocks) >= 2
    printed = io.StringIO()
    names = {}
    with contextlib.redirect_stdout(printed):
        for block in blocks:
            exec(block, names)
    # Another CPU may round otherwise, and so train to another percentage.
    masked = [re.sub(r"[\d.]+%", "%", output) for output in (printed.getvalue(), expected)]
    assert masked[0] == masked[1]


@pytest.mark.parametrize("link", re.findall(r"\]\(([^)#:]+)\)", README.read_text(encoding="utf-8")))
def test_what_readme_links_to_is_there(link):
    assert (README.parent / link).exists()


def test_every_room_is_on_the_map():
    text = README.read_text(encoding="utf-8")
    inside = {"__init__.py", "__main__.py", "_checks.py", "datasets"}
    for path in (README.parent / "tinycnn").iterdir():
        if path.suffix in {".py", ".pyx"} and path.name not in inside:
            assert f"(tinycnn/{path.name})" in text, f"{path.name} is not in README's table"
