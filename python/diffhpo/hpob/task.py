# SPDX-License-Identifier: Apache-2.0
"""One task of HPO-B: a table of evaluated configurations, its initial designs and its surrogate."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from diffhpo.errors import DataError
from diffhpo.hpob.surrogate import Surrogate

Array = NDArray[np.float64]

#: Every run of HPO-B begins with this many evaluations (Pineda-Arango et al. 2021, arXiv 2106.06257).
N_INITIAL = 5


def as_numbers(values: Any) -> Array:
    """An array of float64, a new one; texts and truth values are not taken for numbers.

    Raises:
        TypeError, ValueError, OverflowError: if it is none.
    """
    array = np.array(values)
    if array.dtype.kind not in "iuf":
        raise TypeError(f"values of {array.dtype} are no numbers of double precision")
    return np.asarray(array, dtype=np.float64)


class Response(Protocol):
    """The response of a task anywhere in the unit cube; `Surrogate` is one."""

    @property
    def path(self) -> Path:
        """The file behind it, or its name, for messages."""

    def __call__(self, x: ArrayLike, /) -> Array:
        """Responses (k,) in the task's own units of configurations (k, d)."""


class Task:
    """One dataset of one search space: a table of evaluated configurations and perhaps a surrogate.

    The arrays are read-only.

    Attributes:
        space: the search space's name.
        name: the task's name.
        x: (n, d) configurations, float64; HPO-B scales them to [0, 1].
        y: (n,) responses in the task's own units, float64, larger is better.

    Args:
        source: the file that the table came from, for messages.
        initial: seed -> indices of the initial evaluations.
        surrogate: the surrogate or its path, if there is one.
        response_range: y_min and y_max of the continuous protocol.

    Raises:
        DataError: if the table is ragged, empty, not numeric or not finite.

    Example:
        >>> rows = [[i / 9] for i in range(10)]
        >>> task = Task("demo", "line", rows, range(10), initial={"test0": [0, 1, 2, 3, 4]})
        >>> task.dim, len(task), task.initial("test0")
        (1, 10, [0, 1, 2, 3, 4])
    """

    def __init__(
        self,
        space: str,
        name: str,
        x: Any,
        y: Any,
        *,
        initial: Mapping[str, Any] | None = None,
        surrogate: Path | Response | None = None,
        response_range: tuple[float, float] | None = None,
        source: Path = Path("the data"),
    ) -> None:
        self.space = space
        self.name = name
        self._source = source
        self.x = self._table(x, "X")
        self.y = self._table(y, "y").reshape(-1)
        if self.x.ndim != 2 or not self.x.size or len(self.x) != len(self.y):
            raise DataError(
                f"{self}: X has shape {self.x.shape} and y has {len(self.y)} values in {source}; "
                "n rows of d columns and n values are needed"
            )
        for array in (self.x, self.y):
            array.flags.writeable = False
        self._initial = initial or {}
        self._surrogate = Surrogate(surrogate, self.dim) if isinstance(surrogate, Path) else surrogate
        self._range = response_range

    def __str__(self) -> str:
        return f"task {self.name} of space {self.space}"

    def __repr__(self) -> str:
        return f"Task({self.space!r}, {self.name!r}, {len(self)} configurations, {self.dim} dimensions)"

    def __len__(self) -> int:
        return len(self.y)

    @property
    def dim(self) -> int:
        """Dimensions d of a configuration."""
        return int(self.x.shape[1])

    def _table(self, values: Any, column: str) -> Array:
        try:
            array = as_numbers(values)
        except (OverflowError, TypeError, ValueError) as error:
            raise DataError(f"{self}: {column} in {self._source} is no table of numbers: {error}") from None
        if not np.isfinite(array).all():
            row = np.argwhere(~np.isfinite(array))[0][0]
            raise DataError(f"{self}: row {row} of {column} in {self._source} is not finite")
        return array

    def seeds(self) -> list[str]:
        """Names of the initial designs."""
        return list(self._initial)

    def with_initial(self, initial: Mapping[str, Any]) -> Task:
        """The same task with other initial designs, seed -> row numbers."""
        return Task(
            self.space,
            self.name,
            self.x,
            self.y,
            initial=initial,
            surrogate=self._surrogate,
            response_range=self._range,
            source=self._source,
        )

    def initial(self, seed: str) -> list[int]:
        """Rows of the five initial evaluations of a run; a longer list in the file is cut to five.

        Raises:
            DataError: if the seed is unknown, or its rows are fewer than five, repeated or out of range.
        """
        if seed not in self._initial:
            known = ", ".join(self._initial) or "none"
            raise DataError(f"{self} has no initial design {seed!r}; there are: {known}")
        rows = self._initial[seed]
        where = f"{self}: initial design {seed!r}"
        if not isinstance(rows, list | tuple) or len(rows) < N_INITIAL:
            raise DataError(f"{where} is {rows!r}; a list of {N_INITIAL} row numbers is needed")
        rows = list(rows[:N_INITIAL])
        for row in rows:
            if type(row) is not int or not 0 <= row < len(self):
                raise DataError(f"{where} has row {row!r}; rows are whole numbers from 0 to {len(self) - 1}")
        if len(set(rows)) < N_INITIAL:
            raise DataError(f"{where} is {rows}; a row is given twice")
        return rows

    @property
    def y_min(self) -> float:
        """Response that the continuous protocol maps to 0 (`summary-stats.json`)."""
        return self._response_range()[0]

    @property
    def y_max(self) -> float:
        """Response that the continuous protocol maps to 1."""
        return self._response_range()[1]

    def _response_range(self) -> tuple[float, float]:
        if self._range is None:
            raise DataError(
                f"{self} has no y_min and y_max in summary-stats.json; the continuous protocol needs the "
                "surrogates: `diffhpo data fetch`, or give Benchmark(root, surrogates=DIRECTORY)"
            )
        return self._range

    @property
    def surrogate(self) -> Response:
        """The response anywhere in the unit cube: a callable (k, d) -> (k,).

        Raises:
            DataError: if the task has no surrogate.
        """
        if self._surrogate is None:
            known = "summary-stats.json names it, but its file is" if self._range else "its surrogate is"
            raise DataError(
                f"{self}: {known} missing (surrogate-{self.space}-{self.name}.json); `diffhpo data fetch`, "
                "or give Benchmark(root, surrogates=DIRECTORY)"
            )
        return self._surrogate
