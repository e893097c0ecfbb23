"""safetensors: the parameters by name, in the format that model hubs and PyTorch people use."""

from __future__ import annotations

import json
import os

import numpy as np

from tinycnn.files.model import describe
from tinycnn.files.writing import atomic_file
from tinycnn.network import CNN, require_network


def to_safetensors(net: CNN, path: str | os.PathLike[str]) -> None:
    """Write a network's parameters as a safetensors file.

    Names, shapes and dtype are those of ``net.parameters``: the state dict of the network that
    :func:`tinycnn.export.pytorch_source` writes, and what ``net.load_parameters`` takes back.
    The file's metadata hold the names of the classes and the description of the network, with the
    scaling of its input, as JSON.

    Parameters
    ----------
    net : CNN
        Layers of one's own are written too: their parameters have names.
    path : path-like
        Usually ends in ``.safetensors``; taken as it is.

    Raises
    ------
    ImportError
        If ``safetensors`` is not installed.
    """
    require_network(net)
    try:
        from safetensors.numpy import save
    except ImportError as error:
        raise ImportError(
            "safetensors needs a library: pip install 'tinycnn[safetensors]'"
        ) from error
    tensors = {name: np.ascontiguousarray(values) for name, values in net.parameters.items()}
    metadata = {
        "format": "pt",
        "class_names": json.dumps(net.class_names),
        "tinycnn": json.dumps(describe(net)),
    }
    content = save(tensors, metadata)
    with atomic_file(path) as file:
        file.write(content)
