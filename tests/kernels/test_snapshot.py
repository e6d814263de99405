# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
import torch

from diffhpo.kernels import ops


def tensors(dtype: torch.dtype = torch.float32) -> list[torch.Tensor]:
    return [torch.arange(6, dtype=dtype).view(2, 3), torch.zeros(0, dtype=dtype), torch.ones(4, dtype=dtype)]


# float64 takes the path in torch, float32 the native one.
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_it_matches_until_a_value_changes(dtype: torch.dtype) -> None:
    parts = [torch.nn.Parameter(part) for part in tensors(dtype)]
    snapshot = ops.Snapshot(parts)
    assert snapshot.matches(parts)
    parts[2].data[3] += 1e-3  # leaves the version counter as it was
    assert not snapshot.matches(parts)
    parts[2].data[3] = 1.0
    assert snapshot.matches(parts)


def test_other_tensors_of_equal_values_are_not_those_of_the_snapshot() -> None:
    parts = tensors()
    snapshot = ops.Snapshot(parts)
    assert not snapshot.matches([part.clone() for part in parts])
    assert not snapshot.matches(parts[:2])
    assert not snapshot.matches([parts[0].view(3, 2), *parts[1:]])


def test_it_outlives_its_tensors() -> None:
    snapshot = ops.Snapshot(tensors())
    assert not snapshot.matches(tensors())


def test_strided_tensors_are_compared_by_value() -> None:
    whole = torch.arange(12.0).view(3, 4)
    part = [whole[:, ::2]]
    snapshot = ops.Snapshot(part)
    whole[0, 1] = -1.0
    assert snapshot.matches(part)
    whole[0, 2] = -1.0
    assert not snapshot.matches(part)
