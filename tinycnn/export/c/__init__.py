"""C99: a network as a header without dependencies, in floats or in eight-bit integers."""

from tinycnn.export.c.files import CSizes, to_c
from tinycnn.export.c.functions import TRANSLATIONS, Writer
from tinycnn.export.c.plan import Call

__all__ = ["TRANSLATIONS", "CSizes", "Call", "Writer", "to_c"]
