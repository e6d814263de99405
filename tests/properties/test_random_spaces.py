# SPDX-License-Identifier: Apache-2.0
"""Random spaces and adversarial objectives: every suggestion is valid and new, and only named errors come.

A sample runs with the other tests. The long soak: `DIFFHPO_SOAK=1000 pytest tests/properties`.
"""

import math
import os
import warnings
from zlib import crc32

import numpy as np
import pytest

from diffhpo import Categorical, Condition, Constant, Float, Int, Optimizer, Ordinal, Space
from diffhpo.errors import DiffHPOWarning

SPACES = int(os.environ.get("DIFFHPO_SOAK", "12"))


def random_parameter(rng):
    kind = rng.integers(9)
    size = int(rng.integers(2, 7))
    scale = 10.0 ** rng.integers(-6, 7)
    low = float(rng.normal()) * scale
    return [
        lambda: Float(low, low + scale),
        lambda: Float(scale * 1e-3, scale, log=True),
        lambda: Float(0.0, 1.0, step=float(rng.choice([0.1, 0.25, 0.3]))),
        lambda: Int(-5, 5 * size),
        lambda: Int(1, 10**size, log=True),
        lambda: Int(0, 100, step=int(rng.integers(2, 40))),
        lambda: Categorical([f"choice {k}" for k in range(size)]),
        lambda: Ordinal([k * k for k in range(size)]),
        lambda: Constant("fixed"),
    ][kind]()


def random_space(rng):
    """Up to ten parameters; some conditional on an earlier one; at times a forbidden corner."""
    parameters = {"first": Float(0.0, 1.0) if rng.random() < 0.5 else Int(1, 3)}
    conditions = {}
    for index in range(int(rng.integers(0, 10))):
        name = f"p{index}"
        parameters[name] = random_parameter(rng)
        discrete = [n for n, p in parameters.items() if n != name and p.size <= 50]
        if discrete and rng.random() < 0.4:
            parent = str(rng.choice(discrete))
            values = parameters[parent].values()
            count = int(rng.integers(1, len(values) + 1))
            chosen = [values[k] for k in rng.permutation(len(values))[:count]]
            conditions[name] = Condition(parent, chosen)
    limit = 0.9 if isinstance(parameters["first"], Float) else 2
    forbidden = (lambda c: c["first"] > limit) if rng.random() < 0.3 else None
    return Space(parameters, conditions, forbidden)


def random_objective(rng):
    """Values that optimisers meet, and some that they should not."""
    kind = int(rng.integers(9))
    weights = rng.normal(size=64)
    state = {"calls": 0}

    def smooth(configuration):
        return sum(
            w * (crc32(str(v).encode()) % 97) / 97
            for w, v in zip(weights, configuration.values(), strict=False)
        )

    def value(configuration):
        state["calls"] += 1
        calls, base = state["calls"], smooth(configuration)
        return [
            base,
            3.0,  # constant
            -float(calls),  # always worse
            float("nan") if calls % 3 else base,
            float("nan"),
            base * 1e300,
            1e308 if calls == 2 else base,
            5e-324 * (calls % 4),
            math.copysign(math.inf, base) if calls % 4 == 0 else round(base),
        ][kind]

    return value


@pytest.mark.parametrize("seed", range(SPACES))
def test_suggestions_are_valid_and_new(seed):
    rng = np.random.default_rng([seed, 3])
    space = random_space(rng)
    optimizer = Optimizer(space, seed=seed, direction=str(rng.choice(["maximize", "minimize"])))
    value = random_objective(rng)
    seen = set()
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        warnings.simplefilter("ignore", DiffHPOWarning)
        for _ in range(int(rng.integers(3, 12))):
            for suggestion in optimizer.ask(int(rng.integers(1, 5))):
                configuration = suggestion.parameters
                unit = space.encode(configuration)
                assert ((unit >= 0) & (unit <= 1)).all()
                key = tuple((name, repr(v)) for name, v in configuration.items())
                assert key not in seen
                seen.add(key)
                found = value(configuration)
                if rng.random() < 0.1:
                    continue  # never told
                optimizer.tell(suggestion, None if math.isnan(found) else found, failed=math.isnan(found))
    again = Optimizer(space, seed=seed, direction=optimizer.direction)
    again.tell(optimizer.trials)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DiffHPOWarning)
        for suggestion in again.ask(2):
            space.encode(suggestion.parameters)
