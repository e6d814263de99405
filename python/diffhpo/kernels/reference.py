# SPDX-License-Identifier: Apache-2.0
"""Every native operation in plain torch: the meaning of the kernels, and the oracle of their tests."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from diffhpo.errors import BackendError, InputError
from diffhpo.kernels.problem import DenoiseProblem

_WORD = 0xFFFFFFFF
#: Multipliers and key increments of Philox4x32 (Salmon et al. 2011, "Parallel random numbers: as easy as
#: 1, 2, 3", SC'11).
_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_WEYL = (0x9E3779B9, 0xBB67AE85)

# float32 constants of the normals, lowest power first; csrc/noise/philox.h holds the same bits.
# (log(1 + f) - f + f^2 / 2) / f^3 for 1 + f in [sqrt(1/2), sqrt(2)): relative error of the log 2^-27.
_LOG: tuple[str, ...] = ("0x1.555554p-2", "-0x1.000226p-2", "0x1.99a008p-3", "-0x1.547244p-3")
_LOG += ("0x1.22da1ep-3", "-0x1.0d8542p-3", "0x1.055b68p-3", "-0x1.38b57cp-4")
# (sin(a) - a) / a^3 and (cos(a) - 1 + a^2 / 2) / a^4 in a^2, for |a| <= pi / 4.
_SIN = ("-0x1.555546p-3", "0x1.110760p-7", "-0x1.994edcp-13")
_COS = ("0x1.55554ap-5", "-0x1.6c0c8ep-10", "0x1.9a02cap-16")
_LN2_HIGH, _LN2_LOW = 0.693359375, float.fromhex("-0x1.bd0106p-13")
_ANGLE = float(np.float32(2 * math.pi / 2**32))


def philox4x32(counter: tuple[Tensor, Tensor, Tensor, Tensor], key: tuple[Tensor, Tensor]) -> list[Tensor]:
    """Philox4x32-10 of Salmon et al. (2011): 128 random bits of a 128-bit counter and a 64-bit key.

    Args:
        counter: four int64 tensors that broadcast together, each word in [0, 2^32).
        key: two such words.

    Returns:
        Four int64 tensors, words in [0, 2^32).

    Example:
        >>> zero = torch.zeros((), dtype=torch.int64)
        >>> [hex(int(word)) for word in philox4x32((zero,) * 4, (zero,) * 2)]
        ['0x6627e8d5', '0xe169c58d', '0xbc57ac4c', '0x9b00dbd8']
    """
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(10):
        # int64 products wrap modulo 2^64; shift and mask then read the unsigned halves.
        product0, product1 = c0 * _MULTIPLIERS[0], c2 * _MULTIPLIERS[1]
        c0, c1, c2, c3 = (
            ((product1 >> 32) & _WORD) ^ c1 ^ k0,
            product1 & _WORD,
            ((product0 >> 32) & _WORD) ^ c3 ^ k1,
            product0 & _WORD,
        )
        k0, k1 = (k0 + _WEYL[0]) & _WORD, (k1 + _WEYL[1]) & _WORD
    return [c0, c1, c2, c3]


def _polynomial(coefficients: tuple[str, ...], x: Tensor) -> Tensor:
    """Horner's rule in float32, a multiplication and an addition at a time."""
    value = torch.full_like(x, float.fromhex(coefficients[-1]))
    for coefficient in reversed(coefficients[:-1]):
        value = value * x + float.fromhex(coefficient)
    return value


def normal_pair(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Two normals of two random 32-bit words (Box and Muller 1958), defined to the last bit.

    radius = sqrt(-2 log((w + 1/2) / 2^32)) and angle = 2 pi w' / 2^32, by float32 additions,
    multiplications and square roots in the order written here, each rounded on its own. Every executor
    repeats exactly these operations, so that all draw the same bits; |z| is at most 6.77.
    """
    value = (first >> 16).float() * 65536.0 + ((first & 0xFFFF).float() + 0.5)
    bits = value.view(torch.int32) - 0x3F3504F3
    exponent = ((bits >> 23) - 32).float()
    f = ((bits & 0x7FFFFF) + 0x3F3504F3).view(torch.float32) - 1.0
    f2 = f * f
    log = (f2 * f) * _polynomial(_LOG, f) + exponent * _LN2_LOW
    log = ((log - f2 * 0.5) + f) + exponent * _LN2_HIGH
    # torch's float32 root may come from a library that does not round it correctly. Through float64 it does:
    # no root of a float32 lies so near the middle of two float32 that a float64 error could cross it.
    radius = (log * -2.0).double().sqrt().float()

    shifted = second + 0x20000000
    quadrant = (shifted >> 30) & 3
    angle = ((shifted & 0x3FFFFFFF) - 0x20000000).float() * _ANGLE
    angle2 = angle * angle
    sin = angle + (angle * angle2) * _polynomial(_SIN, angle2)
    cos = (1.0 - angle2 * 0.5) + (angle2 * angle2) * _polynomial(_COS, angle2)
    swap = (quadrant & 1) == 1
    x, y = torch.where(swap, sin, cos), torch.where(swap, cos, sin)
    x = torch.where((quadrant == 1) | (quadrant == 2), -x, x)
    y = torch.where(quadrant >= 2, -y, y)
    return radius * x, radius * y


def _normals(seeds: Tensor, candidates: Tensor, steps: Tensor, dim: int) -> Tensor:
    """(n,) seeds, (n,) candidates, (S,) step keys, all int64 -> (S, n, dim) float32."""
    groups = torch.arange(-(-dim // 4), device=candidates.device)
    rows = candidates[None, :, None]
    counter = (groups[None, None, :], steps[:, None, None], rows & _WORD, (rows >> 32) & _WORD)
    keys = seeds[None, :, None]
    words = philox4x32(counter, (keys & _WORD, (keys >> 32) & _WORD))
    z0, z1 = normal_pair(words[0], words[1])
    z2, z3 = normal_pair(words[2], words[3])
    return torch.stack([z0, z1, z2, z3], dim=-1).flatten(-2)[..., :dim]


def signed_seed(seed: int) -> int:
    """A seed in [0, 2^64) as the int64 with the same bits.

    Raises:
        InputError: if it is not an integer in that range.
    """
    try:
        value = operator.index(seed)
    except TypeError:
        raise InputError(f"seed is {seed!r}; an integer in [0, 2^64) is needed") from None
    if not 0 <= value < 2**64:
        raise InputError(f"seed is {value}; an integer in [0, 2^64) is needed")
    return value - 2**64 if value >= 2**63 else value


def noise(seed: int, candidates: range | Tensor, step: int, dim: int) -> Tensor:
    """The standard normal noise of some candidates at one step, the same bits on every executor.

    Dimension j of candidate i takes word pair (j mod 4) // 2 of Philox4x32-10 at counter (j // 4, step,
    i mod 2^32, i // 2^32) under the 64-bit key `seed`, through `normal_pair`.

    Args:
        seed: the run's seed, in [0, 2^64).
        candidates: (n,) candidate numbers, each in [0, 2^63).
        step: the step's key, in [0, 2^32): T = len(schedule) for the initial x_T, and t for the noise added
            when the process leaves timestep t.
        dim: dimensions d.

    Returns:
        (n, dim) float32.

    Raises:
        InputError: if an argument is out of range.

    Example:
        >>> a, b = noise(0, range(10), 999, 3), noise(0, range(4, 5), 999, 3)
        >>> torch.equal(a[4:5], b)
        True
    """
    if not 0 <= step <= _WORD or dim < 1:
        raise InputError(f"step is {step} and dim {dim}; step must lie in [0, 2^32) and dim be positive")
    if isinstance(candidates, range):
        candidates = torch.arange(candidates.start, candidates.stop, candidates.step)
    if candidates.ndim != 1 or candidates.is_floating_point() or bool((candidates < 0).any()):
        raise InputError("candidates must be a range or a vector of integers, none negative")
    candidates = candidates.long()
    seeds = torch.full_like(candidates, signed_seed(seed))
    return _normals(seeds, candidates, torch.tensor([step], device=candidates.device), dim)[0]


def reverse_loop(
    predict: Callable[[Tensor, int], Tensor],
    coefficients: Tensor,
    keys: Tensor,
    seeds: Tensor,
    candidates: Tensor,
    dim: int,
    *,
    clip: bool,
) -> Tensor:
    """Run a reverse process from noise: x_prev = x0_weight * x0_hat + x_weight * x_t + sigma * z.

    Args:
        predict: (x (n, dim), index of the step) -> (n, dim) predicted noise.
        coefficients: (S, 5) x0_from_x, x0_from_eps, x0_weight, x_weight, sigma; its dtype is that of the
            computation (the noise is float32 always).
        keys: (S + 1,) int64 step keys: of the initial noise, then of every step.
        seeds: (n,) int64, the bits of each candidate's seed.
        candidates: (n,) int64 candidate numbers.
        dim: dimensions d.
        clip: clip x0_hat to [-1, 1].

    Returns:
        (n, dim) x_0 in the scaled space.

    Raises:
        BackendError: if a value stops being finite; the message has the step.
    """
    steps, dtype = len(coefficients), coefficients.dtype
    x = _normals(seeds, candidates, keys[:1], dim)[0].to(dtype)
    rows = coefficients.tolist()
    chunk = max(1, 65536 // max(1, len(candidates) * dim))
    drawn = x.new_zeros(0)
    random = any(row[4] for row in rows)
    for step, (x0_from_x, x0_from_eps, x0_weight, x_weight, sigma) in enumerate(rows):
        if random and step % chunk == 0:
            drawn = _normals(seeds, candidates, keys[1 + step : 1 + min(steps, step + chunk)], dim).to(dtype)
        eps = predict(x, step)
        x0 = x * x0_from_x - eps * x0_from_eps
        if clip:
            x0 = x0.clamp(-1.0, 1.0)
        x = x0 * x0_weight + x * x_weight
        if sigma:
            x = x + drawn[step % chunk] * sigma
        if not bool(torch.isfinite(x).all() & torch.isfinite(eps).all()):
            raise diverged(step, int(keys[1 + step]))
    return x


def diverged(step: int, timestep: int) -> BackendError:
    """The error of a sample that stopped being finite."""
    return BackendError(
        f"a sample stopped being finite at step {step} (timestep {timestep}); the network's output is too "
        "large there: sample with clip=True, or train the network further"
    )


def _attended(problem: DenoiseProblem, h: Tensor, block: int, jobs: Tensor) -> Tensor:
    """What (n, width) rows of the given jobs take from their tokens before a block."""
    attended = torch.zeros_like(h)
    if problem.tokens is None or problem.token_counts is None:
        return attended
    of_jobs = problem.tokens[:, block].to(h.dtype).split(problem.token_counts.tolist())
    for job, tokens in enumerate(of_jobs):
        if len(tokens):
            mine = jobs == job
            weights = (h[mine] @ tokens[:, 0].T * math.log(2)).softmax(-1)
            attended[mine] = weights @ tokens[:, 1]
    return attended


def predict_noise(
    problem: DenoiseProblem, x: Tensor, step: int, conditioning: Tensor, jobs: Tensor
) -> Tensor:
    """The network on (n, dim) rows of (n,) jobs whose per-run conditioning is (n, blocks, 2 * width)."""
    dtype = x.dtype
    weights = problem.weights
    shift = problem.step_conditioning[step].to(dtype) + conditioning.to(dtype)
    h = torch.nn.functional.linear(x, weights.input_weight.to(dtype), weights.input_bias.to(dtype))
    for block, expand in enumerate(weights.expand_weights):
        if problem.tokens is not None:
            h = h + _attended(problem, h, block, jobs)
        hidden = torch.nn.functional.silu(h @ expand.to(dtype).T + shift[:, block])
        h = h + torch.nn.functional.linear(
            hidden, weights.contract_weights[block].to(dtype), weights.contract_biases[block].to(dtype)
        )
    return torch.nn.functional.linear(h, weights.output_weight.to(dtype), weights.output_bias.to(dtype))


def denoise(
    problem: DenoiseProblem,
    dtype: torch.dtype = torch.float32,
    *,
    predict: Callable[[DenoiseProblem, Tensor, int, Tensor, Tensor], Tensor] = predict_noise,
) -> Tensor:
    """The reverse loop of `problem` in the given dtype: what every native executor computes.

    Returns:
        (N, dim) x_0 in the scaled space, jobs one after another.

    Raises:
        BackendError: if a value stops being finite.
    """
    rows = torch.repeat_interleave(torch.arange(len(problem.counts)), problem.counts)
    starts = torch.cumsum(problem.counts, 0) - problem.counts
    candidates = torch.arange(len(rows)) - starts[rows] + problem.first_candidates[rows]
    conditioning = problem.job_conditioning[rows]

    def guided(x: Tensor, step: int) -> Tensor:
        eps = predict(problem, x, step, conditioning[:, 0], rows)
        if conditioning.shape[1] == 2:
            without = predict(problem, x, step, conditioning[:, 1], rows)
            eps = eps * (1.0 + problem.guidance) - without * problem.guidance
        return eps

    return reverse_loop(
        guided,
        problem.coefficients.to(dtype),
        problem.keys,
        problem.seeds[rows],
        candidates,
        problem.weights.input_weight.shape[1],
        clip=problem.clip,
    )
