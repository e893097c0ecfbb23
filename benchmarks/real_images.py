"""Data sets of real pictures, made from what Debian packages hold: the files people would have.

Packages are downloaded with ``apt-get`` and unpacked with ``dpkg-deb``. Pictures are written as
``FOLDER/TASK/SPLIT/train/CLASS/*.png`` and ``.../test/...``; each split of a task holds other
images out for the test.
"""

import subprocess
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

import tinycnn

TEST_SHARE = 0.2

LEAST_ICONS = 20  # of a class

FONTS = """bebas-neue breip cabin cantarell comfortaa crosextra-caladea crosextra-carlito
    dejavu-core dejavu-extra dosis dustin ebgaramond ecolier-court fantasque-sans freefont-ttf
    goudybookletter hack inconsolata jura lato league-spartan liberation linuxlibertine monofur
    open-sans play prociono quicksand roboto-unhinted sjfonts sora urw-base35 vollkorn
    yanone-kaffeesatz"""
FONT_PACKAGES = [f"fonts-{name}" for name in FONTS.split()]
FONTS_OF_A_PACKAGE = 4
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
LETTER_SIDE = 28

CROP_SIDE, CROPS_ACROSS, CROPS_DOWN = 32, 12, 10

FASHION_TRAIN, FASHION_TEST = 10_000, 2_000


class Picture(NamedTuple):
    """A picture of a class.

    Attributes
    ----------
    label : str
    name : str
        Of its file; one a class.
    image : PIL.Image.Image
    group : str
        Pictures of a group are all trained on, or all tested; "" for one on its own.
    """

    label: str
    name: str
    image: Image.Image
    group: str = ""


class Task(NamedTuple):
    """A data set: where its pictures come from, and how to make them.

    Attributes
    ----------
    title : str
    packages : list of str
        Debian's.
    pictures : callable
        From the folder in which the packages are unpacked.
    """

    title: str
    packages: list[str]
    pictures: Callable[[Path], Iterator[Picture]]


def icons(packages: Path) -> Iterator[Picture]:
    """Yield the icons of the Oxygen theme, the folder that each is in being its class."""
    folders: dict[str, list[Path]] = {}
    for path in sorted(packages.glob("oxygen-icon-theme/**/32x32/*/*.png")):
        if not path.is_symlink():
            folders.setdefault(path.parent.name, []).append(path)
    for label, paths in folders.items():
        if len(paths) >= LEAST_ICONS:
            yield from (Picture(label, path.stem, Image.open(path)) for path in paths)


def letters(packages: Path) -> Iterator[Picture]:
    """Yield capital letters in a few fonts of each package; no package is in both parts."""
    for package in FONT_PACKAGES:
        folder = packages / package
        paths = [path for path in sorted(folder.rglob("*")) if path.suffix in (".ttf", ".otf")]
        glyphs = {path.stem: [draw_letter(path, letter) for letter in LETTERS] for path in paths}
        usable = [name for name, images in glyphs.items() if all_differ(images)]
        for name in usable[:: -(-len(usable) // FONTS_OF_A_PACKAGE)]:
            for letter, image in zip(LETTERS, glyphs[name], strict=True):
                yield Picture(letter, name, image, package)


def draw_letter(font: Path, letter: str) -> Image.Image:
    """Draw a letter, white on black, in the middle of a square."""
    image = Image.new("L", (LETTER_SIDE, LETTER_SIDE))
    drawing, pen = ImageDraw.Draw(image), ImageFont.truetype(str(font), 20)
    left, top, right, bottom = drawing.textbbox((0, 0), letter, font=pen)
    corner = (LETTER_SIDE - left - right) / 2, (LETTER_SIDE - top - bottom) / 2
    drawing.text(corner, letter, fill=255, font=pen)
    return image


def all_differ(images: list[Image.Image]) -> bool:
    """Tell whether a font has letters: what it lacks is drawn as one and the same box."""
    return len({image.tobytes() for image in images}) == len(images)


def wallpapers(packages: Path) -> Iterator[Picture]:
    """Yield squares cut from wallpapers, each wallpaper being a class."""
    for path in sorted(packages.glob("lomiri-wallpapers-*/**/backgrounds/*.jpg")):
        small = Image.open(path).resize((CROP_SIDE * CROPS_ACROSS, CROP_SIDE * CROPS_DOWN))
        for row in range(0, small.height, CROP_SIDE):
            for column in range(0, small.width, CROP_SIDE):
                box = (column, row, column + CROP_SIDE, row + CROP_SIDE)
                yield Picture(path.stem, f"{row}-{column}", small.crop(box))


TASKS = {
    "icons": Task("icons of 8 kinds, RGB 32x32", ["oxygen-icon-theme"], icons),
    "letters": Task("capital letters of unseen fonts, grey 28x28", FONT_PACKAGES, letters),
    "wallpapers": Task(
        "crops of 19 wallpapers, RGB 32x32",
        ["lomiri-wallpapers-16.04", "lomiri-wallpapers-20.04"],
        wallpapers,
    ),
}
FASHION = "fashion"


def make_task(name: str, folder: Path, split: int) -> None:
    """Write a split of a task, unless it is there."""
    if (folder / name / f"{split}").exists():
        return
    if name == FASHION:
        write_fashion(folder, split)
        return
    task = TASKS[name]
    for package in task.packages:
        unpack(package, folder / "packages")
    pictures = list(task.pictures(folder / "packages"))
    for part, chosen in split_pictures(pictures, split).items():
        write(folder / name / f"{split}" / part, chosen)


def unpack(package: str, folder: Path) -> None:
    """Download and unpack a Debian package into a folder of its own, unless it is there."""
    if (folder / package).exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(["apt-get", "-q", "download", package], cwd=folder, check=True)
    [archive] = folder.glob(f"{package}_*.deb")
    subprocess.run(["dpkg-deb", "-x", archive.name, package], cwd=folder, check=True)


def split_pictures(pictures: list[Picture], split: int) -> dict[str, list[Picture]]:
    """Hold a fifth of the pictures of each class, or of all groups, out for the test."""
    rng = np.random.default_rng(split)
    kinds: dict[str, list[str]] = {}
    for picture in pictures:
        kind = "" if picture.group else picture.label
        members = kinds.setdefault(kind, [])
        if member_of(picture) not in members:
            members.append(member_of(picture))
    held_out = {
        members[i]
        for members in kinds.values()
        for i in rng.permutation(len(members))[: round(TEST_SHARE * len(members))]
    }
    return {
        "train": [picture for picture in pictures if member_of(picture) not in held_out],
        "test": [picture for picture in pictures if member_of(picture) in held_out],
    }


def member_of(picture: Picture) -> str:
    """Name what is held out or not as a whole."""
    return picture.group or f"{picture.label}/{picture.name}"


def write_fashion(folder: Path, split: int) -> None:
    """Write some images of each part of Fashion-MNIST as files."""
    unpack("dataset-fashion-mnist", folder / "packages")
    [source] = (folder / "packages").glob("dataset-fashion-mnist/**/fashion-mnist")
    rng = np.random.default_rng(split)
    for part, n in (("train", FASHION_TRAIN), ("test", FASHION_TEST)):
        images, labels, names = tinycnn.load(source, part)
        chosen = rng.permutation(len(images))[:n]
        pictures = [
            Picture(names[labels[i]], f"{i}", Image.fromarray(images[i, 0])) for i in chosen
        ]
        write(folder / FASHION / f"{split}" / part, pictures)


def write(folder: Path, pictures: Iterable[Picture]) -> None:
    """Write pictures as files, in a folder for each class."""
    for label, name, image, _ in pictures:
        (folder / label).mkdir(parents=True, exist_ok=True)
        image.save(folder / label / f"{name}.png")
