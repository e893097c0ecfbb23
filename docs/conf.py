"""How Sphinx builds the guide: ``make docs``. Neither this nor its pages need a network."""

import re
import sys
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parent
sys.path.insert(0, str(DOCS / "_ext"))

import tinycnn  # noqa: E402

project = "tinycnn"
author = "the tinycnn developers"
copyright = "the tinycnn developers"
version = release = tinycnn.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "numpydoc",
    "sphinx_gallery.gen_gallery",
    "accessible",
    "commands",
    "example_report",
    "formulas",
    "measured",
    "outside",
    "pictures",
]
exclude_patterns = ["_build", "gallery/*.ipynb", "gallery/*.zip"]

html_theme = "furo"
html_title = f"tinycnn {release}"
html_static_path = ["_static"]
html_css_files = ["guide.css"]
html_math_renderer = "mathml"
html_copy_source = False
html_theme_options = {"footer_icons": []}

myst_enable_extensions = ["dollarmath", "attrs_block", "deflist", "colon_fence"]
myst_heading_anchors = 3
suppress_warnings = ["config.cache"]  # sphinx-gallery keeps a class in its configuration

autodoc_typehints = "none"  # the docstrings have the types
autodoc_member_order = "bysource"
numpydoc_show_class_members = False
numpydoc_xref_param_type = False

sphinx_gallery_conf = {
    "examples_dirs": ["../examples"],
    "gallery_dirs": ["gallery"],
    "filename_pattern": r"/plot_",  # those run here; the tests run all
    "ignore_pattern": r"__init__\.py",
    "download_all_examples": False,
    "show_memory": False,
    "show_signature": False,
    "min_reported_time": 1e9,
    "remove_config_comments": True,
    "write_computation_times": False,
}


def setup(app: Any) -> None:
    """Let docstrings be read as they were meant."""
    app.connect("autodoc-process-docstring", escape_stars, priority=400)  # before numpydoc


def escape_stars(app: Any, *about: Any) -> None:
    """Take stars in shapes and patterns, (N, *shape) and "*.png", for stars and no emphasis.

    So too the underscore that an attribute of scikit-learn ends in, where another one is meant.
    """
    lines: list[str] = about[-1]
    lines[:] = [re.sub(r"(?<![*`\w])\*(?=[\w.])", r"\\*", line) for line in lines]
    lines[:] = [line.replace("(n_features_in_,)", "(``n_features_in_``,)") for line in lines]
    lines[:] = [line.replace('"\\*_{label}.png"', '``"*_{label}.png"``') for line in lines]
