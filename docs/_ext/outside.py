"""Links that lead out of ``docs/`` in the repository lead to copies of these files in the guide.

Python files, which Sphinx copies by itself, are left alone; pages of other folders are copied as
they stand; folders are named and no links.
"""

import re
from pathlib import Path

from sphinx.application import Sphinx

LINK = re.compile(r"(?<!!)\[([^\]]+)\]\((\.\./[^)\s]+)\)")


def copy_or_name(app: Sphinx, page: str, source: list[str]) -> None:
    """Rewrite the links of a page before it is read."""
    folder = Path(app.srcdir, page).parent

    def rewritten(link: re.Match[str]) -> str:
        target = (folder / link[2]).resolve()
        if target.is_dir():
            return link[1]
        if target.suffix == ".md" and not target.is_relative_to(Path(app.srcdir).resolve()):
            return f"{{download}}`{link[1].strip('`')} <{link[2]}>`"
        return link[0]

    source[0] = LINK.sub(rewritten, source[0])


def setup(app: Sphinx) -> dict[str, bool]:
    """Tell Sphinx to rewrite what it reads."""
    app.connect("source-read", copy_or_name)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
