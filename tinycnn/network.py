"""CNN: the network as an object that owns its parameters and knows forward and backward.

A network is a list of blocks, each conv2d -> ReLU -> 2x2 max pool, followed by a fully connected
layer that gives a logit for every class; a hidden one with ReLU may stand before it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tinycnn._checks import (
    FLOAT_TYPES,
    FloatArray,
    as_array,
    as_labels,
    as_seed,
    require_finite,
    require_ndim,
)
from tinycnn.architecture import make_architecture
from tinycnn.engine import Engine, Pixels
from tinycnn.functional import (
    Conv2dCache,
    LinearCache,
    MaxPool2dCache,
    conv2d_backward,
    conv2d_forward,
    linear_backward,
    linear_forward,
    max_pool2d_backward,
    max_pool2d_forward,
    relu_backward,
    relu_forward,
    softmax,
)
from tinycnn.weighting import checked_weights

# Bytes 0..255 and floats 0..1 are the same greys.
BYTE_SCALE = 1 / 255


class BlockCache(NamedTuple):
    """What the backward pass of one block needs of its forward pass."""

    conv: Conv2dCache
    relu: FloatArray
    pool: MaxPool2dCache


class HiddenCache(NamedTuple):
    """What the backward pass of the hidden layer needs of its forward pass."""

    linear: LinearCache
    relu: FloatArray


class NetworkCache(NamedTuple):
    """What :meth:`CNN.backward` needs of :meth:`CNN.forward`."""

    blocks: list[BlockCache]
    pooled_shape: tuple[int, ...]
    hidden: HiddenCache | None
    fc: LinearCache


class CNN:
    """A small convolutional network: blocks of conv2d -> ReLU -> 2x2 max pool, then linear.

    Parameters
    ----------
    image_shape : (C, H, W)
        Channels (1 grey, 3 colour), rows and columns of every image.
    channels : sequence of int
        Number of filters of each block; its length is the depth of the network.
    kernel_size : int, (R, S), or a sequence with one of these per block
        Rows and columns of the filters. A tuple of two ints is (R, S) for every block; a list
        has one entry a block.
    n_classes : int
        Number of logits.
    bias : bool
        Whether conv and linear layers add a bias.
    dtype : "float32" or "float64"
        Of the parameters and of all that is computed.
    seed : int or None
        Of the initial weights; None draws other ones each time.
    class_names : sequence of str, optional
        One name a class, kept with the model; "0", "1", ... by default.
    hidden : int
        Units of a fully connected layer with ReLU between the last block and the logits; 0 for
        none.
    padding : int
        Rows and columns of zeros that are put around every image before all else, on each side: a
        filter then sees what stands at the border, as it sees the rest.

    Attributes
    ----------
    architecture : Architecture
    flat : (n_parameters,)
        All parameters in one vector.
    parameters : mapping of str to array
        Writable views over ``flat``, named as in PyTorch's state dict: ``conv1.weight``
        (K, C, R, S), ``conv1.bias`` (K,), ..., ``hidden.weight`` (hidden, F), ``hidden.bias``,
        ``fc.weight`` (n_classes, F), ``fc.bias``; without hidden layer, fc has the F inputs.
    class_names : tuple of str
    input_mean, input_std : (C,)
        What :meth:`standardize` has learned: 0 and 1 before.

    Notes
    -----
    Images are bytes (uint8, 0..255) or floats: byte b is taken as b / 255, floats as they are.
    From that, each channel's ``input_mean`` is taken away, and what is left is divided by its
    ``input_std``.

    Weights are drawn from a normal distribution of variance 2 / fan-in, after He et al., "Delving
    Deep into Rectifiers", 2015, arXiv:1502.01852; those of fc with variance 1 / fan-in, since no
    ReLU follows; biases start at 0.
    """

    def __init__(
        self,
        image_shape: Sequence[int],
        channels: Sequence[int] = (8,),
        kernel_size: int | Sequence[int | Sequence[int]] = 3,
        n_classes: int = 10,
        bias: bool = True,
        dtype: npt.DTypeLike = "float32",
        seed: int | None = 0,
        class_names: Sequence[str] | None = None,
        hidden: int = 0,
        padding: int = 0,
    ) -> None:
        self.architecture = make_architecture(
            image_shape, channels, kernel_size, n_classes, bias, hidden, padding
        )
        self.class_names = _checked_class_names(class_names, self.architecture.n_classes)
        self._flat: FloatArray = np.zeros(self.architecture.n_parameters, _float_dtype(dtype))
        self.input_mean = np.zeros(self.architecture.image_shape[0])
        self.input_std = np.ones(self.architecture.image_shape[0])
        self._initialise(np.random.default_rng(as_seed("seed", seed)))

    def __repr__(self) -> str:
        image_shape, channels, kernel_sizes, n_classes, bias, hidden, padding = self.architecture
        return (
            f"CNN(image_shape={image_shape}, channels={channels}, "
            f"kernel_size={list(kernel_sizes)}, n_classes={n_classes}, bias={bias}, "
            f"dtype='{self.flat.dtype}'{f', hidden={hidden}' if hidden else ''}"
            f"{f', padding={padding}' if padding else ''})"
        )

    def __getstate__(self) -> dict[str, Any]:
        """Keep what cannot be derived, for copies and pickles."""
        kept = ("architecture", "class_names", "input_mean", "input_std", "_flat")
        return {key: vars(self)[key] for key in kept}

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

    @cached_property
    def parameters(self) -> Mapping[str, FloatArray]:
        """Writable views over :attr:`flat` by name; set values by ``parameters[name][...] =``."""
        return MappingProxyType(named_views(self._flat, self.architecture.parameter_shapes))

    def _initialise(self, rng: np.random.Generator) -> None:
        """Draw the weights; see the class's notes for the distributions."""
        for name, weight in self.parameters.items():
            if name.endswith("weight"):
                gain = 1.0 if name == "fc.weight" else 2.0
                fan_in = weight[0].size
                weight[...] = rng.normal(0.0, np.sqrt(gain / fan_in), weight.shape)

    def standardize(
        self, images: npt.ArrayLike, sample_weight: npt.ArrayLike | None = None
    ) -> None:
        """Learn mean and standard deviation of each channel, to bring input to 0 and 1.

        To be called once, with the training images, before training: the parameters learned
        afterwards hold for this scaling. It is kept with the model. A channel that is the same
        everywhere is only moved to 0.

        Parameters
        ----------
        images : (N, C, H, W)
            N at least 1. Bytes or finite floats; may be a ``numpy.memmap``.
        sample_weight : (N,), optional
            How much each image counts: finite, not negative and not all 0.

        Raises
        ------
        ValueError
            If images have another shape than the network's, there is none, a pixel is not a finite
            number, or the weights do not fit. What was learned before then stays.
        """
        images = self.as_images(images)
        if len(images) == 0:
            raise ValueError("images: at least one image is needed, got 0")
        weights = None
        if sample_weight is not None:
            weights = checked_weights("sample_weight", sample_weight, len(images), "image")
            if not weights.any():
                raise ValueError("sample_weight: all weights are 0; at least one must be above")
        mean, std = self.pixels(images).moments(weights)
        if not np.isfinite(std).all():
            require_finite("images", images, self.flat.dtype)
        unit = BYTE_SCALE if images.dtype == np.uint8 else 1.0
        self.input_mean = mean * unit
        self.input_std = np.where(std > 0, std * unit, 1.0)

    def forward(self, images: npt.ArrayLike) -> tuple[FloatArray, NetworkCache]:
        """Compute the logits of some images, keeping what the backward pass needs.

        Parameters
        ----------
        images : (N, C, H, W)
            Bytes or floats.

        Returns
        -------
        logits : (N, n_classes)
        cache : for :meth:`backward`
        """
        x = self._as_input(images)
        block_caches = []
        for i in range(len(self.architecture.channels)):
            x, conv_cache = conv2d_forward(x, *self._layer(f"conv{i + 1}"))
            x, relu_cache = relu_forward(x)
            x, pool_cache = max_pool2d_forward(x)
            block_caches.append(BlockCache(conv_cache, relu_cache, pool_cache))
        pooled_shape = x.shape
        x = x.reshape(len(x), -1)
        hidden_cache = None
        if self.architecture.hidden:
            x, linear_cache = linear_forward(x, *self._layer("hidden"))
            x, relu_cache = relu_forward(x)
            hidden_cache = HiddenCache(linear_cache, relu_cache)
        logits, fc_cache = linear_forward(x, *self._layer("fc"))
        return logits, NetworkCache(block_caches, pooled_shape, hidden_cache, fc_cache)

    def backward(self, dlogits: npt.ArrayLike, cache: NetworkCache) -> dict[str, FloatArray]:
        """Compute the gradient with respect to every parameter.

        Parameters
        ----------
        dlogits : (N, n_classes)
            Gradient of some loss with respect to the logits.
        cache : from :meth:`forward`

        Returns
        -------
        gradients : dict of str to array
            Names, order and shapes of :attr:`parameters`.
        """
        gradients: dict[str, FloatArray] = {}
        dx: Any  # None below the first block, where nothing asks for it
        dx, *dfc = linear_backward(dlogits, cache.fc)
        self._name_gradients(gradients, "fc", dfc)
        if cache.hidden is not None:
            dx = relu_backward(dx, cache.hidden.relu)
            dx, *dhidden = linear_backward(dx, cache.hidden.linear)
            self._name_gradients(gradients, "hidden", dhidden)
        dx = dx.reshape(cache.pooled_shape)
        for i, block in reversed(list(enumerate(cache.blocks))):
            dx = max_pool2d_backward(dx, block.pool)
            dx = relu_backward(dx, block.relu)
            dx, *dconv = conv2d_backward(dx, block.conv, need_dx=i > 0)
            self._name_gradients(gradients, f"conv{i + 1}", dconv)
        return {name: gradients[name] for name in self.parameters}

    def logits(self, images: npt.ArrayLike, n_threads: int | None = None) -> FloatArray:
        """Compute the logits (N, n_classes) of any number of images.

        This is :meth:`forward` without a cache, on the fast kernels.

        Parameters
        ----------
        images : (N, C, H, W)
            Bytes or floats.
        n_threads : int, optional
            As many as this process has CPUs by default. It does not change the result.

        Raises
        ------
        ValueError
            If images have another shape than the network's, or a pixel is not a finite number.
        """
        images = self.as_images(images)
        logits, all_finite = self.engine.logits(self.flat, self.pixels(images), n_threads)
        if not all_finite:
            require_finite("images", images, self.flat.dtype)
        return logits

    def features(self, images: npt.ArrayLike, n_threads: int | None = None) -> FloatArray:
        """Compute what the last layer sees (N, n_features) of each image; else as :meth:`logits`.

        That is the hidden layer's output where there is one, else the last block's, flattened in
        the order filter, row, column. No value is negative: both end in a ReLU.
        """
        images = self.as_images(images)
        features, all_finite = self.engine.features(self.flat, self.pixels(images), n_threads)
        if not all_finite:
            require_finite("images", images, self.flat.dtype)
        return features

    def predict_proba(self, images: npt.ArrayLike, n_threads: int | None = None) -> FloatArray:
        """Compute the probability (N, n_classes) of each class; arguments as for :meth:`logits`."""
        return softmax(self.logits(images, n_threads))

    def predict(self, images: npt.ArrayLike, n_threads: int | None = None) -> npt.NDArray[np.intp]:
        """Tell the most likely class (N,) of each image, the lower number on a tie."""
        predictions: npt.NDArray[np.intp] = self.logits(images, n_threads).argmax(axis=1)
        return predictions

    def score(self, images: npt.ArrayLike, labels: npt.ArrayLike) -> float:
        """Compute the accuracy: the fraction of images (N at least 1) predicted as labelled."""
        labels = as_labels("labels", labels, self.architecture.n_classes)
        predictions = self.predict(images)
        require_same_length(predictions, labels, "images", "labels")
        return float(np.mean(predictions == labels))

    def as_images(self, images: npt.ArrayLike, name: str = "images") -> npt.NDArray[Any]:
        """Check shape and dtype of images; returned as they are, bytes as bytes."""
        images = as_array(name, images)
        require_ndim(name, images, 4, "(N, C, H, W)")
        if images.shape[1:] != self.architecture.image_shape:
            raise ValueError(
                f"{name}: this network takes images of shape {self.architecture.image_shape} "
                f"(C, H, W), got {images.shape[1:]}"
            )
        if images.dtype != np.uint8 and images.dtype.kind != "f":
            raise TypeError(
                f"{name}: dtype {images.dtype} is neither bytes (uint8, 0..255) nor floats; "
                "convert with .astype('uint8'), or .astype('float32') for values as they are"
            )
        return images

    def pixels(self, images: npt.NDArray[Any]) -> Pixels:
        """Hand images that :meth:`as_images` has checked over to the fast kernels."""
        return Pixels(images, *self._scaling(images.dtype))

    @cached_property
    def engine(self) -> Engine:
        """The fast kernels, set up for this network."""
        return Engine(self.architecture, self.flat.dtype)

    def _as_input(self, images: npt.ArrayLike) -> FloatArray:
        """Bring images to the scale and dtype that the first layer computes with."""
        images = self.as_images(images)
        border, dtype = self.architecture.padding, self.flat.dtype
        x = np.pad(images, ((0, 0), (0, 0), (border, border), (border, border))).astype(dtype)
        scale, shift = (value.astype(dtype)[:, None, None] for value in self._scaling(images.dtype))
        x *= scale
        x += shift
        return x

    def _scaling(
        self, dtype: np.dtype[Any]
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Tell scale and shift (C,) of pixels of a dtype on their way to the first layer."""
        unit = BYTE_SCALE if dtype == np.uint8 else 1.0
        return unit / self.input_std, -self.input_mean / self.input_std

    def _layer(self, layer: str) -> list[FloatArray]:
        """Weight of the layer and, if there is one, its bias."""
        parts = ["weight", "bias"] if self.architecture.bias else ["weight"]
        return [self.parameters[f"{layer}.{part}"] for part in parts]

    def _name_gradients(
        self, gradients: dict[str, FloatArray], layer: str, values: Sequence[FloatArray]
    ) -> None:
        """Enter a layer's gradients under the names of its parameters."""
        for part, value in zip(("weight", "bias"), values, strict=False):
            gradients[f"{layer}.{part}"] = value


def named_views(flat: FloatArray, shapes: dict[str, tuple[int, ...]]) -> dict[str, FloatArray]:
    """Cut a flat vector into consecutive arrays of the given shapes that share its memory."""
    views = {}
    start = 0
    for name, shape in shapes.items():
        stop = start + math.prod(shape)
        views[name] = flat[start:stop].reshape(shape)
        start = stop
    return views


def require_same_length(
    images: npt.NDArray[Any], labels: npt.NDArray[Any], images_name: str, labels_name: str
) -> None:
    """Raise ValueError unless there is one label for each of at least one image."""
    if len(images) != len(labels):
        raise ValueError(
            f"{labels_name}: {len(images)} images need as many labels, got {len(labels)}"
        )
    if len(images) == 0:
        raise ValueError(f"{images_name}: at least one image is needed, got 0")


def _float_dtype(dtype: npt.DTypeLike) -> np.dtype[Any]:
    checked = np.dtype(dtype).newbyteorder("=")
    if checked.type not in FLOAT_TYPES:
        raise TypeError(f"dtype: must be 'float32' or 'float64', got {dtype!r}")
    return checked


def _checked_class_names(names: Sequence[str] | None, n_classes: int) -> tuple[str, ...]:
    if names is None:
        return tuple(str(i) for i in range(n_classes))
    if len(names) != n_classes or isinstance(names, str):
        raise ValueError(f"class_names: {n_classes} classes need as many names, got {names!r}")
    return tuple(str(name) for name in names)
