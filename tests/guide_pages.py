"""Runs what stands in the guide: its Python, its sessions and its commands, in their order."""

from __future__ import annotations

import contextlib
import doctest
import io
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

DOCS = Path(__file__).parent.parent / "docs"
FENCE = re.compile(r"^(`{3,})(\S*)[^\n]*\n(.*?)^\1[ ]*$", re.MULTILINE | re.DOTALL)
SHARE = re.compile(r"(\d+(?:\.\d+)?)%")

# What code blocks may hold that is not run: what programs print, files, and Sphinx's directives.
NOT_RUN = ("text", "{")

OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
# Another processor may round otherwise, and so train to another percentage.
SHARES_APART = 2.0


class Block(NamedTuple):
    """A fenced block of a page.

    Attributes
    ----------
    kind : str
        What stands behind the fence: python, console, text, ...
    text : str
    line : int
        Of its first line in the page.
    before : str
        The paragraph above it.
    """

    kind: str
    text: str
    line: int
    before: str


def pages() -> list[Path]:
    """List the pages that are written by hand, not those that the guide's build makes."""
    made = {"_build", "gallery", "_pictures"}
    found = (path.relative_to(DOCS) for path in DOCS.rglob("*.md"))
    return sorted(path for path in found if path.parts[0] not in made)


def blocks_of(page: Path) -> Iterator[Block]:
    """Yield the fenced blocks of a page."""
    text = (DOCS / page).read_text(encoding="utf-8")
    for match in FENCE.finditer(text):
        before = text[: match.start()].rstrip().rsplit("\n\n", 1)[-1]
        yield Block(match[2], match[3], text.count("\n", 0, match.start()) + 2, before)


def run_page(page: Path, folder: Path) -> int:
    """Run all blocks of a page in a folder; return how many were run.

    Raises
    ------
    AssertionError
        If something prints what the page does not say, or a block is of a kind that nobody runs.
    """
    names: dict[str, Any] = {"__name__": "guide"}
    blocks, n_run = list(blocks_of(page)), 0
    with contextlib.chdir(folder):
        for i, block in enumerate(blocks):
            where = f"docs/{page}:{block.line}"
            follower = blocks[i + 1] if i + 1 < len(blocks) else None
            if block.kind == "python" and ">>>" in block.text:
                _run_session(block, names, where)
            elif block.kind == "python":
                printed = _run_code(block, names, where)
                if follower is not None and follower.kind == "text" and follower.before == "prints":
                    require_alike(printed, follower.text, where)
            elif block.kind == "console":
                _run_commands(block, where)
            elif block.kind == "c":
                Path("program.c").write_text(block.text)  # which the commands below it compile
            else:
                assert block.kind.startswith(NOT_RUN), f"{where}: nobody runs {block.kind!r}"
                continue
            n_run += 1
    return n_run


def _run_session(block: Block, names: dict[str, Any], where: str) -> None:
    """Run a block of ``>>>`` lines, and compare what they print."""
    test = doctest.DocTestParser().get_doctest(block.text, names, where, where, block.line)
    test.globs = names
    report = io.StringIO()
    runner = doctest.DocTestRunner(optionflags=OPTIONS, verbose=False)
    runner.run(test, out=report.write, clear_globs=False)
    assert runner.summarize(verbose=False).failed == 0, f"{where}\n{report.getvalue()}"


def _run_code(block: Block, names: dict[str, Any], where: str) -> str:
    printed = io.StringIO()
    code = compile(block.text, where, "exec", dont_inherit=True)
    with contextlib.redirect_stdout(printed):
        exec(code, names)
    return printed.getvalue()


def _run_commands(block: Block, where: str) -> None:
    """Run the lines that begin with ``$``; what stands below one is what it must print."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    for command in re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]:
        line, _, expected = command.partition("\n")
        if line.startswith("pip install"):
            continue  # which needs a network
        done = subprocess.run(
            line,
            shell=True,
            capture_output=True,
            text=True,
            env={**os.environ, "PATH": path},
            check=False,
        )
        assert done.returncode == 0, f"{where}: {line}\n{done.stdout}{done.stderr}"
        if expected.strip():
            require_alike(done.stdout, expected, f"{where}: {line}")


def require_alike(printed: str, expected: str, where: str) -> None:
    """Require the same lines, percentages about the same, and times of any length.

    A line of three dots stands for any lines.
    """
    actual = [_masked(line) for line in printed.splitlines()]
    wanted = [_masked(line) for line in expected.splitlines() if line.strip()]
    pattern = "\n".join(r"(?:.*\n?)*?" if line == "..." else re.escape(line) for line in wanted)
    same = re.fullmatch(pattern, "\n".join(line for line in actual if line.strip()))
    assert same, f"{where}: printed\n{printed}\nwhere the page has\n{expected}"
    if "..." not in wanted:
        pairs = zip(SHARE.findall(printed), SHARE.findall(expected), strict=True)
        far = [pair for pair in pairs if abs(float(pair[0]) - float(pair[1])) > SHARES_APART]
        assert not far, f"{where}: {far} are too far apart"


def _masked(line: str) -> str:
    line = SHARE.sub("%", line)
    line = re.sub(r"loss [\d.]+", "loss #", line)
    return re.sub(r"\d+\.\d+ s\b", "# s", line).rstrip()
