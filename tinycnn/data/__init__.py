"""Readers: from files to images (N, C, H, W), labels (N,) and the names of the classes.

One file per format. Every reader ends in a `Dataset`, checked once in `dataset.py`:

    dataset.py        Dataset, and the checks that every source passes
    image_arrays.py   which axis is what, and on which scale
    label_arrays.py   columns, one-hot, names, numbers with gaps
    part_names.py     what names say: train or test, images or labels
    digits.py         load_digits       the bundled handwritten digits

    reader.py         what a reader is: to add a format, write one and name it in sources.py
    idx.py            read_idx, is_idx  IDX files, plain or gzip
    idx_files.py                        their names: MNIST, Fashion-MNIST, QMNIST, EMNIST
    emnist.py                           what is particular to EMNIST
    named_arrays.py                     arrays by name, in one file or several
    npz.py npy.py hdf5.py mat.py        whose files these are
    array_files.py                      folders of them
    csv_pixels.py libsvm.py             an image a line
    cifar.py stl10.py records.py        binary files of CIFAR and STL-10
    parquet.py                          tables of encoded pictures
    gunzip.py optional.py               gzip, and other libraries

    image_file.py     read_image        one picture, through Pillow
    pixels.py tiff.py                   its depth and transparency; what a TIFF's tags say
    pictures.py parallel.py             many pictures, by threads
    folders.py problems.py              what to pass over; all that is wrong, in one line
    folder_layout.py class_folders.py   parts, and the classes in them
    file_labels.py                      labels in names and tables
    image_folder.py   load_image_folder one subfolder per class

    sources.py        load, parts       which of these a path is
    foreign.py                          what it is if none, and how to convert it
    stream.py         stream_images     images for prediction, batch by batch
    conform.py        conform           making a data set fit another
    duplicates.py     duplicates        images that are in two data sets

Scaling
-------
Readers return images as their files have them and divide nothing. Bytes (uint8) run from 0 to 255.
Floats usually run from 0 to 1, and then **byte b and float b / 255 are the same grey**, which the
network treats alike. Images of more than 8 bits are uint16, and floats on another scale stay on
it: there only the training images tell what is dark and what is bright, so a network must learn
the scale from them. Whole numbers in 0..255 are bytes, however they were stored. The bundled
digits are floats because their 17 levels, 0/16 to 16/16, have no exact byte.
"""

from .conform import conform
from .dataset import Dataset
from .digits import load_digits
from .duplicates import duplicates, duplicates_note
from .idx import is_idx, read_idx
from .image_file import read_image
from .image_folder import load_image_folder
from .sources import load, parts
from .stream import Batch, Failure, ImageStream, stream_images

__all__ = [
    "Batch",
    "Dataset",
    "Failure",
    "ImageStream",
    "conform",
    "duplicates",
    "duplicates_note",
    "is_idx",
    "load",
    "load_digits",
    "load_image_folder",
    "parts",
    "read_idx",
    "read_image",
    "stream_images",
]
