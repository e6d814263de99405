# SPDX-License-Identifier: Apache-2.0
"""Ensembles of axis-aligned trees, as surrogates of tuning tables are."""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from diffhpo.prior.families.family import FunctionBatch
from diffhpo.prior.random_draws import bernoulli, integers, log_uniform, normal, uniform


class TreeEnsembles:
    """A sum of oblivious trees (one split per level): piecewise constant, with plateaus.

    A leaf's index is the bits of its comparisons. Leaf values are random, or taken from a smooth random
    function of the splits passed ("guided": what boosting on a smooth response leaves), in every
    proportion. Few features are split often.
    """

    def __init__(self, trees: int = 40, depth: int = 5) -> None:
        self.trees = trees
        self.depth = depth

    def draw(self, generator: Generator, batch: int, dim: int) -> FunctionBatch:
        T, K = self.trees, self.depth
        importance = torch.exp(uniform(generator, batch, 1, high=1.2) * normal(generator, batch, dim))
        features = torch.multinomial(importance, T * K, replacement=True, generator=generator)
        thresholds = uniform(generator, batch, T * K)
        # Coarse functions split at a few places only.
        grid = integers(generator, batch, 1, low=3, high=20).to(torch.float32)
        coarse = bernoulli(generator, batch, 1, probability=0.4)
        thresholds = torch.where(coarse, (thresholds * grid).floor() / grid + 0.5 / grid, thresholds)
        # Levels beyond a tree's own depth never split.
        deepest = integers(generator, batch, 1, 1, low=1, high=K + 1)
        level = torch.arange(K, device=generator.device)
        thresholds = torch.where(level < deepest, thresholds.view(batch, T, K), 2.0).view(batch, T * K)
        # Boosting: later trees correct less; some functions use a few trees only.
        decay = log_uniform(generator, batch, 1, low=0.8, high=1.0)
        step = decay ** torch.arange(T, device=generator.device)
        # Guided leaves: each feature has a preferred direction, and a split on it moves by that much.
        bits = (torch.arange(2**K, device=generator.device).unsqueeze(1) >> level) & 1
        direction = normal(generator, batch, dim)
        bend = uniform(generator, batch, dim)
        slope = (direction.gather(1, features) * (thresholds - bend.gather(1, features))).view(batch, T, 1, K)
        guided = (slope * (2 * bits - 1)).sum(3) * 2
        share = uniform(generator, batch, 1, 1)
        leaves = share * guided + (1 - share) * normal(generator, batch, T, 2**K)
        leaves = (leaves * step.unsqueeze(2)).reshape(batch, T * 2**K)
        places = (2**level).to(torch.float32)
        first_leaf = torch.arange(T, device=generator.device) * 2**K

        def evaluate(x: Tensor) -> Tensor:
            B, N, _ = x.shape
            columns = x.gather(2, features.unsqueeze(1).expand(B, N, T * K))
            passed = (columns > thresholds.unsqueeze(1)).to(torch.float32).view(B, N, T, K)
            leaf = (passed @ places).to(torch.int64) + first_leaf
            return leaves.gather(1, leaf.view(B, N * T)).view(B, N, T).sum(2)

        return evaluate
