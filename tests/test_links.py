"""Links lead to files and headings that are there; those to other places are well-formed and known.

Whether other places still answer takes a network: ``make linkcheck``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

ROOT = Path(__file__).parent.parent

# Whom we link to, and for what. A new one gets its line here, so that somebody has looked at it.
HOSTS = {
    "arxiv.org": "papers",
    "cibuildwheel.pypa.io": "builds the wheels of a release",
    "creativecommons.org": "the licence of the digits",
    "cs.stanford.edu": "STL-10",
    "docs.dask.org": "clusters of many machines",
    "doi.org": "the digits",
    "example.invalid": "tests of what must not be asked for",
    "example.org": "a placeholder for the project's own address",
    "github.com": "the formats of Parquet files and of what is in them",
    "kellerjordan.github.io": "Muon",
    "numpy.org": "the format of NPY files",
    "semver.org": "what versions mean",
    "ufldl.stanford.edu": "SVHN",
    "www.cs.toronto.edu": "CIFAR",
    "www.itu.int": "the format of TIFF files",
}

# Those that have no https, and names that are no places.
INSECURE = {"ufldl.stanford.edu", "example.invalid"}

MADE = {"_build", "_pictures", "gallery", "golden", "__pycache__", "results"}
READ = {".md", ".py", ".pyx", ".pxi", ".pxd", ".pyi", ".toml", ".cff", ".css", ".html", ".js"}

URL = re.compile(r"\bhttps?://\w[^\s)>\]\"'`|\\,}]*")
FENCED = re.compile(r"^(`{3,}).*?^\1[ ]*$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)|(?:src|srcset)=\"([^\"]+)\"")


def sources() -> Iterator[Path]:
    """Yield every file that may hold a link: those at the top, and in these folders."""
    folders = ("benchmarks", "docs", "examples", "fuzz", "tests", "tinycnn", "tools")
    below = (path for folder in folders for path in (ROOT / folder).rglob("*"))
    for path in sorted([*ROOT.iterdir(), *below]):
        if path.suffix in READ and path.is_file() and not MADE & set(path.parts):
            yield path


PAGES = [path for path in sources() if path.suffix == ".md"]


def name_of(path: Path) -> str:
    """Name a file as it stands in the repository."""
    return path.relative_to(ROOT).as_posix()


def links_of(page: Path) -> list[str]:
    """List what the links of a page lead to, but for those in code."""
    text = re.sub(FENCED, "", page.read_text(encoding="utf-8"))
    return [link or image for link, image in LINK.findall(re.sub(r"`[^`\n]*`", "`code`", text))]


def anchors_of(page: Path) -> set[str]:
    """List the anchors of the headings of a page, as forges and MyST make them."""
    text = re.sub(FENCED, "", page.read_text(encoding="utf-8"))
    titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def where_to(page: Path, link: str) -> Path | None:
    """Find the file that a link within the repository leads to."""
    target = page.parent / link if link else page
    candidates = [target, target.with_name(f"{target.name}.md")]
    return next((path for path in candidates if path.exists()), None)


def problems_of(page: Path) -> Iterator[str]:
    """Say which links of a page lead nowhere."""
    for link in links_of(page):
        if urlsplit(link).scheme or link.startswith("gallery/"):  # which the guide's build makes
            continue
        file, _, anchor = link.partition("#")
        target = where_to(page, file)
        if target is None:
            yield f"{link}: no such file"
        elif anchor and anchor not in anchors_of(target):
            yield f"{link}: {target.name} has no such heading"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    assert list(problems_of(page)) == []


def test_a_link_that_leads_nowhere_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# A title, and more\n\n[a](page.md#a-title-and-more) [b](page) [c](https://a.b) [](#no)\n"
        '[d](none.md) <img src="none.png">\n\n`[e](none)`\n\n```text\n[f](none)\n```\n'
    )
    assert [problem.split(":")[0] for problem in problems_of(page)] == [
        "#no",
        "none.md",
        "none.png",
    ]


NAMED = re.compile(r"`([\w./-]+\.(?:py|pyx|pxi|pxd|pyi|md|toml))`")
NOT_OURS = {"accuracy-STUDY.md", "latest.md"}  # what a benchmark writes


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_files_that_a_page_names_are_there(page: Path) -> None:
    there = {path.name for path in sources()} | NOT_OURS | {"README.md"}
    for name in NAMED.findall(page.read_text(encoding="utf-8")):
        assert Path(name).name in there, f"{name_of(page)} names {name}"


def test_every_other_place_is_well_formed_and_known() -> None:
    found = {}
    for path in sources():
        for url in URL.findall(path.read_text(encoding="utf-8")):
            found[url.rstrip(".:;")] = path
    found = {url: path for url, path in found.items() if path != Path(__file__)}
    for url, path in found.items():
        parts = urlsplit(url)
        assert parts.hostname in HOSTS, f"{name_of(path)}: {url}: HOSTS does not know it"
        assert parts.scheme == "https" or parts.hostname in INSECURE, f"{name_of(path)}: {url}"
    assert set(HOSTS) == {urlsplit(url).hostname for url in found}
