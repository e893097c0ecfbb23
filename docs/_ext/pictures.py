"""The guide's pictures: drawn when it is built, once for light and once for dark pages.

The directive ``picture`` takes the name of a function in ``drawings.py`` and shows what it draws;
its content is the caption. The option ``alt`` says what there is to see, for those who do not.

``python docs/_ext/pictures.py`` draws README's picture anew, which is a file of the repository.
"""

from pathlib import Path
from typing import Any, ClassVar

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

STYLES = {"light": "default", "dark": "dark_background"}
PAGE_COLOURS = {"light": "#ffffff", "dark": "#131416"}  # furo's backgrounds


class Picture(SphinxDirective):
    """A picture in both colours, with a caption."""

    required_arguments = 1
    has_content = True
    option_spec: ClassVar = {"alt": directives.unchanged_required, "width": directives.unchanged}

    def run(self) -> list[nodes.Node]:
        """Draw the picture and return its nodes."""
        name = self.arguments[0]
        folder = Path(self.env.srcdir) / "_pictures"
        draw(name, folder)
        found = []
        for shade in STYLES:
            image = nodes.image(
                uri=f"/_pictures/{name}-{shade}.svg",
                alt=self.options["alt"],
                candidates={},
                classes=[f"only-{shade}", "picture"],
            )
            if "width" in self.options:
                image["width"] = self.options["width"]
            found.append(image)
        figure = nodes.figure("", *found)
        if self.content:
            caption = nodes.caption()
            self.state.nested_parse(self.content, self.content_offset, holder := nodes.Element())
            caption += holder[0].children
            figure += caption
        figure["classes"].append("picture")
        return [figure]


def draw(name: str, folder: Path) -> None:
    """Draw a picture into a folder, light and dark, unless it is there already and up to date."""
    folder.mkdir(exist_ok=True)
    newest = max(path.stat().st_mtime for path in Path(__file__).parent.glob("*.py"))
    for shade in STYLES:
        path = folder / f"{name}-{shade}.svg"
        if not path.exists() or path.stat().st_mtime <= newest:
            draw_as(shade, name, path)


def draw_as(shade: str, name: str, path: Path, **settings: Any) -> None:
    """Draw a picture for light or for dark pages into a file, of the kind that its name says."""
    import drawings
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    colour = PAGE_COLOURS[shade]
    look = {
        "axes.facecolor": colour,
        "figure.facecolor": colour,
        "svg.hashsalt": name,
        "font.size": 11,
        **settings,
    }
    with plt.style.context(STYLES[shade]), mpl.rc_context(look):
        figure = getattr(drawings, name)()
        figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)
        plt.close(figure)


def draw_for_readme(folder: Path) -> None:
    """Draw README's picture, which stands in the repository, for pages that nobody builds."""
    for shade in STYLES:
        path = folder / f"what-you-get-{shade}.png"
        draw_as(shade, "what_you_get", path, **{"savefig.dpi": 150})


def setup(app: Sphinx) -> dict[str, bool]:
    """Tell Sphinx of the directive."""
    app.add_directive("picture", Picture)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


if __name__ == "__main__":
    draw_for_readme(Path(__file__).parent.parent / "_static")
