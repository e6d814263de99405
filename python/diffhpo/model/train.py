# SPDX-License-Identifier: Apache-2.0
"""The training loop."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from diffhpo.errors import CheckpointError, InputError
from diffhpo.model.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from diffhpo.model.loss import Loss
from diffhpo.model.network import Network
from diffhpo.model.noise_adder import NoiseAdder
from diffhpo.model.sampler import Sampler
from diffhpo.model.schedule import NoiseSchedule
from diffhpo.model.transformer import Transformer


def step_generator(seed: int, step: int) -> torch.Generator:
    """The generator of one training step: a function of seed and step, so that a resumed run is exact.

    Example:
        >>> torch.rand(1, generator=step_generator(0, 5)) == torch.rand(1, generator=step_generator(0, 5))
        tensor([True])
    """
    # The multiplier is odd and close to 2^64 / golden ratio: nearby (seed, step) pairs land far apart.
    return torch.Generator().manual_seed((seed * 0x9E3779B97F4A7C15 + step) % 2**63)


@dataclass
class Trainer:
    """Adam on the Loss, one Sampler batch a step; can be called again to go on, also on a longer history.

    Args:
        network: the Network; trained in place.
        transformer: the Transformer; trained in place.
        schedule: linear with 1000 levels by default.
        learning_rate: Adam's.
        batch: triples a step.
        seed: every random number of step k is a function of (seed, k).

    Example:
        >>> from diffhpo.history import History
        >>> sampler = Sampler(History([[0.2], [0.7]], [0.0, 1.0]))
        >>> trainer = Trainer(Network(1, context_width=8), Transformer(1, width=8))
        >>> len(trainer.fit(sampler, 3))
        3
    """

    network: Network
    transformer: Transformer
    schedule: NoiseSchedule = field(default_factory=NoiseSchedule.linear)
    learning_rate: float = 2e-3
    batch: int = 16
    seed: int = 0
    step: int = field(default=0, init=False)
    losses: list[float] = field(default_factory=list, init=False)

    def __post_init__(self) -> None:
        if self.network.context_width != self.transformer.width:
            raise InputError(
                f"network.context_width is {self.network.context_width}, transformer.width is "
                f"{self.transformer.width}: they must be equal"
            )
        if self.batch < 1 or self.learning_rate <= 0:
            raise InputError(f"batch={self.batch}, learning_rate={self.learning_rate}: both must be positive")
        self._loss = Loss(self.network, self.transformer, NoiseAdder(self.schedule))
        self._optimizer = torch.optim.Adam(self._loss.parameters(), lr=self.learning_rate, fused=True)

    def fit(
        self,
        sampler: Sampler,
        steps: int,
        *,
        progress: bool = False,
        patience: int | None = None,
        checkpoint: str | os.PathLike[str] | None = None,
        checkpoint_every: int = 1000,
    ) -> list[float]:
        """Take up to `steps` steps.

        Args:
            sampler: where triples come from.
            steps: how many at most.
            progress: show a bar.
            patience: stop early once the loss, averaged over the last 100 steps, has not fallen for this many
                steps; None never stops.
            checkpoint: a file to write every `checkpoint_every` steps and at the end; `Trainer.resume`
                reads it.
            checkpoint_every: steps between two writes.

        Returns:
            The loss of every step taken in this call; `self.losses` has those of all calls.

        Raises:
            InputError: if `steps` is negative or the Sampler's timesteps are not the schedule's.
            CheckpointError: if the checkpoint cannot be written; the model keeps what it learned.
        """
        if steps < 0:
            raise InputError(f"steps is {steps}; it cannot be negative")
        if sampler.timesteps != len(self.schedule):
            raise InputError(
                f"the sampler draws from {sampler.timesteps} timesteps, the schedule has {len(self.schedule)}"
            )
        first = len(self.losses)
        best, best_step = float("inf"), 0
        self._loss.train()
        with tqdm(total=steps, disable=not progress, desc="training", unit="step") as bar:
            for taken in range(1, steps + 1):
                loss = self._advance(sampler)
                bar.update()
                bar.set_postfix(loss=f"{loss:.3f}", refresh=False)
                if checkpoint is not None and taken % checkpoint_every == 0:
                    self.save(checkpoint)
                recent = self.losses[first:][-100:] if patience is not None else []
                if patience is not None and taken >= 100:
                    average = sum(recent) / len(recent)
                    if average < best:
                        best, best_step = average, taken
                    elif taken - best_step >= patience:
                        break
        self._loss.eval()
        if checkpoint is not None:
            self.save(checkpoint)
        return self.losses[first:]

    def _advance(self, sampler: Sampler) -> float:
        generator = step_generator(self.seed, self.step)
        batch = sampler.draw(self.batch, generator)
        eps = torch.randn(batch.x.shape, generator=generator)
        loss: Tensor = self._loss(batch, eps)
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self._optimizer.step()
        self.step += 1
        value = float(loss.detach())
        self.losses.append(value)
        return value

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write model, optimiser, step and losses to one checkpoint, atomically.

        Raises:
            CheckpointError: if the file cannot be written.
        """
        moments = {
            f"{name}.{key}": value
            for name, parameter in self._loss.named_parameters()
            for key, value in self._optimizer.state.get(parameter, {}).items()
        }
        extra = {
            "seed": self.seed,
            "batch": self.batch,
            "learning_rate": self.learning_rate,
            "losses": self.losses,
        }
        save_checkpoint(
            path, Checkpoint(self.network, self.transformer, self.schedule, self.step, moments, extra)
        )

    @classmethod
    def resume(cls, path: str | os.PathLike[str]) -> Trainer:
        """A trainer that goes on as if it had never stopped: its next steps give bitwise the same weights.

        Raises:
            CheckpointError: if the file is not a sound checkpoint with training state.
        """
        loaded = load_checkpoint(path)
        try:
            trainer = cls(
                loaded.network,
                loaded.transformer,
                loaded.schedule,
                learning_rate=float(loaded.extra["learning_rate"]),
                batch=int(loaded.extra["batch"]),
                seed=int(loaded.extra["seed"]),
            )
            trainer.step = loaded.step
            trainer.losses = [float(loss) for loss in loaded.extra["losses"]]
            if loaded.step:
                for name, parameter in trainer._loss.named_parameters():
                    trainer._optimizer.state[parameter] = {
                        key: loaded.optimizer[f"{name}.{key}"] for key in ("step", "exp_avg", "exp_avg_sq")
                    }
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(f"{Path(path)} has no sound training state: {error!r}") from error
        return trainer
