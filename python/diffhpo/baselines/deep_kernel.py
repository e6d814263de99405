# SPDX-License-Identifier: Apache-2.0
"""A Gaussian process whose kernel sees the features of a network; both trained on the marginal likelihood."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np
import torch
from botorch.models import SingleTaskGP
from botorch.models.transforms.outcome import Standardize
from gpytorch.kernels import MaternKernel, ScaleKernel
from gpytorch.likelihoods import GaussianLikelihood
from scipy.linalg import lapack
from torch import Tensor

from diffhpo.gaussian_process_fit import MAX_TRIALS, kernel_and_slope, outcome_floor
from diffhpo.history import Array, History
from diffhpo.process.gpytorch_lock import gpytorch_lock

_log = logging.getLogger("diffhpo")

#: Lower bound of the noise variance in standardised units, as GPyTorch's and BoTorch's.
NOISE_FLOOR = 1e-4

#: Training stops when the objective per trial has moved by less than 1e-4 for this many steps in a row.
PATIENCE, TOLERANCE = 16, 1e-4

#: Decay of Adam's moments, its authors' values.
ADAM_DECAY = (0.9, 0.999)


@dataclass(frozen=True)
class DeepKernelModel:
    """A trained deep-kernel GP: k(x, x') = s * Matern52(|f(x) - f(x')| / l) with a ReLU network f.

    Wilson et al. (2016), "Deep Kernel Learning", AISTATS.
    """

    network: torch.nn.Sequential
    """Takes 2x - 1, float64; its last layer, the features, is linear."""
    model: SingleTaskGP
    """The GP on the features, in the units of the values."""
    fitting_retries: int
    """1 if training ended early in a numerical failure, else 0."""

    def features(self, points: Array) -> Tensor:
        """(k, d) points in [0, 1] -> (k, width) features."""
        with torch.no_grad():
            features: Tensor = self.network(2 * torch.from_numpy(points) - 1)
        return features


class DeepKernelLikelihood:
    """-log p(z) of the deep-kernel GP and its gradient in all weights and hyperparameters, in float64.

    n times the negative objective of GPyTorch's ExactMarginalLogLikelihood, in closed form: a step costs
    about a tenth of the general machinery's, so that training to the end fits into a suggestion. The
    constant mean takes its optimal value.

    The parameters are one vector: the layers' weights and biases, log l, log s, log(noise - 1e-4).
    """

    def __init__(self, x: Array, z: Array, widths: tuple[int, ...]) -> None:
        self._x, self._z, self.trials = 2 * x - 1, z, len(z)
        self._shapes = list(zip(widths, (x.shape[1], *widths[:-1]), strict=True))

    def initial(self, seed: int) -> Array:
        """PyTorch's and GPyTorch's own initial values, the former drawn with `seed`.

        Uniform within 1 / sqrt(inputs) for weights and biases, log 2 for scale and lengthscale; the noise
        variance starts at exp(-4), the mode of BoTorch's prior being close to it.
        """
        rng = np.random.default_rng(seed)
        parts = []
        for outputs, inputs in self._shapes:
            bound = inputs**-0.5
            parts.append(rng.uniform(-bound, bound, size=outputs * inputs + outputs))
        return np.concatenate([*parts, [np.log(np.log(2)), np.log(np.log(2)), -4.0]])

    def layers(self, parameters: Array) -> list[tuple[Array, Array]]:
        """Weights (outputs, inputs) and biases (outputs,) of each layer, as views of the vector."""
        result, start = [], 0
        for outputs, inputs in self._shapes:
            weights = parameters[start : start + outputs * inputs].reshape(outputs, inputs)
            start += outputs * inputs + outputs
            result.append((weights, parameters[start - outputs : start]))
        return result

    def __call__(self, parameters: Array) -> tuple[float, Array, float]:
        """Value, gradient, and the optimal constant mean."""
        n = self.trials
        layers = self.layers(parameters)
        activations = [self._x]
        for weights, bias in layers[:-1]:
            activations.append(np.maximum(activations[-1] @ weights.T + bias, 0))
        features = activations[-1] @ layers[-1][0].T + layers[-1][1]
        inverse_square, scale, noise = np.exp([-2 * parameters[-3], parameters[-2], parameters[-1]])
        norms = np.square(features).sum(axis=1)
        squared = np.maximum(norms[:, None] + norms - 2 * features @ features.T, 0) * inverse_square
        np.fill_diagonal(squared, 0)
        correlation, slope = kernel_and_slope(squared, "matern52")
        covariance = scale * correlation
        covariance[np.diag_indices(n)] += NOISE_FLOOR + noise
        factor, info = lapack.dpotrf(covariance, lower=1)
        if info != 0:
            raise np.linalg.LinAlgError("the covariance is not positive definite")
        inverse = lapack.dpotri(factor, lower=1)[0]
        inverse = np.tril(inverse) + np.tril(inverse, -1).T
        row_sums = inverse.sum(axis=1)
        mean = float(row_sums @ self._z / row_sums.sum())
        residual = self._z - mean
        solved = inverse @ residual
        outer = 0.5 * (inverse - np.outer(solved, solved))
        value = 0.5 * residual @ solved + np.log(np.diag(factor)).sum() + 0.5 * n * np.log(2 * np.pi)

        gradient = np.empty_like(parameters)
        pull = outer * slope * scale  # d value / d squared
        gradient[-3] = -2 * np.sum(pull * squared)
        gradient[-2] = scale * np.sum(outer * correlation)
        gradient[-1] = noise * np.trace(outer)
        # squared_ij = |f_i - f_j|^2 / l^2, and `pull` is symmetric.
        delta = 4 * inverse_square * (pull.sum(axis=1)[:, None] * features - pull @ features)
        for layer in range(len(layers) - 1, -1, -1):
            weights_slot, bias_slot = self.layers(gradient)[layer]
            weights_slot[...] = delta.T @ activations[layer]
            bias_slot[...] = delta.sum(axis=0)
            delta = (delta @ layers[layer][0]) * (activations[layer] > 0)
        return float(value), gradient, mean


@gpytorch_lock()
def fit_deep_kernel(
    history: History,
    *,
    seed: int,
    widths: tuple[int, ...] = (32, 32),
    steps: int = 500,
    learning_rate: float = 1e-2,
) -> DeepKernelModel:
    """Train network and hyperparameters jointly by Adam (Kingma and Ba 2015).

    The weights with the best objective are kept. If training fails numerically it ends with the best so far,
    which is logged as a warning and counted on the result.

    Args:
        history: at least one trial; more than 300 are thinned, see `History.bounded`.
        seed: of the initial weights.
        widths: units of the layers; the last layer's are the features.
        steps: of Adam, at most.
        learning_rate: of Adam.
    """
    history = history.bounded(MAX_TRIALS)
    values, floor = outcome_floor(history.y)
    outcomes = Standardize(m=1, min_stdv=floor)
    standardised = outcomes(torch.tensor(values).unsqueeze(1))[0].squeeze(1).numpy()
    objective = DeepKernelLikelihood(history.x, standardised, widths)
    parameters, failures = _train(objective, objective.initial(seed), steps, learning_rate)
    network = _network(objective.layers(parameters))
    model = SingleTaskGP(
        network(2 * torch.tensor(history.x) - 1).detach(),
        torch.tensor(values).unsqueeze(1),
        likelihood=GaussianLikelihood().double(),
        covar_module=ScaleKernel(MaternKernel(nu=2.5)).double(),
        outcome_transform=Standardize(m=1, min_stdv=floor),
    )
    lengthscale, scale, noise = np.exp(parameters[-3:])
    # In float32, and not in torch's default dtype, which is the caller's.
    model.likelihood.noise_covar.raw_noise_constraint.lower_bound = torch.tensor(NOISE_FLOOR).float().double()
    with torch.no_grad():
        # As tensors: GPyTorch rounds Python's floats to single precision.
        model.covar_module.base_kernel.lengthscale = torch.tensor(lengthscale)
        model.covar_module.outputscale = torch.tensor(scale)
        model.likelihood.noise = torch.tensor(NOISE_FLOOR + noise)
        model.mean_module.constant.fill_(objective(parameters)[2])
    return DeepKernelModel(network, model.eval(), failures)


def _network(layers: list[tuple[Array, Array]]) -> torch.nn.Sequential:
    modules: list[torch.nn.Module] = []
    for weights, bias in layers:
        # `Linear` draws initial values, which the next lines overwrite; the meta device draws none.
        linear = torch.nn.Linear(weights.shape[1], weights.shape[0], device="meta")
        linear.weight = torch.nn.Parameter(torch.tensor(weights))
        linear.bias = torch.nn.Parameter(torch.tensor(bias))
        modules += [linear, torch.nn.ReLU()]
    return torch.nn.Sequential(*modules[:-1])


def _train(
    objective: DeepKernelLikelihood, start: Array, steps: int, learning_rate: float
) -> tuple[Array, int]:
    """The best parameters on Adam's way, and 1 if that way ended in a numerical failure, else 0."""
    parameters, best, best_value, previous, still = start.copy(), start, np.inf, np.inf, 0
    first, second = np.zeros_like(start), np.zeros_like(start)
    for step in range(1, steps + 1):
        try:
            value, gradient, _ = objective(parameters)
        except np.linalg.LinAlgError as error:
            _log.warning("training of the deep kernel ended early: %s", error)
            return best, 1
        if value < best_value:
            best, best_value = parameters.copy(), value
        still = still + 1 if abs(value - previous) < TOLERANCE * objective.trials else 0
        if still > PATIENCE:
            break
        previous = value
        gradient /= objective.trials
        first += (1 - ADAM_DECAY[0]) * (gradient - first)
        second += (1 - ADAM_DECAY[1]) * (gradient**2 - second)
        rate = learning_rate * np.sqrt(1 - ADAM_DECAY[1] ** step) / (1 - ADAM_DECAY[0] ** step)
        parameters -= rate * first / (np.sqrt(second) + 1e-8)
    return best, 0
