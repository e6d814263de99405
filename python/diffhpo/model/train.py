# SPDX-License-Identifier: Apache-2.0
"""The training loop."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from diffhpo.arguments.finite_number import finite_number
from diffhpo.arguments.whole_number import whole_number
from diffhpo.errors import CheckpointError, InputError
from diffhpo.kernels.executors import training_executor
from diffhpo.kernels.reference import signed_seed
from diffhpo.model.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from diffhpo.model.loss import Loss
from diffhpo.model.native_training import NativeTraining, Run, not_covered, take_steps
from diffhpo.model.network import Network
from diffhpo.model.noise_adder import NoiseAdder
from diffhpo.model.sampler import Sampler
from diffhpo.model.schedule import NoiseSchedule
from diffhpo.model.transformer import Transformer
from diffhpo.process.torch_defaults import torch_defaults

#: Steps of one native call at most: a bound on what an exception could lose.
NATIVE_CHUNK = 1000
#: Steps between two updates of the progress bar.
_PROGRESS_CHUNK = 25
#: Steps that the torch path draws at once, and the random words that it draws at most.
_DRAWN_STEPS, _DRAWN_WORDS = 32, 2**20

#: Triples of one training step; with more the memory would run out.
MOST_BATCH = 1 << 20


@dataclass
class Trainer:
    """Adam on the Loss, one Sampler batch a step; can be called again to go on, also on a longer history.

    Args:
        network: the Network; trained in place.
        transformer: the Transformer; trained in place.
        schedule: linear with 1000 levels by default.
        learning_rate: Adam's.
        batch: triples a step.
        seed: in [0, 2^64); every random number of step k is a function of (seed, k).
        executor: "reference" is torch; "cpu", or one build of it such as "cpu-avx2", takes many steps in one
            native call. "auto" is the native executor where it covers the models (`not_covered` has the rule
            and says why not), and torch where it does not. `chosen_executor` says which it is. All draw the
            same triples and noise, and differ by the rounding of float32 sums.

    Raises:
        InputError: if a setting is out of range or the widths do not fit.

    Example:
        >>> from diffhpo.history import History
        >>> sampler = Sampler(History([[0.2], [0.7]], [0.0, 1.0]))
        >>> trainer = Trainer(Network(1, context_width=8), Transformer(1, width=8))
        >>> len(trainer.fit(sampler, 3))
        3
        >>> trainer.executor = "reference"
        >>> trainer.chosen_executor
        'reference'
    """

    network: Network
    transformer: Transformer
    schedule: NoiseSchedule = field(default_factory=NoiseSchedule.linear)
    learning_rate: float = 2e-3
    batch: int = 16
    seed: int = 0
    executor: str = "auto"
    step: int = field(default=0, init=False)
    losses: list[float] = field(default_factory=list, init=False)

    @torch_defaults()
    def __post_init__(self) -> None:
        for name, part, kind in (
            ("network", self.network, Network),
            ("transformer", self.transformer, Transformer),
            ("schedule", self.schedule, NoiseSchedule),
        ):
            if not isinstance(part, kind):
                raise InputError(f"{name} is {type(part).__name__}; a {kind.__name__} is needed")
        if self.network.context_width != self.transformer.width:
            raise InputError(
                f"network.context_width is {self.network.context_width}, transformer.width is "
                f"{self.transformer.width}: they must be equal"
            )
        self.batch = whole_number(self.batch, "batch", least=1, most=MOST_BATCH)
        self.learning_rate = finite_number(self.learning_rate, "learning_rate", above=0)
        signed_seed(self.seed)
        training_executor(self.executor, None)
        self._loss = Loss(self.network, self.transformer, NoiseAdder(self.schedule))
        self._optimizer = torch.optim.Adam(self._loss.parameters(), lr=self.learning_rate, fused=True)
        self._native: NativeTraining | None = None

    @property
    def chosen_executor(self) -> str:
        """What the next step runs on: "reference" or a build of the native kernel.

        Raises:
            BackendError: if the executor that was asked for cannot train these models, or is not there.
        """
        return training_executor(self.executor, not_covered(self.network, self.transformer)).name

    @torch_defaults()
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
        self._check(sampler, steps)
        first, taken = len(self.losses), 0
        best, best_step = float("inf"), 0
        with tqdm(
            total=steps, disable=not progress or sys.stderr is None, desc="training", unit="step"
        ) as bar:
            while taken < steps:
                count = min(steps - taken, _PROGRESS_CHUNK if progress else NATIVE_CHUNK)
                if checkpoint is not None:
                    count = min(count, checkpoint_every - taken % checkpoint_every)
                if patience is not None:  # no step before this one can be the last
                    count = min(count, max(1, max(100, best_step + patience) - taken))
                losses = self._take(sampler, count)
                bar.update(count)
                bar.set_postfix(loss=f"{losses[-1]:.3f}", refresh=False)
                taken += count
                if checkpoint is not None and taken % checkpoint_every == 0:
                    self.save(checkpoint)
                if patience is None:
                    continue
                for step in range(max(100, taken - count + 1), taken + 1):
                    average = sum(self.losses[first + step - 100 : first + step]) / 100
                    if average < best:
                        best, best_step = average, step
                if taken >= 100 and taken > best_step and taken - best_step >= patience:
                    break
        if self._loss.training:
            self._loss.eval()
        if checkpoint is not None:
            self.save(checkpoint)
        return self.losses[first:]

    def _check(self, sampler: Sampler, steps: int) -> None:
        whole_number(steps, "steps")
        if not isinstance(sampler, Sampler):
            raise InputError(f"sampler is {type(sampler).__name__}; a Sampler is needed")
        if sampler.timesteps != len(self.schedule):
            raise InputError(
                f"the sampler draws from {sampler.timesteps} timesteps, the schedule has {len(self.schedule)}"
            )

    def _take(self, sampler: Sampler, steps: int) -> list[float]:
        """Take `steps` steps on the chosen executor; their losses."""
        executor = self.chosen_executor
        if executor == "reference":
            return self._take_reference(sampler, steps)
        isa = executor.removeprefix("cpu-")
        [losses], interrupt = take_steps([self._run(sampler)], steps, batch=self.batch, isa=isa)
        self._record(losses)
        if interrupt is not None:
            raise interrupt
        return losses

    def _run(self, sampler: Sampler) -> Run:
        if self._native is None:
            self._native = NativeTraining(self._loss, self._optimizer)
        return Run(self._native, sampler, self.seed, self.step)

    def _record(self, losses: list[float]) -> None:
        self.step += len(losses)
        self.losses += losses

    def _take_reference(self, sampler: Sampler, steps: int) -> list[float]:
        words = self.batch * max(sampler.table.x.shape)
        chunk = max(1, min(_DRAWN_STEPS, _DRAWN_WORDS // words))
        losses, end = [], self.step + steps
        self._loss.train()
        while self.step < end:
            drawn = range(self.step, min(end, self.step + chunk))
            for batch, eps in sampler.draw_steps(self.batch, self.seed, drawn):
                loss: Tensor = self._loss(batch, eps)
                self._optimizer.zero_grad(set_to_none=True)
                loss.backward()
                self._optimizer.step()
                losses.append(float(loss.detach()))
                self._record(losses[-1:])
        return losses

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
    def resume(cls, path: str | os.PathLike[str], *, executor: str = "auto") -> Trainer:
        """A trainer that goes on as if it had never stopped.

        Its next steps give bitwise the same weights if `executor` is that of the steps before.

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
                executor=executor,
            )
            trainer.step = loaded.step
            trainer.losses = [float(loss) for loss in loaded.extra["losses"]]
            if loaded.step:
                for name, parameter in trainer._loss.named_parameters():
                    moments = {
                        key: loaded.optimizer[f"{name}.{key}"] for key in ("step", "exp_avg", "exp_avg_sq")
                    }
                    if moments["step"].shape != () or any(
                        moments[key].shape != parameter.shape for key in ("exp_avg", "exp_avg_sq")
                    ):
                        raise ValueError(f"the moments of {name} have other shapes")
                    trainer._optimizer.state[parameter] = moments
        except (KeyError, OverflowError, TypeError, ValueError) as error:
            raise CheckpointError(f"{Path(path)} has no sound training state: {error!r}") from error
        return trainer
