"""The page that lists the results of all kinds of CPU.

python benchmarks/index.py
"""

import json
import sys
from pathlib import Path
from typing import Any

if not __package__:  # run as a file: let an installed tinycnn come before the one beside us
    here = Path(__file__).resolve().parent
    sys.path[:] = [*(path for path in sys.path if path != str(here)), str(here.parent)]

from benchmarks.kinds import RESULTS

PAGE = "README.md"
SHOWN = "epoch-8f3x3-b128"  # what the page tells of each kind
HEAD = """# Results, by kind of CPU

Times of different CPUs stand apart: compare ratios within a kind, not times across kinds.
This page is written by `python benchmarks/index.py`, and at the end of each run that writes here.

| kind of CPU | measured | seconds of an epoch | best PyTorch / tinycnn | pages |
|---|---|---:|---:|---|
"""
TAIL = """
Seconds of an epoch: tinycnn, 60,000 images of 28x28, 8 filters 3x3, batch 128, one thread.
"""


def write_index(folder: Path = RESULTS) -> None:
    """Write the page that lists all kinds in a folder of results."""
    (folder / PAGE).write_text(index_text(folder), encoding="utf-8")


def index_text(folder: Path) -> str:
    """Compose the page from what stands in the folder."""
    kinds = sorted(path for path in folder.iterdir() if path.is_dir())
    return HEAD + "".join(map(_row, kinds)) + TAIL


def _row(kind: Path) -> str:
    date, seconds, ratio = "", "", ""
    latest = kind / "latest.json"
    if latest.exists():
        results = json.loads(latest.read_text(encoding="utf-8"))
        date = results["machine"]["date"][:10]
        seconds, ratio = _shown(results)
    pages = sorted(path.relative_to(kind.parent).as_posix() for path in kind.rglob("*.md"))
    links = ", ".join(f"[{_title(page)}]({page})" for page in pages)
    return f"| {kind.name} | {date} | {seconds} | {ratio} | {links} |\n"


def _shown(results: dict[str, Any]) -> tuple[str, str]:
    """Return what the page tells of a kind, empty where it was not measured."""
    for outcome in results["experiments"]:
        if outcome["name"] == SHOWN:
            medians = {row["name"]: row["median"] for row in outcome["contestants"]}
            ratio = outcome["ratios"].get("best PyTorch / tinycnn")
            seconds = f"{medians['tinycnn']:.3f}" if "tinycnn" in medians else ""
            return seconds, f"{ratio:.1f}" if ratio else ""
    return "", ""


def _title(page: str) -> str:
    return "/".join(page.split("/")[1:]).removesuffix(".md").replace("/", " ")


if __name__ == "__main__":
    write_index()
