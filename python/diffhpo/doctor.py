# SPDX-License-Identifier: Apache-2.0
"""What is installed, which executor runs and why, and what is slow or missing, with the remedy."""

from __future__ import annotations

import os
import re
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from diffhpo.errors import DependencyError
from diffhpo.process.cores import cores
from diffhpo.study.environment import machine, versions

#: Package, what it brings, and the command that installs it.
_OPTIONAL = (
    ("matplotlib", "pictures and `diffhpo report`", 'pip install "matplotlib>=3.7"'),
    ("optuna", "the Optuna sampler, `diffhpo report` and three methods of the benchmark",
     'pip install "optuna>=4.0"'),
    ("sklearn", "the search class for scikit-learn's estimators", 'pip install "scikit-learn>=1.6"'),
    ("ConfigSpace", "conversion from and to ConfigSpace", "pip install ConfigSpace"),
    ("pooch", "`diffhpo data fetch`", 'pip install "pooch>=1.8"'),
    ("xgboost", "the benchmark's surrogates", 'pip install "diffhpo[bench]"'),
)  # fmt: skip
#: The oldest release of Optuna that the sampler takes.
_OLDEST_OPTUNA = (4, 0)
_THREADS = "OMP_NUM_THREADS"


@dataclass(frozen=True)
class Finding:
    """Something that is slow, missing or broken, and what helps."""

    kind: str
    """"broken": a part of diffhpo does not work; "slow": it works and could be faster; "missing": something
    optional is absent."""
    text: str
    """One sentence."""


def examine() -> dict[str, Any]:
    """Facts about this installation, as JSON values; "findings" are those that have a remedy.

    Example:
        >>> sorted(examine())
        ['cache', 'executors', 'findings', 'machine', 'threads', 'versions']
    """
    import torch

    from diffhpo.kernels.executors import describe

    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    facts: dict[str, Any] = {
        "versions": versions(),
        "machine": {**machine(), "gpu": gpu},
        "threads": {"torch": torch.get_num_threads(), _THREADS: os.environ.get(_THREADS)},
        "executors": describe(),
        "cache": _cache(),
    }
    return {**facts, "findings": [asdict(finding) for finding in findings(facts)]}


def findings(facts: dict[str, Any]) -> list[Finding]:
    """What is broken, slow or missing according to the facts of `examine`, in this order.

    Example:
        >>> facts = examine()
        >>> facts["executors"]["auto"] = "cpu-portable"
        >>> [one.kind for one in findings(facts) if "portable" in one.text]
        ['slow']
    """
    found = [*_executors(facts["executors"]), *_cuda(facts), *_threads(facts["threads"])]
    found += [*_weights(), *_packages(), *_writable(facts["cache"])]
    order = ("broken", "slow", "missing")
    return sorted(found, key=lambda finding: order.index(finding.kind))


def _cache() -> str | None:
    from diffhpo.hpob.fetch import cache_directory

    try:
        return str(cache_directory())
    except DependencyError:  # pooch, which finds the user's own, is optional
        return None


def _executors(executors: dict[str, Any]) -> Iterator[Finding]:
    auto = str(executors["auto"])
    if auto.startswith("error"):
        yield Finding("broken", f"no native executor can be chosen ({auto.removeprefix('error: ')}).")
        return
    missing = executors["unavailable"]
    if auto == "cpu-portable" and executors.get("DIFFHPO_ISA") is None:
        if "not built" in missing.get("cpu-avx2", ""):
            yield Finding(
                "slow",
                "The portable kernels run, which the compiler vectorises as it can: there are none written "
                "for this processor's architecture.",
            )
        else:
            yield Finding(
                "slow",
                "The portable kernels run, several times slower than AVX2's, because this processor or its "
                "virtual machine does not offer AVX2; run on one that does.",
            )
    forced = executors.get("DIFFHPO_ISA")
    best = [name for name in executors["available"] if name.startswith("cpu-")][-1]
    if forced is not None and auto != best:
        yield Finding(
            "slow", f"DIFFHPO_ISA={forced} chooses {auto}; unset it, and {best} runs, which is faster."
        )


def _cuda(facts: dict[str, Any]) -> Iterator[Finding]:
    import torch

    if facts["machine"]["gpu"] is not None and not facts["executors"]["cuda_built"]:
        yield Finding(
            "slow",
            f"There is a GPU ({facts['machine']['gpu']}) and this build has no CUDA kernels: networks on it "
            "run in plain torch; reinstall from source where nvcc is on PATH.",
        )
    device = Path("/proc/driver/nvidia/version").exists()
    if device and not torch.cuda.is_available():
        yield Finding(
            "slow",
            "There is an NVIDIA driver and torch sees no GPU; install a CUDA build of torch to use it, or "
            "leave it: suggestions are made on the CPU in any case.",
        )
    if torch.version.cuda is not None and not device:
        yield Finding(
            "slow",
            f"torch is a CUDA build ({torch.version.cuda}) on a machine without a GPU: gigabytes of "
            "libraries for nothing; install torch with the project's constraints.txt, or its CPU build.",
        )


def _threads(threads: dict[str, Any]) -> Iterator[Finding]:
    wanted = threads[_THREADS]
    available = cores()
    if threads["torch"] > available:
        cause = f"{_THREADS}={wanted}" if wanted else "torch's default"
        yield Finding(
            "slow",
            f"torch uses {threads['torch']} threads ({cause}) on {available} cores, which wait for each "
            f"other; set {_THREADS}={available}.",
        )
    if threads["torch"] == 1 and available > 1 and wanted is not None:
        yield Finding(
            "slow",
            f"{_THREADS}={wanted} keeps large batches and training on one of {available} cores; unset it "
            "unless other processes use them.",
        )


def _weights() -> Iterator[Finding]:
    from diffhpo.errors import CheckpointError
    from diffhpo.pretrained import pretrained_model

    try:
        pretrained_model()
    except CheckpointError as error:
        yield Finding("broken", f"The pretrained weights cannot be read: {error}; reinstall diffhpo.")


def _packages() -> Iterator[Finding]:
    from importlib.util import find_spec

    for package, brings, command in _OPTIONAL:
        if find_spec(package) is None:
            yield Finding("missing", f"{package} is not installed; it brings {brings}: {command}")
    try:
        version = metadata.version("optuna")
    except metadata.PackageNotFoundError:
        return
    numbers = re.match(r"(\d+)\.(\d+)", version)
    if numbers is not None and tuple(map(int, numbers.groups())) < _OLDEST_OPTUNA:
        oldest = ".".join(map(str, _OLDEST_OPTUNA))
        yield Finding(
            "broken",
            f"optuna {version} is too old for the sampler; {oldest} or newer is needed: "
            f'{Path(sys.executable).name} -m pip install -U "optuna>={oldest}"',
        )


def _writable(cache: str | None) -> Iterator[Finding]:
    """Nothing is left behind: what does not exist yet is judged by the nearest directory that does."""
    if cache is None:
        return
    place = Path(cache)
    while not place.exists() and place != place.parent:
        place = place.parent
    try:
        with tempfile.TemporaryFile(dir=place):
            pass
    except OSError as error:
        yield Finding(
            "broken",
            f"The cache {cache} cannot be written ({error.strerror or error}); set DIFFHPO_CACHE to a "
            "directory that can be.",
        )
