# SPDX-License-Identifier: Apache-2.0
"""Models as predictive distributions, for `predictor_calibration`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import stats

from diffhpo.gaussian_process import fit_gaussian_process
from diffhpo.model.universal.in_context import InContextModel, PredictedValues
from diffhpo.model.universal.model import UniversalModel
from diffhpo.pretrained import pretrained_model
from diffhpo.ranker import normal_scores

Array = NDArray[np.float64]


class Prediction(Protocol):
    """Distributions of the values of m configurations, one each."""

    def log_prob(self, y: Any) -> Any:
        """(m,) logarithms of the densities at y (m,)."""

    def cdf(self, y: Any) -> Any:
        """(m,) probabilities of values up to y (m,)."""


class Model(Protocol):
    """What is measured: a rule that turns evaluated configurations into predictions."""

    def predict(self, x_context: Array, y_context: Array, x_query: Array) -> Prediction:
        """Predictions at (m, d) configurations after (n, d) configurations with values (n,).

        The values are in any units, and the densities are in the same units.
        """


class Normal:
    """Normal distributions of z = warp(y); densities are those of y.

    Args:
        mean, deviation: (m,) of z.
        warp: increasing function of y.
        log_slope: logarithm of its derivative.
    """

    def __init__(
        self,
        mean: Array,
        deviation: Array,
        warp: Callable[[Array], Array] = lambda y: y,
        log_slope: Callable[[Array], Array] = np.zeros_like,
    ) -> None:
        self._normal = stats.norm(mean, deviation)
        self._warp, self._log_slope = warp, log_slope

    def log_prob(self, y: Array) -> Array:
        return self._normal.logpdf(self._warp(y)) + self._log_slope(y)

    def cdf(self, y: Array) -> Array:
        return self._normal.cdf(self._warp(y))


class GaussianProcessModel:
    """BoTorch's Gaussian process with dimension-scaled priors, Matern 5/2, noise included in predictions.

    Args:
        warp: "none"; "rank": fitted to normal scores, as the elite recipe does, between which the warp is
            linear, and beyond which it has the slope of the standardised values; "power": Yeo and Johnson's
            (2000) transform of the standardised values with the most likely exponent.
    """

    def __init__(self, warp: str = "none") -> None:
        self.warp = warp

    def predict(self, x_context: Array, y_context: Array, x_query: Array) -> Normal:
        scale = y_context.std() or 1.0
        if self.warp == "none":
            return Normal(*_posterior(x_context, y_context, x_query))
        if self.warp == "rank":
            known = np.unique(y_context)
            score = normal_scores(y_context)
            heights = np.array([score[y_context == value].mean() for value in known])
            return Normal(
                *_posterior(x_context, score, x_query), *_piecewise_linear(known, heights, 1 / scale)
            )
        centre = y_context.mean()
        z = (y_context - centre) / scale
        exponent = float(np.clip(stats.yeojohnson_normmax(z), -4, 6)) if len(np.unique(z)) > 2 else 1.0

        def warp(y: Array) -> Array:
            return stats.yeojohnson((y - centre) / scale, lmbda=exponent)

        def log_slope(y: Array) -> Array:
            u = (y - centre) / scale
            return (exponent - 1) * np.sign(u) * np.log1p(np.abs(u)) - np.log(scale)

        return Normal(*_posterior(x_context, warp(y_context), x_query), warp, log_slope)


def _posterior(x: Array, y: Array, x_query: Array) -> tuple[Array, Array]:
    model = fit_gaussian_process(torch.tensor(x), torch.tensor(y))
    with torch.no_grad():
        posterior = model.posterior(torch.tensor(x_query), observation_noise=True)
        return posterior.mean[:, 0].numpy(), posterior.variance[:, 0].sqrt().numpy()


def _piecewise_linear(
    x: Array, y: Array, outer_slope: float
) -> tuple[Callable[[Array], Array], Callable[[Array], Array]]:
    """A line through (x, y), continued with `outer_slope`, and the logarithm of its derivative."""
    slopes = np.concatenate([[outer_slope], np.diff(y) / np.diff(x), [outer_slope]])

    def warp(points: Array) -> Array:
        beyond = np.minimum(points - x[0], 0) + np.maximum(points - x[-1], 0)
        return np.interp(points, x, y) + outer_slope * beyond

    def log_slope(points: Array) -> Array:
        return np.log(slopes[np.searchsorted(x, points, side="right")])

    return warp, log_slope


class PretrainedModel:
    """A universal model, told no names.

    Args:
        model: in evaluation; the package's where it is left out.
    """

    def __init__(self, model: UniversalModel | None = None) -> None:
        self._model = pretrained_model() if model is None else model

    def predict(self, x_context: Array, y_context: Array, x_query: Array) -> Prediction:
        """See `Model`."""
        run = InContextModel(self._model, torch.from_numpy(x_context), torch.from_numpy(y_context))
        return _Arrays(run.predict(torch.from_numpy(x_query)))


class _Arrays:
    """`PredictedValues` with arrays for tensors."""

    def __init__(self, predicted: PredictedValues) -> None:
        self._predicted = predicted

    def log_prob(self, y: Array) -> Array:
        return self._predicted.log_prob(torch.from_numpy(y)).numpy()

    def cdf(self, y: Array) -> Array:
        return self._predicted.cdf(torch.from_numpy(y)).numpy()
