"""The directive ``measured``: a table of times, straight from the newest results of a benchmark.

Its arguments are a file of ``benchmarks/results/*`` and one of its experiments; each line of its
content is a contestant, then a colon, then what the table calls it. The caption names CPU and date.
"""

import json
from datetime import datetime
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

RESULTS = Path(__file__).parent.parent.parent / "benchmarks" / "results"


def newest(name: str, experiment: str) -> tuple[Path, dict[str, Any]]:
    """Return the newest of the files of a name that have an experiment, and what it holds."""
    found = RESULTS.glob(f"*/{name}.json")
    files = {path: json.loads(path.read_text("utf-8")) for path in found}
    files = {
        path: results
        for path, results in files.items()
        if any(each["name"] == experiment for each in results["experiments"])
    }
    path = max(files, key=lambda each: files[each]["machine"]["date"])
    return path, files[path]


def times(results: dict[str, Any], experiment: str) -> tuple[str, dict[str, float]]:
    """Say what was measured, and map the contestants of an experiment to their seconds."""
    [found] = [each for each in results["experiments"] if each["name"] == experiment]
    rows = found["contestants"]
    if "median" in rows[0]:
        return "medians of wall time", {row["name"]: row["median"] for row in rows}
    words = f"CPU time, the least of {len(rows[0]['seconds'])} rounds"
    return words, {row["name"]: row["min"] for row in rows}


class Measured(SphinxDirective):
    """A table with a row a contestant: its time, and how many times that of the last row."""

    required_arguments = 2
    has_content = True

    def run(self) -> list[nodes.Node]:
        """Read the results and return the table."""
        path, results = newest(*self.arguments)
        self.env.note_dependency(str(path))
        words, found = times(results, self.arguments[1])
        chosen = [[word.strip() for word in line.split(":", 1)] for line in self.content]
        last = found[chosen[-1][0]]
        rows = [(name, _time(found[key]), f"{found[key] / last:.1f}") for key, name in chosen]
        machine = results["machine"]
        date = datetime.fromisoformat(machine["date"]).date()
        caption = f"{machine['cpu_model']} ({machine['cpu_kind']}), {date}, {words}"
        return [_table(caption, ("", "time", "× the last"), rows)]


def _time(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds >= 1 else f"{seconds * 1000:.3g} ms"


def _table(title: str, head: tuple[str, ...], rows: list[tuple[str, ...]]) -> nodes.table:
    table = nodes.table("", nodes.title("", title))
    group = nodes.tgroup(cols=len(head))
    group += [nodes.colspec(colwidth=width) for width in (5, 2, 2)]
    group += nodes.thead("", _row(head))
    group += nodes.tbody("", *map(_row, rows))
    table += group
    return table


def _row(cells: tuple[str, ...]) -> nodes.row:
    return nodes.row("", *(nodes.entry("", nodes.paragraph("", cell)) for cell in cells))


def setup(app: Sphinx) -> dict[str, bool]:
    """Tell Sphinx of the directive."""
    app.add_directive("measured", Measured)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
