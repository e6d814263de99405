# SPDX-License-Identifier: Apache-2.0
"""The policy that brings its knowledge with it: a universal model pretrained on other functions."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from scipy.stats import rankdata

from diffhpo.arguments.finite_number import finite_number
from diffhpo.arguments.whole_number import whole_number
from diffhpo.errors import InputError
from diffhpo.history import Array, History, check_pool
from diffhpo.local_moves import LocalMoves
from diffhpo.model.universal.belief import Belief
from diffhpo.model.universal.dimensions import CATEGORICAL, CONTINUOUS, MAX_DIM, STEPPED
from diffhpo.model.universal.in_context import Generators, InContextModel
from diffhpo.model.universal.model import UniversalModel
from diffhpo.parameter_roles import roles_of
from diffhpo.policy import (
    Snap,
    check_count,
    check_history,
    check_seed,
    derived_seed,
    initial_design,
    new_rows,
)
from diffhpo.pretrained import pretrained_model
from diffhpo.process.one_thread import one_thread
from diffhpo.process.torch_defaults import torch_defaults
from diffhpo.ranker import Ranker

_KINDS = (CONTINUOUS, STEPPED, CATEGORICAL)

#: What a count is at most; with more the memory would run out.
_MOST = 1_000_000
#: What a setting is at least, where that is not 0.
_LEAST = {
    "context_size": 3,  # of `History.bounded`
    "reverse_steps": 1,
    "refined": 1,
    "pool_chunk": 1,
    "joint": 1,
}

#: What may rank candidates, see `PretrainedRecipe.rank_with`.
RANK_WITH = ("auto", "predictor", "gp", "both", "turns")


@dataclass(frozen=True)
class PretrainedRecipe:
    """How a pretrained model's predictions and samples become suggestions."""

    generated: int = 96
    """Configurations drawn by the diffusion model from the posterior of the optimum."""
    spread: int = 192
    """Uniform points."""
    elites: int = 96
    """Jittered copies of the best trials."""
    refinements: int = 2
    """Rounds in which the best candidates are jittered ever more finely and ranked again."""
    refined: int = 96
    """Candidates of one such round."""
    reverse_steps: int = 20
    guidance: float = 0.0
    noisy: bool = True
    """Whether the expected improvement counts what the Predictor takes for noise."""
    rank_with: str = "auto"
    """"predictor"; "gp", fitted to the run; "both", the mean of their ranks, without refinement; or "turns",
    the predictor at every second trial and both at the others; in a batch predictor and GP choose by turns.
    "auto" is "predictor" where the name of a parameter is known and none is categorical, "both" where one is,
    and "turns" elsewhere: so validation tasks had it. Names tell of ranges that users of HPO-B's kind search;
    in mixed spaces of other ranges they led to the bounds, from which a GP fitted to the run holds back. Told
    nothing, the Predictor alone was best on tuning tasks, and both on BBOB's functions."""
    context_size: int = 100
    """Trials that are read, the most that training had; of more, `History.bounded` keeps the best, the latest
    and a spread."""
    pool_chunk: int = 2048
    """Pending configurations of the discrete protocol that are scored at once."""
    pending_size: int = 64
    """Pending configurations that a choice is conditioned on, the most promising ones."""
    joint: int = 64
    """Configurations of a batch that are chosen jointly; of a larger one the rest are drawn by the diffusion
    model alone."""

    def __post_init__(self) -> None:
        for field in fields(self):
            if field.type == "int":
                least = _LEAST.get(field.name, 0)
                whole_number(getattr(self, field.name), field.name, least=least, most=_MOST)
        object.__setattr__(self, "guidance", finite_number(self.guidance, "guidance"))
        if not isinstance(self.noisy, bool):
            raise InputError(f"noisy is {self.noisy!r}; True or False is needed")
        if not isinstance(self.rank_with, str) or self.rank_with not in RANK_WITH:
            raise InputError(f"rank_with is {self.rank_with!r}; accepted: {', '.join(RANK_WITH)}")
        if self.generated + self.spread + self.elites < 1:
            raise InputError("generated, spread and elites are all 0; nothing would be ranked")


class PretrainedPolicy:
    """Suggests from pretrained weights, in milliseconds, for any space of up to 32 dimensions.

    Candidates come from the diffusion model (samples of the posterior of the optimum), from around the best
    trials and from everywhere; the Predictor's expected improvement ranks them, and the best are refined. A
    batch is chosen one by one, each choice conditioning the next, up to 64; what is asked for beyond that are
    further samples of the posterior of the optimum.

    Args:
        model: the universal model; the package's own by default.
        seed: all randomness is a function of it and of the history.
        kinds: of each dimension, see `Dimensions`; continuous where it is left out.
        names: of each dimension, as the user calls it: "learning_rate", "max_depth". What training has seen
            of parameters of that name is used then; see `diffhpo.parameter_roles`.
        steps: of each dimension the distance between neighbouring values, 0 where it is real: candidates near
            the best trials then move by a level at least.
        recipe: settings, or those that differ from the default.
        executor: of the reverse loop.

    Raises:
        InputError: on a negative seed, a setting that there is not or that is out of range, a kind other than
            0, 1 and 2, a name that is no string, or a step that is negative or not finite.
        CheckpointError: if the package lacks its weights.

    Example:
        >>> history = History([[0.1], [0.4], [0.6], [0.9]], [0.0, 0.8, 0.7, 0.1])
        >>> PretrainedPolicy(seed=0).suggest(history, 2).shape
        (2, 1)
    """

    @torch_defaults()
    def __init__(
        self,
        model: UniversalModel | None = None,
        *,
        seed: int = 0,
        kinds: Sequence[int] | None = None,
        names: Sequence[str] | None = None,
        steps: Sequence[float] | None = None,
        recipe: PretrainedRecipe | Mapping[str, Any] | None = None,
        executor: str = "auto",
    ) -> None:
        if not (model is None or isinstance(model, UniversalModel)):
            raise InputError(f"model is {model!r}; a UniversalModel is needed, see load_universal")
        self.model = pretrained_model() if model is None else model
        self.seed = check_seed(seed)
        for argument, given, accepted, is_one in (
            ("kinds", kinds, "0, 1 or 2", lambda kind: operator.index(kind) in _KINDS),
            ("names", names, "strings", lambda name: isinstance(name, str)),
            ("steps", steps, "finite numbers of at least 0", lambda step: 0 <= step < np.inf),
        ):
            _check_columns(argument, given, accepted, is_one)
        self.kinds = None if kinds is None else torch.tensor(list(kinds))
        self.roles = None if names is None else torch.tensor(roles_of(list(names)))
        self.names = None if names is None else list(names)
        self.steps = None if steps is None else list(steps)
        self.recipe = recipe if isinstance(recipe, PretrainedRecipe) else _recipe(recipe or {})
        self.executor = executor
        told = self.roles is not None and bool((self.roles > 0).any())
        mixed = self.kinds is not None and bool((self.kinds == CATEGORICAL).any())
        auto = "both" if mixed else "predictor" if told else "turns"
        self._rank_with = auto if self.recipe.rank_with == "auto" else self.recipe.rank_with
        self._generators = Generators(self.model)

    @one_thread()
    def suggest(self, history: History, count: int = 1, *, snap: Snap | None = None) -> Array:
        """The next configurations, as `Policy.suggest`.

        Raises:
            InputError: if `count` is no whole number or below 1, or the history has more than 32 dimensions.
        """
        check_history(history)
        check_count(count)
        if len(history) == 0:
            design = initial_design(history.dim, count, start=len(history.seen), seed=self.seed)
            return design if snap is None else snap(design)
        run = self.read(history)
        joint = min(count, self.recipe.joint)
        chosen = self._ranked(history, run, joint, snap)
        if count == joint or len(chosen) < joint:
            return chosen
        return np.concatenate([chosen, self._drawn(history, run, count - joint, chosen, snap)])

    def _drawn(
        self, history: History, run: InContextModel, count: int, chosen: Array, snap: Snap | None
    ) -> Array:
        """Up to `count` further samples of the posterior of the optimum, (k, d)."""
        found = np.empty((0, history.dim))
        seen = np.concatenate([history.seen, chosen])
        for attempt in range(4):
            if len(found) >= count:
                break
            seed = derived_seed(self.seed, len(history), len(history.pending), 2, attempt)
            drawn = self._generate(run, count, seed).double().numpy()
            drawn = drawn if snap is None else snap(drawn)
            found = np.concatenate([found, new_rows(drawn, np.concatenate([seen, found]))])
        return found[:count]

    def _ranked(self, history: History, run: InContextModel, count: int, snap: Snap | None) -> Array:
        """The best of the candidates, chosen jointly; fewer where snapping leaves fewer."""
        candidates = self.candidates(history, run, count)
        candidates = new_rows(candidates if snap is None else snap(candidates), history.seen)
        if len(candidates) == 0:  # a finite space of which all was seen
            return candidates
        rankers = self._rankers(history, count)
        ranker = _gaussian_process(history, rankers)
        scorers = self._scorers(run, ranker, rankers[0])
        scores = _scores(scorers, candidates)
        rng = np.random.default_rng([self.seed, len(history), len(history.pending), 1])
        # Two scorers that agree only roughly have no common peak to refine.
        for round_ in range(self.recipe.refinements if len(scorers) == 1 else 0):
            best = candidates[np.argsort(-_combined(scores), kind="stable")[:8]]
            around = self._around(best, 0.1 * 0.35**round_, history.dim, rng)
            around = around if snap is None else snap(around)
            around = new_rows(around, np.concatenate([history.seen, candidates]))
            if len(around):
                candidates = np.concatenate([candidates, around])
                scores = np.concatenate([scores, _scores(scorers, around)])
        if len(candidates) <= count:
            return candidates
        if count == 1 and len(history.pending) == 0:
            return candidates[np.argmax(_combined(scores))][None]
        return candidates[self._choose_batch(history.pending, run, ranker, candidates, rankers)]

    @one_thread()
    def choose(self, history: History, pool: Array) -> int:
        """The next of the pending configurations, as `Policy.choose`: all of them are scored.

        Raises:
            InputError: if the pool is empty or not inside the unit cube.
        """
        check_history(history)
        pool = check_pool(pool, history.dim)
        if len(pool) == 1 or len(history) == 0:
            target = initial_design(pool.shape[1], 1, start=0, seed=self.seed)
            return int(((pool - target) ** 2).sum(1).argmin())
        rankers = self._rankers(history, 1)
        scorers = self._scorers(self.read(history), _gaussian_process(history, rankers), rankers[0])
        parts = np.array_split(pool, -(-len(pool) // self.recipe.pool_chunk))
        return int(_combined(np.concatenate([_scores(scorers, part) for part in parts])).argmax())

    @torch_defaults()
    def read(self, history: History) -> InContextModel:
        """The model with the trials of the history in context; a failed trial has the worst value seen, 0 if
        there is none."""
        if not 1 <= history.dim <= MAX_DIM:
            raise InputError(
                f"the history has {history.dim} dimensions; the pretrained model takes 1 to {MAX_DIM}: use "
                "HistoryPolicy for larger spaces"
            )
        for name, given in (("names", self.names), ("kinds", self.kinds), ("steps", self.steps)):
            if given is not None and len(given) != history.dim:
                raise InputError(f"{name} has {len(given)} entries for {history.dim} dimensions")
        worst = np.full(len(history.failed), history.y.min() if len(history) else 0.0)
        tried = History(
            np.concatenate([history.x, history.failed]), np.concatenate([history.y, worst])
        ).bounded(self.recipe.context_size)
        return InContextModel(
            self.model,
            torch.tensor(tried.x),
            torch.tensor(tried.y),
            kinds=self.kinds,
            roles=self.roles,
            generators=self._generators,
        )

    def candidates(self, history: History, run: InContextModel, count: int = 1) -> Array:
        """What is ranked, (k, d): generated, spread over the cube, and around the best trials."""
        recipe = self.recipe
        seed = derived_seed(self.seed, len(history), len(history.pending))
        rng = np.random.default_rng([self.seed, len(history), len(history.pending)])
        groups = []
        if recipe.generated:
            generated = self._generate(run, max(recipe.generated, 4 * count), seed)
            groups.append(generated.double().numpy())
        if recipe.spread:
            groups.append(rng.random((recipe.spread, history.dim)))
        if recipe.elites:
            groups.append(self._around_best(history, rng))
        return np.concatenate(groups)

    def _generate(self, run: InContextModel, count: int, seed: int) -> torch.Tensor:
        return run.generate(
            count,
            seed=seed,
            steps=self.recipe.reverse_steps,
            guidance=self.recipe.guidance,
            executor=self.executor,
        )

    def _around(self, points: Array, scale: float, dim: int, rng: np.random.Generator) -> Array:
        """(refined, d) copies of points in turn, moved by about `scale`."""
        count = self.recipe.refined
        centres = points[np.arange(count) % len(points)]
        return self._moves(dim)(centres, scale * np.exp(rng.normal(size=(count, 1))), rng)

    def _around_best(self, history: History, rng: np.random.Generator) -> Array:
        """(elites, d) copies of the ten best trials, moved by steps of very different sizes."""
        count = self.recipe.elites
        order = np.argsort(-history.y, kind="stable")[:10]
        weight = 0.8 ** np.arange(len(order))
        centres = history.x[order[rng.choice(len(order), size=count, p=weight / weight.sum())]]
        deviation = np.exp(rng.uniform(np.log(0.005), np.log(0.3), size=(count, 1)))
        return self._moves(history.dim)(centres, deviation, rng)

    def _moves(self, dim: int) -> LocalMoves:
        kinds = None if self.kinds is None else self.kinds.tolist()
        return LocalMoves(dim, kinds=kinds, steps=self.steps, parameters=self.names)

    def _rankers(self, history: History, count: int) -> list[tuple[str, ...]]:
        """What ranks for each of the next configurations: "predictor", "gp" or both."""
        each = {"predictor": ("predictor",), "gp": ("gp",), "both": ("predictor", "gp")}
        if self._rank_with != "turns":
            return [each[self._rank_with]] * count
        if count > 1:
            return [each["gp" if place % 2 else "predictor"] for place in range(count)]
        return [each["both" if (len(history) + len(history.pending)) % 2 else "predictor"]]

    def _scorers(
        self, run: InContextModel, ranker: Ranker | None, names: tuple[str, ...]
    ) -> list[Callable[[Array], Array]]:
        """What gives (k, d) configurations their (k,) log expected improvements."""

        def predicted(points: Array) -> Array:
            with torch.no_grad():
                score = run.log_improvement(torch.from_numpy(points), noisy=self.recipe.noisy)
            return score.double().numpy()

        scorers: dict[str, Callable[[Array], Array]] = {"predictor": predicted}
        if ranker is not None:
            scorers["gp"] = ranker.scores
        return [scorers[name] for name in names]

    def _choose_batch(
        self,
        waiting: Array,
        run: InContextModel,
        ranker: Ranker | None,
        points: Array,
        rankers: Sequence[tuple[str, ...]],
    ) -> list[int]:
        """Greedy: the best by expected improvement, given what waits and the earlier choices at their
        predicted means."""
        if len(waiting) > self.recipe.pending_size:
            with torch.no_grad():
                score = run.log_improvement(torch.from_numpy(waiting.copy()), noisy=self.recipe.noisy)
            waiting = waiting[np.argsort(-score.numpy(), kind="stable")[: self.recipe.pending_size]]
        pending = len(waiting)
        points = np.concatenate([waiting, points])
        beliefs: dict[str, Belief] = {}
        if any("predictor" in names for names in rankers):
            beliefs["predictor"] = run.belief(torch.from_numpy(points), noisy=self.recipe.noisy)
        if ranker is not None:
            beliefs["gp"] = ranker.belief(points)
        for index in range(pending):
            for belief in beliefs.values():
                belief.believe(index)
        chosen: list[int] = []
        for names in rankers:
            for belief in beliefs.values() if chosen else ():
                belief.believe(pending + chosen[-1])
            scores = [beliefs[name].log_improvement().double().numpy() for name in names]
            combined = _combined(np.stack(scores, axis=1)[pending:])
            combined[chosen] = -np.inf
            chosen.append(int(combined.argmax()))
        return chosen


def _gaussian_process(history: History, rankers: Sequence[tuple[str, ...]]) -> Ranker | None:
    """Fitted to the run, where it ranks at all."""
    return Ranker(history, warp=True) if any("gp" in names for names in rankers) else None


def _recipe(settings: Any) -> PretrainedRecipe:
    if not isinstance(settings, Mapping):
        raise InputError(f"recipe is {settings!r}; a PretrainedRecipe or a dictionary of settings is needed")
    known = [field.name for field in fields(PretrainedRecipe)]
    unknown = sorted(str(name) for name in settings if name not in known)
    if unknown:
        raise InputError(f"recipe has unknown {unknown}; accepted: {', '.join(known)}")
    return PretrainedRecipe(**settings)


def _check_columns(
    argument: str, given: Sequence[Any] | None, accepted: str, is_one: Callable[[Any], bool]
) -> None:
    """Raise an InputError unless what is told of the dimensions is a sequence of what is accepted."""
    if given is None:
        return
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise InputError(f"{argument} is {given!r}; a list of {accepted}, one a dimension, is needed")
    for index, one in enumerate(given):
        try:
            good = bool(is_one(one))
        except (TypeError, ValueError):
            good = False
        if not good:
            raise InputError(f"{argument}[{index}] is {one!r}; accepted: {accepted}")


def _scores(scorers: Sequence[Callable[[Array], Array]], points: Array) -> Array:
    """(k, d) configurations -> (k, scorers)."""
    return np.stack([score(points) for score in scorers], axis=1)


def _combined(scores: Array) -> Array:
    """(k, scorers) -> (k,): the mean of the ranks, or the scores where there is one scorer."""
    if scores.shape[1] == 1:
        return scores[:, 0]
    return rankdata(scores, axis=0).mean(axis=1)
