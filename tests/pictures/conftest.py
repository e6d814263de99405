# SPDX-License-Identifier: Apache-2.0
import math

import numpy as np
import pytest

from diffhpo import Categorical, Float, Int, Optimizer, Space
from diffhpo.pictures import PicturedRun
from diffhpo.process.one_thread import one_thread

pytest.importorskip("matplotlib")


def value_of(p):
    worse = {"adam": 0.0, "sgd": 0.03, "rmsprop": 0.02}[p["optimizer"]]
    return 0.95 - 0.04 * (math.log10(p["rate"]) + 3) ** 2 - 0.002 * (p["depth"] - 7) ** 2 - worse


@pytest.fixture(autouse=True)
def _one_thread():
    """Pictures are compared to the last bit, and several threads of BLAS add up in any order."""
    with one_thread():
        yield


@pytest.fixture(scope="session")
def space():
    return Space(
        {
            "rate": Float(1e-5, 1e-1, log=True),
            "depth": Int(2, 12),
            "optimizer": Categorical(["adam", "sgd", "rmsprop"]),
            "bias": Categorical([True, False]),
        }
    )


@pytest.fixture(scope="session")
def run(space):
    """24 trials, minimised; the fifth failed, the ninth was pruned with a value, the last is pending."""
    rng = np.random.default_rng(0)
    configurations = [space.decode(row) for row in space.snap(rng.random((24, space.dim)))]
    values = np.array([-value_of(p) for p in configurations])
    states = ["told"] * 24
    states[4], states[8], states[23] = "failed", "pruned", "pending"
    values[[4, 23]] = np.nan
    values[8] = -5.0  # better than all, and still not the best
    return PicturedRun(space, configurations, values, states, "minimize")


@pytest.fixture(scope="session")
def optimizer(space):
    optimizer = Optimizer(space, seed=1)
    for trial in range(13):
        (suggestion,) = optimizer.ask()
        if trial == 5:
            optimizer.tell(suggestion, failed=True)
        else:
            optimizer.tell(suggestion, value_of(suggestion.parameters))
    optimizer.ask()
    return optimizer


@pytest.fixture(scope="session")
def line():
    """Finds a line of a picture by its label."""

    def labelled(ax, label):
        (found,) = [one for one in ax.get_lines() if one.get_label() == label]
        return found

    return labelled
