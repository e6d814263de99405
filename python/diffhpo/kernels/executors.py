# SPDX-License-Identifier: Apache-2.0
"""Which executors there are, why others are not, and the choice among them."""

from __future__ import annotations

import os
import warnings
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from diffhpo.errors import BackendError, ExecutorWarning, InputError
from diffhpo.kernels import ops
from diffhpo.kernels.problem import DenoiseProblem

#: Builds of the CPU kernel, slowest first.
CPU_EXECUTORS = ("cpu-portable", "cpu-avx2", "cpu-avx512")
#: What `executor` may be.
ACCEPTED = ("auto", "reference", "cpu", *CPU_EXECUTORS, "cuda")
#: What `precision` may be.
PRECISIONS = ("fp32", "bf16", "int8")
#: Forces a build of the CPU kernel: portable, avx2 or avx512.
ISA_VARIABLE = "DIFFHPO_ISA"


@dataclass(frozen=True)
class Executor:
    """One way of running an operation: "reference", a build of the CPU kernels, or "cuda"."""

    name: str
    precision: str = "fp32"

    @property
    def isa(self) -> str:
        """The build of the CPU kernels that the executor stands for."""
        return self.name.removeprefix("cpu-")

    def denoise(
        self, problem: DenoiseProblem, packed: Tensor, threads: int, coded: Tensor | None = None
    ) -> Tensor:
        """Run a native executor; `ops.denoise` on the device that the executor stands for."""
        return ops.denoise(
            problem, packed, isa=self.isa, threads=threads, precision=self.precision, coded=coded
        )


def unavailable() -> dict[str, str]:
    """Executors that cannot run here, each with the reason and the remedy."""
    reasons = {name: _missing(name) for name in (*CPU_EXECUTORS, "cuda")}
    return {name: reason for name, reason in reasons.items() if reason is not None}


def _missing(name: str) -> str | None:
    """Why the native executor `name` cannot run here; None if it can."""
    try:
        built, runnable = ops.native_isas(runnable=False), ops.native_isas(runnable=True)
    except BackendError as error:
        return str(error)
    if name != "cuda":
        isa = name.removeprefix("cpu-")
        if isa not in built:
            return f"{isa} was not built: this is not an x86-64 processor"
        if isa not in runnable:
            return f"this processor, or its operating system, does not offer {isa}"
        return None
    if not ops.cuda_built():
        return "this build has no CUDA kernels; reinstall where nvcc is on PATH"
    if not torch.cuda.is_available():
        return "torch sees no CUDA device; check the driver and that torch is a CUDA build"
    if torch.cuda.get_device_capability() < (8, 0):
        return "the CUDA device is older than compute capability 8.0"
    return None


def _best_cpu() -> str:
    runnable = ops.native_isas(runnable=True)
    forced = os.environ.get(ISA_VARIABLE)
    if forced is None:
        return f"cpu-{runnable[-1]}"
    if forced not in runnable:
        raise BackendError(
            f"{ISA_VARIABLE}={forced!r}; accepted on this machine: {', '.join(runnable)}. Correct or unset it"
        )
    return f"cpu-{forced}"


def choose_executor(
    name: str,
    *,
    device: torch.device,
    cross_attention: bool = False,
    precision: str = "fp32",
    kernels: tuple[str, ...] = ("cpu", "cuda"),
) -> Executor:
    """The executor that `name` stands for, for a network on `device`, at a precision.

    `kernels` says on which devices the operation has native kernels. Those of networks with cross-attention
    are on the CPU, at precision "fp32" only.

    "auto" is the native executor of the device. Only where the native kernels do not cover the network, or
    its device has none, does it take the reference, and says so.

    Raises:
        InputError: if the name or the precision is unknown, or the network lies on another device than the
            executor.
        BackendError: if the executor is not available, or not at this precision; the message has the remedy.

    Warns:
        ExecutorWarning: if "auto" takes the reference.
    """
    if name not in ACCEPTED:
        raise InputError(f"executor is {name!r}; accepted: {', '.join(ACCEPTED)}")
    if precision not in PRECISIONS:
        raise InputError(f"precision is {precision!r}; accepted: {', '.join(PRECISIONS)}")
    chosen = _choose(name, device, cross_attention, kernels)
    if precision == "fp32":
        return chosen
    if cross_attention and chosen.name in CPU_EXECUTORS:
        raise BackendError(
            f"networks with cross-attention do not run at precision {precision}; use precision='fp32'"
        )
    offered = _precisions(chosen.name)
    if precision not in offered:
        raise BackendError(
            f"executor {chosen.name} does not run at precision {precision} on this machine; it offers "
            f"{', '.join(offered)}. Use precision='fp32'; see `diffhpo doctor`"
        )
    return Executor(chosen.name, precision)


def _precisions(name: str) -> list[str]:
    if name == "cuda":
        return ["fp32", "bf16"]
    return ops.precisions(name.removeprefix("cpu-")) if name in CPU_EXECUTORS else ["fp32"]


def _choose(name: str, device: torch.device, cross_attention: bool, kernels: tuple[str, ...]) -> Executor:
    if name == "reference":
        return Executor("reference")
    on_cuda = name == "cuda" or (name == "auto" and device.type == "cuda")
    if on_cuda and (cross_attention or "cuda" not in kernels):
        reason = "this operation has no CUDA kernel yet"
        if cross_attention:
            reason = "the CUDA kernels do not cover networks with cross-attention yet"
        if name == "auto":
            return _reference(reason)
        raise BackendError(f'{reason}; move the model to the CPU, or use executor="reference"')
    if name == "auto":
        if device.type == "cpu":
            name = "cpu"
        elif device.type == "cuda" and _missing("cuda") is None:
            name = "cuda"
        else:
            no_kernels = f"there are no native kernels for {device.type}"
            return _reference(_missing("cuda") or no_kernels if device.type == "cuda" else no_kernels)
    wanted = "cuda" if name == "cuda" else "cpu"
    if wanted != device.type and (name == "cpu" or _missing(name) is None):
        raise InputError(f"executor={name!r}, the network is on {device}; use network.to({wanted!r})")
    return _native(name)


def _native(name: str) -> Executor:
    """The native executor of this name; "cpu" is the best build."""
    if name == "cpu":
        name = _best_cpu()
    missing = _missing(name)
    if missing is not None:
        raise BackendError(f"executor {name} is not available: {missing}; see `diffhpo doctor`")
    return Executor(name)


def training_executor(name: str, not_covered: str | None) -> Executor:
    """The executor of training that `name` stands for.

    Args:
        name: "auto", "reference", "cpu" or one of `CPU_EXECUTORS`.
        not_covered: why the native training step cannot train the models, or None if it can. With a reason
            "auto" takes the reference.

    Raises:
        InputError: if the name is unknown.
        BackendError: if the executor is not available or cannot train the models.

    Example:
        >>> training_executor("auto", "the network has cross-attention").name
        'reference'
    """
    accepted = tuple(known for known in ACCEPTED if known != "cuda")
    if name not in accepted:
        raise InputError(f"executor is {name!r}; accepted for training: {', '.join(accepted)}")
    if name == "reference" or (name == "auto" and not_covered is not None):
        return Executor("reference")
    if not_covered is not None:
        raise BackendError(f'{not_covered}, which native training does not cover; use executor="reference"')
    return _native("cpu" if name == "auto" else name)


def _reference(reason: str) -> Executor:
    warnings.warn(
        f'executor="auto" takes the reference: {reason}. It computes the same, several times slower; '
        'executor="reference" silences this',
        ExecutorWarning,
        stacklevel=5,
    )
    return Executor("reference")


def describe() -> dict[str, Any]:
    """What `diffhpo doctor` prints about executors.

    Returns:
        "auto": the executor that a network on the CPU gets, or the error; "available": their names;
        "unavailable": name -> reason; "precisions": of `auto`; "cuda_built"; "threads"; the value of
        DIFFHPO_ISA.
    """
    missing = unavailable()
    names = ("reference", *CPU_EXECUTORS, "cuda")
    try:
        auto = _best_cpu()
    except BackendError as error:
        auto = f"error: {error}"
    return {
        "auto": auto,
        "available": [name for name in names if name not in missing],
        "unavailable": missing,
        "precisions": _precisions(auto),
        "cuda_built": ops.cuda_built(),
        "threads": torch.get_num_threads(),
        ISA_VARIABLE: os.environ.get(ISA_VARIABLE),
    }
