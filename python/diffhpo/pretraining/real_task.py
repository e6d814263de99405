# SPDX-License-Identifier: Apache-2.0
"""One real tuning problem: configurations, their responses, what the columns are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from diffhpo.errors import InputError
from diffhpo.parameter_roles import ROLES
from diffhpo.prior.task_batch import CATEGORICAL, CONTINUOUS


@dataclass(frozen=True)
class RealTask:
    """Evaluated configurations of one learner on one data set.

    Args:
        name: `SOURCE/FAMILY/REST`; the first two parts name a family of tasks that share a space.
        x: (n, d) float32 in [0, 1].
        y: (n,) float32, larger is better.
        kinds: (d,) int64: 0 continuous, 1 stepped, 2 categorical (coded index / (levels - 1)).
        roles: (d,) int64, `diffhpo.parameter_roles.ROLES`.

    Raises:
        InputError: shapes that do not match, values that are not finite or outside their range.

    Example:
        >>> task = RealTask("demo/line/0", np.zeros((8, 1)), np.arange(8), np.zeros(1), np.zeros(1))
        >>> task.dim, len(task), task.family
        (1, 8, 'demo/line')
    """

    name: str
    x: NDArray[np.float32]
    y: NDArray[np.float32]
    kinds: NDArray[np.int64]
    roles: NDArray[np.int64]

    def __post_init__(self) -> None:
        for field, kind in (("x", np.float32), ("y", np.float32), ("kinds", np.int64), ("roles", np.int64)):
            object.__setattr__(self, field, np.ascontiguousarray(getattr(self, field), dtype=kind))
        x, y, d = self.x, self.y, self.kinds.size
        if x.ndim != 2 or len(x) < 2 or x.shape[1] != d or d < 1 or y.shape != (len(x),):
            raise InputError(
                f"{self.name}: x has shape {x.shape}, y {y.shape}, kinds {self.kinds.shape}; "
                "(n, d), (n,) and (d,) with n >= 2 are needed"
            )
        if self.roles.shape != (d,) or self.kinds.shape != (d,):
            raise InputError(f"{self.name}: roles has shape {self.roles.shape}; ({d},) is needed")
        if not (np.isfinite(y).all() and np.all((x >= 0) & (x <= 1))):
            raise InputError(f"{self.name}: y must be finite and x in [0, 1]")
        if not np.all((self.kinds >= CONTINUOUS) & (self.kinds <= CATEGORICAL)):
            raise InputError(f"{self.name}: kinds is {self.kinds.tolist()}; 0, 1 and 2 are accepted")
        if not np.all((self.roles >= 0) & (self.roles < len(ROLES))):
            raise InputError(f"{self.name}: roles is {self.roles.tolist()}; 0 to {len(ROLES) - 1}")

    def __len__(self) -> int:
        return len(self.y)

    @property
    def dim(self) -> int:
        """Number of columns d."""
        return int(self.x.shape[1])

    @property
    def family(self) -> str:
        """The part of the name that tasks of one learner from one source share."""
        return "/".join(self.name.split("/")[:2])

    def levels(self, column: int) -> NDArray[np.float32]:
        """(k,) ascending values that occur in a column that is not continuous."""
        return np.unique(self.x[:, column])
