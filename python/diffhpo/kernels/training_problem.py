# SPDX-License-Identifier: Apache-2.0
"""What the training kernel takes and changes: shapes, histories, rules of drawing, parameters and moments."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from diffhpo.errors import InputError

#: 2^32: shares of draws are compared with random words of 32 bits.
WORDS = 2**32


@dataclass(frozen=True)
class TrainingShape:
    """The sizes of a Network without cross-attention and of its Transformer."""

    dim: int
    width: int
    blocks: int
    context_width: int
    time_features: int
    layers: int
    heads: int

    @property
    def sizes(self) -> list[int]:
        """In the order that the native module takes them in."""
        return [
            self.dim,
            self.width,
            self.blocks,
            self.context_width,
            self.time_features,
            self.layers,
            self.heads,
        ]

    @property
    def parameters(self) -> dict[str, tuple[int, ...]]:
        """Name and shape of every parameter, in the order of csrc/training/training_layout.h.

        Example:
            >>> shape = TrainingShape(3, 16, 1, 8, 4, 1, 2)
            >>> list(shape.parameters.items())[:2]
            [('network.input.weight', (16, 3)), ('network.input.bias', (16,))]
        """
        d, w, c = self.dim, self.width, self.context_width
        shifts = self.blocks * 2 * w
        table: dict[str, tuple[int, ...]] = {}

        def dense(name: str, outputs: int, inputs: int) -> None:
            table[f"{name}.weight"] = (outputs, inputs)
            table[f"{name}.bias"] = (outputs,)

        def norm(name: str) -> None:
            table[f"{name}.weight"] = table[f"{name}.bias"] = (c,)

        dense("network.input", w, d)
        for block in range(self.blocks):
            dense(f"network.blocks.{block}.expand", 2 * w, w)
            dense(f"network.blocks.{block}.contract", w, 2 * w)
        dense("network.output", d, w)
        dense("network.time.0", w, self.time_features)
        dense("network.time.2", shifts, w)
        table["network.flag.weight"] = (3, shifts)
        table["network.context.weight"] = (shifts, c)
        table["transformer.anchor"] = (c,)
        dense("transformer.token", c, d + 2)
        for layer in range(self.layers):
            at = f"transformer.layers.{layer}"
            norm(f"{at}.attention_norm")
            dense(f"{at}.query_key_value", 3 * c, c)
            dense(f"{at}.attention_output", c, c)
            norm(f"{at}.mlp_norm")
            dense(f"{at}.mlp.0", 2 * c, c)
            dense(f"{at}.mlp.2", c, 2 * c)
        return table


@dataclass(frozen=True)
class DrawRule:
    """How triples are drawn, as `diffhpo.model.Sampler` describes its options."""

    timesteps: int = 1000
    jitter: float = 0.0
    jitter_share: float = 1.0
    balanced: bool = False
    exclude_query: bool = False
    flag_dropout: float = 0.0

    @property
    def jitter_below(self) -> int:
        """The words, of 2^32, that mean jitter."""
        return round(self.jitter_share * WORDS)

    @property
    def flag_dropout_below(self) -> int:
        """The words, of 2^32, that withhold the flag."""
        return round(self.flag_dropout * WORDS)


@dataclass(frozen=True)
class TrialTable:
    """A history as draws need it."""

    x: Tensor
    """(n, d) float32 in [0, 1]."""
    y: Tensor
    """(n,) float64."""
    ranks: Tensor
    """(n,) int64 in [0, n): equal for equal y, larger for larger y."""
    thresholds: Tensor
    """(n,) int64: trial i is a query where thresholds[i - 1] <= word < thresholds[i]; the last is 2^32."""

    @classmethod
    def of(cls, x: Tensor, y: Tensor, weights: Tensor) -> TrialTable:
        """The table of a history whose trial i is drawn as a query with weight `weights[i]`.

        Args:
            x: (n, d) configurations in [0, 1].
            y: (n,) values.
            weights: (n,) positive weights.

        Raises:
            InputError: if there is no trial.

        Example:
            >>> TrialTable.of(torch.zeros(2, 1), torch.tensor([5.0, 5.0]), torch.ones(2)).thresholds.tolist()
            [2147483648, 4294967296]
        """
        if len(y) == 0:
            raise InputError("the history is empty; draws need at least one trial")
        values = y.double().numpy()
        share = np.cumsum(weights.double().numpy())
        thresholds = np.rint(share / share[-1] * WORDS).astype(np.int64)
        thresholds[-1] = WORDS
        ranks = np.unique(values, return_inverse=True)[1].reshape(-1).astype(np.int64)
        return cls(
            x.float().contiguous(),
            y.double().contiguous(),
            torch.from_numpy(ranks),
            torch.from_numpy(thresholds),
        )


@dataclass(frozen=True)
class TrainingProblem:
    """Tasks of one shape: their histories and seeds, and what they have in common."""

    shape: TrainingShape
    histories: tuple[TrialTable, ...]
    """J histories."""
    seeds: tuple[int, ...]
    """J seeds in [0, 2^64)."""
    rule: DrawRule
    batch: int
    learning_rate: float
    signal: Tensor
    """(T,) float32 sqrt(abar_t)."""
    noise: Tensor
    """(T,) float32 sqrt(1 - abar_t)."""
    features: Tensor
    """(T, F) float32 time features of every timestep."""


@dataclass(frozen=True)
class TrainingState:
    """Parameters and Adam's moments of J tasks, flat; `train` updates them in place."""

    parameters: Tensor
    """(J, P) float32, tensors in the order of `TrainingShape.parameters`."""
    exp_avg: Tensor
    """(J, P) float32"""
    exp_avg_sq: Tensor
    """(J, P) float32"""
    steps: Tensor
    """(J,) int64 steps done: the number of each task's next step."""

    @classmethod
    def fresh(cls, parameters: Tensor) -> TrainingState:
        """The state before the first step. `parameters` (J, P) is copied."""
        parameters = parameters.detach().float().clone(memory_format=torch.contiguous_format)
        steps = torch.zeros(len(parameters), dtype=torch.int64)
        return cls(parameters, torch.zeros_like(parameters), torch.zeros_like(parameters), steps)


@dataclass(frozen=True)
class DrawnTriples:
    """What K steps draw, B triples each."""

    query: Tensor
    """(K, B) int64 the trial that is the query."""
    x: Tensor
    """(K, B, d) float32 the query's configuration, jittered, in [0, 1]."""
    improve: Tensor
    """(K, B) int64 the flag: 1 if no member is better than the query, else 0; 2 if withheld."""
    mask: Tensor
    """(K, B, n) bool the members of the context."""
    t: Tensor
    """(K, B) int64 timesteps."""
    eps: Tensor
    """(K, B, d) float32 standard normal noise."""
