# SPDX-License-Identifier: Apache-2.0
"""How well the universal model predicts trials of a run that it is not shown."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from diffhpo.model.universal.dimensions import Dimensions
from diffhpo.model.universal.executed_model import ExecutedModel
from diffhpo.model.universal.model import UniversalModel
from diffhpo.model.universal.transformer import UniversalContext


@torch.no_grad()
def held_out_log_density(
    model: UniversalModel | ExecutedModel,
    x: Tensor,
    y: Tensor,
    folds: Sequence[NDArray[np.int64]],
    dimensions: Dimensions,
    *,
    executor: str = "auto",
) -> Tensor:
    """Log densities of each trial's value, given the trials of the other folds.

    All contexts are read in one call: each is the whole run with a fold masked.

    Args:
        model: in evaluation; or what a run was read with, which knows that its weights have not changed.
        x: (n, d) configurations in [0, 1].
        y: (n,) values, larger is better.
        folds: F parts of 0 to n - 1, each trial in one of them.
        dimensions: of the space, (1, d).
        executor: as of `InContextModel`, for a model that has none yet.

    Returns:
        (n,) float64, in the units of y.

    Example:
        >>> x, folds = torch.rand(6, 2), [np.array([0, 3]), np.array([1, 2]), np.array([4, 5])]
        >>> plain = Dimensions.continuous(1, 2)
        >>> held_out_log_density(UniversalModel(width=16), x, x[:, 0], folds, plain).shape
        torch.Size([6])
    """
    count, (n, d) = len(folds), x.shape
    widest = max(len(fold) for fold in folds)
    shown = torch.ones(count, n, dtype=torch.bool)
    # Padded by each fold's first trial, which is then predicted more than once.
    asked = torch.empty(count, widest, dtype=torch.int64)
    for row, fold in enumerate(folds):
        shown[row, fold] = False
        asked[row] = int(fold[0])
        asked[row, : len(fold)] = torch.from_numpy(fold)
    context = UniversalContext(
        x.float().expand(count, n, d),
        y.double().expand(count, n),
        shown,
        Dimensions(dimensions.kinds.expand(count, d), dimensions.roles.expand(count, d)),
    )
    executed = model if isinstance(model, ExecutedModel) else ExecutedModel(model, executor)
    embedding = executed.embed(context)
    mixture, _ = executed.jointly(executed.condition(embedding), x.float()[asked])
    values = y.double()[asked]
    density = mixture.double().log_prob(embedding.scale.standardise(values))
    density = density + embedding.scale.log_slope(values)
    out = torch.empty(n, dtype=torch.float64)
    out[asked] = density
    return out
