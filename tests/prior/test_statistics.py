# SPDX-License-Identifier: Apache-2.0
"""The prior covers real tuning tasks: the middle 80 percent of each statistic holds their median."""

import numpy as np
import pytest

import prior_statistics
from diffhpo.hpob import suite


def test_statistics_of_a_known_function():
    generator = np.random.default_rng(0)
    x = generator.random((512, 5))
    y = x[:, 0] + 0.7 * x[:, 2]
    dimensions, first_order, roughness, near_best, skewness = prior_statistics.statistics(x, y, best=1.7)
    assert dimensions == 2
    assert first_order > 0.9
    assert 0.1 < roughness < 0.6
    # The corner triangle with legs .085 and .085 / .7.
    assert near_best == pytest.approx(0.085 * 0.085 / 0.7 / 2, abs=0.01)
    assert abs(skewness) < 0.2
    noise = prior_statistics.statistics(x, generator.normal(size=512))
    assert noise[1] < 0.1
    assert noise[2] == pytest.approx(1.0, abs=0.15)


@pytest.mark.usefixtures("one_torch_thread")
def test_the_prior_covers_the_embedded_suite():
    pytest.importorskip("xgboost")
    synthetic = np.array(list(prior_statistics.of_prior("all", 300, dims=(6, 11))))
    real = np.array(list(prior_statistics.of_benchmark(suite.benchmark("train"), [suite.SPACE])))
    low, high = np.quantile(synthetic, [0.1, 0.9], axis=0)
    middle = np.median(real, axis=0)
    outside = [
        f"{name}: {m:.3f} is not in {a:.3f} to {b:.3f}"
        for name, m, a, b in zip(prior_statistics.NAMES, middle, low, high, strict=True)
        if not a <= m <= b
    ]
    assert outside == []
