# SPDX-License-Identifier: Apache-2.0
"""The native module, and the reverse loop as a torch operator on it. Nothing else imports the module."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from types import ModuleType

import torch
from torch import Tensor
from torch.utils.dlpack import to_dlpack  # type: ignore[attr-defined]

from diffhpo.errors import BackendError, InputError
from diffhpo.kernels import cuda_loop, reference
from diffhpo.kernels.cuda_loop import CudaLoop
from diffhpo.kernels.problem import DenoiseProblem, NetworkWeights


@functools.cache
def _native() -> ModuleType | ImportError:
    try:
        from diffhpo import _C
    except ImportError as error:
        return error
    return _C


def native() -> ModuleType:
    """The native module.

    Raises:
        BackendError: if it is missing or cannot be loaded.
    """
    module = _native()
    if isinstance(module, ImportError):
        raise BackendError(
            f"the native module diffhpo._C cannot be loaded ({module}): this install is broken; run "
            "`diffhpo doctor`, reinstall with `pip install --force-reinstall --no-deps .`, or ask for "
            'executor="reference"'
        ) from module
    return module


def native_isas(*, runnable: bool) -> list[str]:
    """Builds of the CPU kernel, slowest first; with `runnable`, those that this processor can run.

    Raises:
        BackendError: if the native module is missing.
    """
    isas: list[str] = native().isas(runnable)
    return isas


def _native_loaded() -> bool:
    return not isinstance(_native(), ImportError)


def cuda_built() -> bool:
    """Whether the native module holds the CUDA kernels; false as well where there is no module."""
    return _native_loaded() and bool(native().cuda_built)


class Snapshot:
    """Tensors and their values now; tells later whether any value has changed, whoever wrote to it.

    Values are compared, not version counters: an update through `.data` leaves those as they were.
    """

    def __init__(self, tensors: Sequence[Tensor]) -> None:
        self._tensors = [tensor.detach() for tensor in tensors]
        self._identity = _identity(tensors)
        plain = all(
            t.device.type == "cpu" and t.dtype == torch.float32 and t.is_contiguous() for t in tensors
        )
        self._native = native().Snapshot(self._tensors) if plain and _native_loaded() else None
        self._copies = [] if self._native else [tensor.clone() for tensor in self._tensors]

    def matches(self, tensors: Sequence[Tensor]) -> bool:
        """Whether `tensors` are those of the snapshot, in the same memory, with the same values."""
        if _identity(tensors) != self._identity:
            return False
        if self._native is not None:
            return bool(self._native.matches())
        return all(torch.equal(new, old) for new, old in zip(tensors, self._copies, strict=True))


def _identity(tensors: Sequence[Tensor]) -> list[tuple[int, torch.Size, torch.dtype]]:
    return [(tensor.data_ptr(), tensor.shape, tensor.dtype) for tensor in tensors]


def pack(weights: NetworkWeights) -> Tensor:
    """Weights in the kernels' layout (csrc/denoise/network_layout.h).

    Returns:
        (size,) float32 on the weights' device.

    Raises:
        BackendError: if the native module is missing.
    """
    width, dim = weights.input_weight.shape

    def host(parameter: Tensor) -> Tensor:
        return parameter.detach().to("cpu", torch.float32).contiguous()

    packed = torch.empty(native().packed_size(dim, width, len(weights.expand_weights)), dtype=torch.float32)
    native().pack(
        packed,
        host(weights.input_weight),
        host(weights.input_bias),
        [host(weight) for weight in weights.expand_weights],
        [host(weight) for weight in weights.contract_weights],
        [host(bias) for bias in weights.contract_biases],
        host(weights.output_weight),
        host(weights.output_bias),
    )
    return packed.to(weights.input_weight.device)


def precisions(isa: str) -> list[str]:
    """Precisions at which this machine runs a build of the CPU kernel: "fp32", and "bf16", "int8" if it can.

    Raises:
        BackendError: if the native module is missing.
        ValueError: if there is no such build.
    """
    names: list[str] = native().precisions(isa)
    return names


def encode(packed: Tensor, dim: int, width: int, blocks: int, precision: str) -> Tensor:
    """Weights at a lower precision, as the kernels of `packed`'s device read them.

    On the CPU these are the residual blocks alone (csrc/denoise/precision.h), on CUDA all matrices in the
    order of the tensor cores' fragments (csrc/cuda/fragment_layout.h).

    Args:
        packed: `pack`'s result.
        dim, width, blocks: the network's sizes.
        precision: "bf16", or on the CPU "int8".

    Returns:
        (size,) uint8 where `packed` is.

    Raises:
        BackendError: if the native module is missing, or the CUDA kernels do not cover the network.
        ValueError: if an argument does not fit or, on the CPU, a weight is not finite.
    """
    if packed.device.type == "cuda":
        if precision != "bf16":
            raise ValueError(f"precision is {precision!r}; accepted on CUDA: bf16")
        return cuda_loop.arrange(native(), packed, dim, width, blocks)
    coded = torch.empty(native().coded_size(dim, width, blocks, precision), dtype=torch.uint8)
    native().encode(coded, packed, dim, width, blocks, precision)
    return coded


def multiply_add(rounds: int, *, isa: str) -> int:
    """Run `rounds` rounds of float32 multiply-adds on registers alone: time it for the ceiling of a thread.

    Returns:
        Floating-point operations done.

    Raises:
        BackendError: if the native module is missing.
        ValueError: if the processor has no `isa`.
    """
    return int(native().multiply_add(rounds, isa))


def noise(seed: int, candidates: range | Tensor, step: int, dim: int, *, isa: str) -> Tensor:
    """`reference.noise` by the CPU kernel's own generator, for tests.

    Raises:
        BackendError: if the native module is missing.
        ValueError: if an argument is out of range or the processor has no `isa`.
    """
    if isinstance(candidates, range):
        candidates = torch.arange(candidates.start, candidates.stop, candidates.step)
    z = torch.empty(len(candidates), dim, dtype=torch.float32)
    native().noise(z, seed, candidates.long().contiguous(), step, isa)
    return z


# Defined on a Library, not by torch.library.custom_op: that one imports torch._dynamo on its first call,
# which takes seconds.
_LIBRARY = torch.library.Library("diffhpo", "DEF")
_LIBRARY.define(
    "denoise(Tensor packed, Tensor step_conditioning, Tensor job_conditioning, Tensor coefficients, "
    "Tensor keys, Tensor counts, Tensor seeds, Tensor first_candidates, SymInt candidates, SymInt dim, "
    "float guidance, bool clip, str isa, int threads, str precision, Tensor coded, "
    "Tensor? tokens=None, Tensor? token_counts=None) -> Tensor"
)


def _denoise(
    packed: Tensor,
    step_conditioning: Tensor,
    job_conditioning: Tensor,
    coefficients: Tensor,
    keys: Tensor,
    counts: Tensor,
    seeds: Tensor,
    first_candidates: Tensor,
    candidates: int,
    dim: int,
    guidance: float,
    clip: bool,
    isa: str,
    threads: int,
    precision: str,
    coded: Tensor,
    tokens: Tensor | None = None,
    token_counts: Tensor | None = None,
) -> Tensor:
    x = torch.empty(candidates, dim, dtype=torch.float32, device=packed.device)
    arguments = [packed, step_conditioning, job_conditioning, coefficients, keys]
    arguments = [argument.detach().contiguous() for argument in arguments]
    jobs = [argument.contiguous() for argument in (counts, seeds, first_candidates)]
    if packed.device.type == "cuda":
        if tokens is not None or token_counts is not None:
            raise ValueError(_NO_CUDA_TOKENS)
        loop = CudaLoop(native(), x, arguments, jobs, guidance, clip, precision, coded)
        loop.launch()
        step = loop.diverged_step()
    else:
        # As capsules: `Tensor.__dlpack__` takes several microseconds each.
        views = [to_dlpack(tensor) for tensor in (x, *arguments, *jobs)]
        of_tokens = [
            argument if argument is None else to_dlpack(argument.detach().contiguous())
            for argument in (tokens, token_counts)
        ]
        options = (guidance, clip, isa, threads, precision, to_dlpack(coded))
        step = native().denoise_cpu(*views, *options, *of_tokens)
    if step >= 0:
        raise reference.diverged(step, int(keys[1 + step]))
    return x


_LIBRARY.impl("denoise", _denoise, "CPU")
_LIBRARY.impl("denoise", _denoise, "CUDA")
torch.library.register_fake(
    "diffhpo::denoise",
    lambda packed, steps, jobs, coefficients, keys, counts, seeds, firsts, candidates, dim, *_: (
        packed.new_empty(candidates, dim)
    ),
    lib=_LIBRARY,
)


def denoise(
    problem: DenoiseProblem,
    packed: Tensor,
    *,
    isa: str = "portable",
    threads: int = 1,
    precision: str = "fp32",
    coded: Tensor | None = None,
) -> Tensor:
    """The reverse loop in one native call, on the device of `packed`.

    Args:
        problem: the inputs; counts, seeds and first_candidates on the CPU, the rest where
            `packed` is. With tokens, on the CPU at "fp32" only.
        packed: `pack(problem.weights)`.
        isa: build of the CPU kernel, one of `native_isas(runnable=True)`; of no effect on CUDA.
        threads: threads of the CPU kernel.
        precision: of the products in the residual blocks, one of `precisions(isa)`; on CUDA, of all products,
            "fp32" or "bf16".
        coded: `encode(packed, ...)` at that precision; nothing at fp32.

    Returns:
        (N, d) float32, x_0 in the scaled space, jobs one after another.

    Raises:
        BackendError: if the module or the device is missing, or a sample stopped being finite.
        InputError: if a shape, dtype or value does not fit.

    Reference: `diffhpo.kernels.reference.denoise`.
    """
    _require_kernels(packed)
    try:
        x: Tensor = torch.ops.diffhpo.denoise(
            packed,
            problem.step_conditioning,
            problem.job_conditioning,
            problem.coefficients,
            problem.keys,
            problem.counts,
            problem.seeds,
            problem.first_candidates,
            int(problem.counts.sum()),
            problem.weights.input_weight.shape[1],
            problem.guidance,
            problem.clip,
            isa,
            threads,
            precision,
            _NO_CODES if coded is None else coded,
            problem.tokens,
            problem.token_counts,
        )
    except InputError:
        raise
    except (TypeError, ValueError) as error:
        raise InputError(f"the reverse loop refused its input: {error}") from error
    return x


_NO_CODES = torch.empty(0, dtype=torch.uint8)
_NO_CUDA_TOKENS = "tokens: the CUDA kernels do not cover cross-attention yet; keep the network on the CPU"


def _require_kernels(packed: Tensor) -> None:
    native()
    if packed.device.type == "cuda" and not cuda_built():
        raise BackendError("this build has no CUDA kernels; see `diffhpo doctor`")


def prepare_cuda(
    problem: DenoiseProblem, packed: Tensor, *, precision: str = "fp32", coded: Tensor | None = None
) -> CudaLoop:
    """The reverse loop on a CUDA device with all its memory, not yet run: its `launch` can be captured.

    Args:
        problem, packed, precision, coded: as `denoise` takes them; tensors are on the device but counts,
            seeds and first_candidates.

    Raises:
        BackendError: if the module or its CUDA kernels are missing.
        InputError: if `packed` is not on a CUDA device, or the problem has tokens.
    """
    if packed.device.type != "cuda":
        raise InputError(f"packed is on {packed.device}; a CUDA device is needed: packed.cuda()")
    if problem.tokens is not None or problem.token_counts is not None:
        raise InputError(_NO_CUDA_TOKENS)
    _require_kernels(packed)
    inputs = (problem.step_conditioning, problem.job_conditioning, problem.coefficients, problem.keys)
    arguments = [argument.detach().contiguous() for argument in (packed, *inputs)]
    jobs = [argument.contiguous() for argument in (problem.counts, problem.seeds, problem.first_candidates)]
    shape = int(problem.counts.sum()), problem.weights.input_weight.shape[1]
    x = torch.empty(shape, dtype=torch.float32, device=packed.device)
    codes = _NO_CODES if coded is None else coded
    return CudaLoop(native(), x, arguments, jobs, problem.guidance, problem.clip, precision, codes)
