"""Do probabilities mean what they say?
====================================

Before and after calibration.

The expected calibration error is how far, on average, the confidence in a prediction is from the
share of predictions of that confidence that are right.
"""

import numpy as np
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_digits
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split

from tinycnn.sklearn import CNNClassifier


def calibration_error(probabilities, labels, n_bins=10):
    """Compute the expected calibration error of probabilities (N, n_classes)."""
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    bins = np.minimum((confidence * n_bins).astype(int), n_bins - 1)
    gaps = np.bincount(bins, right - confidence, n_bins)
    return np.abs(gaps).sum() / len(labels)


X, y = load_digits(return_X_y=True)
noise = np.random.default_rng(0).normal(0, 6, X.shape)
X_train, X_test, y_train, y_test = train_test_split(
    X + noise, y, test_size=0.5, stratify=y, random_state=0
)
network = CNNClassifier(channels=(32,), label_smoothing=0.0, random_state=0)
for name, model in [
    ("as it is", network),
    ("calibrated", CalibratedClassifierCV(network, method="temperature", cv=3)),
]:
    probabilities = model.fit(X_train, y_train).predict_proba(X_test)
    print(
        f"{name:10}  accuracy {np.mean(probabilities.argmax(axis=1) == y_test):.1%}"
        f"  log loss {log_loss(y_test, probabilities):.3f}"
        f"  calibration error {calibration_error(probabilities, y_test):.3f}"
    )
