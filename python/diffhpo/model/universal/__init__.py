# SPDX-License-Identifier: Apache-2.0
"""The universal in-context model: any space of up to 32 dimensions, no training at use time."""

from diffhpo.model.universal.dimensions import MAX_DIM, Dimensions
from diffhpo.model.universal.gaussian_mixture import GaussianMixture
from diffhpo.model.universal.model import UniversalModel
from diffhpo.model.universal.transformer import UniversalContext, UniversalEmbedding

__all__ = [
    "MAX_DIM",
    "Dimensions",
    "GaussianMixture",
    "UniversalContext",
    "UniversalEmbedding",
    "UniversalModel",
]
