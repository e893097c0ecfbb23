"""Make ``known_cases.npz``: the networks of ``tests/known_networks.py`` as PyTorch computes them.

For each network the file holds, from PyTorch in float64, for prediction: logits, mean
cross-entropy, and the gradient of every parameter, one behind the other in the order of
``CNN.flat``. Networks with batch norm and without dropout have the same once more for training,
and the running moments after it. Gradients are rounded to float32, to keep the file small.

Images and parameters come from ``known_networks.make``, which gives the same everywhere.

Run ``python tests/golden/make_known_cases.py``; it needs PyTorch and tinycnn, and rewrites the file
beside it.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from torch_networks import as_torch

sys.path.insert(0, str(Path(__file__).parent.parent))

from known_networks import KNOWN_NETWORKS, make

OUTPUT = Path(__file__).with_name("known_cases.npz")


def compute(name: str, training: bool) -> dict[str, np.ndarray]:
    """Run one forward and one backward pass."""
    net, images, labels = make(name)
    module = as_torch(net.architecture.image_shape, net.layers).double().train(training)
    parameters = {key: torch.tensor(values) for key, values in net.parameters.items()}
    module.load_state_dict(parameters)
    logits = module(torch.tensor(images))
    loss = torch.nn.functional.cross_entropy(logits, torch.tensor(labels))
    loss.backward()
    learned = dict(module.named_parameters())
    gradients = [
        learned[key].grad.numpy().ravel() if key in learned else np.zeros(values.size)
        for key, values in net.parameters.items()
    ]
    results = {
        "logits": logits.detach().numpy(),
        "loss": loss.detach().numpy(),
        "gradients": np.concatenate(gradients).astype(np.float32),
    }
    if training:
        state = module.state_dict()
        running = [state[key].numpy().ravel() for key in net.parameters if "running" in key]
        results["running"] = np.concatenate(running)
    return results


def modes_of(name: str) -> list[str]:
    """Return what a network is computed for; what is random in training has no fixed numbers."""
    layers = repr(KNOWN_NETWORKS[name].layers)
    return [
        "prediction",
        *(["training"] if "BatchNorm" in layers and "Dropout" not in layers else []),
    ]


def main() -> None:
    """Make all cases and write the file."""
    torch.set_num_threads(1)
    arrays = {}
    for name in KNOWN_NETWORKS:
        for mode in modes_of(name):
            for key, values in compute(name, mode == "training").items():
                arrays[f"{name}/{mode}/{key}"] = values
    np.savez_compressed(OUTPUT, **arrays)
    print(f"{len(KNOWN_NETWORKS)} networks, {OUTPUT.stat().st_size / 1024:.0f} KiB")


if __name__ == "__main__":
    main()
