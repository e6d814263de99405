# SPDX-License-Identifier: Apache-2.0
"""When a parameter has a value at all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from diffhpo.errors import SpaceError
from diffhpo.space.choices import same


@dataclass(frozen=True)
class Condition:
    """A parameter is active where its parent is active and has one of these values.

    Args:
        parent: name of a parameter with finitely many values.
        values: at least one of the parent's values.

    Raises:
        SpaceError: if `parent` is not a string, or `values` is a string or empty.

    Example:
        >>> gamma = Condition("kernel", ["rbf", "poly"])
        >>> gamma.holds({"kernel": "rbf"}), gamma.holds({"kernel": "linear"}), gamma.holds({})
        (True, False, False)
    """

    parent: str
    values: Sequence[Any]

    def __post_init__(self) -> None:
        if not isinstance(self.parent, str):
            raise SpaceError(f"Condition: parent is {self.parent!r}; the name of a parameter is needed")
        if isinstance(self.values, str) or not isinstance(self.values, Sequence) or not self.values:
            raise SpaceError(
                f"Condition on {self.parent!r}: values is {self.values!r}; a list of one or more of the "
                "parent's values is needed"
            )
        object.__setattr__(self, "values", tuple(self.values))

    def holds(self, configuration: Mapping[str, Any]) -> bool:
        """Whether the parent is there and has one of the values."""
        if self.parent not in configuration:
            return False
        return any(same(value, configuration[self.parent]) for value in self.values)
