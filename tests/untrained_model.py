# SPDX-License-Identifier: Apache-2.0
"""A small universal model with the weights that it starts from: for what must hold whatever the weights."""

import torch

from diffhpo.model.universal import UniversalModel


def untrained_model() -> UniversalModel:
    """The same weights each time; torch's generator is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return UniversalModel(width=16, layers=1, predictor_layers=1, blocks=1, heads=2)
