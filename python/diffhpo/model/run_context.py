# SPDX-License-Identifier: Apache-2.0
"""What Denoiser and Scorer accept as a context, turned into what Network and Predictor read."""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

import numpy as np
import torch
from torch import Tensor

from diffhpo.errors import InputError
from diffhpo.model.network import Network
from diffhpo.model.transformer import ContextBatch, ContextEmbedding, Transformer

#: None, a pooled embedding (context_width,), tokens (M, context_width), an embedding or batch of one
#: context, or a pair of (M, d) configurations in [0, 1] and (M,) values.
Context: TypeAlias = Tensor | ContextBatch | ContextEmbedding | tuple[Any, Any] | None


class RunContext(NamedTuple):
    """One context, embedded; None stands for the zero vector and for no tokens."""

    pooled: Tensor | None
    """(context_width,)"""
    tokens: Tensor | None
    """(M, context_width)"""


def embed_context(context: Context, network: Network, transformer: Transformer | None) -> RunContext:
    """Embed one context for `network`.

    Raises:
        InputError: if the context is of no accepted form, of a wrong size or not finite, or needs a
            transformer that is not there.
    """
    if context is None and transformer is not None:
        context = ContextBatch.single(torch.zeros(0, transformer.dim), torch.zeros(0))
    if context is None:
        return RunContext(None, None)
    if isinstance(context, Tensor):
        return _given_embedding(context, network)
    if isinstance(context, tuple | list):
        context = _batch_of_pair(context)
    if isinstance(context, ContextBatch):
        context = _encode(context, transformer)
    if not isinstance(context, ContextEmbedding):
        raise InputError(
            f"context is a {type(context).__name__}; accepted: None, a tensor, a pair (x, y), a ContextBatch "
            "or ContextEmbedding of one"
        )
    if len(context.pooled) != 1:
        raise InputError(f"context holds {len(context.pooled)} contexts; give one, or use sample_jobs")
    _given_embedding(context.pooled[0], network)
    tokens = context.tokens[0][context.mask[0]]
    if network.cross_attention:
        _given_embedding(tokens, network)
    return RunContext(context.pooled[0], tokens)


def _given_embedding(embedding: Tensor, network: Network) -> RunContext:
    width = network.context_width
    accepted = f"a pooled embedding ({width},)" if width else "None: this network takes no context"
    if network.cross_attention:
        accepted += f" or tokens (M, {width})"
    ranks = (1, 2) if network.cross_attention else (1,)
    if not width or embedding.ndim not in ranks or embedding.shape[-1] != width:
        raise InputError(f"context has shape {tuple(embedding.shape)}; accepted: {accepted}")
    if not embedding.is_floating_point() or not bool(torch.isfinite(embedding).all()):
        raise InputError("context embedding must be floating-point and finite; it is not")
    return RunContext(embedding, None) if embedding.ndim == 1 else RunContext(None, embedding)


def float64_tensor(values: Any) -> Tensor:
    """A tensor, an array (read-only ones too) or nested sequences as a float64 tensor.

    Raises:
        TypeError, ValueError: if it is not numeric or ragged.
    """
    if isinstance(values, Tensor):
        return values.double()
    return torch.from_numpy(np.array(values, dtype=np.float64))  # a copy: torch warns of read-only memory


def _batch_of_pair(pair: tuple[Any, Any] | list[Any]) -> ContextBatch:
    if len(pair) != 2:
        raise InputError(f"context is a sequence of {len(pair)}; a pair (x (M, d), y (M,)) is needed")
    try:
        x, y = (float64_tensor(part) for part in pair)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"context (x, y) is not numeric: {error}") from error
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if x.ndim != 2 or y.ndim != 1 or len(x) != len(y):
        raise InputError(
            f"context x has shape {tuple(x.shape)} and y {tuple(y.shape)}; (M, d) and (M,) are needed"
        )
    if not bool(((x >= 0) & (x <= 1)).all()):
        raise InputError("context x leaves [0, 1] or is nan; scale the configurations to the unit cube")
    if not bool(torch.isfinite(y).all()):
        raise InputError("context y holds nan or inf; drop failed trials or give them a finite value")
    return ContextBatch.single(x, y)


def single_context(context: Context, transformer: Transformer) -> ContextBatch | ContextEmbedding:
    """One context as trials, checked and on the transformer's device, or as the embedding that was given.

    Raises:
        InputError: if the context is of no accepted form, of a wrong size or not finite.
    """
    if context is None:
        context = ContextBatch.single(torch.zeros(0, transformer.dim), torch.zeros(0))
    if isinstance(context, tuple | list):
        context = _batch_of_pair(context)
    if isinstance(context, ContextBatch):
        context = _placed(context, transformer)
        count = len(context.x)
    elif isinstance(context, ContextEmbedding):
        if context.tokens.ndim != 3 or context.tokens.shape[-1] != transformer.width:
            raise InputError(
                f"context tokens have shape {tuple(context.tokens.shape)}; "
                f"(1, M, {transformer.width}) is needed"
            )
        count = len(context.tokens)
    else:
        raise InputError(
            f"context is a {type(context).__name__}; accepted: None, a pair (x, y), a ContextBatch or "
            "ContextEmbedding of one"
        )
    if count != 1:
        raise InputError(f"context holds {count} contexts; give one, or use predict_jobs")
    return context


def _encode(batch: ContextBatch, transformer: Transformer | None) -> ContextEmbedding:
    if transformer is None:
        raise InputError("context is made of trials; construct Denoiser(..., transformer=...) to embed them")
    embedding: ContextEmbedding = transformer(_placed(batch, transformer))
    return embedding


def _placed(batch: ContextBatch, transformer: Transformer) -> ContextBatch:
    if batch.x.ndim != 3 or batch.x.shape[-1] != transformer.dim:
        raise InputError(f"context x has shape {tuple(batch.x.shape)}; transformer: d={transformer.dim}")
    device = transformer.anchor.device
    return ContextBatch(batch.x.to(device), batch.y.to(device), batch.mask.to(device))
