# SPDX-License-Identifier: Apache-2.0
"""SMAC3 behind the interface of the other baselines."""

from __future__ import annotations

import logging
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from diffhpo.baselines.baseline import Baseline, nearest_rows
from diffhpo.errors import DependencyError
from diffhpo.history import Array, History


class SMAC(Baseline):
    """SMAC3's hyperparameter optimisation facade: a random forest and LogEI (Lindauer et al. 2022, JMLR 23).

    The facade is kept and told the new trials while the history grows; from another history it is built
    afresh. Its own initial design is left out, since the history has one. Discrete: the pending configuration
    nearest to its suggestion.

    Args:
        seed: of the run.

    Raises:
        DependencyError: if smac is not installed.
    """

    def __init__(self, seed: int = 0) -> None:
        super().__init__(seed)
        try:
            import smac  # noqa: F401
        except ImportError as error:
            raise DependencyError(
                f"{error.name} is needed for this method and is not installed: pip install smac"
            ) from error
        self._x, self._y = np.empty((0, 0)), np.empty(0)
        self._facade: Any = None
        self._directory: tempfile.TemporaryDirectory[str] | None = None

    def _suggest(self, history: History, seed: int) -> Array:
        facade, self._facade = self._facade, None  # an interrupted call leaves nothing half told behind
        told = len(self._y)
        known = history.x[:told].shape == self._x.shape and np.array_equal(history.x[:told], self._x)
        if facade is None or not known or not np.array_equal(history.y[:told], self._y):
            facade, told = self._fresh(history), 0
        self._tell(facade, history, told)
        suggestion = facade.ask().config
        self._facade, self._x, self._y = facade, history.x.copy(), history.y.copy()
        return np.array([suggestion[name] for name in _names(history.dim)])

    def _fresh(self, history: History) -> Any:
        from ConfigSpace import ConfigurationSpace, Float
        from smac import HyperparameterOptimizationFacade, Scenario

        space = ConfigurationSpace(seed=self.seed % 2**31)
        space.add([Float(name, (0.0, 1.0)) for name in _names(history.dim)])
        self._directory = tempfile.TemporaryDirectory()  # SMAC writes its state somewhere in any case
        scenario = Scenario(
            space,
            deterministic=True,
            n_trials=1_000_000,
            seed=self.seed % 2**31,
            output_directory=Path(self._directory.name),
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
            logging_level=logging.ERROR,
        )

    @staticmethod
    def _tell(facade: Any, history: History, told: int) -> None:
        from smac.runhistory.dataclasses import TrialInfo, TrialValue

        for x, y in zip(history.x[told:], history.y[told:].tolist(), strict=True):
            configuration = _configuration(facade.scenario.configspace, x)
            facade.tell(TrialInfo(configuration, seed=0), TrialValue(cost=-y), save=False)

    def _choose(self, history: History, pool: Array, seed: int) -> int:
        return int(nearest_rows(self._suggest(history, seed).reshape(1, -1), pool, 1)[0, 0])


def _names(dim: int) -> list[str]:
    # ConfigSpace sorts by name; the zeros keep the order of the columns.
    return [f"x{column:04d}" for column in range(dim)]


def _configuration(space: Any, x: Array) -> Any:
    from ConfigSpace import Configuration

    return Configuration(space, values=dict(zip(_names(len(x)), x.tolist(), strict=True)))
