# SPDX-License-Identifier: Apache-2.0
"""The settings of the method when it learns from the run's own history."""

from __future__ import annotations

from dataclasses import dataclass

from diffhpo.arguments.finite_number import finite_number
from diffhpo.arguments.whole_number import whole_number
from diffhpo.errors import InputError
from diffhpo.history import History
from diffhpo.model.denoiser import PRECISIONS
from diffhpo.model.sampler import Sampler

#: The smallest that each count of a recipe may be, and the largest that any may.
_LEAST = {
    "uniform_candidates": 0,
    "climb_every": 0,
    "reverse_steps": 1,
    "first_steps": 0,
    "warm_steps": 0,
    "batch": 1,
    "width": 1,
    "blocks": 1,
    "context_width": 1,
    "context_size": 3,
    "pool_neighbours": 1,
}
_MOST = 1_000_000
#: The range of each number that counts nothing, as `finite_number` takes it.
_RANGES: dict[str, dict[str, float]] = {
    "greed": {"least": 0},
    "jitter": {"least": 0},
    "jitter_share": {"least": 0, "most": 1},
    "flag_dropout": {"least": 0, "most": 1},
    "guidance": {},
    "learning_rate": {"above": 0},
}


@dataclass(frozen=True)
class Recipe:
    """One way to train on a history and to sample from the result.

    Training fields are those of `Sampler` and `Trainer`, sampling fields those of `Denoiser.sample`.

    Raises:
        InputError: on a field of another type or range; the message names it.
    """

    greed: float
    jitter: float
    jitter_share: float
    balanced: bool
    exclude_query: bool
    flag_dropout: float
    candidates: int | None
    """Samples drawn for one suggestion; None draws as many as are asked for and ranks nothing."""
    uniform_candidates: int
    """Uniform points that are ranked beside the samples."""
    warp: bool
    """Rank with a GP on normal scores of the values instead of the values."""
    climb_every: int
    """A single suggestion in a continuous space climbs the acquisition from the best candidates where the
    history's size is a multiple of this; 0 never climbs."""
    reverse_steps: int
    guidance: float
    first_steps: int
    """Training steps on a history that is met for the first time."""
    warm_steps: int
    """Training steps for each stage by which the history has grown."""
    batch: int = 32
    learning_rate: float = 4e-3
    width: int = 64
    blocks: int = 2
    context_width: int = 32
    precision: str = "fp32"
    """Of the reverse loop."""
    context_size: int = 48
    """Trials of the history that are kept as context and as training data."""
    pool_neighbours: int = 4
    """Discrete protocol: pending configurations that each sample stands for."""

    def __post_init__(self) -> None:
        for name, least in _LEAST.items():
            object.__setattr__(self, name, whole_number(getattr(self, name), name, least=least, most=_MOST))
        if self.candidates is not None:
            object.__setattr__(
                self, "candidates", whole_number(self.candidates, "candidates", least=1, most=_MOST)
            )
        for name, range_ in _RANGES.items():
            object.__setattr__(self, name, finite_number(getattr(self, name), name, **range_))
        for name in ("balanced", "exclude_query", "warp"):
            if not isinstance(getattr(self, name), bool):
                raise InputError(f"{name} is {getattr(self, name)!r}; True or False is needed")
        if not isinstance(self.precision, str) or self.precision not in PRECISIONS:
            raise InputError(f"precision is {self.precision!r}; accepted: {', '.join(PRECISIONS)}")

    def sampler(self, history: History) -> Sampler:
        """The Sampler that draws from a history in the way of this recipe.

        Raises:
            InputError: on an empty history.

        Example:
            >>> BRIEF.sampler(History([[0.1], [0.5]], [1.0, 3.0])).draw(4, seed=0).x.shape
            torch.Size([4, 1])
        """
        return Sampler(
            history,
            greed=self.greed,
            jitter=self.jitter,
            jitter_share=self.jitter_share,
            balanced=self.balanced,
            exclude_query=self.exclude_query,
            flag_dropout=self.flag_dropout,
        )


#: The brief's method as it is written: plain triples, one sample, the whole reverse loop.
BRIEF = Recipe(
    greed=0.0,
    jitter=0.0,
    jitter_share=0.0,
    balanced=False,
    exclude_query=False,
    flag_dropout=0.0,
    candidates=None,
    uniform_candidates=0,
    warp=False,
    climb_every=0,
    reverse_steps=1000,
    guidance=0.0,
    first_steps=100,
    warm_steps=8,
)

#: Queries drawn toward the best trials and jittered; many short reverse loops; a GP's LogEI chooses.
#: Settled on validation tasks (bench/choose_recipe.py): candidates alone are ahead early, climbs late.
ELITE = Recipe(
    greed=3.0,
    jitter=0.4,
    jitter_share=0.7,
    balanced=True,
    exclude_query=True,
    flag_dropout=0.15,
    candidates=1024,
    uniform_candidates=1024,
    warp=True,
    climb_every=2,
    reverse_steps=20,
    guidance=0.0,
    first_steps=100,
    warm_steps=8,
)

RECIPES = {"brief": BRIEF, "elite": ELITE}


def recipe_named(recipe: str | Recipe) -> Recipe:
    """The recipe of a name, or the recipe itself.

    Raises:
        InputError: if the name is unknown.

    Example:
        >>> recipe_named("brief").reverse_steps
        1000
    """
    if isinstance(recipe, Recipe):
        return recipe
    if not isinstance(recipe, str) or recipe not in RECIPES:
        raise InputError(f"recipe is {recipe!r}; accepted: {sorted(RECIPES)} or a Recipe")
    return RECIPES[recipe]
