"""All parameters of a network in one flat vector, with a named view for each."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import numpy.typing as npt

from tinycnn._checks import FloatArray, as_array, require_finite, shown


class Parameters(Mapping[str, FloatArray]):
    """A mapping of names to arrays that are consecutive pieces of one vector.

    Holds a network's parameters, or a gradient with respect to them. An optimiser updates
    :attr:`flat` in one pass; everybody else goes by names. Set values by
    ``p[name][...] = value``.

    Parameters
    ----------
    flat : (n_parameters,)
        Shared, not copied.
    shapes : mapping of str to tuple of int
        In the order in which the arrays stand in the vector.
    """

    def __init__(self, flat: FloatArray, shapes: Mapping[str, tuple[int, ...]]) -> None:
        self.flat = flat
        self._views: dict[str, FloatArray] = {}
        start = 0
        for name, shape in shapes.items():
            stop = start + math.prod(shape)
            self._views[name] = flat[start:stop].reshape(shape)
            start = stop

    def __getitem__(self, name: str) -> FloatArray:
        return self._views[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._views)

    def __len__(self) -> int:
        return len(self._views)

    def __repr__(self) -> str:
        shapes = ", ".join(f"{name} {view.shape}" for name, view in self._views.items())
        return f"Parameters({shapes})"

    def load(self, values: Mapping[str, npt.ArrayLike]) -> None:
        """Copy in an array of finite numbers for each name: all of them or none.

        Raises
        ------
        ValueError
            If a name is missing or unknown, a shape is another one, or a value is not finite.
        """
        if not isinstance(values, Mapping):
            raise TypeError(f"values: must be a mapping of names to arrays, got {shown(values)}")
        if set(values) != set(self):
            raise ValueError(
                f"values: this network has the parameters {', '.join(self)}; "
                f"{_names_apart('missing', set(self) - set(values))}"
                f"{_names_apart('unknown', set(values) - set(self))}"
            )
        checked = {}
        for name, view in self.items():
            array = as_array(name, values[name])
            if array.shape != view.shape:
                raise ValueError(f"{name}: needs shape {view.shape}, got {array.shape}")
            require_finite(name, array, view.dtype)
            checked[name] = array
        for name, array in checked.items():
            self[name][...] = array

    def of(self, step_name: str) -> dict[str, FloatArray]:
        """Return the parameters of one step under the names that its layer knows: weight, bias."""
        start = f"{step_name}."
        return {
            name.removeprefix(start): view
            for name, view in self._views.items()
            if name.startswith(start)
        }


def _names_apart(what: str, names: set[str]) -> str:
    return f" {what}: {', '.join(sorted(names))}" if names else ""
