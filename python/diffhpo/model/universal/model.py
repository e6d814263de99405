# SPDX-License-Identifier: Apache-2.0
"""The universal in-context model: Transformer, Predictor and Network that share one checkpoint."""

from __future__ import annotations

from torch import nn

from diffhpo.errors import InputError
from diffhpo.model.universal.network import UniversalNetwork
from diffhpo.model.universal.packed_universal import (
    PackedUniversal,
    PackedUniversalPredictor,
    PackedUniversalTransformer,
)
from diffhpo.model.universal.predictor import UniversalPredictor
from diffhpo.model.universal.transformer import UniversalTransformer
from diffhpo.process.torch_defaults import float32


class UniversalModel(nn.Module):
    """Predicts values and generates configurations for any space of 1 to 32 dimensions, from trials alone.

    Args:
        width: of tokens, codes and of the Network's residual stream.
        layers: self-attention layers of the Transformer.
        predictor_layers: attending layers of the Predictor.
        blocks: residual blocks of the Network.
        heads: attention heads.

    Raises:
        InputError: if a size is not positive or `width` is not a multiple of 2 `heads`.

    Example:
        >>> sum(p.numel() for p in UniversalModel(width=32).parameters()) < 200_000
        True
    """

    @float32()
    def __init__(
        self, *, width: int = 64, layers: int = 3, predictor_layers: int = 2, blocks: int = 3, heads: int = 4
    ) -> None:
        super().__init__()
        if min(width, layers, predictor_layers, blocks, heads) < 1 or width % (2 * heads):
            raise InputError(
                f"width={width}, layers={layers}, predictor_layers={predictor_layers}, blocks={blocks}, "
                f"heads={heads}: sizes must be positive and width a multiple of 2 heads"
            )
        self.config = {
            "width": width,
            "layers": layers,
            "predictor_layers": predictor_layers,
            "blocks": blocks,
            "heads": heads,
        }
        self.transformer = UniversalTransformer(width=width, layers=layers, heads=heads)
        self.predictor = UniversalPredictor(width=width, layers=predictor_layers, heads=heads)
        self.network = UniversalNetwork(width=width, blocks=blocks)
        self._packed = PackedUniversal()

    @property
    def packed(self) -> tuple[PackedUniversalTransformer, PackedUniversalPredictor]:
        """Transformer and Predictor as the native kernels read them."""
        return self._packed.of(self.transformer, self.predictor)

    def parameter_count(self) -> int:
        """How many numbers training moves."""
        return sum(parameter.numel() for parameter in self.parameters())
