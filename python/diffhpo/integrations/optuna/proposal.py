# SPDX-License-Identifier: Apache-2.0
"""From a study's trials to the values of the next one, group by group."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState

from diffhpo.integrations.optuna.design import design_value
from diffhpo.integrations.optuna.groups import Group, decompose, internal_value
from diffhpo.integrations.optuna.memory import Memory, Values
from diffhpo.integrations.optuna.trials import fixed_parameters, proposal, values_of
from diffhpo.optimizer import Optimizer
from diffhpo.policy import derived_seed
from diffhpo.trial import Trial

#: States of trials that say something of the parameters' values.
WITH_VALUES = (TrialState.COMPLETE, TrialState.PRUNED)
#: A finite group beside which there are others may repeat; up to so many configurations it is listed.
LISTABLE = 4096
#: Blocks of the Latin hypercube that are looked at for a configuration that no trial has.
BLOCKS = 8


@dataclass(frozen=True)
class View:
    """What a suggestion is a function of."""

    trials: Sequence[FrozenTrial]
    """All others of the study, in the order of their numbers."""
    sign: float
    """1 if the study maximises, else -1."""
    number: int
    """Of the trial that is suggested."""
    seed: int
    n_startup_trials: int
    storage: object
    study_id: int
    memory: Memory


def propose(
    view: View, distributions: Mapping[str, BaseDistribution], attempt: int = 0, rank: int = 0
) -> tuple[Values, bool]:
    """Values for the parameters, without those that are inactive in the proposed configuration.

    A group that is the whole of every trial does not repeat; one beside which there are others may.

    Args:
        view: the trials so far.
        distributions: what to suggest, by name, none with a single value.
        attempt: how often this suggestion was drawn before, for another worker had the same.
        rank: how many suggestions are left to others that had the same, so that they do not meet again.

    Returns:
        The values, and whether a trial has had the same, for lack of others.

    Warns:
        ExhaustedWarning: if the trials have all configurations, so that one must repeat.
    """
    finished = [trial for trial in view.trials if trial.state in WITH_VALUES]
    groups = decompose(finished, distributions)
    records = _records(view, finished, distributions)
    known = [_of_group(view.memory, group, records) for group in groups]
    if view.number < view.n_startup_trials:
        for block in range(attempt + rank, attempt + rank + BLOCKS):
            found = _designed(view, distributions, block)
            parts = [_active(group, found) for group in groups]
            if any(
                all(part != trial.parameters for trial in told)
                for part, told in zip(parts, known, strict=True)
            ):
                return {name: value for part in parts for name, value in part.items()}, False
    found = {}
    for group, told in zip(groups, known, strict=True):
        found.update(_from_model(view, group, told, attempt, rank, alone=len(groups) == 1))
    return found, any(values == found for values, _, _ in records)


def _records(
    view: View, finished: Sequence[FrozenTrial], distributions: Mapping[str, BaseDistribution]
) -> list[tuple[Values, float | None, bool]]:
    """Of each trial: its values, its objective (larger is better), whether it failed."""
    objective = dict(zip((trial.number for trial in finished), values_of(finished, view.sign), strict=True))
    found = []
    for trial in view.trials:
        values = view.memory.values(view.storage, view.study_id, trial)
        if not trial.state.is_finished():
            fixed = _internal(fixed_parameters(trial), distributions)
            values = {**proposal(trial), **fixed, **values}
        value = objective.get(trial.number)
        # A trial that has finished since `finished` was taken is still pending here.
        failed = trial.state == TrialState.FAIL or (trial.number in objective and value is None)
        found.append((values, value, failed))
    return found


def _internal(parameters: Mapping[str, object], distributions: Mapping[str, BaseDistribution]) -> Values:
    found: Values = {}
    for name, value in parameters.items():
        # A user's fixed value may be none of the parameter's; Optuna warns when the trial comes to it.
        try:
            found[name] = internal_value(distributions[name], value)
        except (KeyError, ValueError, TypeError):
            continue
    return found


def _of_group(
    memory: Memory, group: Group, records: Sequence[tuple[Values, float | None, bool]]
) -> list[Trial]:
    """The trials that have a configuration of the group."""
    space = memory.space(group)
    return [
        Trial(part, value, failed)
        for values, value, failed in records
        if (part := space.part(group, values)) is not None
    ]


def _active(group: Group, values: Mapping[str, float | int]) -> Values:
    """The part of a full configuration that is the group's and active."""
    active = group.names_active(values)
    return {name: values[name] for name in group.distributions if name in active}


def _designed(view: View, distributions: Mapping[str, BaseDistribution], block: int) -> Values:
    count = view.n_startup_trials
    return {
        name: internal_value(
            given, design_value(given, name, view.number + block * count, count=count, seed=view.seed)
        )
        for name, given in distributions.items()
    }


def _from_model(
    view: View, group: Group, told: list[Trial], attempt: int, rank: int, *, alone: bool
) -> Values:
    key = zlib.crc32(next(iter(group.distributions)).encode())
    seed = derived_seed(view.seed, view.number, attempt, key)
    space = view.memory.space(group)
    optimizer = Optimizer(space, seed=seed, direction="maximize", initial=0)
    optimizer.tell(told)
    if alone or space.size > LISTABLE:
        suggestions = optimizer.ask(1 + rank)
        if suggestions:
            return suggestions[rank % len(suggestions)].parameters
    history = optimizer.history
    pool = space.all_units() if space.size <= LISTABLE else history.seen
    return space.decode(pool[optimizer.policy.choose(history, pool)])
