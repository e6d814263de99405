# SPDX-License-Identifier: Apache-2.0
"""Ax's search spaces -> `Space`, and configurations -> Ax's parameterizations."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ax.core.parameter import (
    ChoiceParameter,
    DerivedParameter,
    FixedParameter,
    ParameterType,
    RangeParameter,
)
from ax.core.search_space import SearchSpace

from diffhpo.errors import SpaceError
from diffhpo.space import Categorical, Condition, Constant, Float, Int, Ordinal, Parameter, Space


class AxSpace:
    """The Space that an Ax search space is, and the way back.

    Range parameters are Float or Int, with their log scale; ordered choices are Ordinal and others
    Categorical; fixed parameters are Constant. Dependents of a hierarchical parameter are active under its
    values. Linear inequalities between parameters are forbidden combinations. Derived parameters are computed
    from the others.

    Args:
        search_space: of an Ax experiment.

    Raises:
        SpaceError: on a logit scale, a fidelity or task parameter, or an equality between parameters.

    Example:
        >>> from ax.core.parameter import ParameterType, RangeParameter
        >>> lr = RangeParameter("lr", ParameterType.FLOAT, 1e-4, 1.0, log_scale=True)
        >>> AxSpace(SearchSpace([lr])).space.parameters["lr"]
        Float(low=0.0001, high=1.0, log=True)
    """

    def __init__(self, search_space: SearchSpace) -> None:
        self._ax = search_space
        searched = {
            name: parameter
            for name, parameter in search_space.parameters.items()
            if not isinstance(parameter, DerivedParameter)
        }
        self.space = Space(
            {name: _parameter(name, parameter) for name, parameter in searched.items()},
            _conditions(searched),
            _forbidden(search_space),
        )

    def configuration(self, parameterization: Mapping[str, Any]) -> dict[str, Any]:
        """An arm's parameters -> a configuration of the space.

        Raises:
            SpaceError: if the arm is not of the search space.
        """
        found = {
            name: self._ax.parameters[name].cast(value)
            for name, value in parameterization.items()
            if name in self.space.parameters and value is not None
        }
        # Ax keeps the parameters that are not active in arms from elsewhere.
        active = {
            name: value
            for name, value in found.items()
            if all(condition.holds(found) for condition in self.space.conditions.get(name, ()))
        }
        self.space.encode(active)
        return active

    def parameterization(self, configuration: Mapping[str, Any]) -> dict[str, Any]:
        """A configuration -> an arm's parameters, each of its Ax type and with its digits."""
        found = {name: self._ax.parameters[name].cast(value) for name, value in configuration.items()}
        for name, parameter in self._ax.parameters.items():
            if isinstance(parameter, DerivedParameter):
                found[name] = parameter.compute(found)
        return found


def _parameter(name: str, parameter: Any) -> Parameter:
    if getattr(parameter, "is_fidelity", False) or getattr(parameter, "is_task", False):
        raise SpaceError(
            f"parameter {name!r} is a fidelity or task parameter, which the search has no model of; leave it "
            "out, or make it a FixedParameter"
        )
    if isinstance(parameter, FixedParameter):
        return Constant(parameter.value)
    if isinstance(parameter, ChoiceParameter):
        values = list(parameter.values)
        if len(values) == 1:
            return Constant(values[0])
        return Ordinal(values) if parameter.is_ordered else Categorical(values)
    if isinstance(parameter, RangeParameter):
        return _range(name, parameter)
    raise SpaceError(
        f"parameter {name!r} is {type(parameter).__name__}; RangeParameter, ChoiceParameter, FixedParameter "
        "and DerivedParameter are known"
    )


def _range(name: str, parameter: RangeParameter) -> Parameter:
    if parameter.logit_scale:
        raise SpaceError(f"parameter {name!r} has a logit scale; a linear or log scale is needed")
    low, high = parameter.lower, parameter.upper
    if parameter.parameter_type == ParameterType.INT:
        return Int(int(low), int(high), log=parameter.log_scale)
    if parameter.digits is not None and not parameter.log_scale:
        step = 10.0**-parameter.digits
        if all(abs(bound / step - round(bound / step)) < 1e-6 for bound in (low, high)) and step < high - low:
            return Float(float(low), float(high), step=step)
    return Float(float(low), float(high), log=parameter.log_scale)


def _conditions(parameters: Mapping[str, Any]) -> dict[str, Condition]:
    """Of each dependent parameter: the parent and the value under which it is active."""
    return {  # Ax has seen to it that a parameter hangs below one value only
        child: Condition(parent, [value])
        for parent, parameter in parameters.items()
        if parameter.is_hierarchical
        for value, children in parameter.dependents.items()
        for child in children
    }


def _forbidden(search_space: SearchSpace) -> Callable[[dict[str, Any]], bool] | None:
    """Tells whether a configuration breaks a constraint all of whose parameters are active."""
    constraints = list(search_space.parameter_constraints)  # Ax lets none be on a derived parameter
    for constraint in constraints:
        if constraint.is_equality:
            raise SpaceError(
                f"{constraint!r} is an equality, which almost no proposal fulfils; make one of its "
                "parameters a DerivedParameter of the others"
            )

    def breaks(configuration: dict[str, Any]) -> bool:
        return any(
            not constraint.check(configuration)
            for constraint in constraints
            if all(name in configuration for name in constraint.constraint_dict)
        )

    return breaks if constraints else None
