"""scikit-learn's MLPClassifier: one hidden layer of 100 units and the default solver.

Not the same model, but what many reach for. Images are float32 and flat before the clock starts.
"""

from pathlib import Path

import numpy as np
from sklearn.neural_network import MLPClassifier

from benchmarks.peers import Job, Prepared, Result
from benchmarks.workloads import CLASSES, Task, as_floats, load_data


def prepare(task: Task, folder: Path) -> Prepared:
    """Get ready for an epoch, which is what partial_fit does with all images."""
    bytes_, labels = load_data(folder, task.n_images)
    images = as_floats(bytes_).reshape(len(bytes_), -1)
    classes = np.arange(CLASSES)

    def fresh(n: int) -> Job:
        model = MLPClassifier(
            hidden_layer_sizes=(100,), batch_size=task.batch_size, max_iter=1, random_state=0
        )

        def run() -> None:
            model.partial_fit(images[:n], labels[:n], classes=classes)

        return Job(run, lambda: _result(model, images[:n]))

    return Prepared(fresh)


def _result(model: MLPClassifier, images: np.ndarray) -> Result:
    """Hand over what ``checks.py`` computes the probabilities from, and how many were seen."""
    weights = {f"weight{i}": value for i, value in enumerate(model.coefs_)}
    biases = {f"bias{i}": value for i, value in enumerate(model.intercepts_)}
    probabilities = model.predict_proba(images)
    return {**weights, **biases, "probabilities": probabilities, "seen": np.array(model.t_)}
