"""Mends what Sphinx and its theme leave out for those who read by keyboard or by ear."""

from pathlib import Path

from sphinx.application import Sphinx

MENDED = {
    # Headings of the table of contents say how deep they are.
    '<p class="caption" role="heading">': '<p class="caption" role="heading" aria-level="2">',
    # What scrolls can be reached by keyboard.
    "<pre>": '<pre tabindex="0">',
    '<div class="table-wrapper': '<div tabindex="0" class="table-wrapper',
    '<div class="formula">': '<div tabindex="0" class="formula">',
    # Two parts of a page at its side have different names.
    '<aside class="sidebar-drawer">': '<aside class="sidebar-drawer" aria-label="Chapters">',
    '<aside class="toc-drawer">': '<aside class="toc-drawer" aria-label="On this page">',
    '<aside class="toc-drawer no-toc">': '<aside class="toc-drawer no-toc" aria-label="This page">',
}


def mend(app: Sphinx, error: Exception | None) -> None:
    """Write all pages again, mended."""
    for path in Path(app.outdir).rglob("*.html"):
        if error is None and "_static" not in path.parts:
            text = path.read_text(encoding="utf-8")
            for before, after in MENDED.items():
                text = text.replace(before, after)
            path.write_text(text, encoding="utf-8")


def setup(app: Sphinx) -> dict[str, bool]:
    """Tell Sphinx to mend the pages when they are written."""
    app.connect("build-finished", mend)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
