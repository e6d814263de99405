# SPDX-License-Identifier: Apache-2.0
"""The generative model, under the brief's names."""

from diffhpo.model.network import Network
from diffhpo.model.schedule import NoiseSchedule
from diffhpo.model.transformer import ContextBatch, Transformer

__all__ = ["ContextBatch", "Network", "NoiseSchedule", "Transformer"]
