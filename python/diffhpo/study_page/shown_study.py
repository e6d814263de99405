# SPDX-License-Identifier: Apache-2.0
"""A study's run and what several sections of its page need of it, computed once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from diffhpo.errors import InputError
from diffhpo.model.universal.dimensions import MAX_DIM
from diffhpo.optimizer import Optimizer
from diffhpo.pictures import PicturedRun
from diffhpo.pictures.prediction import predicted_line
from diffhpo.trial import Trial

#: Configurations that the page suggests.
SUGGESTIONS = 5


@dataclass(frozen=True)
class ShownStudy:
    """The study's run, what the model reads of it, and what it would try next."""

    run: PicturedRun
    seed: int = 0

    @cached_property
    def modelled(self) -> PicturedRun:
        """What the model reads.

        Raises:
            InputError: saying why it cannot.
        """
        modelled = self.run.modelled()
        if modelled.space.dim > MAX_DIM:
            raise InputError(
                f"the space has {modelled.space.dim} columns; the pretrained model takes {MAX_DIM}"
            )
        return modelled

    @cached_property
    def importance(self) -> dict[str, float]:
        """Parameter -> how far the Predictor's median moves along it, through the best trial; largest first.

        Empty where the model cannot read the study.
        """
        try:
            names = searched(self.modelled)
            lines = {name: predicted_line(self.modelled, name, points=21).median for name in names}
        except InputError:
            return {}
        reach = {name: float(np.nanmax(line) - np.nanmin(line)) for name, line in lines.items()}
        return dict(sorted(reach.items(), key=lambda item: -item[1]))

    @property
    def parameters(self) -> list[str]:
        """All that are searched, the most important first."""
        known = list(self.importance)
        return known + [name for name in searched(self.run) if name not in known]

    @cached_property
    def suggestions(self) -> list[dict[str, Any]]:
        """What the optimizer would try next; none where the model cannot read the study."""
        try:
            run = self.modelled
        except InputError:
            return []
        optimizer = Optimizer(run.space, seed=self.seed, direction=run.direction)
        for configuration, value, state in zip(run.configurations, run.values, run.states, strict=True):
            if state == "told":
                optimizer.tell([Trial(configuration, float(value))])
            elif configuration:  # a pruned trial has no value that compares, and is not to be repeated
                optimizer.tell([Trial(configuration, failed=state == "failed")])
        return [suggestion.parameters for suggestion in optimizer.ask(SUGGESTIONS)]


def searched(run: PicturedRun) -> list[str]:
    """The parameters with more than one value."""
    return [name for name, parameter in run.space.parameters.items() if parameter.width]
