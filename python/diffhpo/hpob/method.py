# SPDX-License-Identifier: Apache-2.0
"""diffhpo as HPO-B's handler expects a method."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from inspect import signature
from typing import Any

from numpy.typing import ArrayLike

from diffhpo.errors import InputError
from diffhpo.history import Array, History, check_pool
from diffhpo.history_policy import HistoryPolicy
from diffhpo.policy import Policy, check_policy
from diffhpo.pretrained_policy import PretrainedPolicy
from diffhpo.recipe import Recipe


class DiffusionHPO:
    """A drop-in for the official `HPOBHandler.evaluate` and `evaluate_continuous`.

    Args:
        seed: the same seed and history give the same suggestion, also from a fresh object.
        recipe: `"elite"`, `"brief"` or a Recipe: learn from the run's own history alone, see `HistoryPolicy`;
            ignored if a policy is given. Without recipe and policy the pretrained model proposes.
        policy: what proposes; or "module:Class", which is made as `Class(seed=seed, **policy_settings)`.
        policy_settings: see there.
        names: of the search space's columns, for the pretrained model or a policy given as "module:Class"
            that reads them; see `PretrainedPolicy`. HPO-B's own are in `diffhpo.suites.column_names`.

    Raises:
        InputError: on an unknown recipe, a negative seed, or a class that is not there.

    Example:
        >>> method = DiffusionHPO(seed=0)
        >>> method.observe_and_suggest([[0.1], [0.4], [0.9]], [[0.0], [1.0], [0.2]]).shape
        (1, 1)
    """

    def __init__(
        self,
        seed: int = 0,
        *,
        recipe: str | Recipe | None = None,
        policy: Policy | str | None = None,
        policy_settings: Mapping[str, Any] | None = None,
        names: Sequence[str] | None = None,
    ) -> None:
        self.policy: Policy
        if isinstance(policy, str):
            told = {} if names is None else {"names": names}
            self.policy = _made(policy, {"seed": seed, **told}, policy_settings or {})
        elif policy is not None:
            self.policy = check_policy(policy)
        elif recipe is not None:
            self.policy = HistoryPolicy(recipe, seed=seed)
        else:
            self.policy = PretrainedPolicy(seed=seed, names=names)

    def observe_and_suggest(
        self, X_obs: ArrayLike, y_obs: ArrayLike, X_pen: ArrayLike | None = None
    ) -> Array | int:
        """The next configuration.

        Args:
            X_obs: (n, d) evaluated configurations in [0, 1].
            y_obs: (n,) or (n, 1) their values, larger is better.
            X_pen: (m, d) pending configurations of the discrete protocol; None for the continuous one.

        Returns:
            Continuous: (1, d) float64 in [0, 1]. Discrete: the index of a row of X_pen.

        Raises:
            InputError: naming the argument, what came and what is accepted.
        """
        history = History.from_arrays(X_obs, y_obs)
        if X_pen is None:
            return self.policy.suggest(history, 1)
        return self.policy.choose(history, check_pool(X_pen, history.dim or None))

    def suggest_batch(self, X_obs: ArrayLike, y_obs: ArrayLike, count: int) -> Array:
        """The next `count` configurations, which are evaluated together, (count, d) float64 in [0, 1].

        Args:
            X_obs: (n, d) evaluated configurations in [0, 1].
            y_obs: (n,) or (n, 1) their values, larger is better.
            count: how many, at least 1.

        Raises:
            InputError: naming the argument, what came and what is accepted.
        """
        return self.policy.suggest(History.from_arrays(X_obs, y_obs), count)


def _class_of(name: str) -> Any:
    module, _, attribute = name.partition(":")
    try:
        if module.startswith("."):
            raise ValueError("a relative module has no package here")
        found = getattr(import_module(module), attribute)
    except (ValueError, ModuleNotFoundError, AttributeError) as error:
        raise InputError(f"policy is {name!r}; module:Class is needed, but {error}") from error
    if not callable(found):
        raise InputError(f"policy is {name!r}; module:Class is needed, but it is {found!r}")
    return found


def _made(name: str, told: Mapping[str, Any], settings: Any) -> Policy:
    """The policy of a name, made with settings."""
    if not isinstance(settings, Mapping):
        raise InputError(f"policy_settings is {settings!r}; a dictionary is needed")
    make = _class_of(name)
    arguments = {**told, **settings}
    try:
        signature(make).bind(**arguments)
    except TypeError as error:
        raise InputError(f"policy is {name!r}, which does not take {list(arguments)}: {error}") from None
    return check_policy(make(**arguments))
