# SPDX-License-Identifier: Apache-2.0
"""The generative model, under the brief's names."""

from diffhpo.model.bar_distribution import BarDistribution
from diffhpo.model.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from diffhpo.model.denoiser import Denoiser
from diffhpo.model.joint_training import fit_together
from diffhpo.model.loss import Loss
from diffhpo.model.network import Network
from diffhpo.model.noise_adder import NoiseAdder
from diffhpo.model.predictor import Predictor
from diffhpo.model.sampler import Sampler
from diffhpo.model.schedule import NoiseSchedule
from diffhpo.model.scorer import Scorer
from diffhpo.model.train import Trainer
from diffhpo.model.transformer import ContextBatch, Transformer

__all__ = [
    "BarDistribution",
    "Checkpoint",
    "ContextBatch",
    "Denoiser",
    "Loss",
    "Network",
    "NoiseAdder",
    "NoiseSchedule",
    "Predictor",
    "Sampler",
    "Scorer",
    "Trainer",
    "Transformer",
    "fit_together",
    "load_checkpoint",
    "save_checkpoint",
]
