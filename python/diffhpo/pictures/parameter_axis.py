# SPDX-License-Identifier: Apache-2.0
"""Where the values of a parameter lie on an axis, and how the axis is labelled."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from diffhpo.errors import InputError
from diffhpo.pictures.look import plain_text, whole_numbers
from diffhpo.space import Float, Int, Parameter, Space

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Array = NDArray[np.float64]

#: Choices whose names are written along an axis; of more, some are left out.
MOST_LABELS = 12


@dataclass(frozen=True)
class ParameterAxis:
    """One parameter along an axis: numbers by their value, choices by their place.

    Args:
        name: of the parameter.
        parameter: of a space.

    Example:
        >>> from diffhpo.space import Categorical
        >>> ParameterAxis("kernel", Categorical(["rbf", "linear", "poly"])).position("poly")
        2.0
        >>> axis = ParameterAxis("rate", Float(0.01, 1.0, log=True))
        >>> axis.position(0.1), round(axis.share(0.1), 9)
        (0.1, 0.5)
    """

    name: str
    parameter: Parameter

    @classmethod
    def of(cls, space: Space, name: str) -> ParameterAxis:
        """The axis of a parameter of a space.

        Raises:
            InputError: if the space has no such parameter.
        """
        if name not in space.parameters:
            known = ", ".join(map(repr, space.parameters))
            raise InputError(f"the space has no parameter {name!r}; it has {known}")
        return cls(name, space.parameters[name])

    @property
    def choices(self) -> list[Any] | None:
        """The values of a parameter that is not a number, in order; None for numbers."""
        if isinstance(self.parameter, (Float, Int)):
            return None
        return self.parameter.values()

    @property
    def log(self) -> bool:
        """Whether the axis is logarithmic."""
        return bool(getattr(self.parameter, "log", False))

    @property
    def ends(self) -> tuple[float, float]:
        """The positions of the smallest and the largest value."""
        if isinstance(self.parameter, (Float, Int)):
            return float(self.parameter.low), float(self.parameter.high)
        return 0.0, self.parameter.size - 1.0

    def position(self, value: Any) -> float:
        """Where a value lies: the value itself, or the place of a choice.

        Raises:
            SpaceError: if it is not a value of the parameter.
        """
        encoded = self.parameter.encode(value)
        if self.choices is None:
            return float(value)
        return float(self.parameter.level(encoded[None])[0])

    def positions(self, configurations: Sequence[Mapping[str, Any]]) -> Array:
        """(n,) positions of the parameter's values; nan where a configuration lacks it."""
        return np.array([self.position(c[self.name]) if self.name in c else np.nan for c in configurations])

    def share(self, value: Any) -> float:
        """How far along the axis a value lies, 0 at the smallest to 1 at the largest."""
        return self.along(self.position(value))

    def along(self, position: float) -> float:
        """How far along the axis a position lies."""
        low, high = self.ends
        if self.log:
            low, high, position = math.log(low), math.log(high), math.log(position)
        return (position - low) / (high - low) if high > low else 0.5

    def label_x(self, ax: Axes) -> None:
        """Scale, limits, ticks and name of an x axis."""
        low, high = self.ends
        choices = self.choices
        if choices is not None:
            every = -(-len(choices) // MOST_LABELS)
            shown = range(0, len(choices), every)
            ax.set_xticks(list(shown), [plain_text(choices[k], 14) for k in shown])
            ax.set_xlim(-0.5, len(choices) - 0.5)
            if sum(len(str(choices[k])) for k in shown) > 36:
                ax.tick_params(axis="x", labelrotation=30)
        elif self.log:
            ax.set_xscale("log")
            edge = (high / low) ** 0.03
            ax.set_xlim(low / edge, high * edge)
        else:
            edge = 0.03 * (high - low)
            ax.set_xlim(low - edge, high + edge)
            if isinstance(self.parameter, Int):
                whole_numbers(ax.xaxis)
        ax.set_xlabel(plain_text(self.name))

    def labelled_values(self) -> list[tuple[Any, str]]:
        """Values that are worth a label, with the label: the ends and some between, or the choices."""
        choices = self.choices
        if choices is not None:
            every = -(-len(choices) // MOST_LABELS)
            return [(choice, plain_text(choice, 14)) for choice in choices[::every]]
        return [(value, f"{value:.3g}") for value in self.grid(5)]

    def grid(self, points: int) -> list[Any]:
        """Values along the axis, evenly: `points` of them, or all if there are no more."""
        if self.parameter.size <= points or self.choices is not None:
            return self.parameter.values()
        return list(dict.fromkeys(self.parameter.decode(np.array([u])) for u in np.linspace(0, 1, points)))
