# SPDX-License-Identifier: Apache-2.0
"""Ray Tune's search spaces -> `Space`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ray.tune.search.sample import Categorical as RayCategorical
from ray.tune.search.sample import Domain, LogUniform, Quantized, Uniform
from ray.tune.search.sample import Float as RayFloat
from ray.tune.search.sample import Integer as RayInteger
from ray.tune.search.variant_generator import parse_spec_vars

from diffhpo.errors import SpaceError
from diffhpo.space import Categorical, Constant, Float, Int, Parameter, Space

ACCEPTED = (
    "tune.uniform, quniform, loguniform, randint, qrandint, lograndint and choice; conditions and all else "
    "with a diffhpo.Space as `space`"
)


def ray_space(config: Mapping[str, Any]) -> Space:
    """The Space of the domains in a Tune config; its values that are not searched are left out.

    A parameter in a nested dictionary is named by its path, "optimizer/lr".

    Raises:
        SpaceError: on a grid search, a sampling function or another distribution, or where nothing is
            searched; the message says what is accepted.

    Example:
        >>> from ray import tune
        >>> ray_space({"lr": tune.loguniform(1e-4, 1.0), "epochs": 3}).parameters
        {'lr': Float(low=0.0001, high=1.0, log=True)}
    """
    _, domains, grids = parse_spec_vars(dict(config))
    if grids:
        raise SpaceError(f"{_name(grids[0][0])!r} is a grid search; use tune.choice. Accepted: {ACCEPTED}")
    if not domains:
        raise SpaceError(f"the config has nothing to search; accepted: {ACCEPTED}")
    return Space({_name(path): _parameter(_name(path), domain) for path, domain in domains})


def _name(path: tuple[Any, ...]) -> str:
    return "/".join(map(str, path))


def _parameter(name: str, domain: Domain) -> Parameter:
    sampler = domain.get_sampler()
    quantum = None
    if isinstance(sampler, Quantized):
        quantum, sampler = sampler.q, sampler.get_sampler()
    log = isinstance(sampler, LogUniform)
    if isinstance(sampler, (Uniform, LogUniform)) and not (log and quantum not in (None, 1)):
        if isinstance(domain, RayFloat) and quantum is None:
            return Float(float(domain.lower), float(domain.upper), log=log)
        if isinstance(domain, RayFloat) and quantum is not None and not log:
            low, high = _multiples(name, domain, quantum)
            return Float(low, high, step=float(quantum)) if low < high else Constant(low)
        if isinstance(domain, RayInteger):
            return _integer(name, domain, quantum, log)
        if isinstance(domain, RayCategorical) and not any(isinstance(c, Domain) for c in domain.categories):
            return _choice(name, domain.categories)
    described = type(domain).__name__ + f" with {sampler}" + (f" in steps of {quantum}" if quantum else "")
    raise SpaceError(f"parameter {name!r} is {described}; accepted: {ACCEPTED}")


def _integer(name: str, domain: RayInteger, quantum: Any, log: bool) -> Parameter:
    """Tune's upper bound of whole numbers is excluded, and included where they are quantized."""
    if quantum in (None, 1):
        low, high, step = int(domain.lower), int(domain.upper) - (quantum is None), 1
    else:
        low, high = map(round, _multiples(name, domain, quantum))
        step = int(quantum)
    if low == high:
        return Constant(low)
    return Int(low, high, log=log, step=step)


def _multiples(name: str, domain: Any, quantum: Any) -> tuple[float, float]:
    """The smallest and the largest multiple of the quantum within the bounds."""
    low = math.ceil(domain.lower / quantum - 1e-9) * quantum
    high = math.floor(domain.upper / quantum + 1e-9) * quantum
    if low > high:
        raise SpaceError(
            f"parameter {name!r}: there is no multiple of {quantum} in [{domain.lower}, {domain.upper}]"
        )
    return low, high


def _choice(name: str, categories: list[Any]) -> Parameter:
    if len(categories) == 1:
        return Constant(categories[0])
    try:
        return Categorical(categories)
    except SpaceError as error:
        raise SpaceError(f"parameter {name!r}: {error}") from None
