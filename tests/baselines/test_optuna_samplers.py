# SPDX-License-Identifier: Apache-2.0
"""The bridges to Optuna: real generations for CMA-ES, the pool's rule, quiet and restored logging."""

from __future__ import annotations

import builtins
import pickle

import numpy as np
import optuna
import pytest

from diffhpo.baselines import OptunaCMAES, OptunaTPE
from diffhpo.errors import DependencyError


def _sphere(x: np.ndarray) -> np.ndarray:
    return -((x - 0.7) ** 2).sum(axis=1)


def _run(method, trials: int, design: int = 5, d: int = 3) -> np.ndarray:
    x = np.random.default_rng(0).random((design, d))
    for _ in range(trials):
        x = np.vstack([x, method.observe_and_suggest(x, _sphere(x))])
    return x


def _generation(method) -> int:
    """How many generations Optuna's CMA-ES has completed."""
    trials = method._replay._study.get_trials(deepcopy=False, states=[optuna.trial.TrialState.COMPLETE])
    return max(trial.system_attrs.get("cma:generation", -1) for trial in trials)


def test_cma_es_runs_through_its_generations():
    method = OptunaCMAES(seed=1)
    x = _run(method, 40)
    # Seven solutions a generation in three dimensions; the first trial is told before there is a generation.
    assert _generation(method) == (45 - 1 - 1) // 7
    assert np.abs(x[-7:] - 0.7).max() < np.abs(x[5:12] - 0.7).max()
    # The replay in a fresh object goes through the same states.
    fresh = OptunaCMAES(seed=1)
    assert np.array_equal(fresh.observe_and_suggest(x, _sphere(x)), method.observe_and_suggest(x, _sphere(x)))
    assert _generation(fresh) == _generation(method)


def test_cma_es_is_that_of_the_cmaes_package():
    """Optuna's sampler, replayed through our bridge, draws what Optuna draws when it runs by itself."""
    method = OptunaCMAES(seed=3)
    x = _run(method, 20, design=1, d=2)
    study = optuna.create_study(direction="maximize")
    study.add_trial(
        optuna.trial.create_trial(
            params={"a": x[0, 0], "b": x[0, 1]},
            distributions={name: optuna.distributions.FloatDistribution(0, 1) for name in "ab"},
            value=_sphere(x[:1])[0],
        )
    )
    for position in range(1, 21):
        from diffhpo.policy import derived_seed

        study.sampler = optuna.samplers.CmaEsSampler(seed=derived_seed(3, position) % 2**32)
        # The bridge has one abandoned trial for each finished one, and Optuna adds the number to its seed.
        while len(study.get_trials(deepcopy=False)) < 2 * position:
            study.add_trial(optuna.trial.create_trial(state=optuna.trial.TrialState.FAIL))
        trial = study.ask()
        point = np.array([[trial.suggest_float("a", 0, 1), trial.suggest_float("b", 0, 1)]])
        np.testing.assert_allclose(point[0], x[position], rtol=1e-12)
        study.tell(trial, _sphere(point)[0])


@pytest.mark.parametrize("method", [OptunaTPE, OptunaCMAES])
def test_discrete_is_the_nearest_pending_configuration(method):
    x = _run(method(seed=0), 10)
    pool = np.random.default_rng(3).random((50, 3))
    point = method(seed=0).observe_and_suggest(x, _sphere(x))
    index = method(seed=0).observe_and_suggest(x, _sphere(x), pool)
    assert index == np.linalg.norm(pool - point, axis=1).argmin()


def test_columns_keep_their_order_beyond_ten_dimensions():
    x = np.tile(np.linspace(0.02, 0.98, 25), (30, 1))
    x += 0.01 * np.random.default_rng(0).standard_normal(x.shape)
    point = OptunaTPE(seed=0).observe_and_suggest(np.clip(x, 0, 1), np.zeros(30))
    assert np.corrcoef(point[0], x[0])[0, 1] > 0.8


@pytest.mark.parametrize("method", [OptunaTPE, OptunaCMAES])
def test_optuna_is_quiet_and_its_verbosity_is_restored(method, capfd):
    optuna.logging.set_verbosity(optuna.logging.INFO)
    try:
        _run(method(seed=0), 3)
        assert optuna.logging.get_verbosity() == optuna.logging.INFO
    finally:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
    captured = capfd.readouterr()
    assert captured.out == captured.err == ""


@pytest.mark.parametrize(("method", "package"), [(OptunaTPE, "optuna"), (OptunaCMAES, "cmaes")])
def test_absent_package_is_named(method, package, monkeypatch):
    real = builtins.__import__

    def without(name, *arguments, **keywords):
        if name.partition(".")[0] == package:
            raise ModuleNotFoundError(f"No module named {package!r}", name=package)
        return real(name, *arguments, **keywords)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(DependencyError, match=rf'{package} .*pip install "diffhpo\[bench\]"'):
        method(seed=0)


@pytest.mark.parametrize("method", [OptunaTPE, OptunaCMAES])
def test_methods_travel_to_other_processes(method):
    copy = pickle.loads(pickle.dumps(method(seed=2)))
    x = _run(method(seed=2), 2)
    assert np.array_equal(
        copy.observe_and_suggest(x, _sphere(x)), method(seed=2).observe_and_suggest(x, _sphere(x))
    )
