# SPDX-License-Identifier: Apache-2.0
"""Transformer and Predictor in the form that the native kernels read, following their parameters."""

from __future__ import annotations

import copy
import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from diffhpo.kernels import attention
from diffhpo.kernels.attention import head_stride, panels
from diffhpo.model.followed_parameters import FollowedParameters
from diffhpo.model.predictor import AttendingLayer, Predictor
from diffhpo.model.transformer import EncoderLayer, Transformer


class PackedModule(ABC):
    """Packed weights that follow the module's parameters."""

    def __init__(self, module: nn.Module, name: str) -> None:
        self._module = module
        self._parameters = FollowedParameters(module, name)
        self._weights = torch.empty(0)

    @property
    def weights(self) -> Tensor:
        """(size,) float32, packed anew if a parameter changed since the last call.

        Raises:
            BackendError: if a parameter is not finite; the message names it.
        """
        self._parameters.take_over(self._pack)
        return self._weights

    def _pack(self) -> None:
        parts = self._parts(copy.deepcopy(self._module).to("cpu", torch.float64))
        self._weights = torch.cat([part.detach() for part in parts])

    @property
    @abstractmethod
    def layout(self) -> tuple[int, ...]:
        """The sizes that the native layout computes offsets from."""

    @abstractmethod
    def _parts(self, exact: nn.Module) -> list[Tensor]:
        """The fields of the layout, of a float64 copy of the module."""


class PackedTransformer(PackedModule):
    """A Transformer for `kernels.attention.encode`."""

    def __init__(self, transformer: Transformer) -> None:
        super().__init__(transformer, "transformer")
        self._sizes = transformer.config

    @property
    def layout(self) -> tuple[int, ...]:
        sizes = self._sizes
        return sizes["dim"] + 2, sizes["width"], sizes["layers"], sizes["heads"]

    def _parts(self, exact: nn.Module) -> list[Tensor]:
        transformer = cast(Transformer, exact)
        parts = [panels(transformer.token.weight), panels(transformer.token.bias), panels(transformer.anchor)]
        return parts + encoder_fields(transformer.layers)


class PackedPredictor(PackedModule):
    """A Predictor for `kernels.attention.predict`."""

    def __init__(self, predictor: Predictor) -> None:
        super().__init__(predictor, "predictor")
        self._sizes = predictor.config

    @property
    def layout(self) -> tuple[int, ...]:
        return tuple(
            self._sizes[name] for name in ("dim", "width", "layers", "heads", "context_width", "bars")
        )

    def _parts(self, exact: nn.Module) -> list[Tensor]:
        predictor = cast(Predictor, exact)
        shared = attention.predictor_shares_tokens(self.layout)
        parts = [panels(predictor.input.weight), panels(predictor.input.bias)]
        parts += attending_fields(predictor.layers, shared=shared)
        return [*parts, *map(panels, behind(predictor.output_norm, predictor.output))]


def encoder_fields(layers: Iterable[nn.Module]) -> list[Tensor]:
    """The fields of a Transformer's layers, in panels."""
    parts = []
    for module in layers:
        layer = cast(EncoderLayer, module)
        matrix, bias = behind(layer.attention_norm, layer.query_key_value)
        query, key, value = matrix.chunk(3)
        query_bias, _, value_bias = bias.chunk(3)
        output = layer.attention_output
        parts += _attention(
            layer.heads,
            query,
            query_bias,
            key,
            value,
            output.weight,
            output.bias + output.weight @ value_bias,
            shared=False,
        )
        parts += _mlp(layer.mlp_norm, layer.mlp)
    return parts


def attending_fields(layers: Iterable[nn.Module], *, shared: bool) -> list[Tensor]:
    """The fields of a Predictor's layers, in panels; `shared` as `attention.predictor_shares_tokens`."""
    parts = []
    for module in layers:
        layer = cast(AttendingLayer, module)
        query, query_bias = behind(layer.attention_norm, layer.query)
        output = layer.attention_output
        key, value = layer.key.weight, layer.value.weight
        parts += _attention(
            layer.heads, query, query_bias, key, value, output.weight, output.bias, shared=shared
        )
        parts += _mlp(layer.mlp_norm, layer.mlp)
        parts += _folded(layer.heads, query, query_bias, key, value, output.weight)
    return parts


def behind(norm: nn.LayerNorm, linear: nn.Linear) -> tuple[Tensor, Tensor]:
    """Matrix and bias of `linear` behind `norm`, with the scale and shift of `norm` taken in."""
    return linear.weight * norm.weight, linear.bias + linear.weight @ norm.bias


def _attention(
    heads: int,
    query: Tensor,
    query_bias: Tensor,
    key: Tensor,
    value: Tensor,
    output: Tensor,
    output_bias: Tensor,
    *,
    shared: bool,
) -> list[Tensor]:
    """The attention fields of a block: csrc/attention/attention_layout.h has the formulas."""
    scale = _scale(query, heads)
    queries, biases = (scale * query).chunk(heads), (scale * query_bias).chunk(heads)
    keys, values, outputs = key.chunk(heads), value.chunk(heads), output.chunk(heads, dim=1)
    if shared:
        queries = tuple(k.T @ q for k, q in zip(keys, queries, strict=True))
        biases = tuple(k.T @ b for k, b in zip(keys, biases, strict=True))
        outputs = tuple(o @ v for o, v in zip(outputs, values, strict=True))
    fields = [_spread(queries), _spread(biases)]
    if not shared:
        key_value = torch.cat([_spread(keys), _spread(values)])
        fields += [key_value, torch.zeros(len(key_value))]
    fields += [_spread([part.T for part in outputs]).T, output_bias]
    return [panels(field) for field in fields]


def _folded(
    heads: int, query: Tensor, query_bias: Tensor, key: Tensor, value: Tensor, output: Tensor
) -> list[Tensor]:
    """The matrix that turns a token into its folded keys, values and offsets, and a bias of zero."""
    scale = _scale(query, heads)
    queries, biases = (scale * query).chunk(heads), (scale * query_bias).chunk(heads)
    keys, values, outputs = key.chunk(heads), value.chunk(heads), output.chunk(heads, dim=1)
    folded = [q.T @ k for q, k in zip(queries, keys, strict=True)]
    folded += [o @ v for o, v in zip(outputs, values, strict=True)]
    folded += [(b @ k).unsqueeze(0) for b, k in zip(biases, keys, strict=True)]
    matrix = torch.cat(folded)
    return [panels(matrix), panels(matrix.new_zeros(len(matrix)))]


def _scale(query: Tensor, heads: int) -> float:
    """What scores to base 2 are multiplied by."""
    return math.log2(math.e) / math.sqrt(len(query) // heads)


def _spread(parts: Sequence[Tensor]) -> Tensor:
    """Heads' rows under one another, each head filled up with zeros to `head_stride`."""
    missing = head_stride(len(parts[0])) - len(parts[0])
    return torch.cat([torch.cat([part, part.new_zeros(missing, *part.shape[1:])]) for part in parts])


def _mlp(norm: nn.LayerNorm, mlp: nn.Sequential) -> list[Tensor]:
    expand, contract = cast(nn.Linear, mlp[0]), cast(nn.Linear, mlp[2])
    return [panels(field) for field in (*behind(norm, expand), contract.weight, contract.bias)]
