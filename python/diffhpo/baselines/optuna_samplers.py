# SPDX-License-Identifier: Apache-2.0
"""TPE, CMA-ES and a Gaussian process as Optuna brings them, behind the interface of the other baselines."""

from __future__ import annotations

import warnings
from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from diffhpo.baselines.baseline import Baseline, nearest_rows
from diffhpo.errors import DependencyError
from diffhpo.gaussian_process_fit import LARGEST_VALUE
from diffhpo.history import Array, History
from diffhpo.policy import derived_seed

if TYPE_CHECKING:
    import optuna


def _import_optuna(*others: str) -> Any:
    try:
        import optuna

        for name in others:
            __import__(name)
    except ImportError as error:
        raise DependencyError(
            f'{error.name} is needed for this method and is not installed: pip install "diffhpo[bench]"'
        ) from error
    return optuna


@contextmanager
def _quiet(optuna: Any) -> Iterator[None]:
    """Optuna without its log lines and its notices of experimental options; its settings are restored."""
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            yield
    finally:
        optuna.logging.set_verbosity(verbosity)


class _OptunaBaseline(Baseline):
    """Continuous: the sampler's suggestion. Discrete: the pending configuration nearest to it."""

    def _choose(self, history: History, pool: Array, seed: int) -> int:
        return int(nearest_rows(self._suggest(history, seed).reshape(1, -1), pool, 1)[0, 0])

    @abstractmethod
    def _sampler(self, seed: int) -> optuna.samplers.BaseSampler:
        """A fresh sampler; Optuna takes seeds of 32 bits."""

    def _study(self) -> optuna.Study:
        import optuna

        return optuna.create_study(direction="maximize", sampler=self._sampler(0))

    def _replayed(self, history: History, seed: int, count: int) -> Array:
        """The sampler's suggestions after the history, (count, d); earlier ones of the batch are running."""
        import optuna

        with _quiet(optuna):
            study = self._study()
            study.add_trials([_finished(x, y) for x, y in zip(history.x, history.y.tolist(), strict=True)])
            study.sampler = self._sampler(seed)
            trials = [study.ask(_distributions(history.dim)) for _ in range(count)]
        return np.array([[trial.params[name] for name in sorted(trial.params)] for trial in trials])


def _distributions(dim: int) -> dict[str, optuna.distributions.BaseDistribution]:
    from optuna.distributions import FloatDistribution

    # Optuna sorts by name; the zeros keep the order of the columns.
    return {f"x{column:04d}": FloatDistribution(0.0, 1.0) for column in range(dim)}


def _finished(x: Array, y: float, attributes: dict[str, Any] | None = None) -> optuna.trial.FrozenTrial:
    from optuna.trial import create_trial

    distributions = _distributions(len(x))
    return create_trial(
        params=dict(zip(distributions, x.tolist(), strict=True)),
        distributions=distributions,
        value=y,
        system_attrs=attributes,
    )


class OptunaTPE(_OptunaBaseline):
    """Optuna's multivariate TPE (Bergstra et al. 2011); the history is replayed into a study each time.

    A batch is drawn with Optuna's constant liar: trials that are being evaluated count as bad ones. Discrete:
    the pending configuration nearest to the sampler's suggestion.

    Args:
        seed: of the run.
        n_startup_trials: below this many trials the sampler draws at random; Optuna's default is 10, here 5
            because that is HPO-B's initial design.

    Raises:
        DependencyError: if optuna is not installed.

    Example:
        >>> OptunaTPE(seed=0).observe_and_suggest([[0.1], [0.6]], [1.0, 2.0]).shape
        (1, 1)
    """

    def __init__(self, seed: int = 0, *, n_startup_trials: int = 5) -> None:
        super().__init__(seed)
        _import_optuna()
        self.n_startup_trials = n_startup_trials

    def _sampler(self, seed: int) -> optuna.samplers.BaseSampler:
        from optuna.samplers import TPESampler

        # constant_liar changes nothing while one trial at a time is asked for.
        return TPESampler(
            multivariate=True,
            n_startup_trials=self.n_startup_trials,
            constant_liar=True,
            seed=seed % 2**32,
        )

    def _suggest(self, history: History, seed: int) -> Array:
        return self._replayed(history, seed, 1)[0]

    def _suggest_batch(self, history: History, count: int, seed: int) -> Array:
        return self._replayed(history, seed, count)


class OptunaGP(_OptunaBaseline):
    """Optuna's GPSampler: a Gaussian process, Matern 5/2, with its own priors, and LogEI.

    The history is replayed into a study each time. Discrete: the pending configuration nearest to the
    sampler's suggestion.

    Args:
        seed: of the run.
        n_startup_trials: below this many trials the sampler draws at random; Optuna's default is 10, here 5
            because that is HPO-B's initial design.

    Raises:
        DependencyError: if optuna is not installed.

    Example:
        >>> OptunaGP(seed=0).observe_and_suggest([[0.1], [0.6], [0.7], [0.2], [0.9]], range(5)).shape
        (1, 1)
    """

    def __init__(self, seed: int = 0, *, n_startup_trials: int = 5) -> None:
        super().__init__(seed)
        _import_optuna()
        self.n_startup_trials = n_startup_trials

    def _sampler(self, seed: int) -> optuna.samplers.BaseSampler:
        from optuna.samplers import GPSampler

        return GPSampler(n_startup_trials=self.n_startup_trials, seed=seed % 2**32)

    def _suggest(self, history: History, seed: int) -> Array:
        # Its standardisation squares the values.
        values = np.clip(history.y, -LARGEST_VALUE, LARGEST_VALUE)
        return self._replayed(History(history.x, values), seed, 1)[0]


class OptunaCMAES(_OptunaBaseline):
    """Optuna's CMA-ES (Hansen and Ostermeier 2001).

    The state of CMA-ES is the sequence of its generations, so the history is replayed one trial at a time:
    Optuna is asked, its suggestion is replaced by what was evaluated in fact, and the value is told. Points
    that it did not suggest, such as an initial design or the nearest pending configuration, thus join the
    generation as injected solutions (Hansen 2011, arXiv 1110.4181). The study is kept and continued while
    the history grows; from another history it is built afresh, with the same result.

    Discrete: the pending configuration nearest to the sampler's suggestion.

    Args:
        seed: of the run.

    Raises:
        DependencyError: if optuna or cmaes is not installed.

    Example:
        >>> OptunaCMAES(seed=0).observe_and_suggest([[0.1, 0.3], [0.6, 0.3]], [1.0, 2.0]).shape
        (1, 2)
    """

    def __init__(self, seed: int = 0) -> None:
        super().__init__(seed)
        _import_optuna("cmaes")
        self._replay: _Replay | None = None

    def _sampler(self, seed: int) -> optuna.samplers.BaseSampler:
        from optuna.samplers import CmaEsSampler, RandomSampler

        # The independent sampler fills in while there is no generation; it is silent about it.
        return CmaEsSampler(
            seed=seed % 2**32,
            independent_sampler=RandomSampler(seed=seed % 2**32),
            warn_independent_sampling=False,
        )

    def _suggest(self, history: History, seed: int) -> Array:
        import optuna

        replay, self._replay = self._replay, None  # an interrupted call leaves nothing half replayed behind
        with _quiet(optuna):
            if replay is None or not replay.is_prefix_of(history):
                replay = _Replay(self._study(), history.dim)
            for x, y in zip(history.x[replay.size :], history.y[replay.size :].tolist(), strict=True):
                self._ask(replay)
                replay.tell(x, y)
            suggestion = self._ask(replay)
        self._replay = replay
        return suggestion

    def _ask(self, replay: _Replay) -> Array:
        return replay.ask(self._sampler(derived_seed(self.seed, replay.size)))


class _Replay:
    """A study that has seen a prefix of the history, and the trial that it was last asked for."""

    def __init__(self, study: optuna.Study, dim: int) -> None:
        self._study, self._x, self._y = study, np.empty((0, dim)), np.empty(0)
        self._asked: optuna.Trial | None = None

    @property
    def size(self) -> int:
        return len(self._y)

    def is_prefix_of(self, history: History) -> bool:
        return (
            history.dim == self._x.shape[1]
            and np.array_equal(history.x[: self.size], self._x)
            and np.array_equal(history.y[: self.size], self._y)
        )

    def ask(self, sampler: optuna.samplers.BaseSampler) -> Array:
        """The sampler's suggestion after the trials told so far; asked once for each state."""
        if self._asked is None:
            self._study.sampler = sampler
            self._asked = self._study.ask(_distributions(self._x.shape[1]))
        return np.array([self._asked.params[name] for name in sorted(self._asked.params)])

    def tell(self, x: Array, y: float) -> None:
        """Finish the trial asked for as if its suggestion had been `x`."""
        from optuna.trial import TrialState

        assert self._asked is not None, "tell without ask"
        # The generation, and the optimizer where a new one begins, are attributes of the trial.
        asked = self._study.get_trials(deepcopy=False)[self._asked.number]
        self._study.add_trial(_finished(x, y, dict(asked.system_attrs)))
        self._study.tell(self._asked, state=TrialState.FAIL)
        self._asked = None
        self._x, self._y = np.vstack([self._x, x]), np.append(self._y, y)
