"""Look at a training, a result and a network
==========================================

Every function of :mod:`tinycnn.plots`, on the bundled digits (this needs Matplotlib:
``pip install 'tinycnn[plot]'``).
"""

import matplotlib.pyplot as plt

import tinycnn
from tinycnn import plots

images, labels = tinycnn.load_digits()
train, test = tinycnn.stratified_split(labels, fraction=0.2, seed=0)
net = tinycnn.CNN((1, 8, 8), channels=(16,), padding="same", n_classes=10)
net.standardize(images[train])
history = tinycnn.fit(
    net,
    images[train],
    labels[train],
    epochs=20,
    validation_data=(images[test], labels[test]),
    verbose=False,
)
probabilities = net.predict_proba(images[test])

# %%
# The training: where the two losses part, the network begins to learn its images by heart.
figure, (left, right) = plt.subplots(1, 2, figsize=(8, 3), layout="constrained")
plots.loss_curves(history, ax=left)
plots.accuracy_curve(history, ax=right)
plt.show()

# %%
# The result: what is taken for what, and whether probabilities mean what they say.
figure, (left, middle, right) = plt.subplots(1, 3, figsize=(11, 3.6), layout="constrained")
plots.confusion_matrix(labels[test], probabilities.argmax(axis=1), net.class_names, ax=left)
plots.reliability_diagram(probabilities, labels[test], ax=middle)
plots.accuracy_by_margin(probabilities, labels[test], ax=right)
plt.show()

# %%
# The most confident mistakes. Often one learns more from them than from all numbers.
figure, ax = plt.subplots(figsize=(8, 2.4), layout="constrained")
plots.mistakes(images[test], labels[test], probabilities, net.class_names, most=6, ax=ax)
plt.show()

# %%
# The network: its filters, and which pixels speak for a class.
figure, (left, right) = plt.subplots(1, 2, figsize=(8, 3), layout="constrained")
plots.filters(net, ax=left)
plots.saliency(net, images[test][0], ax=right)
plt.show()

# %%
# What its layers make of that image.
figure, ax = plt.subplots(figsize=(8, 4), layout="constrained")
plots.feature_maps(net, images[test][0], most=12, ax=ax)
plt.show()
