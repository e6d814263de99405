# SPDX-License-Identifier: Apache-2.0
"""SMAC3 behind the interface of the other baselines."""

from __future__ import annotations

import shutil
import tempfile
import warnings
import weakref
from pathlib import Path
from typing import Any

import numpy as np

from diffhpo.baselines.baseline import Baseline, nearest_rows
from diffhpo.errors import DependencyError
from diffhpo.history import Array, History

#: Trials that it is told before it is asked.
N_INITIAL = 5


class SMAC(Baseline):
    """SMAC3's hyperparameter optimisation facade: a random forest and LogEI (Lindauer et al. 2022, JMLR 23).

    It is told the first five trials, HPO-B's initial design, in place of a design of its own; then it is
    asked before each trial and told what was evaluated in fact, as SMAC is used. The facade is kept while the
    history grows; from another history all is replayed, with the same result. Discrete: the pending
    configuration nearest to its suggestion.

    Args:
        seed: of the run.

    Raises:
        DependencyError: if smac is not installed.

    Example:
        >>> method = SMAC(seed=0)  # doctest: +SKIP
        >>> method.observe_and_suggest([[0.1], [0.6]], [1.0, 2.0]).shape  # doctest: +SKIP
        (1, 1)
    """

    def __init__(self, seed: int = 0) -> None:
        super().__init__(seed)
        try:
            import smac  # noqa: F401
        except ImportError as error:
            raise DependencyError(
                f'{error.name} is needed for this method and is not installed: pip install "diffhpo[smac]"'
            ) from error
        self._told = np.empty((0, 1))
        self._asked: Any = None
        self._facade: Any = None

    def _suggest(self, history: History, seed: int) -> Array:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of its own calls of ConfigSpace
            return self._replayed(history)

    def _replayed(self, history: History) -> Array:
        facade, self._facade = self._facade, None  # an interrupted call leaves nothing half told behind
        trials = np.column_stack([history.x, history.y])
        if facade is None or not np.array_equal(trials[: len(self._told)], self._told):
            facade, self._told, self._asked = self._fresh(history), trials[:0], None
        for trial in trials[len(self._told) :]:
            if len(self._told) >= N_INITIAL and self._asked is None:
                self._asked = facade.ask()
            _tell(facade, trial)
            self._told, self._asked = trials[: len(self._told) + 1], None
        if self._asked is None:
            self._asked = facade.ask()
        suggestion = self._asked.config
        # What it was asked before the initial design is complete is not part of the replay.
        self._facade = facade if len(history) >= N_INITIAL else None
        return np.array([suggestion[name] for name in _names(history.dim)])

    def _fresh(self, history: History) -> Any:
        from ConfigSpace import ConfigurationSpace, Float
        from smac import HyperparameterOptimizationFacade, Scenario

        space = ConfigurationSpace(seed=self.seed % 2**31)
        space.add([Float(name, (0.0, 1.0)) for name in _names(history.dim)])
        directory = Path(tempfile.mkdtemp())  # SMAC writes its state somewhere in any case
        weakref.finalize(self, shutil.rmtree, directory, ignore_errors=True)
        scenario = Scenario(
            space,
            deterministic=True,
            n_trials=1_000_000,
            seed=self.seed % 2**31,
            output_directory=directory,
        )
        # Without any configuration of its own it refuses to start; this one is told below.
        initial = HyperparameterOptimizationFacade.get_initial_design(
            scenario, n_configs=0, additional_configs=[_configuration(space, history.x[0])]
        )
        return HyperparameterOptimizationFacade(
            scenario,
            lambda config, seed=0: 0.0,
            initial_design=initial,
            overwrite=True,
            logging_level=False,  # a level would be set for the whole process, on the root logger
        )

    def _choose(self, history: History, pool: Array, seed: int) -> int:
        return int(nearest_rows(self._suggest(history, seed).reshape(1, -1), pool, 1)[0, 0])


def _names(dim: int) -> list[str]:
    # ConfigSpace sorts by name; the zeros keep the order of the columns.
    return [f"x{column:04d}" for column in range(dim)]


def _tell(facade: Any, trial: Array) -> None:
    from smac.runhistory.dataclasses import TrialInfo, TrialValue

    configuration = _configuration(facade.scenario.configspace, trial[:-1])
    facade.tell(TrialInfo(configuration, seed=0), TrialValue(cost=-float(trial[-1])), save=False)


def _configuration(space: Any, x: Array) -> Any:
    from ConfigSpace import Configuration

    return Configuration(space, values=dict(zip(_names(len(x)), x.tolist(), strict=True)))
