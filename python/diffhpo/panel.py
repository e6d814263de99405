# SPDX-License-Identifier: Apache-2.0
"""The panel: one or several experts that say what configurations promise, and how they decide together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from scipy.stats import rankdata

from diffhpo.evidence import folds, log_weights, turns
from diffhpo.gaussian_process_fit import MAX_TRIALS
from diffhpo.history import Array, History, first_of_equal_rows
from diffhpo.model.universal.belief import Belief, NativeBelief
from diffhpo.model.universal.held_out import held_out_log_density
from diffhpo.model.universal.in_context import InContextModel
from diffhpo.ranker import Ranker


class Expert(Protocol):
    """Has read the trials of a run, and predicts."""

    def log_improvement(self, points: Array) -> Array:
        """(k, d) configurations -> (k,) log expected improvements."""
        ...

    def belief(self, points: Array) -> Belief | NativeBelief:
        """The joint prediction of (k, d) configurations, to be conditioned on some of them."""
        ...


class PredictorExpert:
    """The pretrained Predictor.

    Args:
        run: the model with the trials in context.
        noisy: whether improvements count what the Predictor takes for noise.
    """

    def __init__(self, run: InContextModel, *, noisy: bool) -> None:
        self._run, self._noisy = run, noisy

    @torch.no_grad()
    def log_improvement(self, points: Array) -> Array:
        """See `Expert`; in units of the context's standardised values."""
        return self._run.log_improvement(torch.from_numpy(points), noisy=self._noisy).numpy()

    def belief(self, points: Array) -> Belief | NativeBelief:
        """See `Expert`."""
        return self._run.belief(torch.from_numpy(points), noisy=self._noisy)


class GaussianProcessExpert:
    """A Gaussian process that was fitted to the run."""

    def __init__(self, ranker: Ranker) -> None:
        self._ranker = ranker

    def log_improvement(self, points: Array) -> Array:
        """See `Expert`; in units of the values that the process was fitted to."""
        return _promised(self._ranker.belief(points))  # `Ranker.scores` in a tenth of its time

    def belief(self, points: Array) -> Belief | NativeBelief:
        """See `Expert`."""
        return self._ranker.belief(points)


class Panel:
    """Experts, and how they decide.

    One expert decides by its expected improvement. Several with weights decide by that of the mixture of
    their predictions, sum_e w_e EI_e, which is exact; in a batch each chooses in proportion to its weight.
    Several without weights decide by the mean of their ranks, whatever their units.

    Args:
        experts: at least one; those with weights predict on one scale.
        log_weights: of the experts; None where there are none.
    """

    def __init__(self, experts: Sequence[Expert], log_weights: Array | None = None) -> None:
        self._experts, self._log_weights = list(experts), log_weights

    @property
    def has_peaks(self) -> bool:
        """Whether a closer look around the best is of use: ranks that agree only roughly have no peak."""
        return len(self._experts) == 1 or self._log_weights is not None

    def scores(self, points: Array) -> Array:
        """(k, d) configurations -> (k,), the larger the better."""
        return self._combined([expert.log_improvement(points) for expert in self._experts])

    def choose_batch(self, waiting: Array, points: Array, count: int) -> list[int]:
        """Greedy: the best by expected improvement, given what waits and the earlier choices at their
        predicted means.

        Args:
            waiting: (p, d) pending configurations.
            points: (k, d) candidates, k >= count.
            count: at least 1.

        Returns:
            Their indices, different and in the order of choice.
        """
        pending = len(waiting)
        together = np.concatenate([waiting, points])
        beliefs = [expert.belief(together) for expert in self._experts]
        for index in range(pending):
            for belief in beliefs:
                belief.believe(index)
        whose: Sequence[int | None] = [None] * count
        if count > 1 and self._log_weights is not None:
            whose = turns(np.exp(self._log_weights), count)
        chosen: list[int] = []
        for turn in whose:
            for belief in beliefs if chosen else ():
                belief.believe(pending + chosen[-1])
            if turn is None:
                combined = self._combined([_promised(belief)[pending:] for belief in beliefs])
            else:
                combined = _promised(beliefs[turn])[pending:]
            combined[chosen] = -np.inf
            chosen.append(int(combined.argmax()))
        return chosen

    def _combined(self, improvements: Sequence[Array]) -> Array:
        """The experts' (k,) log improvements -> (k,)."""
        if len(improvements) == 1:
            return np.array(improvements[0])
        if self._log_weights is None:
            return rankdata(np.stack(improvements, axis=1), axis=0).mean(axis=1)
        weighted = np.stack(improvements, axis=1) + self._log_weights
        return np.asarray(np.logaddexp.reduce(weighted, axis=1))


def panel_by_evidence(
    run: InContextModel, tried: History, rng: np.random.Generator, *, noisy: bool, turn: int | None = None
) -> Panel:
    """The Predictor and a Gaussian process, weighted by what they say of held-out trials.

    The process is fitted to the values on the scale on which the Predictor sees them, so that the two
    predictions can be mixed. Values that are all equal are no evidence, and improvements on them have no
    common unit: then the two take turns.

    Args:
        run: the model with the trials in context.
        tried: the trials that it has read; of more than 300, 300 weigh the two.
        rng: cuts the trials into folds.
        noisy: of the Predictor's improvements.
        turn: number of a single choice, whose parity may tell whose turn it is; None for a batch.
    """
    tried = tried.bounded(MAX_TRIALS)
    y = torch.tensor(tried.y)
    scale = run.embedding.scale
    z = scale.standardise(y.unsqueeze(0))[0].numpy()
    # Values of a repeated trial may differ by less than their places on the scale can.
    first = first_of_equal_rows(np.column_stack([tried.x, z]))
    x, y, z = tried.x[first], y[first], z[first]
    ranker = Ranker(History(x, z))
    experts: list[Expert] = [PredictorExpert(run, noisy=noisy), GaussianProcessExpert(ranker)]
    if z.min() == z.max():
        return Panel(experts, np.log([0.5, 0.5])) if turn is None else Panel([experts[turn % 2]])
    parts = folds(len(first), rng)
    dimensions = run.embedding.context.dimensions
    densities = np.stack(
        [
            held_out_log_density(run.executed, torch.tensor(x), y, parts, dimensions),
            ranker.held_out_log_density(parts) + scale.log_slope(y.unsqueeze(0))[0].numpy(),
        ]
    )
    return Panel(experts, log_weights(densities))


def _promised(belief: Belief | NativeBelief) -> Array:
    return belief.log_improvement().numpy()
