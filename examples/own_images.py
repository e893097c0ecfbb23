"""Your own pictures
=================

One folder a class in, a model file and predictions out.

Run it as ``python examples/own_images.py PICTURES``, where PICTURES holds one subfolder of images
per class (this needs Pillow: ``pip install 'tinycnn[images]'``). Without PICTURES, it draws some
first: discs, squares and triangles.
"""

import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

import tinycnn
from tinycnn.data import load_image_folder


def draw_pictures(folder: Path) -> Path:
    """Draw 100 pictures of each of three shapes, of many sizes, in many places and colours."""
    rng = np.random.default_rng(0)
    for shape, corners in [("disc", 0), ("square", 4), ("triangle", 3)]:
        (folder / shape).mkdir()
        for i in range(100):
            width, height = (int(n) for n in rng.integers(48, 96, 2))
            ground, ink = (
                tuple(int(c) for c in rng.integers(*r, 3)) for r in [(0, 90), (150, 256)]
            )
            radius = float(rng.uniform(0.3, 0.45)) * min(width, height)
            x, y = (float(rng.uniform(radius, n - radius)) for n in (width, height))
            picture = Image.new("RGB", (width, height), ground)
            pen = ImageDraw.Draw(picture)
            if corners:
                pen.regular_polygon((x, y, radius), corners, fill=ink)
            else:
                pen.ellipse((x - radius, y - radius, x + radius, y + radius), ink)
            picture.save(folder / shape / f"{i}.png")
    return folder


if len(sys.argv) > 1:
    images, labels, class_names = load_image_folder(sys.argv[1], size=(32, 32))
else:
    with tempfile.TemporaryDirectory() as folder:
        images, labels, class_names = load_image_folder(draw_pictures(Path(folder)), size=(32, 32))
train_index, test_index = tinycnn.stratified_split(labels, fraction=0.2, seed=0)

net = tinycnn.CNN(
    image_shape=images.shape[1:],
    channels=(16, 32),
    padding="same",
    n_classes=len(class_names),
    class_names=class_names,
)
net.standardize(images[train_index])
tinycnn.fit(
    net,
    images[train_index],
    labels[train_index],
    epochs=30,
    batch_size=32,
    optimizer=tinycnn.AdamW(lr=0.005),
    augmentation=tinycnn.Augmentation(shift=2, flip=True),
)

print(f"accuracy on {len(test_index)} images held out: ", end="")
print(f"{net.score(images[test_index], labels[test_index]):.1%}")
for i in test_index[::12]:
    predicted = net.predict(images[i : i + 1])[0]
    print(f"image {i}: {net.class_names[predicted]} (it is {class_names[labels[i]]})")
tinycnn.save_model(net, "own_images.npz")
