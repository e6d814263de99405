# SPDX-License-Identifier: Apache-2.0
"""What fills a request: the initial design, then the policy, then whatever else the space has."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from diffhpo.arguments.whole_number import whole_number
from diffhpo.history import Array, History
from diffhpo.policy import Policy, initial_design, new_rows, suggested
from diffhpo.space import Space

#: Finite spaces up to this size are listed when samples give no new configuration.
LISTABLE = 4096
#: Of those so many are chosen one by one; a larger request gets the rest in their own order.
CHOSEN = 32


@dataclass(frozen=True)
class NewConfigurations:
    """Configurations of a space that differ from each other and from every trial, as rows of the unit cube.

    Args:
        space: what is searched.
        policy: what proposes after the initial design.
        initial: how many of a run's first trials belong to that design.
        seed: of the design, and of the points that fill what the policy leaves open.

    Example:
        >>> from diffhpo.pretrained_policy import PretrainedPolicy
        >>> from diffhpo.space import Float, Space
        >>> new = NewConfigurations(Space({"x": Float(0.0, 1.0)}), PretrainedPolicy(), initial=5, seed=0)
        >>> new.design(History(np.empty((0, 1)), []), np.empty((0, 1)), 3).shape
        (3, 1)
    """

    space: Space
    policy: Policy
    initial: int
    seed: int

    def design(self, history: History, taken: Array, n: int) -> Array:
        """The part of a request of `n` that belongs to the initial design; `taken` fill it already."""
        start = len(history.seen) + len(taken)
        count = min(n - len(taken), max(0, self.initial - start))
        design = initial_design(self.space.dim, count, start=start, seed=self.seed)
        return new_rows(self.space.snap(design), np.concatenate([history.seen, taken]))

    def extend(self, history: History, units: Array, n: int) -> Array:
        """Ask the policy for the rest, then, where snapping left too few, for what the space still has.

        Returns:
            `units` and what follows them, (n, d), or fewer rows where the space has no more.
        """
        known = _with_pending(history, units)
        proposed = suggested(self.policy, known, n - len(units), self.space.snap)
        units = np.concatenate([units, new_rows(proposed, known.seen)])
        for _ in range(CHOSEN):
            if len(units) >= n:
                return units
            rest = self._unseen(np.concatenate([history.seen, units]), n - len(units))
            if len(rest) == 0:
                return units
            choice = self.policy.choose(_with_pending(history, units), rest)
            place = whole_number(choice, "what policy.choose returned", most=len(rest) - 1)
            units = np.concatenate([units, rest[[place]]])
        rest = self._unseen(np.concatenate([history.seen, units]), n - len(units))
        return np.concatenate([units, rest])[:n]

    def _unseen(self, seen: Array, count: int) -> Array:
        """Configurations not in `seen`: all of a small finite space, else a quasi-random few."""
        if self.space.size <= LISTABLE:
            return new_rows(self.space.all_units(), seen)
        found = np.empty((0, self.space.dim))
        for attempt in range(64):
            start = len(seen) + 64 * attempt
            points = initial_design(self.space.dim, 64, start=start, seed=self.seed)
            points = new_rows(self.space.snap(points), seen)
            found = np.concatenate([found, new_rows(points, found)])
            if len(found) >= 8 * count:
                break
        return found


def _with_pending(history: History, units: Array) -> History:
    pending = np.concatenate([history.pending, units])
    return History(history.x, history.y, failed=history.failed, pending=pending)
