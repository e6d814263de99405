# SPDX-License-Identifier: Apache-2.0
"""The functions behind a group of synthetic tasks that share a family and a dimension."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from diffhpo.prior.families import FunctionBatch
from diffhpo.prior.input_transform import InputTransform
from diffhpo.prior.output_transform import OutputTransform


@dataclass(frozen=True)
class TaskFunctions:
    """B tasks of d columns: value = outputs(function(inputs(x))), larger is better."""

    family: str
    """Name of the family."""
    inputs: InputTransform
    function: FunctionBatch
    outputs: OutputTransform

    def __call__(self, x: Tensor) -> Tensor:
        """(B, N, d) in [0, 1] -> (B, N) values without noise; discrete columns read their nearest level."""
        return self.outputs(self.function(self.inputs(self.inputs.snap(x))))
