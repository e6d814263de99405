# SPDX-License-Identifier: Apache-2.0
"""The policy that trains the diffusion model on the run's own history, as the brief describes."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from diffhpo.history import Array, History, check_pool
from diffhpo.model.denoiser import Denoiser
from diffhpo.model.network import Network
from diffhpo.model.train import Trainer
from diffhpo.model.transformer import Transformer
from diffhpo.policy import (
    Snap,
    check_count,
    check_history,
    check_seed,
    checked_snap,
    derived_seed,
    initial_design,
    new_rows,
)
from diffhpo.process.drawn_from import drawn_from
from diffhpo.process.one_thread import one_thread
from diffhpo.ranker import Ranker
from diffhpo.recipe import Recipe, recipe_named

#: Below this many trials there is nothing to learn from; suggestions come from a Sobol sequence.
FIRST_LEARNABLE = 3

#: How often to sample again when too few of the samples are new.
SAMPLING_ROUNDS = 4


def training_stages(count: int) -> list[int]:
    """The history sizes at which a model for `count` trials is trained: afresh at the first, then on.

    A fresh start at 5, 20, 80, 320, ... and one stage per trial, or per sixteenth of the start, in between.
    So the model is a function of the history alone, whether or not it was alive while the history grew, and
    building it from nothing takes at most about sixty stages however long the history is.

    Example:
        >>> training_stages(8), training_stages(21), len(training_stages(5000)) < 65
        ([5, 6, 7, 8], [20, 21], True)
    """
    start = 5
    if count < start:
        return [count]
    while 4 * start <= count:
        start *= 4
    return list(range(start, count + 1, max(1, start // 16)))


@dataclass
class _TrainedModel:
    """A trainer and the prefix of the history that it has seen."""

    trainer: Trainer
    start: int
    size: int
    digest: bytes


def _digest(history: History, size: int) -> bytes:
    return hashlib.sha256(history.x[:size].tobytes() + history.y[:size].tobytes()).digest()


class HistoryPolicy:
    """Trains the diffusion model on H, samples with I = 1, ranks the samples, returns the best.

    `recipe="brief"` is the brief's method as written: triples drawn plainly, one sample of the whole reverse
    loop for every suggestion. `recipe="elite"` draws the queries toward the best trials, jitters them, and
    lets the LogEI of a GP fitted to the run choose among many samples of a short reverse loop and as many
    uniform points; every second single suggestion in a continuous space climbs LogEI from the best of both.

    With fewer than three trials the suggestions come from a scrambled Sobol sequence.

    Args:
        recipe: `"elite"`, `"brief"` or a Recipe.
        seed: all randomness is a function of it and of the history.
        executor: of training and of the reverse loop, see `Trainer` and `Denoiser.sample`.

    Raises:
        InputError: on an unknown recipe or a negative seed.

    Example:
        >>> history = History([[0.1], [0.4], [0.6], [0.9]], [0.0, 0.8, 0.7, 0.1])
        >>> HistoryPolicy(seed=0).suggest(history, 2).shape
        (2, 1)
    """

    def __init__(self, recipe: str | Recipe = "elite", *, seed: int = 0, executor: str = "auto") -> None:
        self.recipe = recipe_named(recipe)
        self.seed = check_seed(seed)
        self.executor = executor
        self._trained: _TrainedModel | None = None

    @one_thread()
    def suggest(self, history: History, count: int = 1, *, snap: Snap | None = None) -> Array:
        """The next configurations, as `Policy.suggest`.

        The result has fewer than `count` rows only if `snap` maps all candidates, also further ones, to too
        few new points; the caller decides what then.

        Raises:
            InputError: if `count` is no whole number or below 1, or `snap` returns anything but points of
                the unit cube, at most one for each.
        """
        check_history(history)
        check_count(count)
        snap = checked_snap(snap)
        if len(history) < FIRST_LEARNABLE:
            design = initial_design(history.dim, count, start=len(history.seen), seed=self.seed)
            return design if snap is None else snap(design)
        wanted = count if self.recipe.candidates is None else max(self.recipe.candidates, 8 * count)
        samples = np.empty((0, history.dim))
        for attempt in range(SAMPLING_ROUNDS):
            drawn = self.sample(history, wanted, first=attempt * wanted)
            drawn = drawn if snap is None else snap(drawn)
            samples = new_rows(np.concatenate([samples, drawn]), history.seen)
            if len(samples) >= count:
                break
        if self.recipe.candidates is None or len(samples) <= count:
            return samples[:count]
        ranker = Ranker(history, warp=self.recipe.warp)
        uniform = self._uniform(history)
        every = self.recipe.climb_every
        if count == 1 and snap is None and every and len(history) % every == 0:
            return ranker.climb(samples, uniform)[None]
        uniform = uniform if snap is None else snap(uniform)
        candidates = new_rows(np.concatenate([samples, uniform]), history.seen)
        return candidates[ranker.choose(candidates, count)]

    @one_thread()
    def choose(self, history: History, pool: Array) -> int:
        """The next of the pending configurations, as `Policy.choose`.

        Each candidate of `suggest` stands for its nearest pending configurations, and those are ranked. The
        brief's recipe takes the one nearest to its one sample.

        Raises:
            InputError: if the pool is empty or not inside the unit cube.
        """
        check_history(history)
        pool = check_pool(pool, history.dim)
        if len(pool) == 1:
            return 0
        if len(history) < FIRST_LEARNABLE:
            target = initial_design(history.dim, 1, start=len(history.seen), seed=self.seed)
            return int(_nearest(target, pool, 1)[0, 0])
        samples = self.sample(history, self.recipe.candidates or 1)
        if self.recipe.candidates is None:
            return int(_nearest(samples, pool, 1)[0, 0])
        candidates = np.concatenate([samples, self._uniform(history)])
        shortlist = np.unique(_nearest(candidates, pool, self.recipe.pool_neighbours))
        ranker = Ranker(history, warp=self.recipe.warp)
        return int(shortlist[ranker.choose(pool[shortlist], 1)[0]])

    def sample(self, history: History, count: int, *, first: int = 0) -> Array:
        """Samples `first` to `first + count` of the model trained on `history`, (count, d), unranked."""
        trainer = self._train(history)
        kept = history.bounded(self.recipe.context_size)
        denoiser = Denoiser(trainer.network, trainer.schedule, trainer.transformer)
        samples = denoiser.sample(
            (torch.tensor(kept.x), torch.tensor(kept.y)),
            count,
            improve=True,
            steps=self.recipe.reverse_steps,
            guidance=self.recipe.guidance,
            precision=self.recipe.precision,
            seed=derived_seed(self.seed, len(history)),
            executor=self.executor,
            first_candidate=first,
        )
        return samples.double().numpy()

    def _uniform(self, history: History) -> Array:
        """Points of the whole cube beside the samples, which lie near what the history already favours."""
        rng = np.random.default_rng([self.seed, len(history)])
        return rng.random((self.recipe.uniform_candidates, history.dim))

    def _train(self, history: History) -> Trainer:
        stages = training_stages(len(history))
        trained = self._trained
        if (
            trained is None
            or trained.start != stages[0]
            or trained.size > stages[-1]
            or trained.digest != _digest(history, trained.size)
        ):
            trained = _TrainedModel(self._fresh_trainer(history.dim), stages[0], 0, _digest(history, 0))
        self._trained = None  # an interrupted call leaves nothing half trained behind
        for size in stages:
            if size <= trained.size:
                continue
            part = History(history.x[:size], history.y[:size]).bounded(self.recipe.context_size)
            steps = self.recipe.first_steps if size == stages[0] else self.recipe.warm_steps
            trained.trainer.fit(self.recipe.sampler(part), steps)
            trained.size = size
        trained.digest = _digest(history, trained.size)
        self._trained = trained
        return trained.trainer

    def _fresh_trainer(self, dim: int) -> Trainer:
        recipe = self.recipe
        with drawn_from(derived_seed(self.seed) % 2**63):
            network = Network(
                dim, width=recipe.width, blocks=recipe.blocks, context_width=recipe.context_width
            )
            transformer = Transformer(dim, width=recipe.context_width)
        return Trainer(
            network,
            transformer,
            learning_rate=recipe.learning_rate,
            batch=recipe.batch,
            seed=derived_seed(self.seed, 1) % 2**31,
            executor=self.executor,
        )


def _nearest(points: Array, pool: Array, count: int) -> NDArray[np.int64]:
    """(k, d) points -> (k, count) indices of their nearest pool members, nearest first."""
    count = min(count, len(pool))
    return cKDTree(pool).query(points, k=[*range(1, count + 1)])[1]
