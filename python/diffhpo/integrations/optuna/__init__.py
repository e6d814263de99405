# SPDX-License-Identifier: Apache-2.0
"""Optuna's sampler interface: `from diffhpo.integrations.optuna import DiffusionSampler`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from diffhpo.process.lazy_import import lazy_exports

if TYPE_CHECKING:
    from diffhpo.integrations.optuna.sampler import DiffusionSampler

__all__ = ["DiffusionSampler"]

# The version of Optuna is looked at before anything of it is imported.
__getattr__, __dir__ = lazy_exports(__name__, {"DiffusionSampler": "sampler"})
