"""Runs exported pages, or only what computes in them, for tests and benchmarks."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

import numpy as np

BROWSERS = ("chromium", "chromium-browser", "google-chrome")

# Reads images from stdin, as floats of the network's units; writes their probabilities.
_RUN = """
const images = new Float32Array(new Uint8Array(require("fs").readFileSync(0)).buffer);
const network = makeNetwork(model), size = network.channels * network.rows * network.columns;
const all = [];
for (let at = 0; at < images.length; at += size)
  all.push(...network.run(images.subarray(at, at + size)).probabilities);
process.stdout.write(Buffer.from(new Float64Array(all).buffer));
"""


def browser() -> str | None:
    """Return the browser that is installed here."""
    return next((name for name in BROWSERS if shutil.which(name)), None)


def probabilities_of(page: Path, pixels: np.ndarray) -> np.ndarray:
    """Let Node run the page's own script on images (N, C, H, W): floats, bytes divided by 255."""
    text = page.read_text(encoding="utf-8")
    model = re.search(r'<script id="model" type="application/json">(.*?)</script>', text, re.S)
    engine = re.search(r'"use strict";\n(.*?)// Feature maps as colours', text, re.S)
    assert model
    assert engine
    script = f"const model = {model.group(1)};\n{engine.group(1)}\n{_RUN}"
    file = page.with_suffix(".cjs")
    file.write_text(script, encoding="utf-8")
    done = subprocess.run(
        ["node", file],
        input=np.ascontiguousarray(pixels, "<f4").tobytes(),
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    n_classes = len(json.loads(model.group(1))["classNames"])
    return np.frombuffer(done.stdout, "<f8").reshape(len(pixels), n_classes)


class Visit(NamedTuple):
    """What opening a page in a browser led to.

    Attributes
    ----------
    html : str
        The document after its scripts have run.
    requests : list of str
        Addresses that the page asked for.
    """

    html: str
    requests: list[str]

    def text(self, identifier: str) -> str:
        """Return the text of the element of an id."""
        found = re.search(rf'id="{identifier}"[^>]*>(.*?)</p>', self.html, re.S)
        assert found
        return re.sub("<[^>]*>", "", found.group(1))


def visit(page: Path, folder: Path, script: str = "") -> Visit:
    """Open a page in a headless browser, perhaps with a script of the test's own behind its own."""
    opened = folder / "visited.html"
    end = f"<script>{script}</script></body>"
    opened.write_text(page.read_text(encoding="utf-8").replace("</body>", end), encoding="utf-8")
    command = browser()
    assert command
    done = subprocess.run(
        [
            command, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run",
            "--disable-background-networking", "--host-resolver-rules=MAP * ~NOTFOUND",
            f"--user-data-dir={folder / 'profile'}", f"--log-net-log={folder / 'net.json'}",
            "--virtual-time-budget=10000", "--dump-dom", f"file://{opened}",
        ],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )  # fmt: skip
    return Visit(done.stdout, _requests(folder / "net.json"))


def _requests(log: Path) -> list[str]:
    """Read what a page asked for from the browser's log; the browser's own have no origin."""
    text = log.read_text(encoding="utf-8")
    try:
        events = json.loads(text)["events"]
    except ValueError:  # the browser went before it closed the list
        events = json.loads(text.rstrip().rstrip(",") + "]}")["events"]
    parameters = [event.get("params", {}) for event in events]
    return [
        each["url"]
        for each in parameters
        if "url" in each and each.get("initiator", "not an origin") != "not an origin"
    ]
