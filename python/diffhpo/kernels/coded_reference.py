# SPDX-License-Identifier: Apache-2.0
"""The reverse loop at bf16 and int8 in plain torch: the meaning of csrc/denoise/precision.h."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from diffhpo.kernels import reference
from diffhpo.kernels.problem import DenoiseProblem

#: Minus the minimum of SiLU, at x = -1.2784645.
SILU_MINIMUM = 0.27846455


def rounded_to_bf16(values: Tensor) -> Tensor:
    """To nearest even, in the dtype of `values`."""
    return values.float().bfloat16().to(values.dtype)


def coded_rows(weight: Tensor) -> Tensor:
    """(outputs, inputs) weights as q scale, q in [-127, 127], one scale a row."""
    scale = weight.float().abs().amax(1, keepdim=True) / 127
    codes = (weight.float() / scale.clamp(min=1e-37)).round().clamp(-127, 127)
    return codes.to(weight.dtype) * scale.to(weight.dtype)


def coded_signed(values: Tensor) -> Tensor:
    """(n, inputs) as s q, q in [-128, 127], s = max|v| / 127 of a row."""
    scale = values.abs().amax(1, keepdim=True) / 127
    return (values / scale.clamp(min=1e-37)).round() * scale


def coded_after_silu(values: Tensor) -> Tensor:
    """(n, inputs) as s q - c, q in [0, 255], s = (max v + c) / 255 of a row."""
    scale = (values.amax(1, keepdim=True) + SILU_MINIMUM) / 255
    return ((values + SILU_MINIMUM) / scale).round().clamp(0, 255) * scale - SILU_MINIMUM


def predict_noise(
    problem: DenoiseProblem, x: Tensor, step: int, conditioning: Tensor, jobs: Tensor, *, precision: str
) -> Tensor:
    """`reference.predict_noise` with the products of the residual blocks at `precision`."""
    del jobs  # of use to cross-attention alone, which these precisions do not have
    dtype, weights = x.dtype, problem.weights
    shift = problem.step_conditioning[step].to(dtype) + conditioning.to(dtype)
    int8 = precision == "int8"
    of_weights = coded_rows if int8 else rounded_to_bf16
    of_stream = coded_signed if int8 else rounded_to_bf16
    of_hidden = coded_after_silu if int8 else rounded_to_bf16
    h = torch.nn.functional.linear(x, weights.input_weight.to(dtype), weights.input_bias.to(dtype))
    for block, expand in enumerate(weights.expand_weights):
        hidden = torch.nn.functional.silu(of_stream(h) @ of_weights(expand.to(dtype)).T + shift[:, block])
        contract = of_weights(weights.contract_weights[block].to(dtype))
        h = h + of_hidden(hidden) @ contract.T + weights.contract_biases[block].to(dtype)
    return torch.nn.functional.linear(h, weights.output_weight.to(dtype), weights.output_bias.to(dtype))


def denoise(problem: DenoiseProblem, dtype: torch.dtype = torch.float32, *, precision: str) -> Tensor:
    """`reference.denoise` at precision "bf16" or "int8"; every other operation is of `dtype`.

    Returns:
        (N, dim) x_0 in the scaled space, jobs one after another.

    Raises:
        BackendError: if a value stops being finite.
    """
    return reference.denoise(problem, dtype, predict=partial(predict_noise, precision=precision))
