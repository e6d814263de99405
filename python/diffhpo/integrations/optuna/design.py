# SPDX-License-Identifier: Apache-2.0
"""Values that depend on a trial's number and the parameter's name alone: a Latin hypercube, define-by-run."""

from __future__ import annotations

import zlib

import numpy as np
from optuna.distributions import BaseDistribution, CategoricalDistribution

from diffhpo.integrations.optuna.distributions import parameter_from_distribution
from diffhpo.policy import derived_seed


def design_value(distribution: BaseDistribution, name: str, number: int, *, count: int, seed: int) -> object:
    """One parameter's value in trial `number`, as Optuna's users see it.

    The trials come in blocks of `count`. In a block every parameter's (log) range is cut into `count` equal
    parts and each trial gets one of them, in an order of the parameter's own, and a uniform place in it: a
    Latin hypercube (McKay et al. 1979) that needs to know neither the other parameters nor the other trials.

    Args:
        distribution: the range.
        name: of the parameter.
        number: of the trial.
        count: trials in a block, 1 or more.
        seed: of the run.

    Example:
        >>> from optuna.distributions import FloatDistribution
        >>> x = [design_value(FloatDistribution(0, 1), "x", k, count=4, seed=0) for k in range(4)]
        >>> sorted(int(4 * value) for value in x)
        [0, 1, 2, 3]
    """
    block, place = divmod(number, count)
    key = zlib.crc32(name.encode())
    order = np.random.default_rng(derived_seed(seed, key, 0, block)).permutation(count)
    within = np.random.default_rng(derived_seed(seed, key, 1, number)).random()
    unit = (order[place] + within) / count
    if isinstance(distribution, CategoricalDistribution):
        choices = distribution.choices
        return choices[min(int(unit * len(choices)), len(choices) - 1)]
    return parameter_from_distribution(distribution).decode(np.array([unit]))
