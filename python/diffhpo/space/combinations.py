# SPDX-License-Identifier: Apache-2.0
"""The configurations of finite parameters of which some are active only with certain values of others."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from diffhpo.space.parameter import Parameter


def product(sizes: Iterable[float]) -> float:
    """The product of sizes; inf if one is, which Python cannot multiply with a whole number beyond 1e308.

    Example:
        >>> product([2**2000, math.inf]), product([2, 3])
        (inf, 6)
    """
    listed = list(sizes)
    return math.inf if math.inf in listed else math.prod(listed)


def combinations(
    names: Sequence[str],
    parameters: Mapping[str, Parameter],
    active: Callable[[str, Mapping[str, Any]], bool],
) -> Iterator[dict[str, Any]]:
    """All configurations of finite parameters, each a dictionary of its own with the active ones only.

    Args:
        names: of the parameters, parents before those that depend on them.
        parameters: name -> parameter.
        active: whether a parameter is active in a configuration of those before it.
    """
    waiting: list[tuple[int, dict[str, Any]]] = [(0, {})]
    while waiting:
        place, found = waiting.pop()
        while place < len(names) and not active(names[place], found):
            place += 1
        if place == len(names):
            yield found
            continue
        name = names[place]
        waiting += [(place + 1, {**found, name: value}) for value in reversed(parameters[name].values())]
