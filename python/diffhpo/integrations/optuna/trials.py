# SPDX-License-Identifier: Apache-2.0
"""What Optuna's trials say: values larger is better, infeasible trials below feasible ones, pending ones."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from optuna.trial import FrozenTrial, TrialState

#: Where Optuna keeps constraint values: a list, or one attribute each (`Trial.set_constraint` of Optuna 5).
CONSTRAINTS = "constraints"
#: Where a running trial's suggestion is told to other workers before its objective asks for the parameters.
PROPOSAL = "diffhpo:proposal"
#: Optuna's relational storage takes 2045 characters an attribute.
ATTRIBUTE_LENGTH = 2045
#: How far below the worst feasible trial the infeasible ones begin, in units of the feasible trials' range.
GAP = 0.1


def violation(trial: FrozenTrial) -> float:
    """Sum of the positive constraint values; 0 if the trial is feasible or has no constraint.

    Example:
        >>> from optuna.trial import create_trial
        >>> violation(create_trial(value=1.0, system_attrs={"constraints": [0.5, -1.0]}))
        0.5
    """
    attributes = trial.system_attrs
    values = list(attributes.get(CONSTRAINTS) or ())
    values += [value for key, value in attributes.items() if key.startswith(f"{CONSTRAINTS}:")]
    return float(sum(value for value in values if value > 0))


def own_value(trial: FrozenTrial, sign: float) -> float | None:
    """A trial's value, larger is better; None if it has none.

    A pruned trial counts with the value it reported last; without one, or with nan, it has no value.
    """
    if trial.state == TrialState.COMPLETE and trial.values is not None:
        return sign * trial.values[0]
    if trial.state == TrialState.PRUNED and trial.intermediate_values:
        last = trial.intermediate_values[max(trial.intermediate_values)]
        return None if math.isnan(last) else sign * last
    return None


def values_of(trials: Sequence[FrozenTrial], sign: float) -> list[float | None]:
    """The value of each trial, larger is better; None for one that has no value.

    A pruned trial is not above any that got further: its value is at most the worst of those, so that the
    order is that of Optuna's TPESampler. Infeasible trials stand below all feasible ones, in the order of
    their violation: the range that they take is as wide as that of the feasible values, and begins a tenth of
    it below the worst of them. Their own values are not looked at.

    Args:
        trials: finished trials.
        sign: 1 if the study maximises, else -1.

    Example:
        >>> from optuna.trial import create_trial
        >>> feasible = [create_trial(value=value) for value in (1.0, 3.0)]
        >>> broken = [create_trial(value=0.0, system_attrs={"constraints": [c]}) for c in (0.5, 1.0)]
        >>> [round(value, 3) for value in values_of(feasible + broken, sign=-1.0)]
        [-1.0, -3.0, -4.2, -5.2]
    """
    violations = [violation(trial) for trial in trials]
    values = [own_value(trial, sign) for trial in trials]
    _bound_by_later_steps(trials, values, violations)
    largest = max((v for v in violations if math.isfinite(v)), default=0.0) or 1.0
    feasible = [
        value
        for value, broken in zip(values, violations, strict=True)
        if value is not None and broken == 0 and math.isfinite(value)
    ]
    worst = min(feasible, default=0.0)
    width = (max(feasible) - worst if feasible else 0.0) or 1.0
    return [
        value if value is None or broken == 0 else worst - width * (GAP + min(broken / largest, 2.0))
        for value, broken in zip(values, violations, strict=True)
    ]


def _bound_by_later_steps(
    trials: Sequence[FrozenTrial], values: list[float | None], violations: Sequence[float]
) -> None:
    """Lower the values of pruned trials to at most the worst of the feasible trials that got further."""
    if all(trial.state == TrialState.COMPLETE for trial in trials):
        return
    reached: dict[float, list[int]] = {}
    for place, trial in enumerate(trials):
        if values[place] is not None and violations[place] == 0:
            whole = trial.state == TrialState.COMPLETE
            reached.setdefault(math.inf if whole else max(trial.intermediate_values), []).append(place)
    bound = math.inf
    for step in sorted(reached, reverse=True):
        own = []
        for place in reached[step]:
            value = values[place]
            assert value is not None
            values[place] = value if step == math.inf else min(value, bound)
            own.append(values[place])
        bound = min((v for v in own if v is not None and math.isfinite(v)), default=bound)


def proposal_attributes(values: Mapping[str, float | int], attempt: int) -> dict[str, str]:
    """A suggestion as attributes short enough for every storage; a later attempt stands beside the earlier.

    Example:
        >>> proposal_attributes({"x": 0.5}, 0)
        {'diffhpo:proposal:0:0': '{"x": 0.5}'}
    """
    text = json.dumps(values)
    return {
        f"{PROPOSAL}:{attempt}:{start // ATTRIBUTE_LENGTH}": text[start : start + ATTRIBUTE_LENGTH]
        for start in range(0, len(text), ATTRIBUTE_LENGTH)
    }


def proposal(trial: FrozenTrial) -> dict[str, float | int]:
    """The latest suggestion that a worker told for a running trial; empty before it has."""
    attributes, attempt = trial.system_attrs, 0
    while f"{PROPOSAL}:{attempt + 1}:0" in attributes:
        attempt += 1
    parts: list[str] = []
    while part := attributes.get(f"{PROPOSAL}:{attempt}:{len(parts)}"):
        parts.append(part)
    try:
        found = json.loads("".join(parts) or "{}")
    except json.JSONDecodeError:
        # The other worker has written some of the attributes only.
        return {}
    return found if isinstance(found, dict) else {}


def fixed_parameters(trial: FrozenTrial) -> dict[str, Any]:
    """The parameters that `study.enqueue_trial` set, by name."""
    found = trial.system_attrs.get("fixed_params") or {}
    return dict(found)
