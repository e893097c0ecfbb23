"""Write a model file of tinycnn 0.1.0, with the logits that it gave: run with that version.

Usage: make_model_0_1_0.py model_0_1_0.npz logits_0_1_0.npz
"""

import sys

import numpy as np

import tinycnn


def main() -> None:
    """Train a small network of one block and a hidden layer for a moment, and save it."""
    images, labels = tinycnn.load_digits()
    net = tinycnn.CNN((1, 8, 8), channels=(3,), hidden=6, class_names=tuple("abcdefghij"))
    net.standardize(images)
    tinycnn.fit(net, images, labels, epochs=2, verbose=False)
    tinycnn.save_model(net, sys.argv[1])
    np.savez(sys.argv[2], logits=net.logits(images[:20]))


if __name__ == "__main__":
    if tinycnn.__version__ != "0.1.0":
        sys.exit(f"this is tinycnn {tinycnn.__version__}, not 0.1.0")
    main()
