"""PyTorch on the CPU. Actions: plain, channels_last (the memory format of model and images).

In its favour: images are float32 in the right memory format before the clock starts, minibatches
are consecutive slices (no shuffling, no gathering), and its process keeps freed memory instead of
returning it to the system (``experiments.KEEP_MEMORY``; the page faults of each row prove it).
"""

from pathlib import Path

import torch
from torch import nn

from benchmarks.peers import Job, Prepared
from benchmarks.workloads import (
    CHECKED_IMAGES,
    CLASSES,
    Network,
    Task,
    as_floats,
    initial_parameters,
    load_data,
)


def prepare(task: Task, folder: Path) -> Prepared:
    """Convert the images and get ready for an epoch."""
    assert task.n_threads is not None
    torch.set_num_threads(task.n_threads)
    layout = torch.channels_last if task.action == "channels_last" else torch.contiguous_format
    bytes_, labels_ = load_data(folder, task.n_images)
    images = torch.from_numpy(as_floats(bytes_)).contiguous(memory_format=layout)
    labels = torch.from_numpy(labels_)

    def fresh() -> Job:
        model = make_model(task.network).to(memory_format=layout)  # type: ignore[call-overload]
        optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
        return Job(
            lambda: run_epoch(model, optimizer, images, labels, task.batch_size),
            lambda: accuracy(model, images[:CHECKED_IMAGES], labels[:CHECKED_IMAGES]),
        )

    return Prepared(fresh, facts={"torch_threads": torch.get_num_threads()})


def make_model(network: Network) -> nn.Sequential:
    """Build the network with the parameters that all peers start from."""
    model = nn.Sequential()
    for i, (C, K, _, _) in enumerate(network.blocks):
        padding = network.padding if i == 0 else 0
        model.add_module(f"conv{i + 1}", nn.Conv2d(C, K, network.kernel_size, padding=padding))
        model.add_module(f"relu{i + 1}", nn.ReLU())
        model.add_module(f"pool{i + 1}", nn.MaxPool2d(2))
    model.add_module("flatten", nn.Flatten())
    model.add_module("fc", nn.Linear(network.n_features, CLASSES))
    parameters = initial_parameters(network)
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


@torch.no_grad()
def accuracy(model: nn.Sequential, images: torch.Tensor, labels: torch.Tensor) -> float:
    """Compute the share of images that the model classifies rightly."""
    return float((model(images).argmax(dim=1) == labels).float().mean())
