# SPDX-License-Identifier: Apache-2.0
"""Search spaces from ConfigSpace and to it, with their conditions and forbidden clauses.

Every configuration of the one is a configuration of the other, and it has the same active parameters. What
diffhpo has no word for is an error that names the hyperparameter: priors other than the uniform one, and
conditions that join several parents by "or". Defaults and `meta` are not carried over.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from diffhpo.errors import DependencyError, InputError, SpaceError
from diffhpo.space import Categorical, Condition, Constant, Float, Int, Ordinal, Parameter, Space

try:
    import ConfigSpace
except ImportError as error:
    raise DependencyError(
        'ConfigSpace is needed for this module and is not installed: pip install "diffhpo[configspace]"'
    ) from error

__all__ = [
    "ForbiddenClauses",
    "configspace_from_space",
    "configuration_from_configspace",
    "space_from_configspace",
]

#: Values of a parent that are looked through for a condition such as "greater than".
MOST_VALUES = 10_000


def space_from_configspace(configuration_space: ConfigSpace.ConfigurationSpace) -> Space:
    """The Space with the same parameters, conditions and forbidden clauses.

    | ConfigSpace | diffhpo |
    |---|---|
    | uniform float, uniform integer, with `log` or without | `Float`, `Int` |
    | categorical without weights, ordinal, constant | `Categorical`, `Ordinal`, `Constant` |
    | `==`, `!=`, `in`, `<`, `>` on a parent, "and" of such | the `Condition`s on the values that satisfy it |
    | "or" of conditions on one parent | one `Condition` |
    | forbidden clauses, relations and their conjunctions | `forbidden`, a `ForbiddenClauses` |

    A categorical or ordinal parameter with one choice is a `Constant`.

    Args:
        configuration_space: any ConfigurationSpace of ConfigSpace 1.0 or later.

    Raises:
        InputError: if it is something else.
        SpaceError: on a normal or beta prior, weights that differ, a condition on a real parent or with "or"
            over several parents, or one that never holds; the message names the hyperparameter.

    Example:
        >>> from ConfigSpace import ConfigurationSpace, EqualsCondition
        >>> given = ConfigurationSpace({"kernel": ["linear", "rbf"], "gamma": (0.1, 10.0)})
        >>> given.add(EqualsCondition(given["gamma"], given["kernel"], "rbf"))
        >>> space = space_from_configspace(given)
        >>> space.decode(np.array([1.0, 0.5]))
        {'kernel': 'rbf', 'gamma': 5.05}
    """
    if not isinstance(configuration_space, ConfigSpace.ConfigurationSpace):
        raise InputError(
            f"configuration_space is {type(configuration_space).__name__}; "
            "a ConfigSpace.ConfigurationSpace is needed"
        )
    parameters = {name: _parameter(given) for name, given in configuration_space.items()}
    conditions = {
        name: [
            condition
            for given in configuration_space.parent_conditions_of[name]
            for condition in _conditions(given, parameters)
        ]
        for name in parameters
    }
    clauses = tuple(configuration_space.forbidden_clauses)
    return Space(
        parameters,
        conditions={name: found for name, found in conditions.items() if found},
        forbidden=ForbiddenClauses(clauses) if clauses else None,
    )


def configuration_from_configspace(configuration: ConfigSpace.Configuration) -> dict[str, Any]:
    """A configuration as `Optimizer.tell` and `Space.encode` take it: active parameters, in Python's types.

    ConfigSpace hands out NumPy's strings and numbers; here a choice is the one that the space was made with.
    The other way, `ConfigSpace.Configuration(configuration_space, values=parameters)` takes what diffhpo
    suggests as it is.

    Raises:
        InputError: if it is not a ConfigSpace.Configuration.

    Example:
        >>> from ConfigSpace import ConfigurationSpace
        >>> given = ConfigurationSpace({"depth": (1, 8), "kernel": ["linear", "rbf"]})
        >>> configuration_from_configspace(given.get_default_configuration())
        {'depth': 4, 'kernel': 'linear'}
    """
    if not isinstance(configuration, ConfigSpace.Configuration):
        raise InputError(
            f"configuration is {type(configuration).__name__}; a ConfigSpace.Configuration is needed"
        )
    space = configuration.config_space
    return {name: _plain(_own_choice(space[name], value)) for name, value in configuration.items()}


def configspace_from_space(space: Space, *, seed: int | None = None) -> ConfigSpace.ConfigurationSpace:
    """The ConfigurationSpace with the same parameters and conditions.

    ConfigSpace has no steps: a `Float` or `Int` with a step is an ordinal of its values there.

    Args:
        space: what to convert. Its `forbidden` must be None or from `space_from_configspace`: any other
            function cannot be written as clauses.
        seed: of the ConfigurationSpace's own sampling; none by default.

    Raises:
        InputError: if `space` is not a Space.
        SpaceError: on a `forbidden` that is a function, or a parameter with a step and more than 10,000
            values.

    Example:
        >>> space = Space({"lr": Float(1e-4, 1.0, log=True), "width": Int(16, 64, step=16)})
        >>> configspace_from_space(space)["width"].sequence
        (16, 32, 48, 64)
    """
    if not isinstance(space, Space):
        raise InputError(f"space is {type(space).__name__}; a diffhpo.Space is needed")
    if space.forbidden is not None and not isinstance(space.forbidden, ForbiddenClauses):
        raise SpaceError(
            f"forbidden is {space.forbidden!r}, a function that ConfigSpace's clauses cannot express; leave "
            "it out and add clauses to the ConfigurationSpace"
        )
    made = ConfigSpace.ConfigurationSpace(seed=seed)
    made.add([_hyperparameter(name, parameter) for name, parameter in space.parameters.items()])
    for name, conditions in space.conditions.items():
        leaves = [_leaf(made, name, condition) for condition in conditions]
        made.add(leaves[0] if len(leaves) == 1 else ConfigSpace.AndConjunction(*leaves))
    for clause in space.forbidden.clauses if space.forbidden is not None else ():
        made.add(_rebuilt(clause, made))
    return made


@dataclass(frozen=True)
class ForbiddenClauses:
    """ConfigSpace's forbidden clauses as the `forbidden` of a Space.

    A clause on a parameter that is not active does not hold.

    Attributes:
        clauses: as `ConfigurationSpace.forbidden_clauses` has them.
    """

    clauses: tuple[Any, ...]

    def __call__(self, configuration: dict[str, Any]) -> bool:
        """True if the configuration, a dictionary of its active parameters, is not allowed."""
        return any(_holds(clause, configuration) for clause in self.clauses)


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def _own_choice(given: Any, value: Any) -> Any:
    """The choice as it was given: ConfigSpace keeps numbers of several types as NumPy's of one."""
    if isinstance(given, ConfigSpace.CategoricalHyperparameter):
        return next(choice for choice in given.choices if choice is value or choice == value)
    return value


def _parameter(given: Any) -> Parameter:
    if isinstance(given, ConfigSpace.UniformFloatHyperparameter):
        return Float(_plain(given.lower), _plain(given.upper), log=given.log)
    if isinstance(given, ConfigSpace.UniformIntegerHyperparameter):
        return Int(_plain(given.lower), _plain(given.upper), log=given.log)
    if isinstance(given, ConfigSpace.CategoricalHyperparameter):
        if given.weights is not None and len(set(given.weights)) > 1:
            raise SpaceError(
                f"hyperparameter {given.name!r} has the weights {list(given.weights)}; choices without "
                "weights are accepted: leave them out, or call its to_uniform()"
            )
        choices = [_plain(choice) for choice in given.choices]
        return Categorical(choices) if len(choices) > 1 else Constant(choices[0])
    if isinstance(given, ConfigSpace.OrdinalHyperparameter):
        sequence = [_plain(value) for value in given.sequence]
        return Ordinal(sequence) if len(sequence) > 1 else Constant(sequence[0])
    if isinstance(given, ConfigSpace.Constant):
        return Constant(_plain(given.value))
    remedy = ": its to_uniform() is accepted" if hasattr(given, "to_uniform") else ""
    raise SpaceError(
        f"hyperparameter {given.name!r} is a {type(given).__name__}; accepted are uniform floats and "
        f"integers, categorical, ordinal and constant ones{remedy}"
    )


def _conditions(given: Any, parameters: Mapping[str, Parameter]) -> list[Condition]:
    """The Conditions that together say the same."""
    if isinstance(given, ConfigSpace.AndConjunction):
        return [found for part in given.components for found in _conditions(part, parameters)]
    child, parents = given.child.name, _parents(given)
    if len(parents) > 1:
        raise SpaceError(
            f"hyperparameter {child!r} is active under an OrConjunction over the parents {parents}; "
            "conditions on one parent are accepted there: make it one hyperparameter for each parent"
        )
    (parent,) = parents
    known = parameters[parent]
    if not known.size <= MOST_VALUES:
        raise SpaceError(
            f"hyperparameter {child!r} is active under a condition on {parent!r}, which has more than "
            f"{MOST_VALUES} values; accepted are parents with fewer"
        )
    values = [value for value in known.values() if given.satisfied_by_value({parent: value})]
    if not values:
        raise SpaceError(
            f"hyperparameter {child!r} is never active: no value of {parent!r} satisfies {given}"
        )
    return [Condition(parent, values)]


def _parents(given: Any) -> list[str]:
    if isinstance(given, (ConfigSpace.AndConjunction, ConfigSpace.OrConjunction)):
        return sorted({parent.name for parent in given.parents})
    return [given.parent.name]


def _holds(clause: Any, configuration: dict[str, Any]) -> bool:
    if isinstance(clause, ConfigSpace.ForbiddenAndConjunction):
        return all(_holds(part, configuration) for part in clause.components)
    if isinstance(clause, ConfigSpace.ForbiddenOrConjunction):
        return any(_holds(part, configuration) for part in clause.components)
    named = [clause.left, clause.right] if _is_relation(clause) else [clause.hyperparameter]
    # Left to themselves some clauses hold for a parameter that is absent.
    return all(given.name in configuration for given in named) and clause.is_forbidden_value(configuration)


def _is_relation(clause: Any) -> bool:
    return hasattr(clause, "left")


def _rebuilt(clause: Any, made: ConfigSpace.ConfigurationSpace) -> Any:
    """The same clause on the hyperparameters of another space."""
    if hasattr(clause, "components"):
        return type(clause)(*[_rebuilt(part, made) for part in clause.components])
    if _is_relation(clause):
        return type(clause)(made[clause.left.name], made[clause.right.name])
    values = clause.values if hasattr(clause, "values") else clause.value
    return type(clause)(made[clause.hyperparameter.name], values)


def _hyperparameter(name: str, parameter: Parameter) -> Any:
    if isinstance(parameter, Float) and parameter.step is None:
        low, high = parameter.low, parameter.high
        return ConfigSpace.UniformFloatHyperparameter(name, low, high, log=parameter.log)
    if isinstance(parameter, Int) and parameter.step == 1:
        return ConfigSpace.UniformIntegerHyperparameter(
            name, parameter.low, parameter.high, log=parameter.log
        )
    if isinstance(parameter, Categorical):
        return ConfigSpace.CategoricalHyperparameter(name, list(parameter.choices))
    if isinstance(parameter, Constant):
        return ConfigSpace.Constant(name, parameter.value)
    if parameter.size > MOST_VALUES:
        raise SpaceError(
            f"parameter {name!r}: {parameter!r} has {parameter.size:.0f} values; ConfigSpace has no steps, "
            f"and an ordinal of at most {MOST_VALUES} values is made of them: use a larger step, or none"
        )
    return ConfigSpace.OrdinalHyperparameter(name, parameter.values())


def _leaf(made: ConfigSpace.ConfigurationSpace, name: str, condition: Condition) -> Any:
    values = list(condition.values)
    if len(values) == 1:
        return ConfigSpace.EqualsCondition(made[name], made[condition.parent], values[0])
    return ConfigSpace.InCondition(made[name], made[condition.parent], values)
