# SPDX-License-Identifier: Apache-2.0
"""The universal Transformer and Predictor as the native kernels read them, following their parameters."""

from __future__ import annotations

import math
from typing import Any, cast

import torch
from torch import Tensor, nn

from diffhpo.kernels import attention
from diffhpo.kernels.attention import PANEL, panels
from diffhpo.model.packed_attention import PackedModule, attending_fields, behind, encoder_fields
from diffhpo.model.universal.dimensions import BASIS
from diffhpo.model.universal.predictor import UniversalPredictor
from diffhpo.model.universal.transformer import CoordinateEmbedding, UniversalTransformer

#: Softmax is taken to base 2.
_LOG2_E = math.log2(math.e)


class PackedUniversalTransformer(PackedModule):
    """A UniversalTransformer for `kernels.universal`: csrc/universal/universal_layout.h has the fields."""

    def __init__(self, transformer: UniversalTransformer) -> None:
        super().__init__(transformer, "transformer")
        self._sizes = transformer.config

    @property
    def layout(self) -> tuple[int, ...]:
        return self._sizes["width"], self._sizes["layers"], self._sizes["heads"]

    def _parts(self, exact: nn.Module) -> list[Tensor]:
        t = cast(UniversalTransformer, exact)
        width, views = t.width, (2 * t.heads + 1) * BASIS
        tags = torch.cat([t.kind.weight, t.role.weight, t.name.weight])
        cell_score = _LOG2_E * t.cell_score.weight
        score_bias = _LOG2_E * (t.cell_score.bias + t.cell_score.weight @ t.cell_output.bias)
        second, second_expand = t.second_code, cast(nn.Linear, t.second_code[0]).weight
        return [
            _rows(tags),
            _rows(tags @ t.cell_tag.weight.T),
            *_dense(t.cell),
            panels(torch.cat([t.cell_output.weight, cell_score @ t.cell_output.weight])),
            panels(torch.cat([t.cell_output.bias, score_bias])),
            *_dense(t.first_code[0]),
            *_dense(t.first_code[2]),
            *_mix(t.first_mix, width),
            *_matrix(t.coordinates),
            panels(t.value.weight),
            panels(t.value.bias),
            panels(t.anchor),
            *encoder_fields(t.layers),
            panels(t.token_norm.weight),
            panels(t.token_norm.bias),
            panels(_LOG2_E * t.trial_score.weight),
            panels(_LOG2_E * t.trial_score.bias),
            panels(second_expand[:, views + width :]),
            panels(cast(nn.Linear, second[0]).bias),
            panels(second_expand[:, : views + width]),
            *_dense(second[2]),
            *_mix(t.second_mix, width),
            panels(t.code_norm.weight),
            panels(t.code_norm.bias),
            *_dense(t.pool[0]),
            *_dense(t.pool[2]),
        ]


class PackedUniversalPredictor(PackedModule):
    """A UniversalPredictor for `kernels.universal`: csrc/universal/universal_layout.h has the fields."""

    def __init__(self, predictor: UniversalPredictor) -> None:
        super().__init__(predictor, "predictor")
        self._sizes = predictor.config

    @property
    def layout(self) -> tuple[int, ...]:
        return self._sizes["width"], self._sizes["layers"], self._sizes["heads"]

    def _parts(self, exact: nn.Module) -> list[Tensor]:
        p = cast(UniversalPredictor, exact)
        outputs = p.output.out_features
        shared = attention.predictor_shares_tokens((1, p.width, len(p.layers), p.heads, p.width, outputs))
        hidden, hidden_bias = behind(cast(nn.LayerNorm, p.hidden[0]), cast(nn.Linear, p.hidden[1]))
        return [
            *_dense(p.per_dimension),
            *_dense(p.per_context),
            *_matrix(p.coordinates),
            *_dense(p.hidden_shift),
            panels(hidden),
            panels(hidden_bias),
            panels(torch.cat([p.features.weight, p.mean.weight])),
            panels(torch.cat([p.features.bias, p.mean.bias])),
            panels(p.posterior.weight),
            panels(p.posterior.bias),
            *attending_fields(p.layers, shared=shared),
            *map(panels, behind(p.output_norm, p.output)),
        ]


class PackedUniversal:
    """Both, of one model; a copy or a pickle of the model begins without it."""

    def __init__(self) -> None:
        self._packed: tuple[PackedUniversalTransformer, PackedUniversalPredictor] | None = None
        self._of: tuple[UniversalTransformer, UniversalPredictor] | None = None

    def of(
        self, transformer: UniversalTransformer, predictor: UniversalPredictor
    ) -> tuple[PackedUniversalTransformer, PackedUniversalPredictor]:
        """The packed modules, kept between calls."""
        packed, of = self._packed, self._of
        if packed is None or of is None or of[0] is not transformer or of[1] is not predictor:
            packed = PackedUniversalTransformer(transformer), PackedUniversalPredictor(predictor)
            self._packed, self._of = packed, (transformer, predictor)
        return packed

    def __deepcopy__(self, memo: dict[int, Any]) -> PackedUniversal:
        return PackedUniversal()

    def __reduce__(self) -> tuple[type[PackedUniversal], tuple[()]]:
        return PackedUniversal, ()


def _dense(module: nn.Module) -> tuple[Tensor, Tensor]:
    linear = cast(nn.Linear, module)
    return panels(linear.weight), panels(linear.bias)


def _rows(table: Tensor) -> Tensor:
    """(rows, width) flat, rows filled up to whole panels."""
    return nn.functional.pad(table, (0, -table.shape[1] % PANEL)).reshape(-1).float()


def _mix(module: nn.Sequential, width: int) -> list[Tensor]:
    """A perceptron of [code, mean of codes]: what the mean is multiplied by stands first."""
    first = cast(nn.Linear, module[0])
    return [
        panels(first.weight[:, width:]),
        panels(first.bias),
        panels(first.weight[:, :width]),
        *_dense(module[2]),
    ]


def _matrix(module: CoordinateEmbedding) -> list[Tensor]:
    """The layer whose outputs are the elements of A(code), in the order of the panels of A."""

    def ordered(rows: Tensor) -> Tensor:
        # (BASIS, width, ...) -> (panel, BASIS, PANEL, ...)
        missing = -module.width % PANEL
        by_basis = rows.unflatten(0, (BASIS, module.width))
        filled = torch.cat([by_basis, by_basis.new_zeros(BASIS, missing, *rows.shape[1:])], dim=1)
        return filled.unflatten(1, (-1, PANEL)).transpose(0, 1).flatten(0, 2)

    return [panels(ordered(module.matrix.weight)), panels(ordered(module.matrix.bias))]
