"""Give what is unreleased a version: in tinycnn/__init__.py, CHANGELOG.md and CITATION.cff.

Usage: cut_release.py VERSION [DATE]

The date is today's unless given, as in 2026-11-26. A version whose section is there already takes
in what has come under "Unreleased" since.
"""

import re
import sys
from datetime import date
from pathlib import Path

from pythons import ROOT

VERSION = re.compile(r"\d+\.\d+\.\d+((a|b|rc)\d+)?")
UNRELEASED = "## Unreleased"


def cut_changelog(text: str, version: str, day: str) -> str:
    """Move what stands under "Unreleased" to the section of a version, new or not."""
    before, _, rest = text.partition(f"{UNRELEASED}\n")
    pieces = re.split(r"^(?=## )", rest, maxsplit=1, flags=re.MULTILINE)
    moved, older = parts_of(pieces[0]), "".join(pieces[1:])
    sections = re.split(r"^(?=## )", older, flags=re.MULTILINE)
    for section in sections:
        if section.startswith(f"## {version} "):
            sections.remove(section)
            _, _, there = section.partition("\n")
            moved = merged(parts_of(there), moved)
            break
    body = "\n\n".join(f"{head}\n\n{lines}".strip() for head, lines in moved.items())
    released = f"## {version} ({day})\n\n{body}\n"
    tail = "".join(sections)
    return f"{before}{UNRELEASED}\n\n{released}" + (f"\n{tail}" if tail else "")


def parts_of(section: str) -> dict[str, str]:
    """Map the headings of a section to what stands below each, and "" to what is above them."""
    pieces = re.split(r"^(### .*)$", section, flags=re.MULTILINE)
    parts = {"": pieces[0].strip()} if pieces[0].strip() else {}
    return parts | {
        head: lines.strip() for head, lines in zip(pieces[1::2], pieces[2::2], strict=True)
    }


def merged(first: dict[str, str], second: dict[str, str]) -> dict[str, str]:
    """Add the lines of the second to those of the first, heading by heading."""
    heads = [*first, *(head for head in second if head not in first)]
    return {head: "\n".join(filter(None, (first.get(head), second.get(head)))) for head in heads}


def replace_once(path: Path, pattern: str, line: str) -> None:
    """Put a line in the place of the one that a pattern matches."""
    before = path.read_text("utf-8")
    text, n = re.subn(pattern, line, before, flags=re.MULTILINE)
    if n != 1:
        sys.exit(f"{path}: {n} lines match {pattern!r}, where there must be one")
    if text != before:  # what is written is built again
        path.write_text(text, encoding="utf-8")


def cut(root: Path, version: str, day: str) -> None:
    """Write version and date into the three files."""
    replace_once(
        root / "tinycnn/__init__.py", r'^__version__ = ".*"$', f'__version__ = "{version}"'
    )
    replace_once(root / "CITATION.cff", r"^version: .*$", f"version: {version}")
    replace_once(root / "CITATION.cff", r"^date-released: .*$", f"date-released: {day}")
    changelog = root / "CHANGELOG.md"
    changelog.write_text(cut_changelog(changelog.read_text("utf-8"), version, day), "utf-8")


def main(version: str, day: str = "") -> None:
    """Check the arguments and do it."""
    if not VERSION.fullmatch(version):
        sys.exit(f"VERSION: must be like 0.2.0 or 1.0.0rc1, got {version!r}")
    day = date.fromisoformat(day).isoformat() if day else date.today().isoformat()
    cut(ROOT, version, day)
    print(f"{version} of {day}: look at `git diff`, commit, and tag it v{version}")


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    main(*sys.argv[1:])
