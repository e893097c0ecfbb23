"""Eight-bit integers: a network whose weights are bytes, and that computes without floats.

What a stage gives is a whole number times the stage's scale. The scale is chosen so that the
largest value seen on some images becomes 255 behind a ReLU, and 127 elsewhere. Weights have a
scale for each filter, and -127 to 127. No zero points are needed: pixels are bytes already, what
pads the first layer is the byte that stands for 0, and behind a ReLU nothing is negative.

Between two scales stands a multiplication by ``multiplier / 2**shift``, rounded half up. It is
done on magnitudes alone, which every machine shifts alike.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tinycnn._checks import as_labels, require_same_length
from tinycnn.architecture import Architecture
from tinycnn.export.folding import carrier_index, pixel_scaling
from tinycnn.export.stages import Stage, compute, make_stages
from tinycnn.functional import softmax
from tinycnn.inputs import BYTE_SCALE, as_images, slabs
from tinycnn.layers import Conv, Linear, MaxPool
from tinycnn.network import CNN, require_network

WEIGHT_MAX, UNSIGNED_MAX, SIGNED_MAX = 127, 255, 127
MULTIPLIER_BITS = 24  # so that a product with an accumulator fits 55 bits, and rounding 62
LARGEST_SHIFT = 55
ACCUMULATOR_MAX = 2**31 - 1
BIAS_MAX = 2**30

CALIBRATION_IMAGES = 100  # at a time: float64 copies of all that they become


@dataclass(frozen=True)
class Requantization:
    """How a stage's accumulators become the bytes that the next one takes.

    Attributes
    ----------
    multiplier, shift : (K,)
        Bytes are ``accumulator * multiplier / 2**shift``, rounded half away from 0.
    signed : bool
        Whether there may be bytes below 0: -127..127; else 0..255, what is negative becoming 0.
    """

    multiplier: npt.NDArray[np.int64]
    shift: npt.NDArray[np.int64]
    signed: bool

    def __call__(self, accumulators: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return the bytes, as floats, of accumulators (N, K, ...)."""
        per_channel = (-1, *(1 for _ in accumulators.shape[2:]))
        multiplier, shift = self.multiplier.reshape(per_channel), self.shift.reshape(per_channel)
        whole = accumulators.astype(np.int64)
        magnitude = np.abs(whole) if self.signed else np.maximum(whole, 0)
        rounded = (magnitude * multiplier + (np.int64(1) << (shift - 1))) >> shift
        stored: npt.NDArray[np.int64] = np.minimum(rounded, UNSIGNED_MAX)
        if self.signed:
            stored = np.sign(whole) * np.minimum(rounded, SIGNED_MAX)
        return stored.astype(np.float64)


@dataclass(frozen=True)
class QuantizedStage:
    """A stage in whole numbers.

    Attributes
    ----------
    stage : Stage
        Its parameters are int64: weights -127..127, biases in 32 bits.
    requantization : Requantization or None
        None in the last stage, whose accumulators are the logits, and in mere pooling.
    """

    stage: Stage
    requantization: Requantization | None = None

    def __call__(self, x: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Compute it for a batch of whole numbers, kept in floats."""
        out = compute(self.stage, x)
        return self.requantization(out) if self.requantization else out


class QuantizedCNN:
    """A network in eight-bit integers: what :func:`quantize` makes, and its C computes.

    Attributes
    ----------
    architecture : Architecture
    class_names : tuple of str
    stages : tuple of QuantizedStage
    logit_scale : float
        What a logit of 1 is worth: probabilities are ``softmax(logits * logit_scale)``.
    """

    def __init__(
        self,
        architecture: Architecture,
        class_names: tuple[str, ...],
        stages: tuple[QuantizedStage, ...],
        logit_scale: float,
    ) -> None:
        self.architecture = architecture
        self.class_names = class_names
        self.stages = stages
        self.logit_scale = logit_scale

    def __repr__(self) -> str:
        architecture = self.architecture
        return (
            f"QuantizedCNN(image_shape={architecture.image_shape}, "
            f"layers={list(architecture.layers)})"
        )

    def logits(self, images: npt.ArrayLike) -> npt.NDArray[np.int32]:
        """Compute the logits (N, n_classes), whole numbers, bit for bit as the C does.

        Parameters
        ----------
        images : (N, C, H, W)
            Bytes (uint8).
        """
        pixels = _as_bytes("images", images, self.architecture)
        logits = np.empty((len(pixels), self.architecture.n_classes), np.int32)
        for slab in slabs(pixels, CALIBRATION_IMAGES):
            x = pixels[slab].astype(np.float64)
            for stage in self.stages:
                x = stage(x)
            logits[slab] = x.reshape(len(x), -1)
        return logits

    def predict_proba(self, images: npt.ArrayLike) -> npt.NDArray[np.float32]:
        """Compute the probability (N, n_classes) of each class; images as for :meth:`logits`."""
        scaled = self.logits(images) * np.float64(self.logit_scale)
        probabilities: npt.NDArray[np.float32] = softmax(scaled).astype(np.float32)
        return probabilities

    def predict(self, images: npt.ArrayLike) -> npt.NDArray[np.intp]:
        """Tell the most likely class (N,) of each image, the lower number on a tie."""
        predictions: npt.NDArray[np.intp] = self.logits(images).argmax(axis=1)
        return predictions

    def score(self, images: npt.ArrayLike, labels: npt.ArrayLike) -> float:
        """Compute the accuracy: the fraction of images (N at least 1) predicted as labelled."""
        labels = as_labels("labels", labels, self.architecture.n_classes)
        predictions = self.predict(images)
        require_same_length(predictions, labels, "images", "labels")
        return float(np.mean(predictions == labels))


def quantize(net: CNN, images: npt.ArrayLike) -> QuantizedCNN:
    """Make an eight-bit network of a trained one.

    Parameters
    ----------
    net : CNN
        Of Conv, ReLU, MaxPool, Dropout, Flatten and Linear; it stays as it is.
    images : (N, C, H, W)
        Bytes (uint8) that are like those to come: from them it learns how large values become. A
        hundred are plenty; they need no labels.

    Returns
    -------
    QuantizedCNN

    Raises
    ------
    ValueError
        If there is no image, a layer has no form in integers, or its sums could exceed 32 bits.
    TypeError
        If images are no bytes.
    """
    require_network(net)
    pixels = _as_bytes("images", images, net.architecture)
    if len(pixels) == 0:
        raise ValueError("images: at least one image is needed to see how large values become")
    stages = _integer_stages(net)
    quantized: list[QuantizedStage] = []
    x, scale = pixels.astype(np.float64), 1.0
    for stage in stages:
        if isinstance(stage.step.layer, MaxPool):
            quantized.append(QuantizedStage(stage))
            x = compute(stage, x)
            continue
        x = np.concatenate([compute(stage, x[slab]) for slab in slabs(x, CALIBRATION_IMAGES)])
        signed_input = bool(quantized) and _is_signed(quantized)
        last = stage is stages[-1]
        whole, weight_scale = _with_whole_parameters(stage, scale, one_scale=last)
        _require_32_bits(whole, signed_input)
        if last:
            quantized.append(QuantizedStage(whole))
            scale *= float(weight_scale[0])
            break
        largest, signed = float(np.abs(x).max()), not stage.relu
        out_scale = (largest or 1.0) / (SIGNED_MAX if signed else UNSIGNED_MAX)
        factor = weight_scale * scale / out_scale
        quantized.append(QuantizedStage(whole, _requantization(factor, signed)))
        scale = out_scale
    return QuantizedCNN(net.architecture, net.class_names, tuple(quantized), scale)


def _as_bytes(
    name: str, images: npt.ArrayLike, architecture: Architecture
) -> npt.NDArray[np.uint8]:
    pixels = as_images(name, images, architecture.image_shape)
    if pixels.dtype != np.uint8:
        raise TypeError(
            f"{name}: an eight-bit network takes bytes (uint8, 0..255), got {pixels.dtype}; "
            f"convert greys 0..1 with ({name} * 255).round().astype('uint8')"
        )
    return pixels


def _integer_stages(net: CNN) -> list[Stage]:
    """Return the stages; refuse what has no form in integers, and round what pads to bytes."""
    scaling = pixel_scaling(net, BYTE_SCALE)
    stages = make_stages(net, scaling)
    for stage in stages:
        if type(stage.step.layer) not in (Conv, Linear, MaxPool):
            raise ValueError(
                f"{stage.name}: {stage.step.layer!r} has no form in eight-bit integers here; "
                "leave it out, or export the network in floats"
            )
    if carrier_index(net.architecture) is None or isinstance(stages[-1].step.layer, MaxPool):
        raise ValueError("layers: an eight-bit network must end in a Conv or Linear")
    return [
        dataclasses.replace(stage, pad=np.clip(np.round(stage.pad), 0, UNSIGNED_MAX))
        for stage in stages
    ]


def _is_signed(stages: list[QuantizedStage]) -> bool:
    """Tell whether what the last of some stages gives may be below 0."""
    for stage in reversed(stages):
        if stage.requantization:
            return stage.requantization.signed
    return False


def _with_whole_parameters(
    stage: Stage, input_scale: float, *, one_scale: bool
) -> tuple[Stage, npt.NDArray[np.float64]]:
    """Round the parameters; also return the scale of each filter's weights, or one for all."""
    weight = stage.parameters["weight"]
    bias = stage.parameters.get("bias", np.zeros(len(weight)))
    largest = np.abs(weight).reshape(len(weight), -1).max(axis=1)
    # A filter with small weights and a large bias is scaled by its bias, which has 31 bits.
    scale = np.maximum(largest / WEIGHT_MAX, np.abs(bias) / input_scale / BIAS_MAX)
    if one_scale:
        scale = np.full_like(scale, scale.max())
    scale[scale == 0] = 1.0
    per_filter = scale.reshape(-1, *(1 for _ in weight.shape[1:]))
    parameters: dict[str, npt.NDArray[Any]] = {
        "weight": np.round(weight / per_filter).astype(np.int64),
        "bias": np.round(bias / (scale * input_scale)).astype(np.int64),
    }
    return dataclasses.replace(stage, parameters=parameters), scale


def _require_32_bits(stage: Stage, signed_input: bool) -> None:
    """Refuse a stage some sum of which could exceed 32 bits."""
    weight = stage.parameters["weight"].reshape(len(stage.parameters["bias"]), -1)
    largest_input = SIGNED_MAX if signed_input else UNSIGNED_MAX
    bound = np.abs(stage.parameters["bias"]) + largest_input * np.abs(weight).sum(axis=1)
    if bound.max() > ACCUMULATOR_MAX:
        raise ValueError(
            f"{stage.name}: its sums could reach {bound.max()}, more than 32 bits hold; "
            "use fewer inputs, or export the network in floats"
        )


def _requantization(factor: npt.NDArray[np.float64], signed: bool) -> Requantization:
    """Bring positive factors to ``multiplier / 2**shift`` with a multiplier of 24 bits."""
    pairs = [_multiplier_and_shift(float(value)) for value in factor]
    multiplier, shift = np.array(pairs, np.int64).T
    return Requantization(multiplier, shift, signed)


def _multiplier_and_shift(factor: float) -> tuple[int, int]:
    fraction, exponent = math.frexp(factor)
    multiplier, shift = round(fraction * 2**MULTIPLIER_BITS), MULTIPLIER_BITS - exponent
    if multiplier == 2**MULTIPLIER_BITS:
        multiplier, shift = multiplier // 2, shift - 1
    if shift > LARGEST_SHIFT:  # any accumulator times the factor is below a half
        return 0, 1
    if shift < 1:
        raise ValueError(f"quantize: weights need the factor {factor}, which is out of range")
    return multiplier, shift
