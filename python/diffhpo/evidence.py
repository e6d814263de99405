# SPDX-License-Identifier: Apache-2.0
"""How much each of several predictors is to be believed: by what it says of the run's trials, held out."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from diffhpo.history import Array

#: Parts into which the trials are cut: each is predicted from the others.
FOLDS = 5
#: Fewer trials tell nothing of a predictor.
FEWEST_TRIALS = 2
#: Nats that one trial may count at most between two predictors. Surrogates of tables have plateaus, and what
#: predicts an equal value by a narrow density would win a run by one of them.
MOST_NATS = 10.0
#: Log densities lie within this: of infinite ones no difference can be taken.
LARGEST = 1e5


def folds(count: int, rng: np.random.Generator) -> list[NDArray[np.int64]]:
    """0 to count - 1 in random order, cut into `FOLDS` parts of like size; one each where there are fewer."""
    parts = np.array_split(rng.permutation(count), min(FOLDS, count))
    return [np.sort(part) for part in parts]


def log_weights(log_densities: Array) -> Array:
    """(predictors,) log weights that add up to 1, from (predictors, n) log densities of held-out values.

    The posterior of which predictor is right, if one is, with equal weights before (pseudo-Bayesian model
    averaging, Geisser and Eddy 1979; Yao et al. 2018, arXiv 1704.02030, eq. 6), the difference at a trial
    bounded by `MOST_NATS`.

    Example:
        >>> np.exp(log_weights(np.array([[-1.0, -1.0], [-1.0, -2.0]]))).round(2)
        array([0.73, 0.27])
    """
    if log_densities.shape[1] < FEWEST_TRIALS:
        return np.full(len(log_densities), -np.log(len(log_densities)))
    bounded = np.clip(log_densities, -LARGEST, LARGEST)
    total = np.maximum(bounded, bounded.max(axis=0) - MOST_NATS).sum(axis=1)
    return np.asarray(total - np.logaddexp.reduce(total))


def turns(weights: Array, count: int) -> list[int]:
    """Whose turn it is in each of `count` choices: every predictor chooses in proportion to its weight.

    Example:
        >>> turns(np.array([0.7, 0.3]), 6)
        [0, 1, 0, 0, 1, 0]
    """
    credit, chosen = np.zeros(len(weights)), []
    for _ in range(count):
        credit += weights
        chosen.append(int(credit.argmax()))
        credit[chosen[-1]] -= 1
    return chosen
