# SPDX-License-Identifier: Apache-2.0
"""Small invented tasks, and a bank of them."""

from __future__ import annotations

import numpy as np
import pytest

from diffhpo.pretraining.real_task import RealTask
from diffhpo.pretraining.task_bank import TaskBank


def invented_task(name: str, seed: int, n: int = 150, family: str = "demo/mixed") -> RealTask:
    """Two continuous columns, one of five steps, one categorical of three levels; all matter."""
    rng = np.random.default_rng(seed)
    x = rng.random((n, 4), dtype=np.float32)
    x[:, 2] = rng.integers(5, size=n) / 4
    x[:, 3] = rng.integers(3, size=n) / 2
    centre = rng.uniform(0.2, 0.8, 3)
    y = -((x[:, :3] - centre) ** 2).sum(1) + np.array([0.0, 0.3, 0.1])[np.rint(2 * x[:, 3]).astype(int)]
    return RealTask(
        f"{family}/{name}", x, y.astype(np.float32), np.array([0, 0, 1, 2]), np.array([1, 10, 3, 17])
    )


@pytest.fixture(scope="session")
def tasks() -> list[RealTask]:
    pytest.importorskip("xgboost", reason="surrogates of real tasks need xgboost")
    return [
        invented_task("a", 0),
        invented_task("b", 1),
        invented_task("large", 2, n=600, family="demo/large"),
    ]


@pytest.fixture(scope="session")
def bank(tasks: list[RealTask]) -> TaskBank:
    return TaskBank.build(tasks, seed=0, points=256)
