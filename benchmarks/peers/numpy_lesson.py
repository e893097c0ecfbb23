"""The same training layer by layer in plain NumPy, on the formulas of ``tinycnn.lesson``.

It runs on the first images only; the time of an epoch is scaled up from that.
"""

from pathlib import Path

from benchmarks import oracle
from benchmarks.networks import architecture_of
from benchmarks.peers import Job, Prepared, join
from benchmarks.workloads import Task, as_floats, initial_parameters, load_data

MEASURED_IMAGES = 1024


def prepare(task: Task, folder: Path) -> Prepared:
    """Get ready for a part of an epoch."""
    count = min(MEASURED_IMAGES, task.n_images)
    bytes_, labels = load_data(folder, count)
    images = as_floats(bytes_)
    architecture = architecture_of(task.layers)

    def fresh(n: int) -> Job:
        parameters = initial_parameters(architecture.parameter_shapes)
        return Job(
            lambda: oracle.train(architecture, parameters, images[:n], labels[:n], task.batch_size),
            lambda: {"flat": join(parameters)},
        )

    return Prepared(fresh, scale=task.n_images / count, facts={"measured_images": count})
