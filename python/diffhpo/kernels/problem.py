# SPDX-License-Identifier: Apache-2.0
"""The inputs of one call of the reverse loop, as the native kernels take them."""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import Tensor


@dataclass(frozen=True)
class NetworkWeights:
    """The matrices of a residual MLP with B blocks of width W, as `torch.nn.Linear` holds them."""

    input_weight: Tensor
    """(W, d)"""
    input_bias: Tensor
    """(W,)"""
    expand_weights: tuple[Tensor, ...]
    """B times (2W, W); their biases are part of the step conditioning."""
    contract_weights: tuple[Tensor, ...]
    """B times (W, 2W)"""
    contract_biases: tuple[Tensor, ...]
    """B times (W,)"""
    output_weight: Tensor
    """(d, W)"""
    output_bias: Tensor
    """(d,)"""


@dataclass(frozen=True)
class DenoiseProblem:
    """N candidates of J jobs through S reverse steps; a job is one context, flag and seed."""

    weights: NetworkWeights
    step_conditioning: Tensor
    """(S, B, 2W) what the timestep adds to every hidden layer, its bias included."""
    job_conditioning: Tensor
    """(J, branches, B, 2W) what flag and context add; a second branch is the one without the flag."""
    coefficients: Tensor
    """(S, 5) float64 x0_from_x, x0_from_eps, x0_weight, x_weight, sigma of every step."""
    keys: Tensor
    """(S + 1,) int64 in [0, 2^32), keys of the noise: of the initial x_T, then of every step."""
    counts: Tensor
    """(J,) int64 candidates of every job; N is their sum."""
    seeds: Tensor
    """(J,) int64, the bits of every job's 64-bit seed."""
    first_candidates: Tensor
    """(J,) int64 number of every job's first candidate."""
    guidance: float
    """w of eps = (1 + w) eps_conditional - w eps_unconditional; used with two branches only."""
    clip: bool
    """Clip the estimate of x_0 to [-1, 1]."""
    tokens: Tensor | None = None
    """(T, B, 2, W) float32 key k and value v of every context token at every block, jobs one after another:
    before a block, h += sum_j softmax_j(log(2) h . k_j) v_j over the job's tokens, and nothing where it has
    none. None: no job has tokens. On the CPU at "fp32" only."""
    token_counts: Tensor | None = None
    """(J,) int64 tokens of every job, 0 or more; T is their sum. None exactly where `tokens` is."""

    def first_steps(self, count: int) -> DenoiseProblem:
        """The problem that stops after its first `count` steps, 0 to S: their bits stay the same."""
        return replace(
            self,
            step_conditioning=self.step_conditioning[:count],
            coefficients=self.coefficients[:count],
            keys=self.keys[: count + 1],
        )
