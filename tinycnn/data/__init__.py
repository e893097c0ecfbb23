"""Readers: from files to images (N, C, H, W), labels (N,) and the names of the classes.

One file per format. Every reader ends in a `Dataset`, checked once in `dataset.py`:

    dataset.py       Dataset, and the checks that every source passes
    digits.py        load_digits       the bundled handwritten digits
    idx.py           read_idx, is_idx  IDX files, plain or gzip (MNIST, Fashion-MNIST, ...)
    npz.py                             NPZ archives of images and labels
    archive.py                         the arrays of an NPZ archive, read with distrust; written
    bounded.py                         reading no more than is there
    image_file.py    read_image        one picture, through Pillow
    image_folder.py  load_image_folder one subfolder per class
    sources.py       load, parts       which of these a path is

Scaling
-------
Images are either bytes or floats, and there is one rule for both. Bytes (uint8) run from 0 to
255, as files store them; floats run from 0 to 1. **Byte b and float b / 255 are the same grey**,
and the network treats them alike. Readers return uint8 wherever the file stores bytes and copy
nothing to float, which would take four to eight times the memory. The bundled digits are floats
because their 17 levels, 0/16 to 16/16, have no exact byte.
"""

from .dataset import Dataset
from .digits import load_digits
from .idx import is_idx, read_idx
from .image_file import read_image
from .image_folder import load_image_folder
from .sources import load, parts

__all__ = [
    "Dataset",
    "is_idx",
    "load",
    "load_digits",
    "load_image_folder",
    "parts",
    "read_idx",
    "read_image",
]
