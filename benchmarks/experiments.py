"""What is compared with what: every experiment, its contestants and its ratios."""

import dataclasses
import sys
from collections.abc import Iterable, Mapping, Sequence

from benchmarks.machine import cpus_available
from benchmarks.networks import Network, architecture_of, blocks, two_convs_one_pool, useful_flops
from benchmarks.workloads import Task

SMALL, LARGE = blocks([8], 3), blocks([16], 5)
EPOCHS = (
    (SMALL, 128),
    (LARGE, 128),
    (blocks([32], 3), 256),
    (SMALL, 32),
    (blocks([8, 16], 5), 128),
    (blocks([8, 16], 3), 128),
)
UNPOOLED = two_convs_one_pool(8, 3)
# Those of studies.py, measured with all threads of the study, on few images: they are large.
STUDIED = (SMALL, blocks([64], 3, "same"), blocks([32, 64, 128], 3, "same"))
STUDIED_IMAGES = 6_000
LEVEL_EPOCHS = EPOCHS[:2]
LEVELS = ("baseline", "v3", "v4")
THREAD_BATCHES = (32, 128, 1024)
PREDICTED_IMAGES = 10_000

SCALED_IMAGES = (1_000, 3_000, 10_000, 30_000, 100_000, 300_000, 1_000_000)
SCALED_FILTERS = (4, 8, 16, 32, 64)
SCALED_BATCHES = (16, 32, 64, 128, 256, 512, 1024, 2048, 4096)

PYTORCH = ("PyTorch plain", "PyTorch channels_last")
ONNX_RUNTIME = ("ONNX Runtime, all at once", "ONNX Runtime, 128 at a time")

# glibc then keeps freed memory instead of handing it back to the system and asking for it, and
# for zeroed pages, again in every step. 32 MiB is the most that every glibc accepts.
KEEP_MEMORY = {
    "MALLOC_MMAP_THRESHOLD_": str(32 * 2**20),
    "MALLOC_TRIM_THRESHOLD_": str(2**30),
}


@dataclasses.dataclass(frozen=True)
class Contestant:
    """A row of a table: a name, a task for a peer, and the environment of its process.

    line and value are the curve of a plot that the row belongs to and its place on the axis;
    python is the interpreter that runs it.
    """

    name: str
    task: Task
    environment: Mapping[str, str] = dataclasses.field(default_factory=dict)
    line: str = ""
    value: int = 0
    python: str = sys.executable


@dataclasses.dataclass(frozen=True)
class Ratio:
    """The best median of some contestants over the best median of others."""

    label: str
    over: tuple[str, ...]
    under: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Experiment:
    """Contestants that are measured interleaved.

    Attributes
    ----------
    name, group : str
        For ``--only``.
    title : str
        For people.
    label : str
        The title's part that tells it from others of its group, for plots.
    contestants : tuple of Contestant
    ratios : tuple of Ratio
    min_repeats : int
        Repeats of quick things that vary a lot.
    flops : int
        Of one run of the contestant tinycnn; compared with sgemm's rate if both are there.
    shows_memory : bool
        Whether memory is what it is about.
    """

    name: str
    group: str
    title: str
    contestants: tuple[Contestant, ...]
    ratios: tuple[Ratio, ...] = ()
    min_repeats: int = 1
    flops: int = 0
    label: str = ""
    shows_memory: bool = False

    def restricted_to(self, peers: Sequence[str]) -> "Experiment":
        """Return the experiment with the contestants of some peers only."""
        kept = tuple(c for c in self.contestants if c.task.peer in peers)
        return dataclasses.replace(self, contestants=kept)


def every_experiment(n_images: int) -> list[Experiment]:
    """Return all experiments with epochs of n_images."""
    return [
        *(_epoch(*configuration, n_images) for configuration in EPOCHS),
        _epoch(UNPOOLED, 128, n_images),
        *(_studied(network, min(STUDIED_IMAGES, n_images)) for network in STUDIED),
        *(_levels(*configuration, n_images) for configuration in LEVEL_EPOCHS),
        *(
            _threads(SMALL, f"b{size}", f"batch {size}", (size, n_images))
            for size in THREAD_BATCHES
        ),
        _threads(SMALL, "full", "all in one batch", (n_images, n_images)),
        _threads(LARGE, f"{LARGE.name}-b128", "batch 128", (128, n_images)),
        _memory(n_images),
        _predict(min(PREDICTED_IMAGES, n_images)),
        _one_image(),
        _import_time(),
        _scaling_images(n_images),
        _scaling_filters(n_images),
        _scaling_batches(n_images),
    ]


def _epoch(network: Network, batch_size: int, n_images: int) -> Experiment:
    task = Task("tinycnn", "fit", network.description, batch_size, n_images)
    first = (network, batch_size) == EPOCHS[0]
    label = f"{network.title}, batch {batch_size}"
    mlp = Contestant("scikit-learn MLP", task._replace(peer="scikit_learn"))
    return Experiment(
        name=f"epoch-{network.name}-b{batch_size}",
        group="unpooled" if network is UNPOOLED else "epochs",
        title=f"Epoch of {n_images:,} images: {label}, 1 thread",
        label=label,
        contestants=(
            Contestant("tinycnn", task),
            *_pytorch(task),
            *((mlp,) if first else ()),  # it knows no filters: one configuration is enough
            Contestant("NumPy lesson", task._replace(peer="numpy_lesson")),
            Contestant("sgemm 1024^3", task._replace(peer="sgemm", action="multiply")),
        ),
        ratios=(
            Ratio("best PyTorch / tinycnn", PYTORCH, ("tinycnn",)),
            Ratio("scikit-learn MLP / tinycnn", ("scikit-learn MLP",), ("tinycnn",)),
            Ratio("NumPy lesson / tinycnn", ("NumPy lesson",), ("tinycnn",)),
        ),
        flops=useful_flops(architecture_of(network.description)) * n_images,
    )


def _studied(network: Network, n_images: int) -> Experiment:
    threads = min(2, cpus_available())
    task = Task("tinycnn", "fit", network.description, 128, n_images, threads)
    return Experiment(
        name=f"studied-{network.name}",
        group="studied",
        title=f"Epoch of {n_images:,} images: {network.title}, batch 128, {threads} threads",
        contestants=(Contestant("tinycnn", task), *_pytorch(task)),
        ratios=(Ratio("best PyTorch / tinycnn", PYTORCH, ("tinycnn",)),),
    )


def _pytorch(task: Task) -> Iterable[Contestant]:
    for name in PYTORCH:
        action = name.removeprefix("PyTorch ")
        yield Contestant(name, task._replace(peer="pytorch", action=action), KEEP_MEMORY)


def _levels(network: Network, batch_size: int, n_images: int) -> Experiment:
    task = Task("tinycnn", "fit", network.description, batch_size, n_images)
    return Experiment(
        name=f"levels-{network.name}-b{batch_size}",
        group="levels",
        title=f"CPU levels: epoch of {n_images:,} images, {network.title}, batch {batch_size}",
        contestants=(
            *(Contestant(f"tinycnn {x}", task, {"TINYCNN_CPU_LEVEL": x}) for x in LEVELS),
            *_pytorch(task),
        ),
        ratios=(
            Ratio("v3 / v4", ("tinycnn v3",), ("tinycnn v4",)),
            Ratio("baseline / v3", ("tinycnn baseline",), ("tinycnn v3",)),
            *(Ratio(f"best PyTorch / tinycnn {x}", PYTORCH, (f"tinycnn {x}",)) for x in LEVELS),
        ),
    )


def _threads(network: Network, name: str, batch: str, sizes: tuple[int, int]) -> Experiment:
    batch_size, n_images = sizes
    task = Task("tinycnn", "fit", network.description, batch_size, n_images)
    names = ("1 thread", "2 threads")
    return Experiment(
        name=f"threads-{name}",
        group="threads",
        title=f"Threads: epoch of {n_images:,} images, {network.title}, {batch}",
        contestants=(
            Contestant(names[0], task),
            Contestant(names[1], task._replace(n_threads=2)),
        ),
        ratios=(Ratio("1 thread / 2 threads", names[:1], names[1:]),),
    )


def _memory(n_images: int) -> Experiment:
    task = Task("tinycnn", "train", SMALL.description, n_images, n_images, None)
    return Experiment(
        name="memory",
        group="memory",
        title=f"Memory that tinycnn.train takes above x, {n_images:,} images as one batch, 1 epoch",
        contestants=(
            Contestant("x of float32", task._replace(action="train_float32")),
            Contestant("x of uint8", task),
        ),
        shows_memory=True,
    )


def _predict(n_images: int) -> Experiment:
    task = Task("tinycnn", "predict", SMALL.description, n_images, n_images)
    onnx = task._replace(peer="onnx_runtime")
    return Experiment(
        name="predict",
        group="predict",
        title=f"Probabilities of {n_images:,} float32 images, {SMALL.title}, 1 thread",
        contestants=(
            Contestant("tinycnn", task),
            Contestant(ONNX_RUNTIME[0], onnx),
            Contestant(ONNX_RUNTIME[1], onnx._replace(batch_size=128)),
        ),
        ratios=(Ratio("best ONNX Runtime / tinycnn", ONNX_RUNTIME, ("tinycnn",)),),
    )


def _one_image() -> Experiment:
    task = Task("tinycnn", "one_image", SMALL.description, 1, 500)
    return Experiment(
        name="predict-one",
        group="predict",
        title=f"Probabilities of one float32 image, {SMALL.title}, 1 thread",
        contestants=(
            Contestant("tinycnn", task),
            Contestant("ONNX Runtime", task._replace(peer="onnx_runtime")),
        ),
        ratios=(Ratio("ONNX Runtime / tinycnn", ("ONNX Runtime",), ("tinycnn",)),),
    )


def _import_time() -> Experiment:
    names = ("import numpy", "import tinycnn, after numpy")
    tasks = (Task("python", "numpy"), Task("python", "tinycnn"))
    return Experiment(
        name="import",
        group="import",
        title="Import time in a new interpreter",
        contestants=tuple(map(Contestant, names, tasks)),
        ratios=(Ratio("tinycnn above numpy / numpy", names[1:], names[:1]),),
        min_repeats=15,
    )


def _scaling_images(n_images: int) -> Experiment:
    sizes = [n for n in SCALED_IMAGES if n <= 17 * n_images] or [n_images]
    fit = Task("tinycnn", "fit", SMALL.description)
    return Experiment(
        name="scaling-images",
        group="scaling",
        title=f"Scaling: number of images, {SMALL.title}, 1 epoch",
        contestants=(
            *_scaled("fit, batch 128, 1 thread", {n: fit._replace(n_images=n) for n in sizes}),
            *_scaled(
                "train, one batch, default threads",
                {n: Task("tinycnn", "train", SMALL.description, n, n, None) for n in sizes},
            ),
        ),
        shows_memory=True,
    )


def _scaling_filters(n_images: int) -> Experiment:
    networks = {K: blocks([K], 3) for K in SCALED_FILTERS}
    return _scaling(
        "filters",
        f"number of filters 3x3, batch 128, epoch of {n_images:,} images",
        {K: Task("tinycnn", "fit", net.description, 128, n_images) for K, net in networks.items()},
    )


def _scaling_batches(n_images: int) -> Experiment:
    return _scaling(
        "batches",
        f"batch size, {SMALL.title}, epoch of {n_images:,} images",
        {
            size: Task("tinycnn", "fit", SMALL.description, size, n_images)
            for size in SCALED_BATCHES
        },
    )


def _scaling(name: str, title: str, tasks: Mapping[int, Task]) -> Experiment:
    two = {value: task._replace(n_threads=2) for value, task in tasks.items()}
    return Experiment(
        name=f"scaling-{name}",
        group="scaling",
        title=f"Scaling: {title}",
        contestants=(*_scaled("1 thread", tasks), *_scaled("2 threads", two)),
    )


def _scaled(line: str, tasks: Mapping[int, Task]) -> Iterable[Contestant]:
    """Name the points of a line of a plot."""
    for value, task in tasks.items():
        yield Contestant(f"{line}: {value:,}", task, line=line, value=value)


def why_not_here(contestant: Contestant) -> str | None:
    """Say why a contestant cannot be measured on this machine, if so."""
    wanted, there = contestant.task.n_threads or 1, cpus_available()
    if wanted > there:
        return f"{wanted} threads need as many CPUs, this process may use {there}"
    return None
