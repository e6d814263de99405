# SPDX-License-Identifier: Apache-2.0
"""What bench/multi_fidelity computes from its runs."""

import numpy as np
import pytest

pytest.importorskip("optuna", minversion="4.0")

from bench.multi_fidelity.methods import METHODS
from bench.multi_fidelity.summarise import incumbent, interval, regrets, spent
from bench.multi_fidelity.task import TABLES

#: Two trials: one to the end, one pruned at 9 rounds.
REPORTS = [(0, 3, 0.9), (0, 9, 0.7), (0, 27, 0.8), (0, 81, 0.75), (1, 3, 0.6), (1, 9, 0.65)]


def test_rounds_add_up_over_trials():
    assert spent(REPORTS).tolist() == [3, 9, 27, 81, 84, 90]


def test_the_incumbent_is_the_lowest_value_within_the_budget():
    assert incumbent(REPORTS, np.array([0, 3, 8, 9, 83, 84, 500])).tolist() == [
        np.inf, 0.9, 0.9, 0.7, 0.7, 0.6, 0.6,
    ]  # fmt: skip


def test_regret_is_0_at_the_best_known_and_1_at_the_median_of_random_search():
    runs = {}
    for table in TABLES:
        for method in METHODS:
            value = {"random": 0.5, "bohb": 0.1}.get(method, 0.3)
            runs[table, method, 0] = {"reports": [(0, 3, 0.9), (0, 81, value)]}
    found = regrets(runs, np.array([81.0]))
    assert found["random"] == pytest.approx(np.ones((len(TABLES), 1)))
    assert found["bohb"] == pytest.approx(np.zeros((len(TABLES), 1)))
    assert found["diffhpo"] == pytest.approx(np.full((len(TABLES), 1), 0.5))


def test_the_interval_is_students():
    from scipy import stats

    values = np.random.default_rng(0).normal(size=8)
    expected = stats.t.interval(0.95, 7, loc=values.mean(), scale=stats.sem(values))
    assert interval(values) == pytest.approx((values.mean(), *expected))
