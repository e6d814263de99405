# SPDX-License-Identifier: Apache-2.0
"""The methods that are compared, each told the same first configurations and then asked one at a time."""

from __future__ import annotations

import tempfile
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from bench.mixed.evaluations import plain
from ConfigSpace import (
    CategoricalHyperparameter,
    Configuration,
    ConfigurationSpace,
    OrdinalHyperparameter,
    UniformFloatHyperparameter,
    UniformIntegerHyperparameter,
)

Config = dict[str, Any]
#: Configurations that a run begins with, the same for every method.
N_INITIAL = 5


class Method(ABC):
    """One run of one method; larger values are better."""

    @abstractmethod
    def tell(self, configuration: Config, value: float) -> None:
        """Report a configuration that was evaluated: the initial ones, then what `suggest` returned."""

    @abstractmethod
    def suggest(self) -> Config:
        """The next configuration: its active parameters."""


class Random(Method):
    """ConfigSpace's own uniform sample."""

    def __init__(self, space: ConfigurationSpace, seed: int) -> None:
        self._space = space
        # The initial configurations were drawn with `seed` itself.
        space.seed((seed + 1) % 2**31)

    def tell(self, configuration: Config, value: float) -> None:
        pass

    def suggest(self) -> Config:
        return plain(self._space.sample_configuration())


class _Optuna(Method):
    """Optuna, define by run: a parameter is suggested where the choices so far make it active.

    Optuna has no ordinal parameter; the place in the sequence is a whole number there.
    """

    def __init__(self, space: ConfigurationSpace, seed: int) -> None:
        import optuna

        self._space = space
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            sampler = self._sampler(seed)
        self._study = optuna.create_study(direction="maximize", sampler=sampler)
        self._asked: Any = None

    @abstractmethod
    def _sampler(self, seed: int) -> Any:
        """The sampler, that starts to model after N_INITIAL trials."""

    def _active(self, name: str, values: Config) -> bool:
        conditions = self._space.parent_conditions_of[name]
        parents = [parent.name for parent in self._space.parents_of[name]]
        return all(p in values for p in parents) and all(c.satisfied_by_value(values) for c in conditions)

    def _distribution(self, name: str) -> Any:
        from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

        parameter = self._space[name]
        if isinstance(parameter, UniformFloatHyperparameter):
            return FloatDistribution(float(parameter.lower), float(parameter.upper), log=parameter.log)
        if isinstance(parameter, UniformIntegerHyperparameter):
            return IntDistribution(int(parameter.lower), int(parameter.upper), log=parameter.log)
        if isinstance(parameter, OrdinalHyperparameter):
            return IntDistribution(0, len(parameter.sequence) - 1)
        assert isinstance(parameter, CategoricalHyperparameter)
        return CategoricalDistribution(parameter.choices)

    def tell(self, configuration: Config, value: float) -> None:
        from optuna.trial import create_trial

        if self._asked is not None:
            self._study.tell(self._asked, value)
            self._asked = None
            return
        params = {}
        for name, chosen in configuration.items():
            parameter = self._space[name]
            ordinal = isinstance(parameter, OrdinalHyperparameter)
            params[name] = list(parameter.sequence).index(chosen) if ordinal else chosen
        distributions = {name: self._distribution(name) for name in params}
        self._study.add_trial(create_trial(params=params, distributions=distributions, value=value))

    def suggest(self) -> Config:
        trial = self._asked = self._study.ask()
        values: Config = {}
        for name in self._space:
            if self._active(name, values):
                chosen = trial._suggest(name, self._distribution(name))
                parameter = self._space[name]
                ordinal = isinstance(parameter, OrdinalHyperparameter)
                values[name] = parameter.sequence[chosen] if ordinal else chosen
        return plain(values)


class TPE(_Optuna):
    """Multivariate TPE with group decomposition, which is how Optuna does conditional spaces."""

    def _sampler(self, seed: int) -> Any:
        from optuna.samplers import TPESampler

        return TPESampler(multivariate=True, group=True, n_startup_trials=N_INITIAL, seed=seed)


class OptunaGP(_Optuna):
    """Optuna's Gaussian process; for spaces without conditions, outside of which it draws at random."""

    def _sampler(self, seed: int) -> Any:
        from optuna.samplers import GPSampler

        return GPSampler(n_startup_trials=N_INITIAL, seed=seed)


class SMAC(Method):
    """SMAC3's hyperparameter optimisation facade: a random forest and LogEI, its settings as they come."""

    def __init__(self, space: ConfigurationSpace, seed: int) -> None:
        self._space, self._seed = space, seed
        space.seed(seed)
        self._folder = tempfile.TemporaryDirectory()  # SMAC writes its state somewhere in any case
        self._facade: Any = None
        self._asked: Any = None

    def _start(self, first: Configuration) -> Any:
        from smac import HyperparameterOptimizationFacade as Facade
        from smac import Scenario

        scenario = Scenario(
            self._space,
            deterministic=True,
            n_trials=1_000_000,
            seed=self._seed,
            output_directory=Path(self._folder.name),
        )
        # Without any configuration of its own it refuses to start; this one is told below.
        initial = Facade.get_initial_design(scenario, n_configs=0, additional_configs=[first])
        return Facade(
            scenario,
            lambda config, seed=0: 0.0,
            initial_design=initial,
            overwrite=True,
            logging_level=False,
        )

    def tell(self, configuration: Config, value: float) -> None:
        from smac.runhistory.dataclasses import TrialInfo, TrialValue

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of its own calls of ConfigSpace
            told = self._asked or Configuration(self._space, values=configuration)
            self._facade = self._facade or self._start(told)
            self._facade.tell(TrialInfo(told, seed=0), TrialValue(cost=-value), save=False)
        self._asked = None

    def suggest(self) -> Config:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self._asked = self._facade.ask().config
        return plain(self._asked)


class Diffusion(Method):
    """diffhpo's Optimizer with its defaults, in the space that `space_from_configspace` makes.

    Args:
        space: what is searched.
        seed: of the run.
        recipe: settings of the policy other than the default ones; for choosing settings.
    """

    def __init__(self, space: ConfigurationSpace, seed: int, recipe: Mapping[str, Any] | None = None) -> None:
        from diffhpo import Optimizer
        from diffhpo.integrations.configspace import space_from_configspace
        from diffhpo.pretrained_policy import PretrainedPolicy

        own = space_from_configspace(space)
        policy = recipe and PretrainedPolicy(
            seed=seed, kinds=own.column_kinds, names=own.column_names, recipe=recipe
        )
        self._optimizer = Optimizer(own, seed=seed, direction="maximize", policy=policy or None)
        self._asked: Any = None

    def tell(self, configuration: Config, value: float) -> None:
        self._optimizer.tell(configuration if self._asked is None else self._asked, value)
        self._asked = None

    def suggest(self) -> Config:
        (self._asked,) = self._optimizer.ask(1)
        return plain(self._asked.parameters)


#: name -> what makes a run of it.
METHODS: dict[str, Callable[[ConfigurationSpace, int], Method]] = {
    "random": Random,
    "tpe": TPE,
    "smac": SMAC,
    "optuna-gp": OptunaGP,
    "diffhpo": Diffusion,
}
