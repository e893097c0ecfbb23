"""How each kind of layer is written for one target: the registry that every exporter asks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

from tinycnn.architecture import Step
from tinycnn.layer import Layer

Translation = TypeVar("Translation", bound=Callable[..., Any])


class Translations(Generic[Translation]):
    """The translations of layers for one target, by the layer's class.

    A subclass does not inherit its base's translation: it may compute something else.

    Parameters
    ----------
    target : str
        What the target is called in messages.
    place : str
        Where the registry is found, for messages: ``tinycnn.export.onnx.TRANSLATIONS``.
    """

    def __init__(self, target: str, place: str) -> None:
        self.target = target
        self.place = place
        self._of: dict[type[Layer], Translation] = {}

    def register(self, *layers: type[Layer]) -> Callable[[Translation], Translation]:
        """Make the decorated function the translation of some classes of layers."""

        def keep(translation: Translation) -> Translation:
            self._of.update(dict.fromkeys(layers, translation))
            return translation

        return keep

    def of(self, step: Step) -> Translation:
        """Return the translation of a step's layer.

        Raises
        ------
        ValueError
            If there is none; the message names the layer and tells how to add one.
        """
        kind = type(step.layer)
        if kind not in self._of:
            raise ValueError(
                f"{step.name}: {step.layer!r} has no translation to {self.target}; write one and "
                f"decorate it with {self.place}.register({kind.__name__})"
            )
        return self._of[kind]
