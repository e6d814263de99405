# SPDX-License-Identifier: Apache-2.0
"""Several Trainers in one native call."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from diffhpo.errors import BackendError, InputError
from diffhpo.model.native_training import Run, take_steps
from diffhpo.model.sampler import Sampler
from diffhpo.model.train import NATIVE_CHUNK, Trainer


def fit_together(
    trainers: Sequence[Trainer], samplers: Sequence[Sampler], steps: int, *, threads: int | None = None
) -> list[list[float]]:
    """Take `steps` steps of every Trainer on its own Sampler, spread over threads.

    The results are bitwise those of `Trainer.fit` on each, which takes one thread.

    Args:
        trainers: of models of one shape, with one schedule, batch and learning rate.
        samplers: one each, with the same options; their histories may differ.
        steps: how many.
        threads: torch's number of threads by default; one Trainer is worked on by one of them.

    Returns:
        The losses of every Trainer.

    Raises:
        InputError: if the Trainers are not distinct, differ in what they must have in common, or `steps` is
            negative.
        BackendError: if one of them does not train on a native executor.

    Example:
        >>> from diffhpo.history import History
        >>> from diffhpo.model import Network, Transformer
        >>> trainers = [Trainer(Network(1, context_width=8), Transformer(1, width=8), seed=s) for s in (0, 1)]
        >>> sampler = Sampler(History([[0.2], [0.7]], [0.0, 1.0]))
        >>> [len(losses) for losses in fit_together(trainers, [sampler, sampler], 3)]
        [3, 3]
    """
    if len(trainers) != len(samplers) or len({id(trainer) for trainer in trainers}) != len(trainers):
        raise InputError(
            f"{len(trainers)} trainers, {len(samplers)} samplers; distinct trainers, one sampler each, needed"
        )
    if not trainers:
        return []
    executor = trainers[0].chosen_executor
    runs: list[Run] = []
    for index, (trainer, sampler) in enumerate(zip(trainers, samplers, strict=True)):
        trainer._check(sampler, steps)
        if trainer.chosen_executor == "reference":
            raise BackendError(f"trainers[{index}] trains on the reference; call its fit")
        run = trainer._run(sampler)
        first = runs[0] if runs else run
        same = {
            "executor": trainer.chosen_executor == executor,
            "shape": run.model.shape == first.model.shape,
            "schedule": torch.equal(trainer.schedule.betas, trainers[0].schedule.betas),
            "batch": trainer.batch == trainers[0].batch,
            "learning_rate": run.model.learning_rate == first.model.learning_rate,
            "sampler options": sampler.rule == samplers[0].rule,
        }
        for name, equal in same.items():
            if not equal:
                raise InputError(f"trainers[{index}] and trainers[0] differ in {name}; train them apart")
        runs.append(run)
    losses: list[list[float]] = [[] for _ in trainers]
    for start in range(0, steps, NATIVE_CHUNK):
        taken, interrupt = take_steps(
            [trainer._run(sampler) for trainer, sampler in zip(trainers, samplers, strict=True)],
            min(NATIVE_CHUNK, steps - start),
            batch=trainers[0].batch,
            isa=executor.removeprefix("cpu-"),
            threads=torch.get_num_threads() if threads is None else threads,
        )
        for trainer, part, all_parts in zip(trainers, taken, losses, strict=True):
            trainer._record(part)
            all_parts += part
        if interrupt is not None:
            raise interrupt
    return losses
