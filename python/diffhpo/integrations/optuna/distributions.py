# SPDX-License-Identifier: Apache-2.0
"""Optuna's distributions <-> the parameters of a Space."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from diffhpo.errors import InputError
from diffhpo.integrations.optuna.version import require_optuna
from diffhpo.space import Categorical, Constant, Float, Int, Ordinal, Parameter, Space

require_optuna()

from optuna.distributions import (  # noqa: E402 - the version is looked at first
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)


def parameter_from_distribution(distribution: BaseDistribution) -> Parameter:
    """The parameter with the same values and scale; one with a single value is a Constant.

    Raises:
        InputError: if it is not a Float-, Int- or CategoricalDistribution.

    Example:
        >>> parameter_from_distribution(IntDistribution(1, 128, log=True))
        Int(low=1, high=128, log=True)
        >>> parameter_from_distribution(CategoricalDistribution([None]))
        Constant(value=None)
    """
    if isinstance(distribution, CategoricalDistribution):
        choices = distribution.choices
        return Constant(choices[0]) if len(choices) == 1 else Categorical(choices)
    if isinstance(distribution, (FloatDistribution, IntDistribution)):
        if distribution.single():
            return Constant(distribution.low)
        if isinstance(distribution, FloatDistribution):
            return Float(distribution.low, distribution.high, distribution.log, distribution.step)
        # Optuna has no step on a log scale but 1.
        return Int(distribution.low, distribution.high, distribution.log, distribution.step)
    raise InputError(
        f"distribution is {distribution!r}; a FloatDistribution, IntDistribution or CategoricalDistribution "
        "is needed"
    )


def distribution_from_parameter(parameter: Parameter) -> BaseDistribution:
    """The distribution with the same values and scale.

    An Ordinal becomes a CategoricalDistribution, since Optuna has no ordered choices; a Constant one with a
    single choice. Where `high` is not on a step, Optuna is given the highest value that is.

    Raises:
        InputError: if it is not a parameter of `diffhpo.space`, or has a choice that Optuna cannot store:
            None, bool, int, float and str are accepted.

    Example:
        >>> distribution_from_parameter(Float(0.0, 1.0, step=0.3))
        FloatDistribution(high=0.9, log=False, low=0.0, step=0.3)
    """
    if isinstance(parameter, Float):
        high = parameter.high if parameter.step is None else parameter.values()[-1]
        return FloatDistribution(parameter.low, high, log=parameter.log, step=parameter.step)
    if isinstance(parameter, Int):
        high = parameter.low + (parameter.high - parameter.low) // parameter.step * parameter.step
        return IntDistribution(parameter.low, high, log=parameter.log, step=parameter.step)
    if isinstance(parameter, (Categorical, Ordinal, Constant)):
        choices = parameter.values()
        for choice in choices:
            if choice is not None and not isinstance(choice, (bool, int, float, str)):
                raise InputError(
                    f"{parameter!r} has the choice {choice!r}; Optuna stores None, bool, int, float and str "
                    "only: use a name for the choice and look it up in the objective"
                )
        return CategoricalDistribution(choices)
    raise InputError(f"parameter is {parameter!r}; a parameter of diffhpo.space is needed")


def space_from_distributions(distributions: Mapping[str, BaseDistribution]) -> Space:
    """The space of Optuna's distributions, in their order.

    Raises:
        InputError: if one is not of the three kinds that Optuna has; the message names it.
        SpaceError: if there is nothing to search.

    Example:
        >>> space_from_distributions({"lr": FloatDistribution(1e-4, 1.0, log=True)}).parameters
        {'lr': Float(low=0.0001, high=1.0, log=True)}
    """
    return Space(
        {name: _named(name, parameter_from_distribution, given) for name, given in distributions.items()}
    )


def distributions_from_space(space: Space) -> dict[str, BaseDistribution]:
    """Optuna's distributions of all parameters of a space, for `study.ask(fixed_distributions=...)`.

    Raises:
        InputError: if the space has conditions or `forbidden`, which a dictionary of distributions cannot
            hold, or a choice that Optuna cannot store.

    Example:
        >>> distributions_from_space(Space({"depth": Int(1, 8)}))
        {'depth': IntDistribution(high=8, log=False, low=1, step=1)}
    """
    if space.conditions or space.forbidden is not None:
        raise InputError(
            "the space has conditions or forbidden combinations, which Optuna's distributions cannot hold: "
            "call trial.suggest_* in the objective, in the branch where the parameter is active"
        )
    return {
        name: _named(name, distribution_from_parameter, given) for name, given in space.parameters.items()
    }


def _named(name: str, convert: Any, given: Any) -> Any:
    try:
        return convert(given)
    except InputError as error:
        raise type(error)(f"parameter {name!r}: {error}") from None
