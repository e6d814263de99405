# SPDX-License-Identifier: Apache-2.0
"""A smooth surrogate of a table of evaluations: the mean of a small Gaussian process."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from diffhpo.prior.task_batch import CATEGORICAL

Floats = NDArray[np.float64]
#: Rows that are fitted; more are thinned, for a fit costs n^3 for each candidate.
MAX_ROWS = 256
#: Candidates for the length scales and the noise: drawn freely, then around the best.
N_FREE, N_NEAR = 24, 24
_LENGTH, _NOISE = (0.08, 6.0), (1e-5, 0.3)


def _features(x: NDArray[np.float32], levels: list[int]) -> Floats:
    """(n, d) -> (n, p): categorical columns one-hot, so that their order means nothing."""
    parts = []
    for j, count in enumerate(levels):
        column = x[:, j].astype(np.float64)
        if count > 2:
            parts.append(np.eye(count)[np.rint(column * (count - 1)).astype(np.intp)] / np.sqrt(2.0))
        else:
            parts.append(column[:, None])
    return np.concatenate(parts, axis=1)


def _matern(a: Floats, b: Floats, scale: Floats) -> Floats:
    """(n, p), (m, p) -> (n, m) Matern-5/2 correlations."""
    a, b = a / scale, b / scale
    square = (a * a).sum(1)[:, None] + (b * b).sum(1)[None] - 2.0 * a @ b.T
    r = np.sqrt(5.0 * np.maximum(square, 0.0))
    out: Floats = (1.0 + r + r * r / 3.0) * np.exp(-r)
    return out


class Smoother:
    """Mean of a Gaussian process (Matern 5/2, a length scale for each column) fitted to one task.

    Length scales and noise have the highest marginal likelihood among random candidates: rough, but a few
    ten milliseconds, and a different but plausible function is as good for training.

    Args:
        x: (n, d) in [0, 1].
        y: (n,) standardised responses.
        kinds: (d,) of `TaskBatch`; categorical columns are coded index / (levels - 1).
        rng: chooses rows and candidates.

    Example:
        >>> x = np.linspace(0, 1, 20, dtype=np.float32)[:, None]
        >>> fitted = Smoother(x, np.sin(6 * x[:, 0]), np.zeros(1, dtype=int), np.random.default_rng(0))
        >>> bool(np.abs(fitted(x) - np.sin(6 * x[:, 0])).max() < 0.1)
        True
    """

    def __init__(
        self,
        x: NDArray[np.float32],
        y: NDArray[np.floating],
        kinds: NDArray[np.int64],
        rng: np.random.Generator,
    ) -> None:
        self._levels = [len(np.unique(x[:, j])) if kind == CATEGORICAL else 0 for j, kind in enumerate(kinds)]
        if len(y) > MAX_ROWS:
            # The best rows stay: near them the surrogate is searched.
            order = np.argsort(-y, kind="stable")
            rest = rng.choice(order[MAX_ROWS // 4 :], MAX_ROWS - MAX_ROWS // 4, replace=False)
            rows = np.concatenate([order[: MAX_ROWS // 4], rest])
            x, y = x[rows], y[rows]
        self._x = _features(x, self._levels)
        p = self._x.shape[1]
        target = np.asarray(y, dtype=np.float64)
        best = (-np.inf, np.ones(p), np.zeros(len(target)))
        log_best = np.zeros(p + 1)
        low, high = np.log([*[_LENGTH[0]] * p, _NOISE[0]]), np.log([*[_LENGTH[1]] * p, _NOISE[1]])
        for trial in range(N_FREE + N_NEAR):
            if trial < N_FREE:
                log_parameters = rng.uniform(low, high)
            else:
                log_parameters = np.clip(log_best + rng.normal(0.0, 0.5, p + 1), low, high)
            likelihood, weights = self._fit(target, log_parameters)
            if likelihood > best[0]:
                best, log_best = (likelihood, np.exp(log_parameters[:-1]), weights), log_parameters
        _, self._scale, self._weights = best

    def _fit(self, y: Floats, log_parameters: Floats) -> tuple[float, Floats]:
        """Log marginal likelihood (up to a constant, the amplitude profiled out) and the weights."""
        K = _matern(self._x, self._x, np.exp(log_parameters[:-1]))
        K[np.diag_indices_from(K)] += np.exp(log_parameters[-1])
        try:
            L = np.linalg.cholesky(K)
        except np.linalg.LinAlgError:
            return -float("inf"), np.zeros(len(y))
        weights: Floats = np.linalg.solve(K, y).astype(np.float64, copy=False)
        amplitude = max(float(y @ weights) / len(y), 1e-12)
        return float(-0.5 * len(y) * np.log(amplitude) - np.log(np.diag(L)).sum()), weights

    def __call__(self, x: NDArray[np.float32]) -> Floats:
        """(k, d) -> (k,) predicted standardised responses."""
        out: Floats = _matern(_features(x, self._levels), self._x, self._scale) @ self._weights
        return out
