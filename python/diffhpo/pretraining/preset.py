# SPDX-License-Identifier: Apache-2.0
"""Sizes of a pretraining run, by name."""

from __future__ import annotations

from dataclasses import dataclass, field

from diffhpo.errors import InputError


@dataclass(frozen=True)
class Preset:
    """One size of model and of training."""

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
    # One H200, at most 25 minutes; an estimate from the small preset's operations, not measured.
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
    if name not in PRESETS:
        raise InputError(f"preset is {name!r}; accepted: {', '.join(PRESETS)}")
    return PRESETS[name]
