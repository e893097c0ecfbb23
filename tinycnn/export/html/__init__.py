"""A page: one HTML file that computes a network in the browser and shows every layer of it."""

from tinycnn.export.html.page import TRANSLATIONS, PageLayer, to_html

__all__ = ["TRANSLATIONS", "PageLayer", "to_html"]
