"""``docs/export.md``: its code runs, and what it writes computes what it says."""

import re
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from export_c import Library, installed

import tinycnn
from tinycnn.export import c, html, onnx, pytorch

GUIDE = (Path(__file__).parents[1] / "docs" / "export.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL)


def test_every_block_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for library in ("onnx", "safetensors"):
        pytest.importorskip(library)
    for target in (c, html, onnx, pytorch):
        monkeypatch.setattr(target.TRANSLATIONS, "_of", dict(target.TRANSLATIONS._of))
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": "guide"}
    for block in BLOCKS:
        exec(compile(block, "docs/export.md", "exec", dont_inherit=True), names)
    assert re.fullmatch(r"\d+ bytes of weights, 100 of RAM\n", capsys.readouterr().out)
    if installed("gcc"):
        net, images = names["averaging"], names["images"][:20]
        given = Library(tmp_path / "averaging.h", "averaging").call(
            "logits", images, 10, np.float32
        )
        np.testing.assert_allclose(given, net.logits(images), atol=1e-5)


@pytest.mark.skipif(not installed("gcc"), reason="no C compiler is installed")
def test_the_c_of_the_guide_compiles_with_a_header_of_that_name(tmp_path: Path) -> None:
    net = tinycnn.CNN((3, 32, 32), channels=(8,), n_classes=3)
    c.to_c(net, tmp_path / "shapes.h")
    [program] = re.findall(r"```c\n(.*?)```", GUIDE, re.DOTALL)
    (tmp_path / "program.c").write_text(program)
    flags = ("-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic", "-c")
    subprocess.run(["gcc", *flags, "program.c"], cwd=tmp_path, check=True)
