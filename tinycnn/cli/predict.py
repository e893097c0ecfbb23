"""``tinycnn predict``: the classes of images."""

from __future__ import annotations

import argparse
from typing import Any

import numpy.typing as npt

from tinycnn import data
from tinycnn.cli.streams import say
from tinycnn.files.model import load_model
from tinycnn.network import CNN


def run_predict(arguments: argparse.Namespace) -> int:
    """Print name, class and probability of each image."""
    net = load_model(arguments.model)
    for path in arguments.images:
        names, images = _images_to_predict(path, net)
        probabilities = net.predict_proba(images)
        for name, row in zip(names, probabilities, strict=True):
            best = int(row.argmax())
            say(f"{name}: {net.class_names[best]} ({row[best]:.1%})")
    return 0


def _images_to_predict(path: str, net: CNN) -> tuple[list[str], npt.NDArray[Any]]:
    """Read one image file, or all images of an IDX file, with a name for each."""
    if not data.is_idx(path):
        return [path], data.read_image(path, net.architecture.image_shape)[None]
    images = data.read_idx(path)
    if images.ndim == 3:
        images = images[:, None]
    return [f"{path}[{i}]" for i in range(len(images))], images
