"""Digits in a scikit-learn pipeline
=================================

Beside three of scikit-learn's own classifiers.

The last quarter of the digits is the test part: they are mostly of other writers.
"""

import time

from sklearn.datasets import load_digits
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler
from sklearn.svm import SVC

from tinycnn.sklearn import CNNClassifier

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, shuffle=False)

for classifier in (
    CNNClassifier(random_state=0),
    MLPClassifier(max_iter=400, random_state=0),
    SVC(),
    RandomForestClassifier(random_state=0),
):
    start = time.perf_counter()
    pipeline = make_pipeline(MinMaxScaler(), classifier).fit(X_train, y_train)
    seconds = time.perf_counter() - start
    name = type(classifier).__name__
    print(f"{name:22} {pipeline.score(X_test, y_test):.1%} after {seconds:.1f} s")
