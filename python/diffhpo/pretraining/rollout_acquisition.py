# SPDX-License-Identifier: Apache-2.0
"""What an optimizer wants to evaluate next in a rollout."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from diffhpo.gaussian_process_fit import GaussianProcessFit
from diffhpo.history import Array, History
from diffhpo.model.universal.dimensions import PADDING
from diffhpo.model.universal.model import UniversalModel
from diffhpo.model.universal.transformer import UniversalContext
from diffhpo.process.one_thread import one_thread
from diffhpo.ranker import Ranker

#: A Gaussian process is fitted anew when its trials are so many times those of the last fit: nine fits in the
#: 40 choices of a rollout, which are then as cheap as the model's.
GROWTH = 1.25


class RolloutAcquisition(Protocol):
    """Scores candidates of B runs that go on together."""

    def __call__(self, context: UniversalContext, candidates: Tensor) -> Tensor:
        """B contexts of the runs' trials, (B, N, D) candidates -> (B, N), the larger the better."""
        ...


class PredictorAcquisition:
    """Log expected improvement by the model's own Predictor.

    Args:
        model: in evaluation.
    """

    def __init__(self, model: UniversalModel) -> None:
        self._model = model

    @torch.no_grad()
    def __call__(self, context: UniversalContext, candidates: Tensor) -> Tensor:
        """See `RolloutAcquisition`."""
        embedding = self._model.transformer(context)
        conditioned = self._model.predictor.condition(embedding)
        predicted = self._model.predictor(conditioned, candidates, noisy=False)
        return predicted.log_expected_improvement(embedding.best.unsqueeze(1))


class GaussianProcessAcquisition:
    """Log expected improvement by a Gaussian process fitted to each run: what a rival's runs look like.

    It keeps its fits from call to call, so it serves one set of runs.
    """

    def __init__(self) -> None:
        #: Row -> trials of its last fit, equal ones included, and the fit.
        self._fits: dict[int, tuple[int, GaussianProcessFit]] = {}

    def __call__(self, context: UniversalContext, candidates: Tensor) -> Tensor:
        """See `RolloutAcquisition`."""
        dims = (context.dimensions.kinds != PADDING).sum(1).tolist()
        out = np.empty(candidates.shape[:2])
        with one_thread():
            for row, dim in enumerate(dims):
                x, y, points = (
                    tensor.double().numpy()
                    for tensor in (context.x[row, :, :dim], context.y[row], candidates[row, :, :dim])
                )
                ranker = self._ranker(row, x, y)
                out[row] = ranker.belief(points).log_improvement().numpy()
        return torch.from_numpy(out).float()

    def _ranker(self, row: int, x: Array, y: Array) -> Ranker:
        trials, fit = self._fits.get(row, (0, None))
        if fit is not None and len(y) < GROWTH * trials:
            return Ranker(History(x, y), fit=fit)
        ranker = Ranker(History(x, y))
        self._fits[row] = len(y), ranker.fit
        return ranker
