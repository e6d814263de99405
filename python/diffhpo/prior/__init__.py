# SPDX-License-Identifier: Apache-2.0
"""The synthetic prior: functions such as tuning problems are, drawn without end for pretraining."""

from diffhpo.prior.families import FAMILIES, WEIGHTS
from diffhpo.prior.sampler import PriorSampler
from diffhpo.prior.task_batch import TaskBatch

__all__ = ["FAMILIES", "WEIGHTS", "PriorSampler", "TaskBatch"]
