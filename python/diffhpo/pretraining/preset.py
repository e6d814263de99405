# SPDX-License-Identifier: Apache-2.0
"""Sizes of a pretraining run, by name."""

from __future__ import annotations

from dataclasses import dataclass, field

from diffhpo.arguments.finite_number import finite_number
from diffhpo.arguments.whole_number import whole_number
from diffhpo.errors import InputError

#: Fields that are 1 at least.
_COUNTS = (
    "steps",
    "batch",
    "chunk",
    "passes",
    "points",
    "largest",
    "queries",
    "targets",
    "warmup",
    "save_every",
    "rollout_chunks",
)
#: Fields from 0 to 1.
_SHARES = ("decay", "ema", "real_share", "rival_share")


@dataclass(frozen=True)
class Preset:
    """One size of model and of training.

    Raises:
        InputError: on a field of another type or range; the message names it.
    """

    steps: int
    model: dict[str, int] = field(default_factory=dict)
    """Arguments of `UniversalModel`."""
    batch: int = 32
    """Contexts in one step."""
    chunk: int = 128
    """Functions that are drawn at once and sorted by dimension, so that a batch pads little."""
    passes: int = 4
    """Contexts that are drawn from one function, in separate passes."""
    points: int = 512
    """Evaluations of each function; rollouts need 256."""
    largest: int = 100
    """Trials in a context at most."""
    queries: int = 64
    targets: int = 16
    learning_rate: float = 1e-3
    warmup: int = 500
    """Steps over which the learning rate rises."""
    decay: float = 0.2
    """Last share of the steps, over which the learning rate falls to a hundredth."""
    weight_decay: float = 0.01
    ema: float = 0.999
    """Of the averaged weights, which are those that are exported."""
    real_share: float = 0.5
    """Share of the functions that come from real tasks, where there are some."""
    save_every: int = 500
    rollout_after: tuple[int, ...] = ()
    """Steps at which the model makes runs of its own; from then on one chunk in three is of those."""
    rollout_chunks: int = 100
    """Chunks of functions on which it does, each time."""
    rival_share: float = 0.25
    """Share of these functions that a Gaussian process optimises instead."""

    def __post_init__(self) -> None:
        for name in _COUNTS:
            object.__setattr__(self, name, whole_number(getattr(self, name), name, least=1))
        for name in _SHARES:
            object.__setattr__(self, name, finite_number(getattr(self, name), name, least=0, most=1))
        object.__setattr__(self, "learning_rate", finite_number(self.learning_rate, "learning_rate", above=0))
        object.__setattr__(self, "weight_decay", finite_number(self.weight_decay, "weight_decay", least=0))
        after = tuple(whole_number(step, "rollout_after", least=1) for step in self.rollout_after)
        if list(after) != sorted(set(after)):
            raise InputError(f"rollout_after is {self.rollout_after}; rising steps are needed")
        object.__setattr__(self, "rollout_after", after)
        if self.chunk < self.batch:
            raise InputError(f"chunk is {self.chunk}, less than batch, {self.batch}: no batch fits")


PRESETS = {
    # For tests: seconds.
    "tiny": Preset(
        steps=20,
        model={"width": 16, "layers": 1, "predictor_layers": 1, "blocks": 1, "heads": 2},
        batch=4,
        chunk=8,
        passes=2,
        points=256,
        largest=12,
        queries=16,
        targets=4,
        warmup=5,
        save_every=5,
        rollout_after=(10,),
        rollout_chunks=2,
    ),
    # Two CPU cores, at most two hours: one trains, the other draws functions.
    "small": Preset(steps=45_000, rollout_after=(15_000, 30_000)),
    # One H200, at most 25 minutes; an estimate from the small preset's operations, not measured. Functions
    # and contexts of a step take 0.46 s of a core (AMD EPYC, measured): with 15 workers 20 minutes for all.
    "base": Preset(
        steps=40_000,
        model={"width": 128, "layers": 4, "predictor_layers": 3, "blocks": 3, "heads": 8},
        batch=256,
        chunk=1024,
        learning_rate=7e-4,
    ),
    "large": Preset(
        steps=150_000,
        model={"width": 256, "layers": 6, "predictor_layers": 4, "blocks": 4, "heads": 8},
        batch=256,
        chunk=1024,
        learning_rate=4e-4,
    ),
}


def preset_named(name: str) -> Preset:
    """The preset of a name.

    Raises:
        InputError: if there is none.

    Example:
        >>> preset_named("small").batch
        32
    """
    if not isinstance(name, str) or name not in PRESETS:
        raise InputError(f"preset is {name!r}; accepted: {', '.join(PRESETS)}")
    return PRESETS[name]
