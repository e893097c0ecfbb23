"""Opens pages in a headless browser and lets axe-core look at them."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

BROWSER = next((name for name in ("chromium", "google-chrome") if shutil.which(name)), None)

# Each way in which people open a page.
WAYS = [(shade, width) for shade in ("light", "dark") for width in (500, 1200)]

RUN_AXE = """
<script>window.addEventListener("load", () => axe.run(document, {iframes: false}).then(found => {
  const told = found.violations.map(each => [each.id, each.impact, each.nodes[0].html]);
  const wide = document.documentElement.scrollWidth > window.innerWidth;
  const colours = found.passes.some(each => each.id === "color-contrast");
  document.title = JSON.stringify({violations: told, colours: colours, wide: wide});
}))</script>
"""


NOTHING = {"violations": [], "colours": True, "wide": False}


def look_at(page: Path, shade: str, width: int) -> dict[str, Any]:
    """Tell what axe-core finds on a page, and whether it is wider than the window.

    Colours that axe-core cannot read keep it from looking at any, so that is told as well.

    Skips the test where there is no browser or no axe-core.
    """
    axe = pytest.importorskip("axe_core_python")
    if BROWSER is None:
        pytest.skip("no Chromium is installed")
    source = (Path(axe.__file__).parent / "axe.min.js").read_text(encoding="utf-8")
    source = source.replace("</script", "<\\/script")
    opened = page.with_name(f"opened-{page.name}")
    head, _, tail = page.read_text(encoding="utf-8").rpartition("</body>")
    opened.write_text(f"{head}<script>{source}</script>{RUN_AXE}</body>{tail}", encoding="utf-8")
    done = subprocess.run(
        [
            BROWSER,
            *("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"),
            f"--user-data-dir={page.parent / 'profile'}",
            "--host-resolver-rules=MAP * ~NOTFOUND",
            f"--blink-settings=preferredColorScheme={0 if shade == 'dark' else 1}",
            f"--window-size={width},900",
            "--virtual-time-budget=20000",
            "--dump-dom",
            f"file://{opened}",
        ],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    opened.unlink()
    title = re.findall(r"<title>(.*?)</title>", done.stdout, re.DOTALL)[0]
    found: dict[str, Any] = json.loads(html.unescape(title))
    return found
