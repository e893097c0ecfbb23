"""The directive ``commands``: the help of the command line and of each of its commands."""

import os

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from tinycnn.cli.app import COMMANDS
from tinycnn.cli.parser import build_parser


class Commands(SphinxDirective):
    """A section a command, with what ``--help`` prints."""

    def run(self) -> list[nodes.Node]:
        """Ask each parser for its help."""
        os.environ["COLUMNS"] = "88"
        parser = build_parser(COMMANDS)
        [commands] = [
            each for each in parser._actions if each.dest == "==SUPPRESS==" and each.choices
        ]
        found = [_section("tinycnn", parser.format_help())]
        for name, command in commands.choices.items():
            found.append(_section(f"tinycnn {name}", command.format_help()))
        return found


def _section(name: str, text: str) -> nodes.section:
    section = nodes.section(ids=[nodes.make_id(name)], names=[name])
    section += nodes.title("", name)
    section += nodes.literal_block(text, text, language="none")
    return section


def setup(app: Sphinx) -> dict[str, bool]:
    """Tell Sphinx of the directive."""
    app.add_directive("commands", Commands)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
