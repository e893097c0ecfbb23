"""Makes the report that the guide shows, with the commands that it shows, when it is built."""

import contextlib
import io
from pathlib import Path
from tempfile import TemporaryDirectory

from sphinx.application import Sphinx

import tinycnn
from tinycnn.cli import main


def make(app: Sphinx) -> None:
    """Train on the digits and report on it, unless that has been done by the code that is here."""
    page = Path(app.srcdir) / "_static" / "report.html"
    newest = max(path.stat().st_mtime for path in Path(tinycnn.__file__).parent.rglob("*.py"))
    if page.exists() and page.stat().st_mtime > newest:
        return
    with TemporaryDirectory() as folder, contextlib.chdir(folder):
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
            codes = [
                main(["train", "--quiet", "--patience", "8", "-o", "digits.npz"]),
                main(["report", "digits.npz", "-o", str(page)]),
            ]
        if any(codes):
            raise RuntimeError(printed.getvalue())


def setup(app: Sphinx) -> dict[str, bool]:
    """Tell Sphinx of it."""
    app.connect("builder-inited", make)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
