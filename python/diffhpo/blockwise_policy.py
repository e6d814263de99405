# SPDX-License-Identifier: Apache-2.0
"""Spaces that are larger than the pretrained model: a random block of parameters at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffhpo.errors import InputError
from diffhpo.history import Array, History, check_pool
from diffhpo.model.universal.dimensions import MAX_DIM
from diffhpo.policy import Policy, Snap, check_seed, initial_design, new_rows
from diffhpo.pretrained_policy import PretrainedPolicy

#: Suggestions of a batch that share a block, so that a large batch costs few contexts.
SHARE = 8


class BlockwisePolicy:
    """Changes a random block of columns of the best trial; `PretrainedPolicy` chooses the values.

    The model reads the block's columns of all trials: what the other columns do to the values it takes for
    noise, which shrinks as the trials come to agree in them. Columns of one categorical parameter stay
    together.

    Args:
        seed: all randomness is a function of it and of the history.
        kinds: of each column, see `PretrainedPolicy`.
        names: of each column's parameter.
        steps: of each column.
        block: columns at most, 1 to 32.

    Raises:
        InputError: on a negative seed, or `block` out of range.

    Example:
        >>> x = np.random.default_rng(0).random((6, 40))
        >>> BlockwisePolicy(seed=0).suggest(History(x, x.sum(1)), 2).shape
        (2, 40)
    """

    def __init__(
        self,
        *,
        seed: int = 0,
        kinds: Sequence[int] | None = None,
        names: Sequence[str] | None = None,
        steps: Sequence[float] | None = None,
        block: int = 16,
    ) -> None:
        if not 1 <= block <= MAX_DIM:
            raise InputError(f"block is {block}; 1 to {MAX_DIM} is accepted")
        self.seed, self.block = check_seed(seed), block
        self.kinds, self.names, self.steps = kinds, names, steps

    def suggest(self, history: History, count: int = 1, *, snap: Snap | None = None) -> Array:
        """The next configurations, as `Policy.suggest`.

        Raises:
            InputError: if `count` is below 1.
        """
        if count < 1:
            raise InputError(f"count is {count}; at least 1 is needed")
        if len(history) == 0:
            design = initial_design(history.dim, count, start=len(history.seen), seed=self.seed)
            return design if snap is None else snap(design)
        base = history.x[int(history.y.argmax())]
        found = np.empty((0, history.dim))
        for turn in range(2 * (1 + count // SHARE)):
            wanted = min(count - len(found), max(SHARE, count // 8))
            if wanted <= 0:
                break
            rng = np.random.default_rng([self.seed, len(history), len(history.pending), turn])
            columns = self._columns(history.dim, rng)

            def whole(part: Array, columns: NDArray[np.int64] = columns) -> Array:
                rows = np.repeat(base[None], len(part), axis=0)
                rows[:, columns] = part
                return rows

            def snapped(
                part: Array,
                columns: NDArray[np.int64] = columns,
                whole: Callable[[Array], Array] = whole,
            ) -> Array:
                return part if snap is None else snap(whole(part))[:, columns]

            part = History(
                history.x[:, columns],
                history.y,
                failed=history.failed[:, columns],
                pending=np.concatenate([history.pending, found])[:, columns],
            )
            proposed = whole(self._policy(columns).suggest(part, wanted, snap=snapped))
            proposed = proposed if snap is None else snap(proposed)
            found = np.concatenate([found, new_rows(proposed, np.concatenate([history.seen, found]))])
        return found[:count]

    def choose(self, history: History, pool: Array) -> int:
        """The next of the pending configurations, as `Policy.choose`, by one block of their columns."""
        pool = check_pool(pool, history.dim)
        rng = np.random.default_rng([self.seed, len(history), len(history.pending)])
        columns = self._columns(pool.shape[1], rng)
        part = History(
            history.x[:, columns],
            history.y,
            failed=history.failed[:, columns],
            pending=history.pending[:, columns],
        )
        return self._policy(columns).choose(part, pool[:, columns])

    def _columns(self, dim: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """The columns of randomly chosen parameters, as many as fit."""
        parameters = list(dict.fromkeys(self.names)) if self.names is not None else list(range(dim))
        chosen: list[int] = []
        for index in rng.permutation(len(parameters)):
            own = (
                [c for c in range(dim) if self.names[c] == parameters[index]]
                if self.names is not None
                else [int(index)]
            )
            if len(chosen) + len(own) <= self.block:
                chosen += own
        return np.sort(np.array(chosen if chosen else rng.permutation(dim)[: self.block]))

    def _policy(self, columns: NDArray[np.int64]) -> Policy:
        def of(values: Sequence[Any] | None) -> list[Any] | None:
            return None if values is None else [values[c] for c in columns]

        return PretrainedPolicy(
            seed=self.seed, kinds=of(self.kinds), names=of(self.names), steps=of(self.steps)
        )
