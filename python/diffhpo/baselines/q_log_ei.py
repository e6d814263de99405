# SPDX-License-Identifier: Apache-2.0
"""Bayesian optimisation in batches with BoTorch's Monte Carlo acquisition function."""

from __future__ import annotations

import warnings

import numpy as np
import torch

from diffhpo.acquisition import outcome_scale, raw_candidates
from diffhpo.baselines.gaussian_process import GaussianProcess
from diffhpo.history import Array, History
from diffhpo.process.gpytorch_lock import gpytorch_lock

#: Quasi-random draws of the joint posterior; BoTorch's tutorials take as many.
MONTE_CARLO_SAMPLES = 128


class QLogEI(GaussianProcess):
    """The process of `GaussianProcess`; a batch maximises qLogEI (Ament et al. 2023, arXiv 2310.20708).

    The points of a batch are found one after the other, given those before (sequential greedy, which BoTorch
    recommends and which costs less than all coordinates at once): for each, L-BFGS-B from the best of
    `raw_samples` random and local candidates. With one point this is `GaussianProcess`.

    Args:
        seed: of the run.
        raw_samples: candidates among which the starts of a point are chosen.
        num_restarts: starts of each point.
        max_iterations: of each run of L-BFGS-B.

    Example:
        >>> method = QLogEI(seed=0)
        >>> method.suggest_batch([[0.0], [0.3], [0.6], [1.0]], [-0.16, -0.01, -0.04, -0.36], 2).shape
        (2, 1)
    """

    def __init__(
        self, seed: int = 0, *, raw_samples: int = 512, num_restarts: int = 4, max_iterations: int = 50
    ) -> None:
        super().__init__(seed)
        self.raw_samples, self.num_restarts, self.max_iterations = raw_samples, num_restarts, max_iterations

    @gpytorch_lock()
    def _suggest_batch(self, history: History, count: int, seed: int) -> Array:
        from botorch.acquisition.logei import qLogExpectedImprovement
        from botorch.acquisition.objective import LinearMCObjective
        from botorch.optim.optimize import optimize_acqf
        from botorch.sampling.normal import SobolQMCNormalSampler

        model = self._fit(history)
        scale = outcome_scale(model)[1]
        bounds = torch.tensor([[0.0] * history.dim, [1.0] * history.dim], dtype=torch.float64)
        chosen = torch.empty((0, history.dim), dtype=torch.float64)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of L-BFGS-B: the best point found so far is taken all the same
            for position in range(count):
                # In standardised units, so that no threshold of BoTorch's depends on the units of y.
                function = qLogExpectedImprovement(
                    model,
                    best_f=history.best / scale,
                    sampler=SobolQMCNormalSampler(torch.Size([MONTE_CARLO_SAMPLES]), seed=seed % 2**31),
                    objective=LinearMCObjective(torch.tensor([1 / scale], dtype=torch.float64)),
                    X_pending=chosen if len(chosen) else None,
                )
                raw = torch.from_numpy(
                    raw_candidates(history.x, history.y, seed + position + 1, self.raw_samples)
                ).unsqueeze(1)
                with torch.no_grad():
                    values = function(raw)
                starts = raw[values.topk(self.num_restarts).indices]
                point, _ = optimize_acqf(
                    function,
                    bounds=bounds,
                    q=1,
                    num_restarts=self.num_restarts,
                    batch_initial_conditions=starts,
                    options={"maxiter": self.max_iterations},
                    retry_on_optimization_warning=False,
                )
                chosen = torch.cat([chosen, point.detach().clamp(0, 1)])
        return np.asarray(chosen.numpy())
