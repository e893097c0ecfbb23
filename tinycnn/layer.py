"""What a layer is: the base of all layers, and how files write down each kind.

A layer is a frozen description without arrays. It says four things: what it makes of the shape of
an image, which parameters it learns and how they start, its forward pass and its backward pass.
Everything else about a network is read from the list of its layers: names and shapes of
parameters, the operations of the fast path, the model file, what is printed, what is exported.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, TypeAlias, TypeVar

import numpy as np

from tinycnn._checks import FloatArray, shown

Shape: TypeAlias = tuple[int, ...]
Random: TypeAlias = "np.random.Generator | None"  # as words: NumPy imports it when it is asked for
Arrays: TypeAlias = Mapping[str, FloatArray]
OutAndCache: TypeAlias = tuple[FloatArray, Any]
DxAndGradients: TypeAlias = tuple[FloatArray, Arrays]


@dataclass(frozen=True, repr=False, eq=False)
class Layer:
    """Base of all layers: one that learns nothing and keeps the shape.

    A subclass is a frozen dataclass whose fields are its arguments: numbers, strings, booleans,
    layers, or tuples of them, so that a model file can hold them as JSON. It must define
    :meth:`forward` and :meth:`backward`, and the other methods where the base does not say the
    truth.

    Shapes are those of one image, without N: ``(C, H, W)`` for maps, ``(F,)`` for vectors. Both
    passes get and return arrays of the network's dtype, float32 or float64.

    Attributes
    ----------
    kind : str
        The class's name in lower case, by which files and parameters call it.
    stops_half : bool
        Whether about half of what comes does not pass, as in a ReLU: the layer before it then
        starts with larger weights. A class attribute; False unless a subclass sets it.
    is_transparent : bool
        Whether it only picks, moves or drops values, so that how the layer before it starts is
        up to the layer behind it. Likewise.
    """

    kind: ClassVar[str] = "layer"
    stops_half: ClassVar[bool] = False
    is_transparent: ClassVar[bool] = False

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.kind = cls.__name__.lower()

    # Written once here: a dataclass would compile each of them anew for every kind of layer, which
    # takes longer than all else that importing this module does.
    def __repr__(self) -> str:
        arguments = (f"{field}={value!r}" for field, value in self._arguments().items())
        return f"{type(self).__name__}({', '.join(arguments)})"

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return self._arguments() == other._arguments()

    def __hash__(self) -> int:
        return hash((type(self), *self._arguments().values()))

    def _arguments(self) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}

    def output_shape(self, input_shape: Shape) -> Shape:
        """Return what becomes of the shape of one image; ValueError if it cannot be taken."""
        return input_shape

    def parameter_shapes(self, input_shape: Shape) -> dict[str, Shape]:
        """Return the shape of each parameter by name, in the order in which they are kept."""
        return {}

    def initial_parameters(
        self, input_shape: Shape, rng: np.random.Generator, feeds_relu: bool = False
    ) -> dict[str, Any]:
        """Return the value that each parameter starts with: an array or a number; 0 by default.

        Parameters
        ----------
        input_shape : tuple of int
        rng : numpy.random.Generator
        feeds_relu : bool
            Whether a :class:`ReLU` or its like follows, at once or behind pooling.
        """
        return dict.fromkeys(self.parameter_shapes(input_shape), 0.0)

    def forward(self, x: FloatArray, parameters: Arrays, rng: Random = None) -> OutAndCache:
        """Compute the layer's output for a batch.

        Parameters
        ----------
        x : (N, *input_shape)
            Not to be written to.
        parameters : mapping of str to array
            Under the names of :meth:`parameter_shapes`: views of the network's own.
        rng : numpy.random.Generator, optional
            Given in training, for what is random there; None in prediction.

        Returns
        -------
        out : (N, *output_shape)
            Of x's dtype.
        cache : object
            What :meth:`backward` needs.
        """
        raise NotImplementedError(f"{type(self).__name__} must define forward")

    def backward(self, dout: FloatArray, cache: Any) -> DxAndGradients:
        """Compute the gradients of some loss, given that of the layer's output.

        Parameters
        ----------
        dout : (N, *output_shape)
            Not to be written to.
        cache : object
            From :meth:`forward`.

        Returns
        -------
        dx : (N, *input_shape)
        gradients : mapping of str to array
            One for each parameter, under its name.
        """
        raise NotImplementedError(f"{type(self).__name__} must define backward")

    def backward_parameters(self, dout: FloatArray, cache: Any) -> Arrays:
        """Compute the gradients of the parameters alone, which is all that a first layer needs.

        The base drops the dx of :meth:`backward`; override it where dx takes long. Where a base
        class has done so, override it together with :meth:`backward`.
        """
        return self.backward(dout, cache)[1]


class UnknownLayerError(ValueError):
    """A description asks for a kind of layer that is not registered."""


LAYERS: dict[str, type[Layer]] = {}

AnyLayer = TypeVar("AnyLayer", bound=type[Layer])


def register(layer: AnyLayer) -> AnyLayer:
    """Make a class of layers known by its kind, so that model files with it can be loaded.

    A decorator. The kind is the class's name in lower case.

    Raises
    ------
    TypeError
        If it is not a subclass of :class:`Layer`.
    ValueError
        If another class has that name.
    """
    if not (isinstance(layer, type) and issubclass(layer, Layer)):
        raise TypeError(f"register: needs a subclass of tinycnn.layers.Layer, got {shown(layer)}")
    known = LAYERS.get(layer.kind)
    if known is not None and known.__qualname__ != layer.__qualname__:
        raise ValueError(f"register: {known!r} is called {layer.kind!r} already; rename this one")
    LAYERS[layer.kind] = layer
    return layer


def describe_layer(layer: Layer) -> dict[str, Any]:
    """Return a layer's kind and arguments, ready for JSON.

    Raises
    ------
    TypeError
        If JSON has nothing for an argument.
    """
    if not isinstance(layer, Layer):
        raise TypeError(f"layer: must be a layer, such as ReLU(), got {shown(layer)}")
    described = {"kind": layer.kind}
    for field in dataclasses.fields(layer):
        name = f"{type(layer).__name__}: {field.name}"
        described[field.name] = _described(name, getattr(layer, field.name))
    return described


def make_layer(description: Mapping[str, Any]) -> Layer:
    """Make the layer that :func:`describe_layer` has described.

    Raises
    ------
    UnknownLayerError
        If no class of that kind is registered.
    ValueError, TypeError
        If the arguments are not its own.
    """
    if not isinstance(description, Mapping):
        raise TypeError(f"description: must be what describe_layer gave, got {shown(description)}")
    arguments = {name: _undescribed(value) for name, value in description.items()}
    kind = arguments.pop("kind", None)
    if not isinstance(kind, str) or kind not in LAYERS:
        raise UnknownLayerError(
            f"no layer is called {shown(kind)}; import its class before loading, which needs the "
            f"decorator tinycnn.layers.register; known are {', '.join(LAYERS)}"
        )
    return LAYERS[kind](**arguments)


def _described(name: str, value: Any) -> Any:
    if isinstance(value, Layer):
        return describe_layer(value)
    if isinstance(value, tuple):
        return [_described(name, each) for each in value]
    if isinstance(value, np.generic):
        value = value.item()
    if not isinstance(value, bool | int | float | str | None):
        raise TypeError(
            f"{name}: a file can hold numbers, strings, booleans, None, layers and tuples of them, "
            f"got {shown(value)}"
        )
    return value


def _undescribed(value: Any) -> Any:
    if isinstance(value, dict):
        return make_layer(value)
    return tuple(_undescribed(each) for each in value) if isinstance(value, list) else value
