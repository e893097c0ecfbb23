"""scikit-learn's MLPClassifier: one hidden layer of 100 units and the default solver.

Not the same model, but what many reach for. Images are float32 and flat before the clock starts.
"""

import functools
from pathlib import Path

import numpy as np
from sklearn.neural_network import MLPClassifier

from benchmarks.peers import Job, Prepared
from benchmarks.workloads import CHECKED_IMAGES, CLASSES, Task, as_floats, load_data


def prepare(task: Task, folder: Path) -> Prepared:
    """Get ready for an epoch, which is what partial_fit does with all images."""
    bytes_, labels = load_data(folder, task.n_images)
    images = as_floats(bytes_).reshape(len(bytes_), -1)
    classes = np.arange(CLASSES)

    def fresh() -> Job:
        model = MLPClassifier(
            hidden_layer_sizes=(100,), batch_size=task.batch_size, max_iter=1, random_state=0
        )

        def run() -> None:
            model.partial_fit(images, labels, classes=classes)

        score = functools.partial(model.score, images[:CHECKED_IMAGES], labels[:CHECKED_IMAGES])
        return Job(run, score)

    return Prepared(fresh)
