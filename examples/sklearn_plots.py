"""What the filters look for
=========================

And which digits fooled them: two pictures in one file.

Run it as ``python examples/sklearn_plots.py [FILE]`` (this needs Matplotlib).
"""

import sys

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
from sklearn.datasets import load_digits
from sklearn.model_selection import cross_val_predict

from tinycnn.sklearn import CNNClassifier

path = sys.argv[1] if len(sys.argv) > 1 else "digits.png"
X, y = load_digits(return_X_y=True)
X = X.astype("float32")

network = CNNClassifier(channels=(32,), kernel_size=5, max_iter=20, random_state=0)
predicted = cross_val_predict(network, X, y, cv=3)
wrong = (predicted != y).nonzero()[0]
print(f"{len(wrong)} of {len(y)} digits are misclassified")

filters = network.fit(X, y).network_.parameters["conv1.weight"][:, 0]
figure = plt.figure(figsize=(8, 8.5), layout="constrained")
above, below = figure.subfigures(2)
above.suptitle("The filters: red for ink, blue for none")
for axes, weight in zip(above.subplots(4, 8).flat, filters, strict=True):
    largest = abs(weight).max()
    axes.imshow(weight, cmap="RdBu_r", vmin=-largest, vmax=largest)
    axes.set_axis_off()
below.suptitle("Misclassified: the digit, and what it was taken for")
for axes, i in zip(below.subplots(4, 8).flat, wrong, strict=False):
    axes.imshow(X[i].reshape(8, 8), cmap="gray_r")
    axes.set_title(f"{y[i]}, not {predicted[i]}", fontsize=8)
for axes in below.axes:
    axes.set_axis_off()
figure.savefig(path, dpi=100)
print(f"see {path}")
