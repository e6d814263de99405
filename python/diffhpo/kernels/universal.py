# SPDX-License-Identifier: Apache-2.0
"""The universal model in evaluation on the CPU. The meaning, and the oracle of the tests: the torch modules
themselves, `UniversalTransformer` and `UniversalPredictor` of `diffhpo.model.universal`."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.dlpack import to_dlpack  # type: ignore[attr-defined]

from diffhpo.errors import InputError
from diffhpo.kernels.ops import native
from diffhpo.kernels.refusal import refusal

#: Processes of the Predictor's mixture, and learned coordinates of their kernels (csrc/universal).
PROCESSES, LEARNED = 4, 8


class Embedded(NamedTuple):
    """What `embed` makes of B contexts of n trials and D dimensions."""

    scale: Tensor
    """(4, B) float64: median, span, location, scale of the values"""
    z: Tensor
    """(B, n) float32, 0 where masked, as are the codes and tokens"""
    codes: Tensor
    """(B, D, width)"""
    tokens: Tensor
    """(B, 1 + n, width)"""
    pooled: Tensor
    """(B, width)"""


class Hyperparameters(NamedTuple):
    """What `kernel_space` reads off B contexts of D dimensions for K processes."""

    inverse_lengthscale: Tensor
    """(B, K, D), 0 where masked"""
    warp_a: Tensor
    """(B, 1, D), as `warp_b`: exponents of 1 - (1 - x^a)^b"""
    warp_b: Tensor
    emphasis: Tensor
    """(B, 1, F) factors of the learned coordinates"""
    constant: Tensor
    """(B, K) prior means"""
    amplitude: Tensor
    """(B, K)"""
    noise: Tensor
    """(B, K)"""
    log_prior: Tensor
    """(B, K), not normalised"""


@functools.lru_cache(64)
def _encoder_size(layout: tuple[int, ...]) -> int:
    size: int = native().universal_encoder_size(layout)
    return size


@functools.lru_cache(64)
def _predictor_size(layout: tuple[int, ...]) -> int:
    size: int = native().universal_predictor_size(layout)
    return size


def encoder_size(layout: Sequence[int]) -> int:
    """Floats of packed Transformer weights; layout is (width, layers, heads)."""
    return _encoder_size(tuple(layout))


def predictor_size(layout: Sequence[int]) -> int:
    """Floats of packed Predictor weights; layout is (width, layers, heads)."""
    return _predictor_size(tuple(layout))


def _call(name: str, arguments: Sequence[Tensor], *rest: object) -> None:
    """The native function on the tensors; what it refuses is an InputError."""
    function = getattr(native(), name)
    with refusal(name):
        function(*[to_dlpack(tensor.detach().contiguous()) for tensor in arguments], *rest)


def _shape(tensor: Tensor, name: str, rank: int) -> torch.Size:
    if tensor.ndim != rank:
        raise InputError(f"{name} has shape {tuple(tensor.shape)}; rank {rank} is needed")
    return tensor.shape


def _bytes(mask: Tensor, name: str) -> Tensor:
    if mask.dtype != torch.bool:
        raise InputError(f"{name} is of {mask.dtype}; torch.bool is needed")
    return mask.contiguous().view(torch.uint8)


def _float32(*shape: int) -> Tensor:
    return torch.empty(shape, dtype=torch.float32)


def embed(
    x: Tensor,
    y: Tensor,
    mask: Tensor,
    kinds: Tensor,
    roles: Tensor,
    packed: Tensor,
    layout: Sequence[int],
    *,
    names: Tensor | None = None,
    isa: str = "portable",
    threads: int = 1,
) -> Embedded:
    """The universal Transformer for B contexts in one native call.

    A context has the same bits alone or among others, and whatever the number of threads.

    Args:
        x: (B, n, D) float32 in [0, 1], anything where masked; n may be 0, D at most 32.
        y: (B, n) float64, larger is better, no nan where there is a trial.
        mask: (B, n) bool, true where there is a trial.
        kinds: (B, D) int64, see `Dimensions`; padding is masked.
        roles: (B, D) int64, see `Dimensions`.
        packed: weights of `layout`, see csrc/universal/universal_layout.h.
        layout: (width, layers, heads).
        names: (B, D) int64 below 32 that tell dimensions apart; the canonical order where they are left out.
        isa: build of the kernel, one of `ops.native_isas(runnable=True)`.
        threads: threads that share the contexts.

    Raises:
        BackendError: if the native module is missing.
        InputError: if a shape, dtype or value does not fit.
    """
    batch, n, dim = _shape(x, "x", 3)
    size = _checked_width(layout)
    out = Embedded(
        torch.empty(4, batch, dtype=torch.float64),
        _float32(batch, n),
        _float32(batch, dim, size),
        _float32(batch, 1 + n, size),
        _float32(batch, size),
    )
    inputs = (packed, x, y, _bytes(mask, "mask"), kinds, roles)
    named = None if names is None else names.contiguous()
    _call("universal_embed", (*out, *inputs), named, tuple(layout), isa, threads)
    return out


def kernel_space(
    codes: Tensor,
    pooled: Tensor,
    mask: Tensor,
    packed: Tensor,
    layout: Sequence[int],
    *,
    isa: str = "portable",
) -> Hyperparameters:
    """Hyperparameters of the processes of B contexts.

    Args:
        codes: (B, D, width) float32.
        pooled: (B, width) float32.
        mask: (B, D) bool, true where there is a dimension.
        packed: weights of `layout`, see csrc/universal/universal_layout.h.
        layout: (width, layers, heads).
        isa: as in `embed`.

    Raises:
        BackendError: if the native module is missing.
        InputError: if a shape, dtype or value does not fit.
    """
    batch, dim, _ = _shape(codes, "codes", 3)
    each = [_float32(batch, PROCESSES) for _ in range(4)]
    out = Hyperparameters(
        _float32(batch, PROCESSES, dim),
        _float32(batch, 1, dim),
        _float32(batch, 1, dim),
        _float32(batch, 1, LEARNED),
        *each,
    )
    inputs = (packed, codes, pooled, _bytes(mask, "mask"))
    _call("universal_kernel_space", (*out, *inputs), tuple(layout), isa)
    return out


def points(
    x: Tensor,
    codes: Tensor,
    pooled: Tensor,
    mask: Tensor,
    space: tuple[Tensor, Tensor, Tensor, Tensor, Tensor],
    packed: Tensor,
    layout: Sequence[int],
    *,
    isa: str = "portable",
    threads: int = 1,
) -> tuple[Tensor, Tensor, Tensor]:
    """N points of each of B contexts as the processes and the attention see them.

    A point has the same bits alone or among others.

    Args:
        x: (B, N, D) float32 in [0, 1], anything where masked; N may be 0.
        codes, pooled, mask: as in `kernel_space`.
        space: the first five `Hyperparameters`.
        packed, layout: as in `kernel_space`.
        isa, threads: as in `embed`.

    Returns:
        kernel coordinates (B, K, N, D + F), prior means (B, K, N), embeddings (B, N, width).

    Raises:
        BackendError: if the native module is missing.
        InputError: if a shape, dtype or value does not fit.
    """
    batch, count, dim = _shape(x, "x", 3)
    out = (
        _float32(batch, PROCESSES, count, dim + LEARNED),
        _float32(batch, PROCESSES, count),
        _float32(batch, count, _checked_width(layout)),
    )
    inputs = (packed, x, codes, pooled, _bytes(mask, "mask"), *space)
    _call("universal_points", (*out, *inputs), tuple(layout), isa, threads)
    return out


def correct(
    embedded: Tensor,
    prior_mean: Tensor,
    mean: Tensor,
    variance: Tensor,
    noise: Tensor,
    log_weights: Tensor,
    z: Tensor,
    tokens: Tensor,
    mask: Tensor,
    packed: Tensor,
    layout: Sequence[int],
    *,
    noisy: bool = True,
    isa: str = "portable",
    threads: int = 1,
) -> tuple[Tensor, Tensor, Tensor]:
    """The processes' predictions for N candidates of each of B contexts, corrected by attention.

    A candidate has the same bits alone or among others.

    Args:
        embedded, prior_mean: (B, N, width) and (B, K, N) float32 of `points`.
        mean: (B, K, N) float64, the posterior's of the residuals.
        variance: (B, K, N) float64, positive, of the noise-free values.
        noise: (B, K) float64.
        log_weights: (B, K) float32 of the processes.
        z, tokens: of `embed`.
        mask: (B, n) bool, true where there is a trial.
        packed, layout: as in `kernel_space`.
        noisy: whether the deviations hold the noise.
        isa, threads: as in `embed`.

    Returns:
        log weights, means and deviations of the mixtures, each (B, N, K) float32.

    Raises:
        BackendError: if the native module is missing.
        InputError: if a shape, dtype or value does not fit.
    """
    batch, count, _ = _shape(embedded, "embedded", 3)
    out = _float32(3, batch, count, PROCESSES)
    inputs = (
        packed,
        embedded,
        prior_mean,
        mean,
        variance,
        noise,
        log_weights,
        z,
        tokens,
        _bytes(mask, "mask"),
    )
    _call("universal_correct", (out, *inputs), noisy, tuple(layout), isa, threads)
    weights, means, deviations = out.unbind(0)
    return weights, means, deviations


def _checked_width(layout: Sequence[int]) -> int:
    """The layout's width, once the native table has taken the layout."""
    try:
        encoder_size(layout)
    except (TypeError, ValueError) as error:
        raise InputError(f"layout is {tuple(layout)}: {error}") from error
    return layout[0]
