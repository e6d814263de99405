# SPDX-License-Identifier: Apache-2.0
"""The methods that a study can run, by name."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from diffhpo.errors import InputError


class SuggestingMethod(Protocol):
    """What a study runs: HPO-B's own interface."""

    def observe_and_suggest(
        self,
        X_obs: NDArray[np.float64],
        y_obs: NDArray[np.float64],
        X_pen: NDArray[np.float64] | None = None,
    ) -> Any:
        """The next configuration (1, d), or the index of one of the pending ones (m, d)."""


@dataclass(frozen=True)
class MethodEntry:
    """One method of the registry.

    Attributes:
        label: its name in tables and figures.
        target: "module:Class"; imported when a run needs it.
        description: one line for the user.
        settings: keyword arguments of the class beside `seed`.
        reads_names: whether the class takes the search space's column names, as `names`.
    """

    label: str
    target: str
    description: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    reads_names: bool = False


_DIFFUSION = "diffhpo.hpob.method:DiffusionHPO"
_PRETRAINED = "diffhpo.pretrained_policy:PretrainedPolicy"


def _ablation(label: str, recipe: Mapping[str, Any], *, names: bool = False) -> MethodEntry:
    """The pretrained policy with some settings of `PretrainedRecipe` changed."""
    settings = {"policy": _PRETRAINED, "policy_settings": {"recipe": recipe}}
    changed = ", ".join(f"{key}={value}" for key, value in recipe.items())
    told = "told names" if names else "told numbers alone"
    return MethodEntry(label, _DIFFUSION, f"ablation of pretrained, {told}: {changed}", settings, names)


METHODS: dict[str, MethodEntry] = {
    "random": MethodEntry("Random", "diffhpo.baselines:RandomSearch", "uniform random search"),
    "gp": MethodEntry(
        "GP",
        "diffhpo.baselines:GaussianProcess",
        "Gaussian process, Matern 5/2, logarithmic expected improvement",
    ),
    "gp-ucb": MethodEntry(
        "GP-UCB",
        "diffhpo.baselines:GaussianProcess",
        "Gaussian process, Matern 5/2, upper confidence bound",
        {"acquisition": "ucb"},
    ),
    "optuna-gp": MethodEntry("Optuna GP", "diffhpo.baselines:OptunaGP", "Optuna's Gaussian process sampler"),
    "qlogei": MethodEntry(
        "qLogEI",
        "diffhpo.baselines:QLogEI",
        "the same Gaussian process; batches by BoTorch's qLogEI, one point after the other",
    ),
    "deep-gp": MethodEntry(
        "Deep GP",
        "diffhpo.baselines:DeepGaussianProcess",
        "deep-kernel Gaussian process: a Gaussian process on features that a network learns",
    ),
    "tpe": MethodEntry("TPE", "diffhpo.baselines:OptunaTPE", "Optuna's tree-structured Parzen estimator"),
    "smac": MethodEntry("SMAC3", "diffhpo.baselines:SMAC", "SMAC3: random forest and expected improvement"),
    "sobol": MethodEntry("Sobol", "diffhpo.baselines:SobolSearch", "scrambled Sobol sequence"),
    "cma-es": MethodEntry("CMA-ES", "diffhpo.baselines:OptunaCMAES", "Optuna's covariance matrix adaptation"),
    "elites": MethodEntry(
        "Elites",
        "diffhpo.baselines:JitteredElites",
        "control without diffusion: the best trials with noise added, ranked by a Gaussian process",
    ),
    "brief": MethodEntry(
        "Diffusion (brief)",
        "diffhpo.hpob.method:DiffusionHPO",
        "the diffusion model as first described: trained on the history, one sample of 1000 steps",
        {"recipe": "brief"},
    ),
    "elite": MethodEntry(
        "Diffusion (elite)",
        "diffhpo.hpob.method:DiffusionHPO",
        "the diffusion model's default recipe: many candidates, ranked by a predictive model",
        {"recipe": "elite"},
    ),
    "pretrained": MethodEntry(
        "Diffusion (pretrained)",
        _DIFFUSION,
        "the pretrained universal model, told numbers alone, as the other methods are",
        {"policy": _PRETRAINED},
    ),
    "pretrained-named": MethodEntry(
        "Diffusion (pretrained, names)",
        _DIFFUSION,
        "the pretrained universal model, told the names of the parameters too",
        {"policy": _PRETRAINED},
        reads_names=True,
    ),
    "pretrained-predictor": _ablation("Predictor alone", {"rank_with": "predictor"}),
    "pretrained-gp": _ablation("GP alone", {"rank_with": "gp"}),
    "named-predictor": _ablation("Names, Predictor alone", {"rank_with": "predictor"}, names=True),
    "named-own-axes": _ablation("Names, columns on their own axes", {"log_axes": False}, names=True),
    "named-no-diffusion": _ablation(
        "Names, jittered elites instead of diffusion", {"generated": 0, "elites": 192}, names=True
    ),
    "named-diffusion-only": _ablation(
        "Names, diffusion candidates alone",
        {"generated": 384, "spread": 0, "elites": 0, "refinements": 0},
        names=True,
    ),
}


def entry(name: str) -> MethodEntry:
    """The entry of a registered name, or one made for "module:Class".

    Raises:
        InputError: if the name is neither; the message lists what is accepted.

    Example:
        >>> entry("gp").label
        'GP'
        >>> entry("my_package.search:Annealing").label
        'Annealing'
    """
    if name in METHODS:
        return METHODS[name]
    module, colon, attribute = name.partition(":")
    if colon and attribute.isidentifier() and all(part.isidentifier() for part in module.split(".")):
        return MethodEntry(attribute, name, f"the class {attribute} of {module}")
    raise InputError(
        f"method is {name!r}; accepted: {', '.join(METHODS)}, or module:Class for a class of your own with "
        "observe_and_suggest(X_obs, y_obs, X_pen=None)"
    )


def create(name: str, seed: int, *, names: Sequence[str] | None = None) -> SuggestingMethod:
    """A fresh instance of a method.

    Args:
        name: a name of `METHODS`, or "module:Class" for a class that is constructed as `Class(seed=seed)`.
        seed: its random seed, at least 0.
        names: of the search space's columns, for methods that read them.

    Raises:
        InputError: if the name is unknown, the module or the class is not there, or it has no
            `observe_and_suggest`.
        DependencyError: if the method needs an optional package that is absent.
    """
    chosen = entry(name)
    module_name, _, attribute = chosen.target.partition(":")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        # A missing parent package counts as the module; a missing import inside the module does not.
        if error.name is None or not (module_name + ".").startswith(error.name + "."):
            raise
        raise InputError(
            f"method {name!r}: there is no module {module_name}; put it on PYTHONPATH"
        ) from error
    if not hasattr(module, attribute):
        raise InputError(f"method {name!r}: {module_name} has no {attribute}")
    told = {"names": names} if chosen.reads_names and names is not None else {}
    make = getattr(module, attribute)
    try:
        method = make(seed=seed, **chosen.settings, **told)
    except TypeError as error:
        raise InputError(f"method {name!r} could not be made with seed={seed}: {error}") from error
    if not callable(getattr(method, "observe_and_suggest", None)):
        raise InputError(f"method {name!r} has no observe_and_suggest(X_obs, y_obs, X_pen=None)")
    return method
