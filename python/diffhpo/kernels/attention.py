# SPDX-License-Identifier: Apache-2.0
"""Attention to contexts on the CPU. The meaning, and the oracle of the tests: the torch modules themselves,
`diffhpo.model.transformer.Transformer` and `diffhpo.model.predictor.Predictor`."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.utils.dlpack import to_dlpack  # type: ignore[attr-defined]

from diffhpo.errors import InputError
from diffhpo.kernels.ops import native
from diffhpo.kernels.refusal import refusal

#: Features of one panel of packed weights (csrc/panels.h).
PANEL = 32


def head_stride(features: int) -> int:
    """Features from one attention head to the next in packed weights (csrc/attention/attention_layout.h)."""
    return 16 if features <= 16 else PANEL if features <= PANEL else -(-features // PANEL) * PANEL


def panels(matrix: Tensor) -> Tensor:
    """(outputs, inputs) or (outputs,) -> flat [panel][input][32] float32, filled up with zeros."""
    rows = matrix.reshape(len(matrix), -1)
    filled = torch.nn.functional.pad(rows, (0, 0, 0, -len(rows) % PANEL))
    return filled.view(-1, PANEL, rows.shape[1]).transpose(1, 2).reshape(-1).float()


@functools.lru_cache(64)
def _encoder_size(layout: tuple[int, ...]) -> int:
    size: int = native().encoder_size(layout)
    return size


@functools.lru_cache(64)
def _predictor_size(layout: tuple[int, ...]) -> int:
    size: int = native().predictor_size(layout)
    return size


def encoder_size(layout: Sequence[int]) -> int:
    """Floats of packed encoder weights; layout is (d + 2, width, layers, heads)."""
    return _encoder_size(tuple(layout))


def predictor_size(layout: Sequence[int]) -> int:
    """Floats of packed Predictor weights; layout is (d, width, layers, heads, context width, bars)."""
    return _predictor_size(tuple(layout))


def predictor_shares_tokens(layout: Sequence[int]) -> bool:
    """Whether the Predictor's kernel takes the tokens themselves as keys and values of all heads."""
    shared: bool = native().predictor_shares_tokens(layout)
    return shared


def _require_cpu(**tensors: Tensor) -> None:
    for name, tensor in tensors.items():
        if tensor.device.type != "cpu":
            raise InputError(f"{name} is on {tensor.device}; the attention kernels take tensors on the CPU")


_LIBRARY = torch.library.Library("diffhpo", "FRAGMENT")
_LIBRARY.define(
    "attention_encode(Tensor inputs, int[] counts, Tensor packed, int[] layout, str isa, int threads) "
    "-> (Tensor, Tensor)"
)
_LIBRARY.define(
    "attention_predict(Tensor x, int[] counts, Tensor tokens, int[] token_counts, Tensor packed, "
    "int[] layout, str isa, int threads) -> Tensor"
)


def _encode(
    inputs: Tensor, counts: Sequence[int], packed: Tensor, layout: Sequence[int], isa: str, threads: int
) -> tuple[Tensor, Tensor]:
    encoder_size(layout)
    width = layout[1]
    tokens = torch.empty(len(inputs) + len(counts), width, dtype=torch.float32)
    pooled = torch.empty(len(counts), width, dtype=torch.float32)
    views = [to_dlpack(tensor) for tensor in (tokens, pooled, packed.detach(), inputs.detach().contiguous())]
    native().attention_encode(*views, counts, layout, isa, threads)
    return tokens, pooled


def _predict(
    x: Tensor,
    counts: Sequence[int],
    tokens: Tensor,
    token_counts: Sequence[int],
    packed: Tensor,
    layout: Sequence[int],
    isa: str,
    threads: int,
) -> Tensor:
    predictor_size(layout)
    logits = torch.empty(len(x), layout[5], dtype=torch.float32)
    inputs = (packed.detach(), tokens.detach().contiguous(), x.detach().contiguous())
    views = [to_dlpack(tensor) for tensor in (logits, *inputs)]
    native().attention_predict(*views, token_counts, counts, layout, isa, threads)
    return logits


_LIBRARY.impl("attention_encode", _encode, "CPU")
_LIBRARY.impl("attention_predict", _predict, "CPU")
torch.library.register_fake(
    "diffhpo::attention_encode",
    lambda inputs, counts, packed, layout, *_: (
        inputs.new_empty(len(inputs) + len(counts), layout[1]),
        inputs.new_empty(len(counts), layout[1]),
    ),
    lib=_LIBRARY,
)
torch.library.register_fake(
    "diffhpo::attention_predict",
    lambda x, counts, tokens, token_counts, packed, layout, *_: x.new_empty(len(x), layout[5]),
    lib=_LIBRARY,
)


def encode(
    inputs: Tensor,
    counts: Sequence[int],
    packed: Tensor,
    layout: Sequence[int],
    *,
    isa: str = "portable",
    threads: int = 1,
) -> tuple[Tensor, Tensor]:
    """The Transformer's encoder for J contexts in one native call.

    Args:
        inputs: (sum of counts, d + 2) float32 features of the trials, contexts one after another.
        counts: J numbers of trials, 0 or more.
        packed: weights of `layout`, see csrc/attention/attention_layout.h.
        layout: (d + 2, width, layers, heads).
        isa: build of the kernel, one of `ops.native_isas(runnable=True)`.
        threads: threads that share the rows; of no effect on the result.

    Returns:
        tokens (sum of counts + J, width) float32, every context's anchor before its trials; and the pooled
        means (J, width).

    Raises:
        BackendError: if the native module is missing.
        InputError: if a shape, dtype or value does not fit.
    """
    native()
    _require_cpu(inputs=inputs, packed=packed)
    operator = torch.ops.diffhpo.attention_encode
    with refusal("the encoder"):
        tokens, pooled = operator(inputs, counts, packed, layout, isa, threads)
    return tokens, pooled


def predict(
    x: Tensor,
    counts: Sequence[int],
    tokens: Tensor,
    token_counts: Sequence[int],
    packed: Tensor,
    layout: Sequence[int],
    *,
    isa: str = "portable",
    threads: int = 1,
) -> Tensor:
    """The Predictor for J contexts, each with candidates of its own, in one native call.

    Args:
        x: (sum of counts, d) float32 candidates in [0, 1], contexts one after another.
        counts: J numbers of candidates, 0 or more.
        tokens: (sum of token_counts, context width) float32, as `encode` returns them.
        token_counts: J numbers of tokens, 1 or more.
        packed: weights of `layout`, see csrc/attention/attention_layout.h.
        layout: (d, width, layers, heads, context width, bars).
        isa: build of the kernel, one of `ops.native_isas(runnable=True)`.
        threads: threads that share the rows; of no effect on the result.

    Returns:
        (sum of counts, bars) float32 logits.

    Raises:
        BackendError: if the native module is missing.
        InputError: if a shape, dtype or value does not fit.
    """
    native()
    _require_cpu(x=x, tokens=tokens, packed=packed)
    operator = torch.ops.diffhpo.attention_predict
    with refusal("the predictor"):
        logits: Tensor = operator(x, counts, tokens, token_counts, packed, layout, isa, threads)
    return logits
