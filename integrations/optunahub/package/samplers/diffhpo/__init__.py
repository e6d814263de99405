# SPDX-License-Identifier: Apache-2.0
"""diffhpo's sampler as an OptunaHub package; the sampler itself is in the package `diffhpo`."""

from diffhpo.integrations.optuna import DiffusionSampler

__all__ = ["DiffusionSampler"]
