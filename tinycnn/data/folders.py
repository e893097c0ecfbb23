"""Entries of a folder, without what systems leave behind."""

from __future__ import annotations

from pathlib import Path

# What file managers, archivers, network drives and notebooks leave behind; names with a leading
# dot are system files as well.
_SYSTEM_NAMES = frozenset(
    {
        "thumbs.db",
        "ehthumbs.db",
        "ehthumbs_vista.db",
        "desktop.ini",
        "icon\r",
        "__macosx",
        "__pycache__",
        "@eadir",
        "#recycle",
        "@recycle",
        "$recycle.bin",
        "system volume information",
        "lost+found",
        "picasa.ini",
    }
)

PICTURE_SUFFIXES = frozenset(
    (
        *(".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".dib", ".gif", ".webp"),
        *(".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".pnm"),
    )
)


def is_system_name(name: str) -> bool:
    """Whether a file or folder is one that systems make for themselves, by its name."""
    return name.startswith(".") or name.lower() in _SYSTEM_NAMES


def visible(folder: Path) -> list[Path]:
    """Entries of a folder, sorted by name, without hidden and system files."""
    return sorted(entry for entry in folder.iterdir() if not is_system_name(entry.name))


def holds_only_files(folder: Path) -> bool:
    """Whether a folder has neither folders nor pictures in it: a folder of data files."""
    return not any(
        entry.suffix.lower() in PICTURE_SUFFIXES or entry.is_dir() for entry in visible(folder)
    )
