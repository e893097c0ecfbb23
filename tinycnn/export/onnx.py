"""ONNX: a graph that ONNX Runtime and others compute, from pixels to probabilities."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
import numpy.typing as npt

from tinycnn.architecture import Step
from tinycnn.export.folding import carrier_index, fold, pixel_scaling, step_parameters
from tinycnn.export.translations import Translations
from tinycnn.files.model import describe
from tinycnn.files.writing import atomic_file
from tinycnn.inputs import unit_of
from tinycnn.layers import Conv, Dropout, Flatten, Linear, MaxPool, ReLU
from tinycnn.network import CNN, require_network

# Old enough for every runtime in use, and has all that is needed.
OPSET, IR_VERSION = 13, 7

PixelType: TypeAlias = Literal["uint8", "uint16", "float32"]


class Graph:
    """A chain of ONNX nodes that grows.

    Attributes
    ----------
    value : str
        Name of what the last node gives, which the next one takes.
    """

    def __init__(self, value: str) -> None:
        self.value = value
        self.nodes: list[Any] = []
        self.initializers: list[Any] = []

    def add(
        self,
        operator: str,
        *constants: npt.NDArray[Any] | None,
        name: str,
        constant_names: tuple[str, ...] = (),
        **attributes: Any,
    ) -> None:
        """Append a node that takes the chain's value and some constants.

        Parameters
        ----------
        operator : str
            Of ONNX, such as "Conv".
        *constants : array or None
            Further inputs; float64 becomes float32. None leaves an optional one out.
        name : str
            Of the node and of what it gives.
        constant_names : tuple of str
            One for each constant; by default the node's name and a number.
        **attributes
            Of the node.
        """
        from onnx import helper

        names = constant_names or tuple(f"{name}.{i}" for i in range(len(constants)))
        inputs = [self.value]
        for constant_name, values in zip(names, constants, strict=True):
            inputs.append("" if values is None else self._constant(constant_name, values))
        while inputs[-1] == "":
            inputs.pop()
        self.nodes.append(helper.make_node(operator, inputs, [name], name=name, **attributes))
        self.value = name

    def rename_value(self, name: str) -> None:
        """Give what the last node gives another name."""
        self.nodes[-1].output[0] = self.value = name

    def _constant(self, name: str, values: npt.NDArray[Any]) -> str:
        from onnx import numpy_helper

        if values.dtype == np.float64:
            values = values.astype(np.float32)
        self.initializers.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name


OnnxTranslation: TypeAlias = Callable[[Step, Mapping[str, npt.NDArray[np.float64]], Graph], None]

TRANSLATIONS: Translations[OnnxTranslation] = Translations(
    "ONNX", "tinycnn.export.onnx.TRANSLATIONS"
)
"""Functions of a step, its parameters (float64, by the layer's names) and the :class:`Graph`,
to which they add nodes that take (N, *input_shape) and give (N, *output_shape)."""


@TRANSLATIONS.register(Conv)
def _conv(step: Step, parameters: Mapping[str, npt.NDArray[np.float64]], graph: Graph) -> None:
    assert isinstance(step.layer, Conv)
    (top, bottom), (left, right) = step.layer.border
    graph.add(
        "Conv",
        parameters["weight"],
        parameters.get("bias"),
        name=step.name,
        constant_names=_parameter_names(step),
        kernel_shape=list(step.layer.kernel),
        pads=[top, left, bottom, right],
        strides=[1, 1],
    )


@TRANSLATIONS.register(Linear)
def _linear(step: Step, parameters: Mapping[str, npt.NDArray[np.float64]], graph: Graph) -> None:
    graph.add(
        "Gemm",
        parameters["weight"],
        parameters.get("bias"),
        name=step.name,
        constant_names=_parameter_names(step),
        transB=1,
    )


@TRANSLATIONS.register(ReLU)
def _relu(step: Step, parameters: Mapping[str, npt.NDArray[np.float64]], graph: Graph) -> None:
    graph.add("Relu", name=step.name)


@TRANSLATIONS.register(MaxPool)
def _max_pool(step: Step, parameters: Mapping[str, npt.NDArray[np.float64]], graph: Graph) -> None:
    graph.add("MaxPool", name=step.name, kernel_shape=[2, 2], strides=[2, 2])


@TRANSLATIONS.register(Flatten)
def _flatten(step: Step, parameters: Mapping[str, npt.NDArray[np.float64]], graph: Graph) -> None:
    graph.add("Flatten", name=step.name, axis=1)


@TRANSLATIONS.register(Dropout)
def _dropout(step: Step, parameters: Mapping[str, npt.NDArray[np.float64]], graph: Graph) -> None:
    """Leave out what does nothing in prediction."""


def to_onnx(
    net: CNN,
    path: str | os.PathLike[str],
    *,
    input: PixelType = "uint8",
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write a network as an ONNX file.

    The graph takes ``images`` (N, C, H, W), N as it comes, and gives ``logits`` and
    ``probabilities`` (N, n_classes), both float32. The scaling of the input is part of it. The
    file's metadata hold the names of the classes and the description of the network as JSON.

    Parameters
    ----------
    net : CNN
        A float64 network is computed in float32 there.
    path : path-like
        Usually ends in ``.onnx``; taken as it is.
    input : "uint8", "uint16" or "float32"
        What ``images`` are: bytes 0..255; or values as they are, which are 0..1 for a network that
        was trained on bytes.
    metadata : mapping of str to str, optional
        More to keep in the file, such as how the network was trained.

    Raises
    ------
    ValueError
        If a layer has no translation, or `input` is none of these.
    ImportError
        If ``onnx`` is not installed.
    """
    require_network(net)
    if input not in get_args(PixelType):
        raise ValueError(f"input: must be 'uint8', 'uint16' or 'float32', got {input!r}")
    onnx = _import_onnx()
    graph = _network_graph(net, np.dtype(input))
    model = _as_model(net, graph, np.dtype(input))
    onnx.helper.set_model_props(model, {**_description(net, input), **(metadata or {})})
    onnx.checker.check_model(model, full_check=True)
    with atomic_file(path) as file:
        file.write(model.SerializeToString())


def _import_onnx() -> Any:
    try:
        import onnx.checker
        import onnx.helper
    except ImportError as error:
        raise ImportError("ONNX needs a library: pip install 'tinycnn[onnx]'") from error
    return onnx


def _network_graph(net: CNN, pixels: np.dtype[Any]) -> Graph:
    """Translate all layers, with the scaling of the input before or in the first."""
    from onnx import TensorProto

    graph = Graph("images")
    if pixels != np.float32:
        graph.add("Cast", name="pixels", to=TensorProto.FLOAT)
    scaling = pixel_scaling(net, unit_of(pixels))
    carrier = carrier_index(net.architecture)
    # ONNX pads with one number for all channels, so that pixels are centred before a padded layer.
    centred = bool(scaling.zero.any()) and (carrier is None or _pads(net, carrier))
    if centred:
        graph.add("Sub", scaling.zero[:, None, None], name="centred")
    if carrier is None and (scaling.scale != 1).any():
        graph.add("Mul", scaling.scale[:, None, None], name="scaled")
    for i, step in enumerate(net.architecture.steps):
        parameters = step_parameters(net, step)
        if i == carrier:
            parameters = fold(parameters, scaling, zero=not centred)
        TRANSLATIONS.of(step)(step, parameters, graph)
    graph.rename_value("logits")
    graph.add("Softmax", name="probabilities", axis=1)
    return graph


def _pads(net: CNN, index: int) -> bool:
    """Tell whether the step of this index puts zeros around its input."""
    layer = net.architecture.steps[index].layer
    return isinstance(layer, Conv) and layer.border != ((0, 0), (0, 0))


def _as_model(net: CNN, graph: Graph, pixels: np.dtype[Any]) -> Any:
    """Make a model of the graph: its inputs, outputs and versions."""
    from onnx import TensorProto, helper

    import tinycnn

    classes: list[Any] = ["N", net.architecture.n_classes]
    outputs = ("logits", "probabilities")
    made = helper.make_graph(
        graph.nodes,
        "tinycnn",
        [
            helper.make_tensor_value_info(
                "images",
                helper.np_dtype_to_tensor_dtype(pixels),
                ["N", *net.architecture.image_shape],
            )
        ],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, classes) for name in outputs],
        graph.initializers,
    )
    return helper.make_model(
        made,
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="tinycnn",
        producer_version=tinycnn.__version__,
    )


def _description(net: CNN, pixels: str) -> dict[str, str]:
    return {
        "class_names": json.dumps(net.class_names),
        "input": f"{pixels}, {'0..255' if pixels == 'uint8' else 'values as they are'}",
        "tinycnn": json.dumps(describe(net)),
    }


def _parameter_names(step: Step) -> tuple[str, str]:
    return f"{step.name}.weight", f"{step.name}.bias"
