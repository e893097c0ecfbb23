"""PyTorch on the CPU. Actions: plain, channels_last (the memory format of model and images).

In its favour: images are float32 in the right memory format before the clock starts, minibatches
are consecutive slices (no shuffling, no gathering), and its process keeps freed memory instead of
returning it to the system (``experiments.KEEP_MEMORY``; the page faults of each row prove it).
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from benchmarks.networks import architecture_of
from benchmarks.peers import Job, Prepared, join
from benchmarks.workloads import LEARNING_RATE, Task, as_floats, initial_parameters, load_data
from tinycnn.architecture import Architecture, Step
from tinycnn.layers import Conv, Flatten, Layer, Linear, MaxPool, ReLU

MODULES: dict[type[Layer], Callable[[Any, Step], nn.Module]] = {
    Conv: lambda layer, step: nn.Conv2d(
        step.input_shape[0], layer.filters, layer.kernel, padding=layer.padding, bias=layer.bias
    ),
    ReLU: lambda layer, step: nn.ReLU(),
    MaxPool: lambda layer, step: nn.MaxPool2d(2),
    Flatten: lambda layer, step: nn.Flatten(),
    Linear: lambda layer, step: nn.Linear(step.input_shape[0], layer.units, bias=layer.bias),
}


def prepare(task: Task, folder: Path) -> Prepared:
    """Convert the images and get ready for an epoch."""
    assert task.n_threads is not None
    torch.set_num_threads(task.n_threads)
    layout = torch.channels_last if task.action == "channels_last" else torch.contiguous_format
    bytes_, labels_ = load_data(folder, task.n_images)
    images = torch.from_numpy(as_floats(bytes_)).contiguous(memory_format=layout)
    labels = torch.from_numpy(labels_)
    architecture = architecture_of(task.layers)

    def fresh(n: int) -> Job:
        model = make_model(architecture).to(memory_format=layout)  # type: ignore[call-overload]
        optimizer = torch.optim.SGD(model.parameters(), lr=LEARNING_RATE)
        return Job(
            lambda: run_epoch(model, optimizer, images[:n], labels[:n], task.batch_size),
            lambda: {"flat": join({k: v.numpy() for k, v in model.state_dict().items()})},
        )

    return Prepared(fresh, facts={"torch_threads": torch.get_num_threads()})


def make_model(architecture: Architecture) -> nn.Sequential:
    """Build the network with the parameters that all peers start from."""
    model = nn.Sequential()
    for step in architecture.steps:
        model.add_module(step.name, MODULES[type(step.layer)](step.layer, step))
    parameters = initial_parameters(architecture.parameter_shapes)
    model.load_state_dict({name: torch.from_numpy(value) for name, value in parameters.items()})
    return model


def run_epoch(
    model: nn.Sequential,
    optimizer: torch.optim.SGD,
    images: torch.Tensor,
    labels: torch.Tensor,
    batch_size: int,
) -> None:
    """Update the model once for every batch."""
    for start in range(0, len(images), batch_size):
        batch = slice(start, start + batch_size)
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(images[batch]), labels[batch])
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
