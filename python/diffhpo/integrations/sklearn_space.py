# SPDX-License-Identifier: Apache-2.0
"""scikit-learn's notation for search spaces -> `Space`, and configurations -> the estimator's parameters."""

from __future__ import annotations

import math
import numbers
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from diffhpo.errors import SpaceError
from diffhpo.space import Categorical, Condition, Constant, Float, Int, Ordinal, Parameter, Space
from diffhpo.space.choices import same

#: Where there are several dictionaries, the parameter that tells which one holds; no estimator's parameter
#: can have a colon in its name.
SELECTOR = ":space"

ACCEPTED = (
    "a list of values, scipy.stats.uniform, loguniform or randint with their arguments, or diffhpo's Float, "
    "Int, Categorical, Ordinal or Constant"
)


@dataclass(frozen=True)
class EstimatorSpace:
    """A search space and the names that its parameters have in the estimator."""

    space: Space
    names: Mapping[str, str]
    """Name in the space -> name in the estimator, of all but the selector."""

    def estimator_parameters(self, configuration: Mapping[str, Any]) -> dict[str, Any]:
        """A configuration of the space -> what `set_params` of the estimator takes."""
        return {self.names[name]: value for name, value in configuration.items() if name in self.names}

    def configuration(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """The estimator's parameters -> the configuration of the space that they are.

        Raises:
            SpaceError: if the space has no such configuration.
        """
        if SELECTOR not in self.space.parameters:
            self.space.encode(parameters)
            return dict(parameters)
        problems = []
        for choice in range(int(self.space.parameters[SELECTOR].size)):
            names = self._names_within(choice)
            if set(names) != set(parameters):
                continue
            found = {SELECTOR: choice, **{names[name]: value for name, value in parameters.items()}}
            try:
                self.space.encode(found)
                return found
            except SpaceError as error:
                problems.append(str(error))
        raise SpaceError(
            f"{dict(parameters)!r} is a configuration of none of the dictionaries of param_space: "
            + ("; ".join(problems) or "none has these names")
        )

    def _names_within(self, choice: int) -> dict[str, str]:
        """Name in the estimator -> name in the space, of the dictionary of that number."""
        return {
            own: name
            for name, own in self.names.items()
            if choice in self.space.conditions[name][0].values  # each has one: that on the selector
        }


def estimator_space(param_space: Any) -> EstimatorSpace:
    """Reads a search space in scikit-learn's notation.

    Of a list of values, numbers in increasing or decreasing order are an `Ordinal`, one value is a
    `Constant`, and all else is a `Categorical`: `[0.1, 1, 10]` is ordered, `["rbf", "poly"]`,
    `[True, False]`, `[None, 3, 5]` and estimators are not. A list of dictionaries, as `RandomizedSearchCV`
    takes it, becomes a conditional space: a parameter that means the same in several dictionaries is one
    parameter.

    Args:
        param_space: a Space; a dictionary of the estimator's parameter names to a list of values,
            `scipy.stats.uniform`, `loguniform` (`reciprocal`) or `randint`, or one of diffhpo's own
            parameters; or a list of such dictionaries.

    Raises:
        SpaceError: naming the parameter and what is accepted.

    Example:
        >>> from scipy.stats import loguniform
        >>> estimator_space({"C": loguniform(1e-3, 1e3), "kernel": ["rbf", "poly"]}).space.parameters["C"]
        Float(low=0.001, high=1000.0, log=True)
    """
    if isinstance(param_space, Space):
        return EstimatorSpace(param_space, {name: name for name in param_space.parameters})
    if isinstance(param_space, Mapping):
        parameters = _parameters(param_space)
        return EstimatorSpace(Space(parameters), {name: name for name in parameters})
    if not isinstance(param_space, (list, tuple)):
        raise SpaceError(
            f"param_space is {type(param_space).__name__}; a Space, a dictionary of parameter names, or a "
            "list of such dictionaries is needed"
        )
    if len(param_space) == 1:
        return estimator_space(param_space[0])
    return _one_of(param_space)


def _one_of(dictionaries: Sequence[Mapping[str, Any]]) -> EstimatorSpace:
    """A space in which the selector's value tells which of the dictionaries holds."""
    if not dictionaries:
        raise SpaceError("param_space is an empty list; at least one dictionary is needed")
    read = [_parameters(given) for given in dictionaries]
    parameters: dict[str, Parameter] = {SELECTOR: Categorical(range(len(read)))}
    conditions: dict[str, Condition] = {}
    names: dict[str, str] = {}
    for index, own in enumerate(read):
        for name, parameter in own.items():
            meanings = [other[name] for other in read if name in other]
            shared = all(_same(parameter, meaning) for meaning in meanings)
            key = name if shared else f"{index}:{name}"
            holders = [k for k, other in enumerate(read) if name in other] if shared else [index]
            parameters[key] = parameter
            names[key] = name
            conditions[key] = Condition(SELECTOR, holders)
    return EstimatorSpace(Space(parameters, conditions), names)


def _parameters(given: Any) -> dict[str, Parameter]:
    if not isinstance(given, Mapping):
        raise SpaceError(f"param_space holds {given!r}; a dictionary of parameter names is needed")
    return {name: _parameter(name, domain) for name, domain in given.items()}


def _parameter(name: str, domain: Any) -> Parameter:
    if isinstance(domain, Parameter):
        return domain
    if hasattr(domain, "dist") and hasattr(domain, "support"):
        return _of_distribution(name, domain)
    if isinstance(domain, np.ndarray) and domain.ndim == 1:
        domain = domain.tolist()
    if not isinstance(domain, Sequence) or isinstance(domain, (str, bytes)):
        raise SpaceError(f"parameter {name!r} is {domain!r}; accepted: {ACCEPTED}")
    return _of_values(name, list(domain))


def _of_values(name: str, values: list[Any]) -> Parameter:
    if not values:
        raise SpaceError(f"parameter {name!r} is an empty list; at least one value is needed")
    if len(values) == 1:
        return Constant(values[0])
    numeric = all(isinstance(v, numbers.Real) and not isinstance(v, (bool, np.bool_)) for v in values)
    try:
        if numeric and (_increasing(values) or _increasing(values[::-1])):
            return Ordinal(values)
        return Categorical(values)
    except SpaceError as error:
        raise SpaceError(f"parameter {name!r}: {error}") from None


def _increasing(values: list[Any]) -> bool:
    return all(math.isfinite(a) and math.isfinite(b) and a < b for a, b in pairwise(values))


def _of_distribution(name: str, distribution: Any) -> Parameter:
    """A frozen distribution of scipy.stats whose quantiles are even on the axis or on its logarithm."""
    kind = distribution.dist.name
    low, high = (float(bound) for bound in distribution.support())
    _, location, _ = distribution.dist._parse_args(*distribution.args, **distribution.kwds)
    if kind in ("uniform", "loguniform", "reciprocal", "randint") and not (low <= high < math.inf):
        raise SpaceError(f"parameter {name!r} is {kind} on [{low}, {high}]; scipy.stats found no such range")
    if kind == "randint":
        return Int(int(low), int(high)) if low < high else Constant(int(low))
    if kind == "uniform":
        return Float(low, high)
    if kind in ("loguniform", "reciprocal") and location == 0:
        return Float(low, high, log=True)
    shifted = f" with loc={location}" if kind in ("loguniform", "reciprocal") else ""
    raise SpaceError(
        f"parameter {name!r} is scipy.stats.{kind}{shifted}, which the search cannot follow exactly; "
        f"accepted: {ACCEPTED}"
    )


def _same(one: Parameter, other: Parameter) -> bool:
    """Whether two parameters have the same values."""
    if type(one) is not type(other) or one.size != other.size:
        return False
    if isinstance(one, (Float, Int)):
        return one == other
    return all(map(same, one.values(), other.values()))
