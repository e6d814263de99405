# SPDX-License-Identifier: Apache-2.0
"""The History H: the evaluated, failed and pending trials of one run, checked once at the edge."""

from __future__ import annotations

import warnings

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from diffhpo.arguments.whole_number import whole_number
from diffhpo.errors import InputError, InputWarning
from diffhpo.space.parameter import UNIT_TOLERANCE

Array = NDArray[np.float64]


def _as_real_array(values: ArrayLike | torch.Tensor, argument: str) -> Array:
    """A float64 copy of real numbers in any container; anything else is an InputError."""
    if np.ma.is_masked(values):
        raise InputError(f"{argument} has masked entries; leave such trials out, or mark them as failed")
    try:
        if isinstance(values, torch.Tensor):  # perhaps on another device, part of a graph, or bfloat16
            values = values.detach().cpu()
            values = values.numpy() if values.is_complex() else values.double().numpy()
        array = np.asarray(values)
    except (RuntimeError, NotImplementedError) as error:
        raise InputError(f"{argument} is a tensor without plain numbers: {error}") from None
    except (ValueError, TypeError) as error:
        raise InputError(f"{argument} is not a rectangular array of numbers: {error}") from None
    if array.dtype.kind not in "fiub":
        raise InputError(f"{argument} has dtype {array.dtype}; real numbers are needed")
    return np.array(array, dtype=np.float64)


def check_configurations(x: ArrayLike, argument: str, dim: int | None = None) -> Array:
    """Configurations as a float64 copy of shape (n, d) inside the unit cube.

    Args:
        x: (n, d) numbers in [0, 1], up to a tolerance of 1e-6 that is clipped. n may be 0.
        argument: the caller's name for `x`, used in messages.
        dim: the number of columns that is expected, if known.

    Raises:
        InputError: on another shape or type, or naming the first value that is not finite or not in [0, 1].

    Example:
        >>> check_configurations([[0.0, 0.5]], "X_obs").shape
        (1, 2)
    """
    array = _as_real_array(x, argument)
    if array.size == 0 and array.ndim < 2:
        array = array.reshape(0, dim or 0)
    if array.ndim != 2:
        raise InputError(
            f"{argument} has shape {array.shape}; a matrix (trials, dimensions) is needed: "
            f"reshape one configuration with {argument}.reshape(1, -1)"
        )
    if len(array) and array.shape[1] == 0:
        raise InputError(f"{argument} has shape {array.shape}; at least one dimension is needed")
    if dim is not None and array.shape[1] != dim:
        if len(array) == 0:
            return np.empty((0, dim))
        raise InputError(f"{argument} has {array.shape[1]} columns; {dim} are needed")
    # A comparison with nan is false, so this one test finds nan, infinities and values outside alike.
    inside = (array >= -UNIT_TOLERANCE) & (array <= 1 + UNIT_TOLERANCE)
    if not inside.all():
        row, column = np.argwhere(~inside)[0]
        raise InputError(
            f"{argument}[{row}, {column}] is {array[row, column]}; configurations must lie in [0, 1]: "
            "scale each dimension by its bounds"
        )
    return np.clip(array, 0.0, 1.0)


def check_pool(x_pen: ArrayLike, dim: int | None = None) -> Array:
    """The pool of the discrete protocol as a float64 copy of shape (m, d), m >= 1.

    Raises:
        InputError: as `check_configurations`, or if the pool is empty.

    Example:
        >>> len(check_pool([[0.1], [0.9]], dim=1))
        2
    """
    pool = check_configurations(x_pen, "X_pen", dim)
    if len(pool) == 0:
        raise InputError("X_pen has no pending configuration; there is nothing to choose from")
    return pool


def check_values(y: ArrayLike, count: int, argument: str) -> Array:
    """Objective values as a finite float64 copy of shape (count,).

    Infinities are clipped to the best or worst finite value, with one InputWarning.

    Raises:
        InputError: on another shape or type, or naming the first nan.

    Example:
        >>> check_values([[1.0], [2.0]], 2, "y_obs")
        array([1., 2.])
    """
    array = _as_real_array(y, argument)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.shape != (count,):
        raise InputError(f"{argument} has shape {array.shape}; one value per configuration: ({count},)")
    if np.isnan(array).any():
        raise InputError(
            f"{argument}[{np.flatnonzero(np.isnan(array))[0]}] is nan; leave a failed trial out, or mark it "
            "as failed"
        )
    infinite = np.isinf(array)
    if infinite.any():
        finite = array[~infinite]
        low, high = (finite.min(), finite.max()) if len(finite) else (-1.0, 1.0)
        warnings.warn(
            f"{argument} holds {int(infinite.sum())} infinite values; they were clipped to [{low}, {high}]",
            InputWarning,
            stacklevel=3,
        )
        array = np.clip(array, low, high)
    return array


def first_of_equal_rows(rows: Array) -> NDArray[np.int64]:
    """In order, the indices of the rows of (n, m), n >= 1, that no earlier row is equal to.

    Example:
        >>> first_of_equal_rows(np.array([[2.0, 1.0], [0.0, 1.0], [2.0, 1.0]]))
        array([0, 1])
    """
    # Not np.unique: its comparisons of rows take what a signal's handler raises for a failure.
    order = np.lexsort(rows.T)
    new = np.append(True, (rows[order[1:]] != rows[order[:-1]]).any(axis=1))
    return np.sort(order[new])


class History:
    """Trials of one run: configurations in the unit cube and their values, larger is better.

    The arrays are copies and read-only: the caller's are never changed. A trial that is repeated with an
    equal value is kept once; with another value it is a repeat under noise, and is kept.

    Args:
        x: (n, d) configurations in [0, 1]; n may be 0 if the shape, or other trials, tell d.
        y: (n,) or (n, 1) values.
        failed: (k, d) configurations whose evaluation failed; they are not to be proposed again.
        pending: (p, d) configurations that are being evaluated now.

    Raises:
        InputError: naming the argument, what came and what is accepted.

    Example:
        >>> history = History([[0.0, 0.5], [1.0, 0.5]], [0.3, 0.7])
        >>> len(history), history.dim, history.best
        (2, 2, 0.7)
    """

    def __init__(
        self,
        x: ArrayLike,
        y: ArrayLike,
        *,
        failed: ArrayLike | None = None,
        pending: ArrayLike | None = None,
        x_argument: str = "x",
        y_argument: str = "y",
    ) -> None:
        configurations = check_configurations(x, x_argument)
        values = check_values(y, len(configurations), y_argument)
        if len(values) > 1:
            first = first_of_equal_rows(np.column_stack([configurations, values]))
            configurations, values = configurations[first], values[first]
        parts = {x_argument: configurations}
        for name, given in (("failed", failed), ("pending", pending)):
            parts[name] = check_configurations([] if given is None else given, name)
        # An empty list does not say how many dimensions it has; the first part that has some does.
        dim = next((part.shape[1] for part in parts.values() if part.shape[1]), 0)
        self.x: Array
        self.failed: Array
        self.pending: Array
        self.x, self.failed, self.pending = (
            part if part.shape[1] == dim else check_configurations(part, name, dim)
            for name, part in parts.items()
        )
        self.y: Array = values
        for array in (self.x, self.y, self.failed, self.pending):
            array.flags.writeable = False

    @classmethod
    def from_arrays(cls, X_obs: ArrayLike, y_obs: ArrayLike) -> History:
        """The history that HPO-B's interface hands over; messages use its argument names."""
        return cls(X_obs, y_obs, x_argument="X_obs", y_argument="y_obs")

    def __len__(self) -> int:
        return len(self.y)

    @property
    def dim(self) -> int:
        """Dimensions d of a configuration."""
        return int(self.x.shape[1])

    @property
    def best(self) -> float:
        """The largest value so far.

        Raises:
            InputError: if there is no trial.
        """
        if len(self) == 0:
            raise InputError("the history is empty; it has no best value")
        return float(self.y.max())

    @property
    def seen(self) -> Array:
        """(n + k + p, d) every configuration that was evaluated, failed or is pending."""
        return np.concatenate([self.x, self.failed, self.pending])

    def bounded(self, size: int) -> History:
        """At most `size` trials: the best third, the latest third, and the rest spread over the others.

        The choice is a function of the history alone. Failed and pending configurations are all kept.

        Raises:
            InputError: if `size` is not a whole number of 3 or more.
        """
        size = whole_number(size, "size", least=3)
        if len(self) <= size:
            return self
        third = size // 3
        best = np.argsort(-self.y, kind="stable")[:third]
        kept = np.union1d(best, np.arange(len(self) - third, len(self)))
        others = np.setdiff1d(np.arange(len(self)), kept)
        spread = others[np.linspace(0, len(others) - 1, size - len(kept)).round().astype(int)]
        chosen = np.union1d(kept, spread)
        return History(self.x[chosen], self.y[chosen], failed=self.failed, pending=self.pending)
