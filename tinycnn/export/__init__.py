"""Hand a trained network on: to ONNX, C, a page, safetensors and PyTorch.

Every exporter walks the list of layers and asks its target's :class:`Translations` how each is
written there. A layer of one's own is refused by name until it brings its own translation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tinycnn.export.c import to_c
    from tinycnn.export.html import to_html
    from tinycnn.export.onnx import to_onnx
    from tinycnn.export.pytorch import pytorch_source
    from tinycnn.export.quantized import QuantizedCNN, quantize
    from tinycnn.export.safetensors import to_safetensors

__all__ = [
    "QuantizedCNN",
    "pytorch_source",
    "quantize",
    "to_c",
    "to_html",
    "to_onnx",
    "to_safetensors",
]

_ON_DEMAND = {
    "QuantizedCNN": "tinycnn.export.quantized",
    "pytorch_source": "tinycnn.export.pytorch",
    "quantize": "tinycnn.export.quantized",
    "to_c": "tinycnn.export.c",
    "to_html": "tinycnn.export.html",
    "to_onnx": "tinycnn.export.onnx",
    "to_safetensors": "tinycnn.export.safetensors",
}


def __getattr__(name: str) -> Any:
    if name not in _ON_DEMAND:
        raise AttributeError(f"module 'tinycnn.export' has no attribute {name!r}")
    import importlib

    value = getattr(importlib.import_module(_ON_DEMAND[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
