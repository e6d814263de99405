# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest
from bench.calibration_models import GaussianProcessModel, Normal
from bench.predictor_calibration import KINDS, QUERIES, calibration_error, measure, table_text
from scipy import stats

from diffhpo.hpob import suite
from diffhpo.hpob.task import Task


def test_the_error_of_uniform_integrals_is_small_and_that_of_shifted_ones_is_not() -> None:
    uniform = np.random.default_rng(0).random(20_000)
    assert calibration_error(uniform) < 0.01
    assert calibration_error(np.clip(uniform + 0.2, 0, 1)) > 0.1
    # Integrals of predictions with half the true deviation: |Phi(z / 2) - level| at the levels, exactly.
    overconfident = stats.norm.cdf(2 * stats.norm.ppf(uniform))
    levels = np.arange(1, 20) / 20
    exact = np.abs(stats.norm.cdf(stats.norm.ppf(levels) / 2) - levels).mean()
    assert calibration_error(overconfident) == pytest.approx(exact, abs=0.01)


@pytest.mark.parametrize("warp", ["none", "rank", "power"])
def test_densities_are_the_derivatives_of_probabilities(warp: str) -> None:
    rng = np.random.default_rng(1)
    x = rng.random((12, 2))
    y = np.exp(2 * x.sum(1))
    prediction = GaussianProcessModel(warp).predict(x, y, np.repeat(rng.random((1, 2)), 4001, axis=0))
    points = np.linspace(y.min() - 2 * np.ptp(y), y.max() + 2 * np.ptp(y), 4001)
    density = np.exp(prediction.log_prob(points))
    probability = prediction.cdf(points)
    assert (np.diff(probability) >= 0).all()
    mass = np.cumsum((density[1:] + density[:-1]) / 2 * np.diff(points))
    # The rank warp's density jumps at the known values, which costs the trapezoid rule some accuracy.
    np.testing.assert_allclose(probability[1:] - probability[0], mass, atol=0.02 if warp == "rank" else 2e-3)


def test_predictions_are_in_the_units_of_the_values() -> None:
    x = np.random.default_rng(2).random((10, 1))
    y = np.sin(5 * x[:, 0])
    for warp in ("none", "rank", "power"):
        model = GaussianProcessModel(warp)
        plain, scaled = model.predict(x, y, x[:3] + 0.01), model.predict(x, 100 * y - 7, x[:3] + 0.01)
        np.testing.assert_allclose(
            scaled.log_prob(100 * y[:3] - 7) + np.log(100), plain.log_prob(y[:3]), atol=0.01
        )


def test_the_truth_is_measured_as_calibrated() -> None:
    class Noise:
        """Standard normal whatever the configuration."""

        path = None

        def __call__(self, x):
            keys = (np.asarray(x) * 2**40).astype(np.int64).sum(1) % 2**31
            return np.array([np.random.default_rng(key).normal() for key in keys])

    class Truth:
        def predict(self, x_context, y_context, x_query):
            return Normal(np.zeros(len(x_query)), np.ones(len(x_query)))

    rows = np.random.default_rng(0).random((20, 2))
    noise = Noise()
    tasks = [
        Task("s", f"t{n}", rows, noise(rows), initial={"test0": [0, 1, 2, 3, 4]}, surrogate=noise,
             response_range=(-4.0, 4.0))
        for n in range(3)
    ]  # fmt: skip
    table = measure({"truth": Truth(), "gp": GaussianProcessModel()}, tasks, seeds=1, sizes=(5,))
    for kind in KINDS:
        figures = table["truth"][kind][5]
        assert figures["ece"] < 4 / np.sqrt(3 * QUERIES) / 2
        assert figures["log_likelihood"] == pytest.approx(-0.5 - 0.5 * np.log(2 * np.pi), abs=0.25)
        low, high = figures["ece_interval"]
        assert low <= figures["ece"] + 0.02
        assert high > low
    text = table_text(table)
    assert text.count("\n") == 5
    assert "mean - truth's" in text


def test_a_gaussian_process_is_better_than_a_flat_guess_on_a_real_task() -> None:
    pytest.importorskip("xgboost")

    class Flat:
        def predict(self, x_context, y_context, x_query):
            return Normal(np.full(len(x_query), y_context.mean()), np.full(len(x_query), y_context.std()))

    benchmark = suite.benchmark("validation")
    tasks = [benchmark.task("xgboost", name) for name in benchmark.tasks("xgboost")[:2]]
    table = measure({"flat": Flat(), "gp": GaussianProcessModel()}, tasks, seeds=1, sizes=(20,))
    assert table["gp"]["uniform"][20]["log_likelihood"] > table["flat"]["uniform"][20]["log_likelihood"]
