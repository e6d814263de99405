# SPDX-License-Identifier: Apache-2.0
"""The software and the machine that a run was made with."""

from __future__ import annotations

import platform
from importlib import metadata
from pathlib import Path

from diffhpo import __version__
from diffhpo.process.cores import cores

#: Packages whose version can change a result.
PACKAGES = (
    "numpy",
    "torch",
    "botorch",
    "gpytorch",
    "optuna",
    "cmaes",
    "xgboost",
    "xgboost-cpu",
    "ioh",
    "smac",
)


def versions() -> dict[str, str]:
    """Versions of diffhpo, Python and the installed ones of `PACKAGES`, none of which is imported.

    Example:
        >>> sorted(set(versions()) & {"diffhpo", "numpy", "python"})
        ['diffhpo', 'numpy', 'python']
    """
    found = {"diffhpo": __version__, "python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def machine() -> dict[str, str]:
    """Processor, number of cores and operating system, as text.

    Example:
        >>> sorted(machine())
        ['cores', 'processor', 'system']
    """
    return {
        "processor": _processor(),
        "cores": str(cores()),
        "system": f"{platform.system()} {platform.machine()}",
    }


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or "unknown"
