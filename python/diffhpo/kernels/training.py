# SPDX-License-Identifier: Apache-2.0
"""Many training steps of many tasks in one native call: the contract, and the call."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from diffhpo.errors import InputError
from diffhpo.kernels import ops
from diffhpo.kernels.reference import signed_seed

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
        """Name and shape of every parameter, in the order of the flat table (csrc/training_layout.h).

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


@dataclass(frozen=True)
class _Histories:
    """The histories of a call, one after another."""

    trials: Tensor
    x: Tensor
    y: Tensor
    ranks: Tensor
    thresholds: Tensor
    seeds: Tensor
    names: tuple[str, ...] = field(default=("trials", "x", "y", "ranks", "thresholds", "seeds"), init=False)

    @classmethod
    def of(cls, histories: tuple[TrialTable, ...], seeds: tuple[int, ...]) -> _Histories:
        if len(histories) != len(seeds):
            raise InputError(f"{len(histories)} histories and {len(seeds)} seeds were given; one each a task")
        trials = torch.tensor([len(history.y) for history in histories], dtype=torch.int64)
        return cls(
            trials,
            torch.cat([history.x for history in histories]),
            torch.cat([history.y for history in histories]),
            torch.cat([history.ranks for history in histories]),
            torch.cat([history.thresholds for history in histories]),
            torch.tensor([signed_seed(seed) for seed in seeds], dtype=torch.int64),
        )

    @property
    def arguments(self) -> dict[str, Tensor]:
        return {name: getattr(self, name) for name in self.names}


def _rule_arguments(rule: DrawRule) -> dict[str, float | int | bool]:
    return {
        "jitter": rule.jitter,
        "jitter_below": rule.jitter_below,
        "flag_dropout_below": rule.flag_dropout_below,
        "balanced": rule.balanced,
        "exclude_query": rule.exclude_query,
    }


def _call(
    problem: TrainingProblem,
    state: TrainingState,
    losses: Tensor,
    gradients: Tensor | None,
    isa: str,
    threads: int,
) -> None:
    if problem.rule.timesteps != len(problem.signal):
        raise InputError(
            f"the rule draws from {problem.rule.timesteps} timesteps, signal has {len(problem.signal)}"
        )
    histories = _Histories.of(problem.histories, problem.seeds)
    try:
        ops.native().train(
            state.parameters,
            state.exp_avg,
            state.exp_avg_sq,
            state.steps,
            losses,
            gradients,
            problem.shape.sizes,
            problem.signal,
            problem.noise,
            problem.features,
            **histories.arguments,
            batch=problem.batch,
            **_rule_arguments(problem.rule),
            learning_rate=problem.learning_rate,
            isa=isa,
            threads=threads,
        )
    except (TypeError, ValueError) as error:
        raise InputError(f"the training kernel refused its input: {error}") from error


def train(
    problem: TrainingProblem, state: TrainingState, losses: Tensor, *, isa: str = "portable", threads: int = 1
) -> None:
    """Train every task for as many steps as `losses` has columns.

    Args:
        problem: the inputs, on the CPU.
        state: what is trained, updated in place.
        losses: (J, S) float64, filled with the loss of every step.
        isa: build of the CPU kernel, one of `ops.native_isas(runnable=True)`.
        threads: threads; a task is worked on by one of them.

    Raises:
        BackendError: if the native module is missing.
        InputError: if a shape, dtype or value does not fit; nothing has changed then.
        KeyboardInterrupt: on Ctrl-C. Each task has then done the whole steps that `state.steps` says, and
            the losses of those are filled in.

    Reference: torch's autograd and `torch.optim.Adam` on the batches of `training_reference.draw`.
    """
    _call(problem, state, losses, None, isa, threads)


def gradients(
    problem: TrainingProblem, state: TrainingState, *, isa: str = "portable"
) -> tuple[Tensor, Tensor]:
    """Gradients and loss of each task's next step; the state stays as it is. For tests.

    Returns:
        (J, P) float32 in the order of the parameters, and (J,) float64.

    Raises:
        BackendError: if the native module is missing.
        InputError: if a shape, dtype or value does not fit.
    """
    out = torch.zeros_like(state.parameters)
    losses = torch.zeros(len(state.steps), 1, dtype=torch.float64)
    _call(problem, state, losses, out, isa, 1)
    return out, losses[:, 0]


def draw(table: TrialTable, rule: DrawRule, batch: int, seed: int, step: int, *, isa: str) -> DrawnTriples:
    """One step of `training_reference.draw` by the kernel's own generator, for tests.

    Raises:
        BackendError: if the native module is missing.
        InputError: if a value is out of range.
    """
    count, dim = table.x.shape
    query, improve, t = (torch.zeros(batch, dtype=torch.int64) for _ in range(3))
    x, eps = torch.zeros(batch, dim), torch.zeros(batch, dim)
    mask = torch.zeros(batch, count, dtype=torch.int64)
    histories = _Histories.of((table,), (seed,))
    try:
        ops.native().draw_triples(
            query,
            x,
            improve,
            mask,
            t,
            eps,
            **histories.arguments,
            step=step,
            levels=rule.timesteps,
            **_rule_arguments(rule),
            isa=isa,
        )
    except (TypeError, ValueError) as error:
        raise InputError(f"the training kernel refused its input: {error}") from error
    return DrawnTriples(query[None], x[None], improve[None], mask[None] == 1, t[None], eps[None])
