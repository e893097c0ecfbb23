"""Bundled data: the UCI handwritten digits. README.md tells where they come from."""
