# SPDX-License-Identifier: Apache-2.0
"""Many training steps of many tasks in one native call."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from diffhpo.errors import InputError
from diffhpo.kernels import ops
from diffhpo.kernels.reference import signed_seed
from diffhpo.kernels.training_problem import (
    DrawnTriples,
    DrawRule,
    TrainingProblem,
    TrainingState,
    TrialTable,
)


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
    x, eps = (torch.zeros(batch, dim, dtype=torch.float32) for _ in range(2))
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
