"""A report: one HTML page that says how good a network is, where it fails and what it is made of.

facts.py      what there is to say, in numbers
markup.py     pieces of HTML: text that is safe to show, tables, pictures
charts.py     curves and bars as SVG
sections.py   the parts of the page
page.py       write_report: the page as a whole
"""

from tinycnn.report.facts import Background
from tinycnn.report.page import write_report

__all__ = ["Background", "write_report"]
