# SPDX-License-Identifier: Apache-2.0
"""What is installed, which executor runs and why: the facts that a bug report needs."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import diffhpo

#: Distributions whose version matters; some stand for one another.
PACKAGES = (
    "torch",
    "numpy",
    "scipy",
    "botorch",
    "gpytorch",
    "safetensors",
    "xgboost",
    "xgboost-cpu",
    "optuna",
    "cmaes",
    "matplotlib",
    "scikit-posthocs",
    "pooch",
)


def examine() -> dict[str, Any]:
    """Facts about this installation, as JSON values.

    Example:
        >>> sorted(examine())
        ['cache', 'diffhpo', 'executors', 'machine', 'packages', 'python', 'threads']
    """
    import torch

    from diffhpo.hpob.fetch import cache_directory
    from diffhpo.kernels.executors import describe

    return {
        "diffhpo": diffhpo.__version__,
        "python": platform.python_version(),
        "machine": {
            "system": platform.platform(),
            "processor": platform.machine(),
            "cores": os.cpu_count(),
            "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        },
        "threads": {"torch": torch.get_num_threads(), "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS")},
        "executors": describe(),
        "packages": {name: _version(name) for name in PACKAGES},
        "cache": str(cache_directory()),
    }


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
