# SPDX-License-Identifier: Apache-2.0
"""The runs of the scaling study: model size, steps and prior size, one varied at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from bench.limited_tasks import LimitedTasks

from diffhpo.pretraining.preset import Preset
from diffhpo.pretraining.run import PretrainingRun
from diffhpo.pretraining.source import SyntheticTasks, TaskSource

#: The preset `small` with half of its contexts in a step, fewer steps, and none of the model's own runs.
PRESET = Preset(steps=4000, batch=16, warmup=100)

#: Steps at which weights are kept. A run is trained up to each in turn, so that all of them come at the end
#: of a decay of the learning rate over the last fifth of their steps; going on raises the rate again.
MILESTONES = (250, 500, 1000, 2000, 4000)


@dataclass(frozen=True)
class Cell:
    """One training run of the grid.

    Args:
        width: of the model, see `UniversalModel`.
        functions: distinct functions that there are for training; None draws new ones without end.
        seed: of weights, functions and contexts.
        last: milestone at which it ends.
    """

    width: int
    functions: int | None = None
    seed: int = 0
    last: int = MILESTONES[-1]

    @property
    def name(self) -> str:
        """Of its directory and in the results."""
        limit = "" if self.functions is None else f"-functions-{self.functions}"
        return f"width-{self.width}{limit}-seed-{self.seed}"

    def distinct(self, step: int) -> int:
        """Distinct functions that the first `step` steps see.

        Example:
            >>> Cell(32).distinct(4000), Cell(32, functions=512).distinct(4000)
            (16000, 512)
        """
        steps_of_chunk = PRESET.chunk // PRESET.batch * PRESET.passes
        seen = -(-step // steps_of_chunk) * PRESET.chunk
        return seen if self.functions is None else min(seen, self.functions)

    def preset(self, steps: int) -> Preset:
        """Sizes of the run up to a milestone."""
        return replace(PRESET, steps=steps, model={"width": self.width})

    def source(self) -> Callable[[], TaskSource]:
        """Makes the functions, in the process that draws them."""
        prior = SyntheticTasks(self.seed)
        return prior if self.functions is None else LimitedTasks(prior, self.functions)


#: In the order in which they are trained to each milestone.
CELLS = (
    Cell(32),
    Cell(64),
    Cell(16),
    Cell(32, functions=128),
    Cell(32, functions=512, last=2000),
    Cell(32, functions=2048, last=2000),
    Cell(32, seed=1),
    Cell(64, seed=1, last=2000),
)


def weights_of(folder: Path, cell: Cell, step: int) -> Path:
    """Where the averaged weights of a milestone are."""
    return folder / cell.name / f"universal-{step}.safetensors"


def train(folder: Path, cell: Cell, step: int) -> None:
    """Bring one run to a milestone, from the one before; does nothing where its weights are there.

    Args:
        folder: of all runs.
        cell: which one.
        step: one of `MILESTONES`; earlier ones come first.

    Raises:
        RunError: if the run's directory belongs to another preset, or cannot be written.
    """
    weights = weights_of(folder, cell, step)
    if weights.exists():
        return
    facts = {"functions": cell.functions, "bank": None}
    run = PretrainingRun(folder / cell.name, cell.source(), cell.preset(step), seed=cell.seed, facts=facts)
    run.fit(progress=False)
    run.export(weights)
