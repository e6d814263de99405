# SPDX-License-Identifier: Apache-2.0
"""The same problem in other forms, which must give the same bits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from diffhpo.kernels.problem import DenoiseProblem


def reordered(problem: DenoiseProblem, order: Sequence[int]) -> DenoiseProblem:
    """Some of the jobs of a problem, in another order or several times."""
    index = torch.tensor(order)
    return replace(
        problem,
        job_conditioning=problem.job_conditioning[index],
        counts=problem.counts[index],
        seeds=problem.seeds[index],
        first_candidates=problem.first_candidates[index],
    )


def strided(tensor: torch.Tensor) -> torch.Tensor:
    """A tensor of the same values that is not contiguous in any dimension."""
    larger = torch.full([2 * size + 1 for size in tensor.shape], 77, dtype=tensor.dtype)
    view = larger[tuple(slice(1, None, 2) for _ in tensor.shape)]
    view.copy_(tensor)
    assert not view.is_contiguous()
    return view
