"""CNN: a list of layers together with the values of its parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tinycnn._checks import (
    FloatArray,
    as_array,
    as_float_array,
    as_float_dtype,
    as_labels,
    as_seed,
    as_weights,
    require_finite,
    require_memory,
    require_same_length,
    shown,
)
from tinycnn.architecture import Architecture, layers_or_blocks
from tinycnn.fast.engine import FastPath
from tinycnn.fast.plan import NoPlan
from tinycnn.functional import unchecked_softmax
from tinycnn.inputs import BYTE_SCALE, Inputs, as_images, moments, scaling_of
from tinycnn.layer import Layer
from tinycnn.layered import LayeredPath
from tinycnn.parameters import Parameters
from tinycnn.unusual import Watch
from tinycnn.views import Views, as_views, average_views


class ForwardState(NamedTuple):
    """What :meth:`CNN.backward` needs of :meth:`CNN.forward`."""

    path_state: Any
    logits_shape: tuple[int, ...]


class CNN:
    """A convolutional network: a list of layers with their parameters.

    Parameters
    ----------
    image_shape : (C, H, W)
        Channels (1 grey, 3 colour), rows and columns of every image.
    layers : sequence of Layer, optional
        From the image to the logits, for example
        ``[Conv(8), ReLU(), MaxPool(), Flatten(), Linear(10)]`` of :mod:`tinycnn.layers`. Without
        it, the arguments from `channels` to `bias` describe the usual network.
    channels : sequence of int
        Filters of each block of Conv, ReLU and MaxPool.
    kernel_size : int, (int, int) or list of these
        Rows and columns of the filters, of all blocks or of each.
    hidden : int or sequence of int
        Units of the Linear layers with ReLU before the last one; 0 or () for none.
    padding : int, (int, int), "same" or list of these
        Zeros around what each Conv is given, of all blocks or of each.
    n_classes : int
        Units of the last layer. Needed where `layers` is not given.
    bias : bool
        Whether Conv and Linear layers add a bias.
    dtype : "float32" or "float64"
        Of the parameters, and of everything that is computed.
    seed : int or None
        Of the initial parameters; None for other ones each time.
    class_names : sequence of str, optional
        "0", "1", ... by default.

    Attributes
    ----------
    architecture : Architecture
        The layers with their names and shapes.
    layers : tuple of Layer
    flat : (n_parameters,)
        All parameters in one vector.
    parameters : Parameters
        Writable views over ``flat`` by name: the layer's kind and number, then what it is, such as
        ``conv1.weight`` (K, C, R, S), ``conv1.bias`` (K,), ``linear1.weight`` (units, F).
    class_names : tuple of str
    input_mean, input_std : (C,)
        How input is scaled, see the notes; 0 and 1 unless :meth:`standardize` or
        :meth:`set_scaling` was called.

    Raises
    ------
    ValueError
        If a layer cannot take what the one before it gives; the message names it.
    TypeError
        If an argument is of the wrong kind.

    Notes
    -----
    Predictions warn once (:class:`tinycnn.UnusualImagesWarning`) of images that are on another
    scale than those that :meth:`standardize` has learned from, or black for white.

    Images are bytes (uint8, 0..255), uint16 or floats: byte b is taken as b / 255, all others as
    they are. From that, each channel's ``input_mean`` is taken away, and what is left is divided
    by its ``input_std``. What pads the first layer are zeros after that.

    Any number of threads may predict with one network at once. Whoever trains or changes it should
    be alone with it: others would see parameters of two steps.

    A network runs on the fast path where the kernels have operations for all of its layers, and
    layer by layer where they have not: with the same results, more slowly. ``repr`` tells.
    """

    def __init__(
        self,
        image_shape: Sequence[int],
        layers: Sequence[Layer] | None = None,
        *,
        channels: Sequence[int] | None = None,
        kernel_size: Any = 3,
        hidden: int | Sequence[int] = (),
        padding: Any = 0,
        n_classes: int | None = None,
        bias: bool = True,
        dtype: npt.DTypeLike = "float32",
        seed: int | None = 0,
        class_names: Sequence[str] | None = None,
    ) -> None:
        layers = layers_or_blocks(
            layers,
            n_classes,
            channels=channels,
            kernel_size=kernel_size,
            hidden=hidden,
            padding=padding,
            bias=bias,
        )
        self._architecture = Architecture(image_shape, layers)  # type: ignore[arg-type]
        n_outputs = self._architecture.n_classes
        if n_classes is not None and n_classes != n_outputs:
            raise ValueError(
                f"n_classes: the last layer gives {n_outputs} values, got n_classes={n_classes}"
            )
        self.class_names = _checked_class_names(class_names, n_outputs)
        n_channels, dtype = self._architecture.image_shape[0], as_float_dtype("dtype", dtype)
        n_parameters = self._architecture.n_parameters
        require_memory("the parameters", n_parameters * dtype.itemsize)
        self._set_up(
            np.zeros(n_parameters, dtype),
            np.zeros(n_channels),
            np.ones(n_channels),
        )
        self._initialise(np.random.default_rng(as_seed("seed", seed)))

    def _set_up(
        self, flat: FloatArray, mean: npt.NDArray[np.float64], std: npt.NDArray[np.float64]
    ) -> None:
        """Take hold of the parameters, and find the path that computes with them."""
        self._flat = flat.view()  # which cannot be resized under the kernels' hands
        self._parameters = Parameters(flat, self._architecture.parameter_shapes)
        self._scale_by(mean, std)
        self.path: FastPath | LayeredPath
        self._why_layered = ""
        self._watch = Watch()
        try:
            self.path = FastPath(self._architecture, flat.dtype)
        except NoPlan as reason:
            self.path = LayeredPath(self._architecture, flat.dtype)
            self._why_layered = str(reason)

    def _scale_by(self, mean: npt.NDArray[np.float64], std: npt.NDArray[np.float64]) -> None:
        """Take hold of checked numbers, and of what follows from them: a prediction has no time."""
        self._input_mean, self._input_std = mean, std = _read_only(mean), _read_only(std)
        self._is_standardized = bool(mean.any() or (std != 1).any())
        shift = _read_only(-mean / std)
        # How numbers are scaled, and bytes.
        self._scalings = [(_read_only(unit / std), shift) for unit in (1.0, BYTE_SCALE)]

    def _initialise(self, rng: np.random.Generator) -> None:
        """Let each layer say how its parameters start."""
        for i, step in enumerate(self._architecture.steps):
            feeds_relu = self._architecture.feeds_relu(i)
            initial = step.layer.initial_parameters(step.input_shape, rng, feeds_relu)
            for part, value in initial.items():
                self._parameters[f"{step.name}.{part}"][...] = value

    def __repr__(self) -> str:
        architecture = self._architecture
        text = (
            f"CNN(image_shape={architecture.image_shape}, layers={list(architecture.layers)}, "
            f"dtype='{self._flat.dtype}')"
        )
        return f"{text}  # layer by layer: {self._why_layered}" if self._why_layered else text

    def __getstate__(self) -> dict[str, Any]:
        """Keep what cannot be derived, for copies and pickles."""
        kept = ("_architecture", "class_names", "_input_mean", "_input_std", "_flat")
        return {key: vars(self)[key] for key in kept}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Derive the rest again."""
        self._architecture, self.class_names = state["_architecture"], state["class_names"]
        # Pickles whose arrays came in buffers of their own may have them at any address.
        flat = np.require(state["_flat"], requirements=["C", "A"])
        self._set_up(flat, state["_input_mean"], state["_input_std"])

    @property
    def architecture(self) -> Architecture:
        """The layers with their names and shapes."""
        return self._architecture

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The layers, from the image to the logits."""
        return self._architecture.layers

    @property
    def why_layered(self) -> str:
        """Why the network runs layer by layer; empty where it runs on the fast path."""
        return self._why_layered

    @property
    def flat(self) -> FloatArray:
        """All parameters in one vector; assigning to it copies the values in."""
        return self._flat

    @flat.setter
    def flat(self, values: npt.ArrayLike) -> None:
        values = as_array("flat", values)
        if values.shape != self._flat.shape:
            raise ValueError(f"flat: needs shape {self._flat.shape}, got {values.shape}")
        self._flat[...] = values

    @property
    def parameters(self) -> Parameters:
        """Writable views over :attr:`flat` by name; set values by ``parameters[name][...] =``."""
        return self._parameters

    def load_parameters(self, values: Mapping[str, npt.ArrayLike]) -> None:
        """Copy parameters in, such as a state dict from PyTorch or a safetensors file.

        Parameters
        ----------
        values : mapping of str to array
            An array of finite numbers for each name of :attr:`parameters`, of its shape; CPU
            tensors without gradients are taken. Either all are copied or none.

        Raises
        ------
        ValueError
            If a name is missing or unknown, a shape is another one, or a value is not finite.
        """
        self._parameters.load(values)

    @property
    def input_mean(self) -> npt.NDArray[np.float64]:
        """What is taken away from each channel of the input (C,)."""
        return self._input_mean

    @property
    def input_std(self) -> npt.NDArray[np.float64]:
        """What each channel of the input is divided by afterwards (C,)."""
        return self._input_std

    @property
    def is_standardized(self) -> bool:
        """Whether input is scaled by anything but 0 and 1."""
        return self._is_standardized

    def set_scaling(self, mean: npt.ArrayLike, std: npt.ArrayLike) -> None:
        """Set how input is scaled: pixels become ``(pixel - mean) / std``, channel by channel.

        Parameters
        ----------
        mean, std : (C,)
            Finite, in units of 1 for white where images are bytes; std above 0.
        """
        C = self._architecture.image_shape[0]
        checked = {}
        for name, value in (("mean", mean), ("std", std)):
            array = as_array(name, value).astype(np.float64)
            if array.shape != (C,):
                raise ValueError(
                    f"{name}: needs one number for each of {C} channels, got {shown(value)}"
                )
            require_finite(name, array, array.dtype)
            checked[name] = array
        if (checked["std"] <= 0).any():
            raise ValueError(f"std: must be above 0, got {shown(std)}")
        with np.errstate(over="ignore"):
            factors = np.stack([1 / checked["std"], checked["mean"] / checked["std"]])
            finite = np.isfinite(factors.astype(self._flat.dtype)).all()
        if not finite:
            raise ValueError(
                f"std: pixels of mean {shown(mean)} divided by {shown(std)} are beyond "
                f"{self._flat.dtype}; bring the images to another scale first"
            )
        self._scale_by(checked["mean"], checked["std"])

    def standardize(
        self, images: npt.ArrayLike, sample_weight: npt.ArrayLike | None = None
    ) -> None:
        """Learn mean and standard deviation of each channel, to bring input to 0 and 1.

        To be called once, with the training images, before training: the parameters learned
        afterwards hold for this scaling. It is kept with the model. A channel that is the same
        everywhere is only moved to 0. Of bytes and uint16, the mean is rounded to a whole number,
        so that a border of zeros stands for pixels that could be stored.

        Parameters
        ----------
        images : (N, C, H, W)
            N at least 1. Bytes, uint16 or finite floats; may be a ``numpy.memmap``.
        sample_weight : (N,), optional
            How much each image counts: finite, not negative and not all 0.

        Raises
        ------
        ValueError
            If images have another shape than the network's, there is none, a pixel is not a finite
            number, or the weights do not fit. What was learned before then stays.
        """
        images = as_images("images", images, self._architecture.image_shape)
        if len(images) == 0:
            raise ValueError("images: at least one image is needed, got 0")
        weights = None
        if sample_weight is not None:
            weights = as_weights("sample_weight", sample_weight, len(images), "image")
            if not weights.any():
                raise ValueError("sample_weight: all weights are 0; at least one must be above")
        mean, std = scaling_of(*moments(images, weights), images.dtype)
        if not np.isfinite(std).all():
            require_finite("images", images, self._flat.dtype)
            raise ValueError(
                "images: their values are too large to compute a deviation of; divide them first"
            )
        self.set_scaling(mean, std)

    def forward(
        self,
        images: npt.ArrayLike,
        *,
        n_threads: int | None = None,
        rng: np.random.Generator | None = None,
    ) -> tuple[FloatArray, ForwardState]:
        """Compute the logits of some images, keeping what the backward pass needs.

        Together with :meth:`backward` this trains with a loss of one's own; :meth:`logits` is for
        prediction, and keeps nothing.

        Parameters
        ----------
        images : (N, C, H, W)
            Bytes, uint16 or floats. Memory grows with N.
        n_threads : int, optional
            As many as this process has CPUs by default. It does not change the result.
        rng : numpy.random.Generator, optional
            Lets layers such as Dropout do what they do in training.

        Returns
        -------
        logits : (N, n_classes)
        state : ForwardState
            For :meth:`backward`.
        """
        images = as_images("images", images, self._architecture.image_shape)
        if len(images) == 0:
            raise ValueError("images: at least one image is needed, got 0")
        logits, state = self.path.forward(self._flat, self.inputs(images), n_threads, rng)
        return logits, ForwardState(state, logits.shape)

    def backward(self, dlogits: npt.ArrayLike, state: ForwardState) -> Parameters:
        """Compute the gradient of some loss with respect to every parameter.

        Parameters
        ----------
        dlogits : (N, n_classes)
            Gradient of the loss with respect to the logits, of the network's dtype.
        state : ForwardState
            From :meth:`forward`, at the same parameters.

        Returns
        -------
        gradients : Parameters
            Names, order and shapes of :attr:`parameters`; its ``flat`` goes to an optimiser.

        Raises
        ------
        ValueError, TypeError
            If dlogits has not the shape or the dtype of the logits, or the state is none of this
            network.
        """
        if not isinstance(state, ForwardState):
            raise TypeError(f"state: must be what forward gave with the logits, got {shown(state)}")
        dlogits = as_float_array("dlogits", dlogits, 2, order="F")
        if dlogits.shape != state.logits_shape:
            raise ValueError(
                f"dlogits: needs the shape of the logits, {state.logits_shape}, got {dlogits.shape}"
            )
        if dlogits.dtype != self._flat.dtype:
            raise TypeError(
                f"dlogits: needs the network's dtype {self._flat.dtype}, got {dlogits.dtype}; "
                f"convert it first: dlogits.astype('{self._flat.dtype}')"
            )
        flat = self.path.backward(dlogits, state.path_state)
        return Parameters(flat, self._architecture.parameter_shapes)

    def logits(
        self, images: npt.ArrayLike, n_threads: int | None = None, *, views: Views | None = None
    ) -> FloatArray:
        """Compute the logits (N, n_classes) of any number of images.

        Parameters
        ----------
        images : (N, C, H, W)
            Bytes, uint16 or floats.
        n_threads : int, optional
            As many as this process has CPUs by default. It does not change the result.
        views : Views, optional
            Average over moved and mirrored copies of an image. The image alone by default.

        Raises
        ------
        ValueError
            If images have another shape than the network's, a pixel is not a finite number, or
            views would move the images out of sight.
        """
        views = as_views("views", views, self._architecture.image_shape)
        logits = self._predicted(self.path.logits, images, n_threads)
        if views is not None:
            average_views(
                views,
                as_array("images", images),
                logits,
                lambda others: self._predicted(self.path.logits, others, n_threads),
            )
        return logits

    def features(self, images: npt.ArrayLike, n_threads: int | None = None) -> FloatArray:
        """Compute what the last layer sees (N, n_features); else as :meth:`logits`."""
        return self._predicted(self.path.features, images, n_threads)

    def predict_proba(
        self, images: npt.ArrayLike, n_threads: int | None = None, *, views: Views | None = None
    ) -> FloatArray:
        """Compute the probability (N, n_classes) of each class; arguments as for :meth:`logits`."""
        images = as_array("images", images)
        logits = self.logits(images, n_threads, views=views)
        self.warn_if_unusual(images)
        return unchecked_softmax(logits)

    def predict(
        self, images: npt.ArrayLike, n_threads: int | None = None, *, views: Views | None = None
    ) -> npt.NDArray[np.intp]:
        """Tell the most likely class (N,) of each image, the lower number on a tie.

        Arguments are those of :meth:`logits`.
        """
        images = as_array("images", images)
        logits = self.logits(images, n_threads, views=views)
        predictions: npt.NDArray[np.intp] = logits.argmax(axis=1)
        self.warn_if_unusual(images)
        return predictions

    def score(
        self, images: npt.ArrayLike, labels: npt.ArrayLike, *, views: Views | None = None
    ) -> float:
        """Compute the accuracy: the fraction of images (N at least 1) predicted as labelled."""
        labels = as_labels("labels", labels, self._architecture.n_classes)
        predictions = self.predict(images, views=views)
        require_same_length(predictions, labels, "images", "labels")
        return float(np.mean(predictions == labels))

    def warn_if_unusual(self, images: npt.NDArray[Any]) -> None:
        """Warn, once, of images that are far from those that :meth:`standardize` learned from.

        Predictions do so themselves; this is for what computes :meth:`logits`.

        Parameters
        ----------
        images : (N, C, H, W)

        Warns
        -----
        UnusualImagesWarning
            If they are on another scale, or black for white.
        """
        if self.is_standardized:
            self._watch.look(images, self._input_mean, self._input_std)

    def inputs(self, images: npt.NDArray[Any]) -> Inputs:
        """Pair checked images with this network's scaling, for its path."""
        scaling = self._scalings[images.dtype == np.uint8]
        return Inputs(images, *scaling)

    def _predicted(self, function: Any, images: npt.ArrayLike, n_threads: int | None) -> FloatArray:
        """Call one of the path's functions; refuse pixels that are not finite."""
        images = as_images("images", images, self._architecture.image_shape)
        outputs: FloatArray
        outputs, all_finite = function(self._flat, self.inputs(images), n_threads)
        if not all_finite:
            require_finite("images", images, self._flat.dtype)
        return outputs


def require_network(net: Any) -> CNN:
    """Raise TypeError unless net is a CNN."""
    if not isinstance(net, CNN):
        raise TypeError(f"net: must be a tinycnn.CNN, got {shown(net)}")
    return net


def _read_only(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    copied = values.copy()
    copied.flags.writeable = False
    return copied


def _checked_class_names(names: Sequence[str] | None, n_classes: int) -> tuple[str, ...]:
    if names is None:
        return tuple(str(i) for i in range(n_classes))
    if (
        isinstance(names, str)
        or not isinstance(names, Sequence | np.ndarray)
        or len(names) != n_classes
    ):
        raise ValueError(f"class_names: {n_classes} classes need as many names, got {shown(names)}")
    return tuple(str(name) for name in names)
