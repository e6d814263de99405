# SPDX-License-Identifier: Apache-2.0
"""Groups of parameters that are proposed together, and conditions among them, read off finished trials."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial

from diffhpo.integrations.optuna.distributions import parameter_from_distribution
from diffhpo.model.universal.dimensions import MAX_DIM
from diffhpo.space import Categorical, Condition, Parameter

#: A parameter with more values than this is not looked at as the parent of a condition.
MOST_PARENT_VALUES = 64


@dataclass(frozen=True)
class Group:
    """Parameters that one Optimizer proposes together."""

    distributions: dict[str, BaseDistribution]
    """By name, in alphabetical order; none with a single value."""
    conditions: dict[str, Condition] = field(default_factory=dict)
    """Of each parameter that is not in every trial: when it is; a choice is named by its index."""

    def parameters(self) -> dict[str, Parameter]:
        """As parameters of a Space; a choice of a categorical parameter is its index."""
        return {name: _indexed(given) for name, given in self.distributions.items()}

    def names_active(self, values: Mapping[str, object]) -> set[str]:
        """The parameters that a configuration with these values has."""
        if not self.conditions:
            return set(self.distributions)
        found: set[str] = set()
        pending = list(self.distributions)
        while pending:
            rest = []
            for name in pending:
                condition = self.conditions.get(name)
                if condition is None or (condition.parent in found and condition.holds(values)):
                    found.add(name)
                else:
                    rest.append(name)
            if len(rest) == len(pending):
                break
            pending = rest
        return found

    def part(self, values: Mapping[str, float | int]) -> dict[str, float | int] | None:
        """The group's parameters of a trial; None if they are no configuration of the group."""
        wanted = self.distributions
        found = {name: values[name] for name in wanted if name in values}
        if found.keys() != self.names_active(found):
            return None
        inside = all(wanted[name]._contains(float(value)) for name, value in found.items())
        return found if inside else None

    def width(self) -> int:
        """Columns of the group's unit cube."""
        return sum(_indexed(given).width for given in self.distributions.values())


def _indexed(distribution: BaseDistribution) -> Parameter:
    # Optuna's choices may be equal to one another, such as 1 and True; their indices are not.
    if isinstance(distribution, CategoricalDistribution):
        return Categorical(range(len(distribution.choices)))
    return parameter_from_distribution(distribution)


def searchable(distributions: Mapping[str, BaseDistribution]) -> Iterator[tuple[str, BaseDistribution]]:
    """Those with more than one value, in alphabetical order."""
    return ((name, given) for name, given in sorted(distributions.items()) if not given.single())


def newest_distributions(trials: Sequence[FrozenTrial]) -> dict[str, BaseDistribution]:
    """Every parameter of the trials that has more than one value, with its range in the latest of them."""
    found: dict[str, BaseDistribution] = {}
    for trial in trials:
        found.update(trial.distributions)
    return dict(searchable(found))


def decompose(trials: Sequence[FrozenTrial], distributions: Mapping[str, BaseDistribution]) -> list[Group]:
    """Split parameters into groups.

    Parameters that occur in the same trials belong together, as with the option `group` of Optuna's
    TPESampler. A group whose presence is told by one parameter's value in all trials joins that parameter's
    group under a condition, unless more columns came together than the pretrained model reads. Parameters
    that no trial has form one group.

    Args:
        trials: finished trials, in the order of their numbers.
        distributions: the parameters to split, by name, none with a single value.

    Returns:
        The groups in alphabetical order; every parameter is in one of them.

    Example:
        >>> from optuna.trial import create_trial
        >>> kind, depth = CategoricalDistribution(["linear", "tree"]), IntDistribution(1, 8)
        >>> trials = [
        ...     create_trial(value=0.0, params={"kind": "linear"}, distributions={"kind": kind}),
        ...     create_trial(
        ...         value=1.0,
        ...         params={"kind": "tree", "depth": 2},
        ...         distributions={"kind": kind, "depth": depth},
        ...     ),
        ... ]
        >>> [group] = decompose(trials, {"depth": depth, "kind": kind})
        >>> group.conditions
        {'depth': Condition(parent='kind', values=(1,))}
    """
    occurrences = _occurrences(trials, distributions)
    together: dict[frozenset[int], list[str]] = defaultdict(list)
    for name in sorted(distributions):
        together[occurrences[name]].append(name)
    plain = [Group({name: distributions[name] for name in names}) for names in together.values()]
    if len(plain) == 1:
        return plain
    joined = _joined(trials, distributions, occurrences, together)
    return sorted(joined, key=lambda group: next(iter(group.distributions)))


def _occurrences(trials: Sequence[FrozenTrial], names: Mapping[str, object]) -> dict[str, frozenset[int]]:
    """Of each parameter the positions of the trials that have it."""
    found: dict[str, list[int]] = {name: [] for name in names}
    for position, trial in enumerate(trials):
        for name in trial.params:
            if name in found:
                found[name].append(position)
    return {name: frozenset(positions) for name, positions in found.items()}


def _joined(
    trials: Sequence[FrozenTrial],
    distributions: Mapping[str, BaseDistribution],
    occurrences: Mapping[str, frozenset[int]],
    together: Mapping[frozenset[int], list[str]],
) -> list[Group]:
    parents = {positions: _parent(trials, distributions, occurrences, positions) for positions in together}
    families: dict[frozenset[int], list[frozenset[int]]] = defaultdict(list)
    for positions in together:
        root = positions
        while (condition := parents[root]) is not None:
            root = occurrences[condition.parent]
        families[root].append(positions)
    groups = []
    for members in families.values():
        names = sorted(name for positions in members for name in together[positions])
        conditions = {
            name: condition for name in names if (condition := parents[occurrences[name]]) is not None
        }
        family = Group({name: distributions[name] for name in names}, conditions)
        if len(members) == 1 or family.width() <= MAX_DIM:
            groups.append(family)
        else:
            groups += [Group({name: distributions[name] for name in together[m]}) for m in members]
    return groups


def _parent(
    trials: Sequence[FrozenTrial],
    distributions: Mapping[str, BaseDistribution],
    occurrences: Mapping[str, frozenset[int]],
    child: frozenset[int],
) -> Condition | None:
    """The parameter whose value tells in which trials the child is; the nearest one if there are several."""
    candidates = []
    for name, positions in occurrences.items():
        if not child or not child < positions:
            continue
        distribution = distributions[name]
        count = _indexed(distribution).size
        if count > MOST_PARENT_VALUES:
            continue
        inside = {_value(trials[k], name) for k in child}
        outside = {_value(trials[k], name) for k in positions - child}
        values = [] if inside & outside else _values_with(distribution, inside, outside)
        if values:
            categorical = isinstance(distribution, CategoricalDistribution)
            candidates.append((len(positions), not categorical, count, name, values))
    if not candidates:
        return None
    *_, name, values = min(candidates)
    return Condition(name, values)


def _values_with(
    distribution: BaseDistribution, inside: set[float | int], outside: set[float | int]
) -> list[float | int]:
    """The parent's values with which the child is there, unseen ones told by the nearest that was seen.

    A choice is near no other, so an unseen one is taken to be without the child. To propose a child that is
    not asked for costs nothing; so a tie counts as with it.
    """
    values = _indexed(distribution).values()
    if isinstance(distribution, CategoricalDistribution):
        return [value for value in values if value in inside]
    return [
        value
        for value in values
        if min(abs(value - seen) for seen in inside) <= min(abs(value - seen) for seen in outside)
    ]


def _value(trial: FrozenTrial, name: str) -> float | int:
    return internal_value(trial.distributions[name], trial.params[name])


def internal_value(distribution: BaseDistribution, value: object) -> float | int:
    """The value, a choice as its index: what the group's Space has.

    Example:
        >>> internal_value(CategoricalDistribution(["a", "b"]), "b"), internal_value(IntDistribution(1, 8), 3)
        (1, 3)
    """
    found = distribution.to_internal_repr(value)
    return float(found) if isinstance(distribution, FloatDistribution) else int(found)


def external_value(distribution: BaseDistribution, value: float | int) -> object:
    """What Optuna is given: the choice itself, or a Python number.

    Example:
        >>> external_value(CategoricalDistribution(["a", None]), 1) is None
        True
    """
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices[int(value)]
    return int(value) if isinstance(distribution, IntDistribution) else float(value)
