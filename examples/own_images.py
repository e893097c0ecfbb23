"""Classify your own pictures: one folder a class in, a model file and predictions out.

Run it as ``python examples/own_images.py PICTURES``, where PICTURES holds one subfolder of images
per class (this needs Pillow: ``pip install 'tinycnn[images]'``).
"""

import sys

import tinycnn
from tinycnn.data import load_image_folder, stratified_split

images, labels, class_names = load_image_folder(sys.argv[1], size=(32, 32))
train_index, test_index = stratified_split(labels, fraction=0.2, seed=0)

net = tinycnn.CNN(
    image_shape=images.shape[1:],
    channels=(16, 32),
    n_classes=len(class_names),
    class_names=class_names,
    padding=1,
)
net.standardize(images[train_index])
tinycnn.fit(
    net,
    images[train_index],
    labels[train_index],
    epochs=30,
    batch_size=32,
    optimizer=tinycnn.AdamW(lr=0.005),
    schedule=tinycnn.OneCycle(),
    augmentation=tinycnn.Augmentation(shift=2, flip=True),
)

print(f"accuracy on {len(test_index)} images held out: ", end="")
print(f"{net.score(images[test_index], labels[test_index]):.1%}")
for i in test_index[:5]:
    predicted = net.predict(images[i : i + 1])[0]
    print(f"image {i}: {net.class_names[predicted]} (it is {class_names[labels[i]]})")
tinycnn.save_model(net, "own_images.npz")
