# SPDX-License-Identifier: Apache-2.0
"""The policy that brings its knowledge with it: a universal model pretrained on other functions."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch

from diffhpo.arguments.finite_number import finite_number
from diffhpo.arguments.whole_number import whole_number
from diffhpo.errors import InputError
from diffhpo.history import Array, History, check_pool
from diffhpo.local_moves import LocalMoves
from diffhpo.log_axes import LogAxes
from diffhpo.model.universal.dimensions import CATEGORICAL, CONTINUOUS, MAX_DIM, STEPPED
from diffhpo.model.universal.in_context import Generators, InContextModel
from diffhpo.model.universal.model import UniversalModel
from diffhpo.panel import GaussianProcessExpert, Panel, PredictorExpert, panel_by_evidence
from diffhpo.parameter_roles import roles_of
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
RANK_WITH = ("auto", "predictor", "gp", "both", "evidence")


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
    """"predictor"; "gp", fitted to the run; "evidence", the mixture of both, weighted by what each says of
    the run's own trials when they are held out, see `diffhpo.evidence`; or "both", the mean of their ranks,
    without refinement. "auto" is "both" where a parameter is categorical and "evidence" elsewhere: so
    validation tasks had it."""
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
    log_axes: bool = True
    """Whether a column whose first trials spread over decades is searched on a logarithmic axis, see
    `LogAxes`. A search space says itself on which axis a parameter stands: where kinds are given nothing is
    read off."""

    def __post_init__(self) -> None:
        for field in fields(self):
            if field.type == "int":
                least = _LEAST.get(field.name, 0)
                whole_number(getattr(self, field.name), field.name, least=least, most=_MOST)
        object.__setattr__(self, "guidance", finite_number(self.guidance, "guidance"))
        for name in ("noisy", "log_axes"):
            if not isinstance(getattr(self, name), bool):
                raise InputError(f"{name} is {getattr(self, name)!r}; True or False is needed")
        if not isinstance(self.rank_with, str) or self.rank_with not in RANK_WITH:
            raise InputError(f"rank_with is {self.rank_with!r}; accepted: {', '.join(RANK_WITH)}")
        if self.generated + self.spread + self.elites < 1:
            raise InputError("generated, spread and elites are all 0; nothing would be ranked")


class PretrainedPolicy:
    """Suggests from pretrained weights, in milliseconds, for any space of up to 32 dimensions.

    Candidates come from the diffusion model (samples of the posterior of the optimum), from around the best
    trials and from everywhere; the expected improvement by the Predictor and a Gaussian process, weighted by
    what they say of held-out trials, ranks them, and the best are refined. A batch is chosen one by one, each
    choice conditioning the next, up to 64; what is asked for beyond that are further samples of the posterior
    of the optimum.

    Args:
        model: the universal model; the package's own by default.
        seed: all randomness is a function of it and of the history.
        kinds: of each dimension, see `Dimensions`; continuous where it is left out.
        names: of each dimension, as the user calls it: "learning_rate", "max_depth". What training has seen
            of parameters of that name is used then; see `diffhpo.parameter_roles`.
        steps: of each dimension the distance between neighbouring values, 0 where it is real: candidates near
            the best trials then move by a level at least.
        recipe: settings, or those that differ from the default.
        executor: "auto", "reference", "cpu", or one build of the CPU kernels: of the reverse loop, and of
            what reads the trials and predicts. "cuda" is of the reverse loop alone, and all else runs as with
            "auto": a run's tensors are too small for a GPU to gain by them.

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
        mixed = self.kinds is not None and bool((self.kinds == CATEGORICAL).any())
        auto = "both" if mixed else "evidence"
        self._rank_with = auto if self.recipe.rank_with == "auto" else self.recipe.rank_with
        self._generators = Generators(self.model)

    @one_thread()
    def suggest(self, history: History, count: int = 1, *, snap: Snap | None = None) -> Array:
        """The next configurations, as `Policy.suggest`.

        Raises:
            InputError: if `count` is no whole number or below 1, the history has more than 32 dimensions, or
                `snap` returns anything but points of the unit cube, at most one for each.
        """
        check_history(history)
        check_count(count)
        snap = checked_snap(snap)
        if len(history) == 0:
            design = initial_design(history.dim, count, start=len(history.seen), seed=self.seed)
            return design if snap is None else snap(design)
        axes = self._axes(history)
        if axes is None:
            return self._suggested(history, count, snap)

        inward = None if snap is None else lambda points: axes.inward(snap(axes.outward(points)))
        return axes.outward(self._suggested(axes.of(history), count, inward))

    def _axes(self, history: History) -> LogAxes | None:
        """On which to search, where they are not the history's own."""
        if self.kinds is not None or not self.recipe.log_axes:
            return None
        axes = LogAxes(history)
        return axes if axes.any else None

    def _suggested(self, history: History, count: int, snap: Snap | None) -> Array:
        tried = self._tried(history)
        run = self._in_context(tried)
        joint = min(count, self.recipe.joint)
        chosen = self._ranked(history, tried, run, joint, snap)
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

    def _ranked(
        self, history: History, tried: History, run: InContextModel, count: int, snap: Snap | None
    ) -> Array:
        """The best of the candidates, chosen jointly; fewer where snapping leaves fewer."""
        candidates = self.candidates(history, run, count)
        candidates = new_rows(candidates if snap is None else snap(candidates), history.seen)
        if len(candidates) == 0:  # a finite space of which all was seen
            return candidates
        panel = self._panel(history, tried, run, count)
        scores = panel.scores(candidates)
        rng = np.random.default_rng([self.seed, len(history), len(history.pending), 1])
        for round_ in range(self.recipe.refinements if panel.has_peaks else 0):
            best = candidates[np.argsort(-scores, kind="stable")[:8]]
            around = self._around(best, 0.1 * 0.35**round_, history.dim, rng)
            around = around if snap is None else snap(around)
            around = new_rows(around, np.concatenate([history.seen, candidates]))
            if len(around):
                candidates = np.concatenate([candidates, around])
                scores = np.concatenate([scores, panel.scores(around)])
        if len(candidates) <= count:
            return candidates
        if count == 1 and len(history.pending) == 0:
            return candidates[np.argmax(scores)][None]
        return candidates[panel.choose_batch(self._waiting(history, run), candidates, count)]

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
        axes = self._axes(history)
        if axes is not None:
            history, pool = axes.of(history), axes.inward(pool)
        tried = self._tried(history)
        panel = self._panel(history, tried, self._in_context(tried), 1)
        parts = np.array_split(pool, -(-len(pool) // self.recipe.pool_chunk))
        return int(np.concatenate([panel.scores(part) for part in parts]).argmax())

    def read(self, history: History) -> InContextModel:
        """The model with the trials of the history in context; a failed trial has the worst value seen, 0 if
        there is none."""
        return self._in_context(self._tried(history))

    def _tried(self, history: History) -> History:
        """The trials that are read, failed ones at the worst value."""
        if not 1 <= history.dim <= MAX_DIM:
            raise InputError(
                f"the history has {history.dim} dimensions; the pretrained model takes 1 to {MAX_DIM}: use "
                "HistoryPolicy for larger spaces"
            )
        for name, given in (("names", self.names), ("kinds", self.kinds), ("steps", self.steps)):
            if given is not None and len(given) != history.dim:
                raise InputError(f"{name} has {len(given)} entries for {history.dim} dimensions")
        worst = np.full(len(history.failed), history.y.min() if len(history) else 0.0)
        return History(
            np.concatenate([history.x, history.failed]), np.concatenate([history.y, worst])
        ).bounded(self.recipe.context_size)

    @torch_defaults()
    def _in_context(self, tried: History) -> InContextModel:
        return InContextModel(
            self.model,
            torch.tensor(tried.x),
            torch.tensor(tried.y),
            kinds=self.kinds,
            roles=self.roles,
            generators=self._generators,
            executor="auto" if self.executor == "cuda" else self.executor,
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

    def _panel(self, history: History, tried: History, run: InContextModel, count: int) -> Panel:
        """What ranks."""
        predictor = PredictorExpert(run, noisy=self.recipe.noisy)
        if self._rank_with == "predictor":
            return Panel([predictor])
        if self._rank_with != "evidence":
            process = GaussianProcessExpert(Ranker(history, warp=True))
            return Panel([process] if self._rank_with == "gp" else [predictor, process])
        rng = np.random.default_rng([self.seed, len(history), len(history.pending), 3])
        turn = len(history) + len(history.pending) if count == 1 else None
        return panel_by_evidence(run, tried, rng, noisy=self.recipe.noisy, turn=turn)

    def _waiting(self, history: History, run: InContextModel) -> Array:
        """The pending configurations that a choice is conditioned on, the most promising ones."""
        waiting = history.pending
        if len(waiting) <= self.recipe.pending_size:
            return waiting
        with torch.no_grad():
            score = run.log_improvement(torch.from_numpy(waiting.copy()), noisy=self.recipe.noisy)
        return waiting[np.argsort(-score.numpy(), kind="stable")[: self.recipe.pending_size]]


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
