# SPDX-License-Identifier: Apache-2.0
"""The trials of an Optuna study as pictures read them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from diffhpo.errors import InputError
from diffhpo.pictures import PicturedRun
from diffhpo.space import Space

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.study import Study
    from optuna.trial import FrozenTrial


def study_run(study: Study) -> PicturedRun:
    """All trials of a study over the union of their parameters; each has those that it asked for.

    A pruned trial has the last value that it reported. Where trials disagree about a parameter's bounds, they
    are as wide as all of them.

    Raises:
        InputError: if the study has several objectives, no trial, or no parameter with two values.
        SpaceError: if the parameters need more columns than a space has, 1000.

    Example:
        >>> import optuna
        >>> study = optuna.create_study()
        >>> study.add_trial(optuna.create_trial(
        ...     value=2.0, params={"x": 0.5},
        ...     distributions={"x": optuna.distributions.FloatDistribution(0, 1)}))
        >>> study_run(study).configurations
        [{'x': 0.5}]
    """
    from diffhpo.integrations.optuna.distributions import parameter_from_distribution

    if len(study.directions) != 1:
        raise InputError(
            f"study {study.study_name!r} has {len(study.directions)} objectives; a study of one is needed"
        )
    trials = study.get_trials(deepcopy=False)
    if not trials:
        raise InputError(f"study {study.study_name!r} has no trial; run it first")
    given: dict[str, list[BaseDistribution]] = {}
    for trial in trials:
        for name, distribution in trial.distributions.items():
            given.setdefault(name, []).append(distribution)
    parameters = {name: parameter_from_distribution(widest(several)) for name, several in given.items()}
    if not any(parameter.width for parameter in parameters.values()):
        raise InputError(f"study {study.study_name!r} has no parameter with two values; there is no space")
    outcomes = [_outcome(trial) for trial in trials]
    return PicturedRun(
        Space(parameters),
        [dict(trial.params) for trial in trials],
        np.array([value for _, value in outcomes]),
        [state for state, _ in outcomes],
        study.direction.name.lower(),
    )


def widest(several: Sequence[BaseDistribution]) -> BaseDistribution:
    """One distribution that has the values of all: those of one parameter in the trials of a study.

    Choices are the same in all trials of a study, which Optuna sees to; bounds, scale and steps may differ.

    Example:
        >>> from optuna.distributions import FloatDistribution
        >>> widest([FloatDistribution(1, 8, log=True), FloatDistribution(4, 16, log=True)])
        FloatDistribution(high=16.0, log=True, low=1.0, step=None)
    """
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    first: Any = several[0]
    if isinstance(first, CategoricalDistribution) or all(one == first for one in several):
        return first
    numeric: Sequence[Any] = several
    low, high = min(one.low for one in numeric), max(one.high for one in numeric)
    log = all(one.log for one in numeric)
    if isinstance(first, IntDistribution):
        return IntDistribution(low, high, log=log)
    return FloatDistribution(low, high, log=log)


def _outcome(trial: FrozenTrial) -> tuple[str, float]:
    """State and value, nan where there is none."""
    from optuna.trial import TrialState

    if trial.state == TrialState.COMPLETE and trial.value is not None and not np.isnan(trial.value):
        return "told", float(trial.value)
    if trial.state == TrialState.PRUNED:
        reports: Mapping[int, float] = trial.intermediate_values
        return "pruned", float(reports[max(reports)]) if reports else float("nan")
    return ("pending" if not trial.state.is_finished() else "failed"), float("nan")
