# SPDX-License-Identifier: Apache-2.0
"""Candidates for a BoTorch loop, in the place of a fitted model and `optimize_acqf`."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from diffhpo.errors import InputError
from diffhpo.optimizer import Optimizer
from diffhpo.space import Categorical, Float, Int, Parameter, Space
from diffhpo.trial import Trial

#: Points may leave their bounds by this share of the range, from rounding in float32; they are clipped.
TOLERANCE = 1e-6


def suggest(
    bounds: Tensor,
    train_X: Tensor,
    train_Y: Tensor,
    q: int = 1,
    X_pending: Tensor | None = None,
    *,
    seed: int = 0,
    names: Sequence[str] | None = None,
    integer_indices: Sequence[int] = (),
    cat_dims: Sequence[int] = (),
    initial: int = 5,
) -> Tensor:
    """The next `q` points to evaluate; larger values of `train_Y` are better.

    A function of its arguments alone, with nothing kept between calls. A point is never one of `train_X` or
    `X_pending`, unless a space of whole numbers and choices has no other left.

    Args:
        bounds: (2, d) lower and upper bounds, each lower one below its upper one.
        train_X: (n, d) points evaluated so far, within the bounds; n may be 0. Its dtype, float32 or
            float64, and its device are those of the result.
        train_Y: (n, 1) or (n,) finite values.
        q: how many points, 1 or more.
        X_pending: (p, d) points that are being evaluated.
        seed: 0 or more; the same arguments and the same seed give the same points.
        names: of the d dimensions, all different: "learning_rate", "max_depth". What the pretrained model
            has seen of parameters of these names is used then.
        integer_indices: dimensions that hold whole numbers.
        cat_dims: dimensions that hold the number of an unordered choice.
        initial: of the first points, this many come from a scrambled Sobol sequence.

    Returns:
        (q, d) points within the bounds, detached; fewer rows, with an ExhaustedWarning, where whole numbers
        and choices have no more that are new.

    Raises:
        InputError: naming the argument, what came and what is accepted.

    Example:
        >>> bounds = torch.tensor([[0.0, 1e-4], [1.0, 1e-1]], dtype=torch.double)
        >>> X = bounds[0] + (bounds[1] - bounds[0]) * torch.rand(6, 2, dtype=torch.double)
        >>> suggest(bounds, X, -(X - 0.05).square().sum(-1, keepdim=True), q=3).shape
        torch.Size([3, 2])
    """
    _check_points("train_X", train_X)
    dim = train_X.shape[1]
    lower, upper = _checked_bounds(bounds, dim)
    values = _checked_values(train_Y, len(train_X))
    space = Space(_parameters(lower, upper, _checked_names(names, dim), integer_indices, cat_dims))
    trials = [
        Trial(_configuration(space, point), value)
        for point, value in zip(_within("train_X", train_X, lower, upper), values, strict=True)
    ]
    if X_pending is not None:
        _check_points("X_pending", X_pending, dim)
        trials += [
            Trial(_configuration(space, point)) for point in _within("X_pending", X_pending, lower, upper)
        ]
    if isinstance(q, bool) or not isinstance(q, int) or q < 1:
        raise InputError(f"q is {q!r}; a whole number of 1 or more is needed")
    optimizer = Optimizer(space, seed=seed, initial=initial)
    optimizer.tell(trials)
    rows = [[float(value) for value in asked.parameters.values()] for asked in optimizer.ask(q)]
    return torch.tensor(rows, dtype=train_X.dtype, device=train_X.device).reshape(-1, dim)


def _check_points(argument: str, points: Tensor, dim: int | None = None) -> None:
    if not isinstance(points, Tensor):
        raise InputError(f"{argument} is {type(points).__name__}; a torch.Tensor is needed")
    if points.dtype not in (torch.float32, torch.float64):
        raise InputError(f"{argument} has dtype {points.dtype}; float32 or float64 is needed")
    if points.layout is not torch.strided or points.device.type == "meta":
        raise InputError(
            f"{argument} has layout {points.layout} on device {points.device}; a tensor with its values is "
            "needed: to_dense()"
        )
    if points.ndim != 2 or points.shape[1] == 0:
        raise InputError(
            f"{argument} has shape {tuple(points.shape)}; (points, dimensions) is needed: batches of several "
            "problems are not supported"
        )
    if dim is not None and points.shape[1] != dim:
        raise InputError(f"{argument} has {points.shape[1]} dimensions; train_X has {dim}")


def _checked_bounds(bounds: Tensor, dim: int) -> tuple[list[float], list[float]]:
    _check_points("bounds", bounds)
    if bounds.shape != (2, dim):
        raise InputError(
            f"bounds has shape {tuple(bounds.shape)}; (2, {dim}) is needed, lower bounds first: train_X has "
            f"{dim} dimensions"
        )
    lower, upper = bounds.detach().double().cpu().tolist()
    for index, (low, high) in enumerate(zip(lower, upper, strict=True)):
        if not (math.isfinite(low) and math.isfinite(high) and low < high):
            raise InputError(
                f"bounds[:, {index}] is [{low}, {high}]; finite bounds with the lower one below are needed"
            )
    return lower, upper


def _checked_values(train_Y: Tensor, count: int) -> list[float]:
    if not isinstance(train_Y, Tensor) or train_Y.shape not in ((count, 1), (count,)):
        got = tuple(train_Y.shape) if isinstance(train_Y, Tensor) else type(train_Y).__name__
        raise InputError(
            f"train_Y is {got}; a tensor of shape ({count}, 1) is needed: one objective, a value for each "
            "row of train_X"
        )
    values = train_Y.detach().double().reshape(-1).cpu()
    if not bool(values.isfinite().all()):
        row = int((~values.isfinite()).nonzero()[0])
        raise InputError(
            f"train_Y[{row}] is {float(values[row])}; finite values are needed: leave failed evaluations "
            "out, and give their points in X_pending so that they are not proposed again"
        )
    return [float(value) for value in values]


def _checked_names(names: Sequence[str] | None, dim: int) -> list[str]:
    if names is None:
        return [f"x{index}" for index in range(dim)]
    found = list(names)
    if isinstance(names, str) or len(found) != dim or len(set(found)) != dim:
        raise InputError(f"names is {names!r}; {dim} different names are needed, one for each dimension")
    return found


def _parameters(
    lower: list[float],
    upper: list[float],
    names: list[str],
    integer_indices: Sequence[int],
    cat_dims: Sequence[int],
) -> dict[str, Parameter]:
    dim = len(names)
    for argument, indices in (("integer_indices", integer_indices), ("cat_dims", cat_dims)):
        for index in indices:
            if not 0 <= index < dim:
                raise InputError(f"{argument} has {index!r}; dimensions 0 to {dim - 1} are there")
            if lower[index] != int(lower[index]) or upper[index] != int(upper[index]):
                raise InputError(
                    f"{argument} has {index}, and bounds[:, {index}] is [{lower[index]}, {upper[index]}]; "
                    "whole numbers are needed there"
                )
    if both := set(integer_indices) & set(cat_dims):
        raise InputError(f"integer_indices and cat_dims both have {sorted(both)}; a dimension is one of them")
    found: dict[str, Parameter] = {}
    for index, name in enumerate(names):
        if index in integer_indices:
            found[name] = Int(int(lower[index]), int(upper[index]))
        elif index in cat_dims:
            found[name] = Categorical([*range(int(lower[index]), int(upper[index]) + 1)])
        else:
            found[name] = Float(lower[index], upper[index])
    return found


def _within(argument: str, points: Tensor, lower: list[float], upper: list[float]) -> list[list[float]]:
    """The points as lists, clipped by no more than the tolerance."""
    rows = points.detach().double().cpu()
    low, high = torch.tensor(lower, dtype=torch.double), torch.tensor(upper, dtype=torch.double)
    slack = TOLERANCE * (high - low)
    inside = (rows >= low - slack) & (rows <= high + slack)
    if not bool(inside.all()):
        row, column = (~inside).nonzero()[0].tolist()
        raise InputError(
            f"{argument}[{row}, {column}] is {float(rows[row, column])}, outside its bounds "
            f"[{lower[column]}, {upper[column]}]"
        )
    return rows.clamp(low, high).tolist()


def _configuration(space: Space, point: list[float]) -> dict[str, float]:
    """A point by the parameters' names; whole numbers rounded, as a model's points may lie between them."""
    return {
        name: value if isinstance(parameter, Float) else round(value)
        for (name, parameter), value in zip(space.parameters.items(), point, strict=True)
    }
