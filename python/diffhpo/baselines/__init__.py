# SPDX-License-Identifier: Apache-2.0
"""The methods that diffhpo is compared with; all speak `observe_and_suggest`, HPO-B's interface.

`BASELINES` maps short names to the classes. A class is imported when it is first asked for: BoTorch and
Optuna take seconds to import, and Optuna may not be installed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from diffhpo.process.lazy_import import lazy_exports

if TYPE_CHECKING:
    from diffhpo.baselines.deep_gaussian_process import DeepGaussianProcess
    from diffhpo.baselines.gaussian_process import GaussianProcess
    from diffhpo.baselines.jittered_elites import JitteredElites
    from diffhpo.baselines.optuna_samplers import OptunaCMAES, OptunaGP, OptunaTPE
    from diffhpo.baselines.q_log_ei import QLogEI
    from diffhpo.baselines.random import RandomSearch
    from diffhpo.baselines.smac3 import SMAC
    from diffhpo.baselines.sobol import SobolSearch

    BASELINES: dict[str, type]

__all__ = [
    "BASELINES",
    "SMAC",
    "DeepGaussianProcess",
    "GaussianProcess",
    "JitteredElites",
    "OptunaCMAES",
    "OptunaGP",
    "OptunaTPE",
    "QLogEI",
    "RandomSearch",
    "SobolSearch",
]

_NAMES = {
    "random": "RandomSearch",
    "gp": "GaussianProcess",
    "deep-gp": "DeepGaussianProcess",
    "optuna-gp": "OptunaGP",
    "qlogei": "QLogEI",
    "smac": "SMAC",
    "sobol": "SobolSearch",
    "tpe": "OptunaTPE",
    "cma-es": "OptunaCMAES",
    "elites": "JitteredElites",
}

_class, __dir__ = lazy_exports(
    __name__,
    {
        "RandomSearch": "random",
        "GaussianProcess": "gaussian_process",
        "DeepGaussianProcess": "deep_gaussian_process",
        "OptunaGP": "optuna_samplers",
        "OptunaTPE": "optuna_samplers",
        "QLogEI": "q_log_ei",
        "SMAC": "smac3",
        "SobolSearch": "sobol",
        "OptunaCMAES": "optuna_samplers",
        "JitteredElites": "jittered_elites",
    },
)


def __getattr__(name: str) -> Any:
    if name == "BASELINES":
        return {short: _class(long) for short, long in _NAMES.items()}
    return _class(name)
