# SPDX-License-Identifier: Apache-2.0
"""What a policy is: a rule that reads a history and proposes the next configurations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from scipy.stats import qmc

from diffhpo.arguments.whole_number import whole_number
from diffhpo.errors import InputError
from diffhpo.history import History, check_configurations

Array = NDArray[np.float64]

#: Configurations of one request; these take about twenty seconds, and the memory for more would run out.
MOST_ASKED = 100_000

#: (n, d) points -> (n, d) points, each moved to the point that stands for its configuration.
Snap: TypeAlias = Callable[[Array], Array]


@runtime_checkable
class Policy(Protocol):
    """Reads a history, proposes configurations; a function of the history and the seed alone.

    `HistoryPolicy` learns from the run's own history. A policy that was pretrained on other functions has
    the same two methods; `Optimizer` and `DiffusionHPO` take either.
    """

    def suggest(self, history: History, count: int = 1, *, snap: Snap | None = None) -> Array:
        """`count` configurations to evaluate next, (count, d) in [0, 1].

        They differ from one another and from every configuration of the history, unless the space that
        `snap` stands for has no more.
        """
        ...

    def choose(self, history: History, pool: Array) -> int:
        """The index of the configuration to evaluate next, among (m, d) pending ones."""
        ...


def check_seed(seed: int) -> int:
    """The seed as an int.

    Raises:
        InputError: unless it is a whole number that is not negative.
    """
    return whole_number(seed, "seed")


def check_policy(policy: object) -> Policy:
    """The policy.

    Raises:
        InputError: unless it is an object with `suggest` and `choose`.
    """
    if isinstance(policy, type) or not isinstance(policy, Policy):
        raise InputError(f"policy is {policy!r}; an object with suggest and choose is needed, see Policy")
    return policy


def check_history(history: object) -> None:
    """Raise an InputError unless it is a History of one dimension at least."""
    if not isinstance(history, History):
        raise InputError(f"history is {type(history).__name__}; a diffhpo.History is needed")
    if history.dim == 0:
        raise InputError(
            "the history is empty and does not say how many dimensions d there are; give the configurations "
            "as an array of shape (0, d)"
        )


def checked_snap(snap: Snap | None) -> Snap | None:
    """`snap`, so that what it returns is checked; None stays None.

    Raises:
        InputError: if it is no function; when it is called, if what it returns are no points of the unit cube
            or more than it was given. A point that stands for no configuration may be left out.

    Example:
        >>> checked_snap(lambda points: points.round())(np.array([[0.2, 0.9]]))
        array([[0., 1.]])
    """
    if snap is None:
        return None
    if not callable(snap):
        raise InputError(f"snap is {snap!r}; a function of an array of points is needed")

    def snapped(points: Array) -> Array:
        found = check_configurations(snap(points), "what snap returned", points.shape[1])
        if len(found) > len(points):
            raise InputError(f"snap returned {len(found)} points for {len(points)}; at most one for each")
        return found

    return snapped


def suggested(policy: Policy, history: History, count: int, snap: Snap) -> Array:
    """What a policy suggests, checked: at most `count` rows of the history's dimensions, snapped.

    Raises:
        InputError: if a policy of the user's returns anything but points of the unit cube.
    """
    points = policy.suggest(history, count, snap=snap)
    return snap(check_configurations(points, "what policy.suggest returned", history.dim))[:count]


def check_count(count: int) -> int:
    """How many configurations are asked for, as an int.

    Raises:
        InputError: unless it is a whole number from 1 to 100,000.
    """
    return whole_number(count, "count", least=1, most=MOST_ASKED)


def derived_seed(seed: int, *position: int) -> int:
    """A 64-bit seed that is a function of the run's seed and a position in the run.

    Example:
        >>> derived_seed(0, 5) == derived_seed(0, 5), derived_seed(0, 5) == derived_seed(0, 6)
        (True, False)
    """
    return int(np.random.SeedSequence([seed, *position]).generate_state(1, np.uint64)[0])


def initial_design(dim: int, count: int, *, start: int, seed: int) -> Array:
    """Points `start` to `start + count` of a scrambled Sobol sequence, (count, d) in [0, 1).

    The design for runs that have seen too little to learn from (Owen 1998 scrambling, by SciPy).

    Example:
        >>> initial_design(2, 3, start=0, seed=0).shape
        (3, 2)
    """
    sequence = qmc.Sobol(dim, scramble=True, rng=np.random.default_rng([seed, dim]))
    if count == 0:
        return np.empty((0, dim))
    if start:
        sequence.fast_forward(start)
        return sequence.random(count)
    # The first call warns unless its number of points is a power of two.
    return np.concatenate([sequence.random(1), sequence.random(count - 1)])


def new_rows(rows: Array, seen: Array) -> Array:
    """The rows that differ from each other and from all of `seen`, in their order.

    Example:
        >>> new_rows(np.array([[2.0], [1.0], [2.0]]), np.array([[1.0]]))
        array([[2.]])
    """
    # A row's bytes tell it, up to the sign of zero. numpy.unique sorts, and takes several times as long.
    known = {row.tobytes() for row in seen + 0.0}
    kept = []
    for index, row in enumerate(rows + 0.0):
        if (key := row.tobytes()) not in known:
            known.add(key)
            kept.append(index)
    return np.asarray(rows)[kept]
