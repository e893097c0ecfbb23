"""``docs/layers.md``: its code runs, its layers are those that are tested, its numbers hold."""

from __future__ import annotations

import contextlib
import inspect
import io
import re
from pathlib import Path

import own_layers
import pytest

import tinycnn

GUIDE = (Path(__file__).parent.parent / "docs" / "layers.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL)
TAUGHT = ["AvgPool", "GlobalAvgPool", "LeakyReLU", "BatchNorm"]


def test_every_block_runs_and_prints_what_the_guide_says(registered) -> None:
    printed, names = io.StringIO(), {"__name__": "guide"}
    with contextlib.redirect_stdout(printed):
        for block in BLOCKS:
            exec(compile(block, "docs/layers.md", "exec", dont_inherit=True), names)
    [promised] = re.findall(r"prints an accuracy of (\d+)%", GUIDE)
    assert float(printed.getvalue().removesuffix("%\n")) == pytest.approx(float(promised), abs=1)


@pytest.mark.parametrize("name", TAUGHT)
def test_a_layer_of_the_guide_is_the_one_that_is_tested(name: str) -> None:
    source = inspect.getsource(getattr(own_layers, name))
    assert source in "\n".join(BLOCKS)
    assert len([line for line in source.splitlines() if line.strip()]) <= 25


def test_the_guide_has_no_other_layers() -> None:
    assert re.findall(r"^class (\w+)\(", "\n".join(BLOCKS), re.MULTILINE) == TAUGHT


def test_a_loss_of_ones_own_takes_ten_lines() -> None:
    [loop] = [block for block in BLOCKS if "net.backward(dlogits, state).flat)" in block]
    start = loop.index("optimizer, rng")
    assert len(loop[start : loop.index("print")].splitlines()) <= 10


def test_the_table_has_all_methods_of_a_layer() -> None:
    methods = {name for name, _ in inspect.getmembers(tinycnn.Layer, inspect.isfunction)}
    named = set(re.findall(r"^\| `(\w+)\(", GUIDE, re.MULTILINE))
    assert named == {name for name in methods if not name.startswith("_")} - {"backward_parameters"}
