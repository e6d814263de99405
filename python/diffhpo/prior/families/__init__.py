# SPDX-License-Identifier: Apache-2.0
"""Families of synthetic functions on the unit cube, one a file."""

from diffhpo.prior.families.additive import AdditiveFunctions
from diffhpo.prior.families.classic import ClassicFunctions
from diffhpo.prior.families.composite import CompositeFunctions
from diffhpo.prior.families.family import Family, FunctionBatch
from diffhpo.prior.families.gaussian_process import GaussianProcessDraws
from diffhpo.prior.families.learning_rate import LearningRateLandscapes
from diffhpo.prior.families.neural_network import NeuralNetworks
from diffhpo.prior.families.plateau import PlateauBasins
from diffhpo.prior.families.trees import TreeEnsembles

__all__ = ["FAMILIES", "WEIGHTS", "Family", "FunctionBatch"]

_SIMPLE: dict[str, Family] = {
    "gaussian-process": GaussianProcessDraws(),
    "additive": AdditiveFunctions(),
    "neural-network": NeuralNetworks(),
    "trees": TreeEnsembles(),
    "learning-rate": LearningRateLandscapes(),
    "plateau": PlateauBasins(),
    "classic": ClassicFunctions(),
}

#: Every family by name.
FAMILIES: dict[str, Family] = {**_SIMPLE, "composite": CompositeFunctions(tuple(_SIMPLE.values()))}

#: How often each is drawn unless the caller says otherwise.
WEIGHTS: dict[str, float] = {
    "gaussian-process": 0.20,
    "additive": 0.10,
    "neural-network": 0.10,
    "trees": 0.17,
    "learning-rate": 0.18,
    "plateau": 0.07,
    "classic": 0.06,
    "composite": 0.12,
}
