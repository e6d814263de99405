# SPDX-License-Identifier: Apache-2.0
"""The policy that brings its knowledge with it: a universal model pretrained on other functions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch


from diffhpo.errors import InputError
from diffhpo.history import Array, History, check_pool
from diffhpo.model.universal.dimensions import MAX_DIM
from diffhpo.model.universal.in_context import InContextModel
from diffhpo.model.universal.model import UniversalModel
from diffhpo.one_thread import one_thread
from diffhpo.policy import Snap, check_seed, derived_seed, initial_design, new_rows
from diffhpo.pretrained import pretrained_model
from diffhpo.ranker import Ranker


@dataclass(frozen=True)
class PretrainedRecipe:
    """How a pretrained model's predictions and samples become suggestions."""

    generated: int = 128
    """Configurations drawn by the diffusion model from the posterior of the optimum."""
    spread: int = 256
    """Points of a scrambled Sobol sequence."""
    elites: int = 128
    """Jittered copies of the best trials."""
    climbs: int = 8
    """Candidates from which the acquisition function is climbed by its gradient; 0 takes candidates as they
    are."""
    climb_steps: int = 10
    reverse_steps: int = 20
    guidance: float = 0.0
    rank_with: str = "predictor"
    """"predictor", "gp" (fitted to the run), or "both" (mean of ranks)."""
    context_size: int = 200
    """Trials that are read; of more, `History.bounded` keeps the best, the latest and a spread."""
    pool_chunk: int = 4096
    """Pending configurations of the discrete protocol that are scored at once."""


class PretrainedPolicy:
    """Suggests from pretrained weights: no fitting, milliseconds, any space of up to 32 dimensions.

    Candidates come from the diffusion model (samples of the posterior of the optimum), from around the best
    trials and from everywhere; the Predictor's expected improvement ranks them, and the best are climbed by
    its gradient. A batch is chosen one by one, each choice conditioning the next.

    Args:
        model: the universal model; the package's own by default.
        seed: all randomness is a function of it and of the history.
        kinds: of each dimension, see `Dimensions`; continuous where it is left out.
        roles: of each dimension, see `diffhpo.parameter_roles`.
        recipe: settings.
        executor: of the reverse loop.

    Raises:
        InputError: on a negative seed.
        CheckpointError: if the package lacks its weights.

    Example:
        >>> history = History([[0.1], [0.4], [0.6], [0.9]], [0.0, 0.8, 0.7, 0.1])
        >>> PretrainedPolicy(seed=0).suggest(history, 2).shape
        (2, 1)
    """

    def __init__(
        self,
        model: UniversalModel | None = None,
        *,
        seed: int = 0,
        kinds: Sequence[int] | None = None,
        roles: Sequence[int] | None = None,
        recipe: PretrainedRecipe | None = None,
        executor: str = "auto",
    ) -> None:
        self.model = pretrained_model() if model is None else model
        self.seed = check_seed(seed)
        self.kinds = None if kinds is None else torch.tensor(list(kinds))
        self.roles = None if roles is None else torch.tensor(list(roles))
        self.recipe = PretrainedRecipe() if recipe is None else recipe
        self.executor = executor

    @one_thread()
    def suggest(self, history: History, count: int = 1, *, snap: Snap | None = None) -> Array:
        """The next configurations, as `Policy.suggest`.

        Raises:
            InputError: if `count` is below 1 or the history has more than 32 dimensions.
        """
        if count < 1:
            raise InputError(f"count is {count}; at least 1 is needed")
        if len(history) == 0:
            design = initial_design(history.dim, count, start=len(history.seen), seed=self.seed)
            return design if snap is None else snap(design)
        run = self.read(history)
        candidates = self.candidates(history, run, count)
        pending = torch.tensor(history.pending).float()
        if self.recipe.climbs and count == 1 and not len(pending):
            climbed = self._climb(run, candidates)
            candidates = np.concatenate([climbed, candidates])
        candidates = candidates if snap is None else snap(candidates)
        candidates = new_rows(candidates, history.seen)
        if len(candidates) <= count:
            return candidates
        return candidates[self._choose_batch(history, run, candidates, count)]

    @one_thread()
    def choose(self, history: History, pool: Array) -> int:
        """The next of the pending configurations, as `Policy.choose`: all of them are scored.

        Raises:
            InputError: if the pool is empty or not inside the unit cube.
        """
        pool = check_pool(pool, history.dim)
        if len(pool) == 1 or len(history) == 0:
            target = initial_design(pool.shape[1], 1, start=0, seed=self.seed)
            return int(((pool - target) ** 2).sum(1).argmin())
        return int(self._scores(history, self.read(history), pool).argmax())

    def read(self, history: History) -> InContextModel:
        """The model with the trials of the history in context; a failed trial has the worst value seen."""
        if not 1 <= history.dim <= MAX_DIM:
            raise InputError(
                f"the history has {history.dim} dimensions; the pretrained model takes 1 to {MAX_DIM}: use "
                "HistoryPolicy for larger spaces"
            )
        kept = history.bounded(self.recipe.context_size)
        x = np.concatenate([kept.x, kept.failed])
        y = np.concatenate([kept.y, np.full(len(kept.failed), history.y.min())])
        return InContextModel(
            self.model, torch.from_numpy(x), torch.from_numpy(y), kinds=self.kinds, roles=self.roles
        )

    def candidates(self, history: History, run: InContextModel, count: int = 1) -> Array:
        """What is ranked, (k, d): generated, spread over the cube, and around the best trials."""
        recipe = self.recipe
        seed = derived_seed(self.seed, len(history), len(history.pending))
        rng = np.random.default_rng([self.seed, len(history), len(history.pending)])
        groups = []
        if recipe.generated:
            generated = run.generate(
                max(recipe.generated, 4 * count),
                seed=seed,
                steps=recipe.reverse_steps,
                guidance=recipe.guidance,
                executor=self.executor,
            )
            groups.append(generated.double().numpy())
        if recipe.spread:
            start = recipe.spread * len(history)
            groups.append(initial_design(history.dim, recipe.spread, start=start, seed=self.seed))
        if recipe.elites:
            groups.append(_around_best(history, recipe.elites, rng))
        return np.concatenate(groups)

    def _scores(self, history: History, run: InContextModel, points: Array) -> Array:
        recipe = self.recipe
        scores = []
        if recipe.rank_with in ("predictor", "both"):
            with torch.no_grad():
                parts = torch.from_numpy(points).split(recipe.pool_chunk)
                scores.append(torch.cat([run.log_improvement(part) for part in parts]).double().numpy())
        if recipe.rank_with in ("gp", "both"):
            scores.append(Ranker(history, warp=True).scores(points))
        if len(scores) == 1:
            return scores[0]
        return np.mean([score.argsort().argsort() for score in scores], axis=0)

    def _choose_batch(self, history: History, run: InContextModel, points: Array, count: int) -> list[int]:
        """Greedy: the best by expected improvement, given the earlier choices at their predicted means."""
        if self.recipe.rank_with != "predictor":
            scores = self._scores(history, run, points)
            return [int(index) for index in np.argsort(-scores, kind="stable")[:count]]
        pending = torch.from_numpy(history.pending)
        with torch.no_grad():
            belief = run.belief(torch.cat([pending, torch.from_numpy(points)]))
            for index in range(len(pending)):
                belief.believe(index)
            chosen: list[int] = []
            for _ in range(count):
                scores = belief.log_improvement()[len(pending) :]
                scores[chosen] = -torch.inf
                chosen.append(int(scores.argmax()))
                if len(chosen) < count:
                    belief.believe(len(pending) + chosen[-1])
        return chosen

    def _climb(self, run: InContextModel, candidates: Array) -> Array:
        """The best candidates, moved up the gradient of the log expected improvement, (climbs, d)."""
        with torch.no_grad():
            scores = run.log_improvement(torch.from_numpy(candidates))
        starts = torch.from_numpy(candidates)[scores.topk(min(self.recipe.climbs, len(scores))).indices]
        point = starts.float().clone().requires_grad_(True)
        first = torch.zeros_like(point)
        second = torch.zeros_like(point)
        best_score, best_point = torch.full((len(point),), -torch.inf), point.detach().clone()
        for step in range(self.recipe.climb_steps + 1):
            score = run.log_improvement(point)
            better = score.detach() > best_score
            best_score = torch.where(better, score.detach(), best_score)
            best_point = torch.where(better.unsqueeze(1), point.detach(), best_point)
            if step == self.recipe.climb_steps:
                break
            (slope,) = torch.autograd.grad(score.sum(), point)
            first = 0.8 * first + 0.2 * slope
            second = 0.95 * second + 0.05 * slope**2
            rate = 0.03 * (1 - step / (self.recipe.climb_steps + 1))
            correction = (1 - 0.95 ** (step + 1)) ** 0.5 / (1 - 0.8 ** (step + 1))
            with torch.no_grad():
                point += rate * correction * first / (second.sqrt() + 1e-8)
                point.clamp_(0, 1)
        return best_point.double().numpy()


def _around_best(history: History, count: int, rng: np.random.Generator) -> Array:
    """(count, d) copies of the ten best trials: some coordinates moved, by steps of very different sizes."""
    order = np.argsort(-history.y, kind="stable")[:10]
    weight = 0.8 ** np.arange(len(order))
    centres = history.x[order[rng.choice(len(order), size=count, p=weight / weight.sum())]]
    deviation = np.exp(rng.uniform(np.log(0.005), np.log(0.3), size=(count, 1)))
    moved = rng.random(centres.shape) < 0.5
    moved[np.arange(count), rng.integers(history.dim, size=count)] = True
    return np.clip(centres + moved * deviation * rng.normal(size=centres.shape), 0, 1)



