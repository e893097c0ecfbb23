"""Formats that are not read: what they are, told by content or name, and how to convert them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

_TO_PNG = "convert it to PNG or JPEG"
_PICKLE = (
    "it could run code when loaded and is not read: if you trust it, load it in Python with "
    "d = pickle.load(open(path, 'rb'), encoding='bytes') and save its arrays with "
    "np.savez_compressed('data.npz', images=..., labels=...)"
)
_TABLE = "save its arrays with np.savez_compressed('data.npz', images=..., labels=...)"


class Foreign(NamedTuple):
    """What a file is, and the way out."""

    what: str
    way_out: str

    def __str__(self) -> str:
        """Say both, to follow a file's name."""
        return f"is {self.what}: {self.way_out}"


_HEIC = Foreign("a HEIC picture", f"{_TO_PNG} (heif-convert a.heic a.png, or in macOS: sips)")
_AVIF = Foreign("an AVIF picture", f"{_TO_PNG} (avifdec a.avif a.png)")
_JPEG_2000 = Foreign("a JPEG 2000 picture", f"{_TO_PNG} (magick a.jp2 a.png)")
_SVG = Foreign("an SVG drawing", f"{_TO_PNG} of the size you want (rsvg-convert a.svg -o a.png)")
_PDF = Foreign("a PDF document", f"{_TO_PNG}, page by page (pdftoppm -png a.pdf a)")
_RAW = Foreign("a camera's raw picture", f"{_TO_PNG} (with the camera's program, or darktable-cli)")
_DICOM = Foreign(
    "a DICOM image", "save its pixels as 16-bit PNG (pydicom.dcmread(path).pixel_array)"
)
_VIDEO = Foreign("a video", "take single pictures out of it (ffmpeg -i a.mp4 a-%04d.png)")
_ARCHIVE = "unpack it first and give the folder"
_TAR = Foreign("a tar archive", f"{_ARCHIVE} (mkdir photos; tar -xf FILE -C photos)")
_GZIP = Foreign("a gzip file, but no IDX file", "unpack it first (gunzip, or tar -xzf for tar.gz)")
_ZIP = Foreign("a zip archive", f"{_ARCHIVE} (unzip FILE -d photos)")

# Bytes at a position -> what begins so.
_MAGICS: tuple[tuple[int, bytes, Foreign], ...] = (
    (4, b"ftyphei", _HEIC),
    (4, b"ftyphev", _HEIC),
    (4, b"ftypmif1", _HEIC),
    (4, b"ftypavi", _AVIF),
    (4, b"ftyp", _VIDEO),
    (0, b"\0\0\0\x0cjP  ", _JPEG_2000),
    (0, b"\xff\x4f\xff\x51", _JPEG_2000),
    (0, b"%PDF", _PDF),
    (0, b"%!PS", Foreign("a PostScript document", f"{_TO_PNG} (gs -sDEVICE=png16m)")),
    (0, b"8BPS", Foreign("a Photoshop document", _TO_PNG)),
    (0, b"\0\0\1\0", Foreign("a Windows icon", _TO_PNG)),
    (0, b"\x76\x2f\x31\x01", Foreign("an OpenEXR picture", "save it as TIFF of floats, or PNG")),
    (0, b"\x1a\x45\xdf\xa3", _VIDEO),
    (128, b"DICM", _DICOM),
    (257, b"ustar", _TAR),
    (0, b"PK\3\4", _ZIP),
    (0, b"\x1f\x8b", _GZIP),
    (0, b"7z\xbc\xaf\x27\x1c", Foreign("a 7z archive", f"{_ARCHIVE} (7z x)")),
    (0, b"Rar!", Foreign("a RAR archive", f"{_ARCHIVE} (unrar x)")),
    (0, b"\xfd7zXZ", Foreign("an xz file", "unpack it first (unxz, or tar -xf for tar.xz)")),
    (0, b"BZh", Foreign("a bzip2 file", "unpack it first (bunzip2, or tar -xf for tar.bz2)")),
    (0, b"SQLite format 3", Foreign("an SQLite database", _TABLE)),
    *(
        (0, start, Foreign("a text in UTF-16", "save it as UTF-8 (in Excel: CSV UTF-8)"))
        for start in (b"\xff\xfe", b"\xfe\xff")
    ),
    (0, b"ARROW1", Foreign("an Arrow file", "save it as Parquet (dataset.to_parquet)")),
)

_SUFFIXES: dict[str, Foreign] = {
    **dict.fromkeys((".heic", ".heif"), _HEIC),
    ".avif": _AVIF,
    **dict.fromkeys((".jp2", ".j2k", ".jpx"), _JPEG_2000),
    ".svg": _SVG,
    ".svgz": _SVG,
    ".pdf": _PDF,
    **dict.fromkeys((".cr2", ".cr3", ".nef", ".arw", ".dng", ".orf", ".rw2", ".raf"), _RAW),
    **dict.fromkeys((".dcm", ".dicom"), _DICOM),
    **dict.fromkeys((".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v"), _VIDEO),
    ".tga": Foreign("a TGA picture", f"{_TO_PNG} (magick a.tga a.png)"),
    ".psd": Foreign("a Photoshop document", _TO_PNG),
    ".exr": Foreign("an OpenEXR picture", "save it as TIFF of floats, or PNG"),
    ".jxl": Foreign("a JPEG XL picture", f"{_TO_PNG} (djxl a.jxl a.png)"),
    **dict.fromkeys((".nii", ".mha", ".nrrd"), Foreign("a medical volume", _TABLE)),
    ".tar": _TAR,
    **dict.fromkeys((".pkl", ".pickle", ".joblib"), Foreign("a Python pickle", _PICKLE)),
    **dict.fromkeys((".pt", ".pth"), Foreign("PyTorch's file of pickled tensors", _PICKLE)),
    **dict.fromkeys((".tfrecord", ".tfrecords"), Foreign("TensorFlow's TFRecord", _TABLE)),
    ".mat": Foreign("a MATLAB file of version 4", "save it again (save -v7 data.mat X y)"),
    **dict.fromkeys((".xls", ".xlsx", ".ods"), Foreign("a spreadsheet", "save it as CSV")),
}

_PICKLE_START = re.compile(rb"\x80[\x02-\x05]")
_SVG_START = re.compile(
    rb"\s*(<\?xml[^>]*>\s*)?(<!--.*?-->\s*|<!DOCTYPE svg[^>]*>\s*)*<svg\b", re.DOTALL
)
_HTML_START = re.compile(rb"\s*(<!doctype html|<html)", re.IGNORECASE)
_HTML = Foreign("an HTML page", "what was to be fetched is not there; fetch it again")


def identify(path: Path, start: bytes) -> Foreign | None:
    """Say what a file that is not read is, or None if that is not known.

    Parameters
    ----------
    path : path
        Its ending counts where its content tells nothing.
    start : bytes
        The first 512 bytes.
    """
    if _SVG_START.match(start):
        return _SVG
    if _HTML_START.match(start):
        return _HTML
    if _PICKLE_START.match(start):
        return Foreign("a Python pickle", _PICKLE)
    for position, magic, foreign in _MAGICS:
        if start[position : position + len(magic)] == magic:
            return foreign
    return _SUFFIXES.get(path.suffix.lower())
