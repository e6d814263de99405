# SPDX-License-Identifier: Apache-2.0
"""A generation node for Ax: the diffusion model proposes an experiment's next arms."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from diffhpo.errors import DependencyError, ExhaustedWarning, InputError, InputWarning, SpaceError
from diffhpo.optimizer import Optimizer
from diffhpo.policy import check_seed
from diffhpo.trial import Trial

try:
    from ax.core.trial_status import TrialStatus
    from ax.exceptions.core import SearchSpaceExhausted
    from ax.generation_strategy.external_generation_node import ExternalGenerationNode
    from ax.storage.json_store.registry import CORE_DECODER_REGISTRY, CORE_ENCODER_REGISTRY

    from diffhpo.integrations.ax_space import AxSpace
except ImportError as error:
    raise DependencyError(
        f'DiffusionGenerationNode needs Ax 1.3: {error}; pip install "diffhpo[ax]"'
    ) from error

if TYPE_CHECKING:
    from ax.core.data import Data
    from ax.core.experiment import Experiment

_WAITING = (TrialStatus.CANDIDATE, TrialStatus.STAGED, TrialStatus.RUNNING)
_LOST = (TrialStatus.FAILED, TrialStatus.ABANDONED)
_EVALUATED = (TrialStatus.COMPLETED, TrialStatus.EARLY_STOPPED)


class DiffusionGenerationNode(ExternalGenerationNode):  # type: ignore[misc, unused-ignore]  # where Ax is not installed
    """Proposes arms with the pretrained diffusion model; a function of the seed and the experiment.

    What it knows it reads from the experiment each time: completed and early stopped trials with their last
    value, failed and abandoned ones and those without a finite value as failures, which it does not propose
    again, and all that wait or run as pending.

    Args:
        seed: 0 or more.
        initial: of the first arms, this many come from a scrambled Sobol sequence.
        name: of the node.
        transition_criteria: to another node, where the strategy has several.

    Raises:
        InputError: by generation, if the experiment has no objective, several, or outcome constraints.
        SpaceError: by generation, on parts of the search space that are not supported, see `AxSpace`.
        ax.exceptions.core.SearchSpaceExhausted: by generation, if a finite space has no new arm.

    Example:
        >>> from ax.generation_strategy.generation_strategy import GenerationStrategy
        >>> GenerationStrategy(name="diffhpo", nodes=[DiffusionGenerationNode(seed=0)]).name
        'diffhpo'
    """

    def __init__(
        self,
        seed: int = 0,
        *,
        initial: int = 5,
        name: str = "diffhpo",
        transition_criteria: Sequence[Any] | None = None,
    ) -> None:
        start = time.monotonic()
        super().__init__(name=name, transition_criteria=transition_criteria)
        self.seed = check_seed(seed)
        self.initial = initial
        self._space: AxSpace | None = None
        self._optimizer: Optimizer | None = None
        self._waiting: list[dict[str, Any]] = []
        self.fit_time_since_gen = time.monotonic() - start

    def update_generator_state(self, experiment: Experiment, data: Data) -> None:
        """Reads the experiment; called by Ax before `get_next_candidate`."""
        self._space = AxSpace(experiment.search_space)
        values = _objective_values(experiment, data)
        trials, outside = [], 0
        for index, trial in experiment.trials.items():
            abandoned = {arm.name for arm in getattr(trial, "abandoned_arms", ())}  # of a batch trial
            for arm in trial.arms:
                try:
                    configuration = self._space.configuration(arm.parameters)
                except SpaceError:
                    outside += 1
                    continue
                if trial.status in _LOST or arm.name in abandoned:
                    trials.append(Trial(configuration, failed=True))
                elif trial.status in _WAITING:
                    trials.append(Trial(configuration))
                elif trial.status in _EVALUATED:
                    value = values.get((index, arm.name))
                    trials.append(Trial(configuration, value, failed=value is None))
        if outside:
            warnings.warn(
                f"{outside} arms are not of the experiment's search space, and are left out",
                InputWarning,
                stacklevel=2,
            )
        self._waiting = [dict(trial.parameters) for trial in trials if trial.pending]
        self._optimizer = Optimizer(self._space.space, seed=self.seed, initial=self.initial)
        self._optimizer.tell(trials)

    def get_next_candidate(self, pending_parameters: list[Any]) -> dict[str, Any]:
        """The next arm's parameters, another one each time.

        Args:
            pending_parameters: arms that wait for their values; those that the experiment does not have yet
                are counted too.

        Raises:
            ax.exceptions.core.SearchSpaceExhausted: if a finite space has no new arm.
        """
        if self._optimizer is None or self._space is None:
            raise InputError("get_next_candidate was called before update_generator_state")
        for parameterization in pending_parameters:
            try:
                configuration = self._space.configuration(parameterization)
            except SpaceError:
                continue  # update_generator_state has told of it
            if configuration not in self._waiting:
                self._waiting.append(configuration)
                self._optimizer.tell([Trial(configuration)])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExhaustedWarning)  # Ax has an exception for it
            asked = self._optimizer.ask(1)
        if not asked:
            raise SearchSpaceExhausted("each configuration of the search space is a trial already")
        parameterization = self._space.parameterization(asked[0].parameters)
        self._waiting.append(self._space.configuration(parameterization))
        return parameterization


def _encoded(node: DiffusionGenerationNode) -> dict[str, Any]:
    return {
        "__type": type(node).__name__,
        "seed": node.seed,
        "initial": node.initial,
        "name": node.name,
        "transition_criteria": node.transition_criteria,
    }


# So that a client with this node is saved and loaded, where this module has been imported.
CORE_ENCODER_REGISTRY[DiffusionGenerationNode] = _encoded
CORE_DECODER_REGISTRY[DiffusionGenerationNode.__name__] = DiffusionGenerationNode


def _objective_values(experiment: Experiment, data: Data) -> dict[tuple[int, str], float]:
    """(trial, arm) -> the objective, larger is better, where each of its metrics is finite."""
    config = experiment.optimization_config
    if config is None:
        raise InputError("the experiment has no optimization_config; an objective is needed")
    if config.objective.is_multi_objective:
        raise InputError(f"{config.objective!r} has several objectives; one is needed, or a weighted sum")
    if config.outcome_constraints:
        raise InputError(
            f"the experiment has outcome constraints, {config.outcome_constraints!r}, which are not "
            "supported; let an arm that breaks them fail, or put a penalty into the objective"
        )
    weights = dict(config.objective.metric_weights)
    means: dict[tuple[int, str], dict[str, float]] = {}
    for row in data.df.itertuples():
        if row.metric_signature in weights and math.isfinite(row.mean):
            means.setdefault((row.trial_index, row.arm_name), {})[row.metric_signature] = float(row.mean)
    return {
        place: sum(weights[metric] * mean for metric, mean in found.items())
        for place, found in means.items()
        if len(found) == len(weights)
    }
