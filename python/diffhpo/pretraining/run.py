# SPDX-License-Identifier: Apache-2.0
"""One pretraining run in a directory: it can be killed at any moment and goes on from its last checkpoint."""

from __future__ import annotations

import contextlib
import json
import logging
import math
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from diffhpo.arguments.whole_number import whole_number
from diffhpo.errors import BackendError, CheckpointError, InputError, RunError
from diffhpo.files.atomic_write import reason_and_remedy
from diffhpo.files.run_lock import RunLock
from diffhpo.model.noise_adder import NoiseAdder
from diffhpo.model.universal.checkpoint import UniversalCheckpoint, load_universal, save_universal
from diffhpo.model.universal.model import UniversalModel
from diffhpo.policy import check_seed, derived_seed
from diffhpo.pretraining.episode import Episode
from diffhpo.pretraining.metrics import Metrics
from diffhpo.pretraining.objective import episode_losses
from diffhpo.pretraining.preset import Preset
from diffhpo.pretraining.rollout_collection import collect_rollouts
from diffhpo.pretraining.source import TaskSource
from diffhpo.pretraining.stream import EpisodeStream
from diffhpo.process.drawn_from import drawn_from

_log = logging.getLogger("diffhpo")

#: Steps in a row whose gradient may be infinite or nan before a run gives up.
_MOST_SKIPPED = 10

CHECKPOINT = "checkpoint.safetensors"
METRICS = "metrics.csv"


def learning_rate(preset: Preset, step: int) -> float:
    """Warm up, hold, then fall over the last share of the steps.

    Example:
        >>> from diffhpo.pretraining.preset import Preset
        >>> [round(learning_rate(Preset(steps=100, warmup=10), step), 6) for step in (0, 50, 99)]
        [0.0001, 0.001, 5e-05]
    """
    rise = min(1.0, (step + 1) / preset.warmup)
    left = (preset.steps - step) / max(1.0, preset.decay * preset.steps)
    return preset.learning_rate * rise * max(0.01, min(1.0, left))


def _device(name: str) -> torch.device:
    """The device of a name.

    Raises:
        InputError: if there is none of this name.
        BackendError: if it is not there.
    """
    try:
        device = torch.device(name)
    except RuntimeError:
        raise InputError(f"device is {name!r}; accepted: cpu, cuda, cuda:0 and so on") from None
    if device.type not in ("cpu", "cuda"):
        raise InputError(f"device is {name!r}; accepted: cpu, cuda, cuda:0 and so on")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise BackendError(f"device is {name!r}, and torch finds {torch.cuda.device_count()} GPUs: use cpu")
    return device


class PretrainingRun:
    """Trains a universal model on a stream of functions.

    The directory gets `checkpoint.safetensors` (weights, averaged weights, optimiser state, step),
    `metrics.csv` (one row every 50 steps) and `rollouts-1`, ... (the model's and a rival's runs, see
    `Preset`). A run that finds a checkpoint goes on from it; on one thread of one machine the weights are
    then the same to the last bit as without the stop, because what a step sees is a function of (seed, step).

    Args:
        directory: made if it is not there.
        make: makes the source of functions, in the worker process; picklable.
        preset: sizes.
        seed: of weights and draws.
        device: where the model trains.
        workers: processes that draw functions and contexts, and with one more optimise functions; the result
            does not depend on it.
        facts: JSON values for the checkpoint: where the functions come from.

    Raises:
        InputError: on an unknown device or a number of workers that is none.
        RunError: if the directory belongs to a run with another preset or seed, or cannot be written.
        CheckpointError: if its checkpoint is damaged.
    """

    def __init__(
        self,
        directory: str | os.PathLike[str],
        make: Callable[[], TaskSource],
        preset: Preset,
        *,
        seed: int = 0,
        device: str = "cpu",
        workers: int = 1,
        facts: dict[str, Any] | None = None,
    ) -> None:
        self.directory, self.preset, self.seed = Path(directory), preset, check_seed(seed)
        self.device = _device(device)
        self._make, self._workers = make, whole_number(workers, "workers", least=1)
        self._facts = {"preset": asdict(preset), "seed": seed, **(facts or {})}
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunError(f"{directory} cannot be made: {reason_and_remedy(error)}") from error
        with drawn_from(derived_seed(seed) % 2**63):
            self.model = UniversalModel(**preset.model)
        self.step = 0
        self._skipped = 0
        self._metrics = Metrics(self.directory / METRICS)
        training: dict[str, Tensor] = {}
        if self.path.exists():
            found = load_universal(self.path)
            self._check_same(found.facts)
            self.model, self.step, training = found.model, found.step, found.training
        self.model.to(self.device)
        self.average = {name: value.detach().clone() for name, value in self.model.named_parameters()}
        decayed = [p for p in self.model.parameters() if p.ndim > 1]
        plain = [p for p in self.model.parameters() if p.ndim <= 1]
        groups = [
            {"params": decayed, "weight_decay": preset.weight_decay},
            {"params": plain, "weight_decay": 0.0},
        ]
        self.optimizer = torch.optim.AdamW(groups, lr=preset.learning_rate, betas=(0.9, 0.98), foreach=True)
        self._names = {id(p): name for name, p in self.model.named_parameters()}
        if training:
            try:
                self._restore(training)
            except (KeyError, RuntimeError) as error:
                raise CheckpointError(f"{self.path} has no sound training state: {error!r}") from error
        self._seen = self._stamp()

    @property
    def path(self) -> Path:
        """The checkpoint."""
        return self.directory / CHECKPOINT

    def fit(self, *, minutes: float = math.inf, progress: bool = True) -> None:
        """Train until the preset's last step or until the time is over; save on the way and at the end.

        Args:
            minutes: wall time after which the run saves and returns; call `fit` again to go on.
            progress: show a bar.

        Raises:
            RunError: if another process trains in the directory, or has done so since this run read it; if a
                file cannot be written, when the run stands in memory as it was and `fit` goes on with it; or
                if gradients stay infinite or nan.
            CheckpointError: if the checkpoint cannot be written; as above.
        """
        with self._locked():
            self._fit(minutes, progress)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        try:
            lock = RunLock(self.directory / "lock", str(self.directory), "wait for it, or use another --out")
        except OSError as error:
            raise RunError(f"{self.directory} cannot be locked: {reason_and_remedy(error)}") from error
        with lock:
            if self._stamp() != self._seen:
                raise RunError(
                    f"another process has trained in {self.directory} since this one read it; start again "
                    "to go on from there"
                )
            yield

    def _stamp(self) -> tuple[int, int] | None:
        """What tells one checkpoint from the next."""
        try:
            found = self.path.stat()
        except FileNotFoundError:
            return None
        return found.st_ino, found.st_mtime_ns

    def _fit(self, minutes: float, progress: bool) -> None:
        started = time.monotonic()
        adder = NoiseAdder().to(self.device)
        self._metrics.cut(self.step)

        def going(until: int) -> bool:
            return self.step < until and time.monotonic() - started < 60 * minutes

        with tqdm(
            total=self.preset.steps,
            initial=self.step,
            disable=not progress or sys.stderr is None,
            unit="step",
        ) as bar:
            while going(self.preset.steps):
                stage, until = self._stage()
                if stage:
                    self._collect(stage, progress)
                with self._stream(stage) as stream:
                    while going(until):
                        episode = stream.episode(self.step).to(self.device)
                        self._metrics.add(self._learn(episode, adder))
                        self.step += 1
                        bar.update()
                        if self.step % 50 == 0:
                            rate = learning_rate(self.preset, self.step)
                            means = self._metrics.end_row(self.step, rate, time.monotonic() - started)
                            bar.set_postfix(surprise=f"{means[0]:.3f}", noise=f"{means[1]:.3f}")
                        if self.step % self.preset.save_every == 0 or self.step == until:
                            self._save()
            self._save()

    def _stage(self) -> tuple[int, int]:
        """How often rollouts were collected before the next step, and the step up to which that holds."""
        starts = [start for start in self.preset.rollout_after if start < self.preset.steps]
        stage = sum(start <= self.step for start in starts)
        return stage, [*starts, self.preset.steps][stage]

    def _rollouts(self, stage: int) -> Path:
        return self.directory / f"rollouts-{stage}"

    def _collect(self, stage: int, progress: bool) -> None:
        """Rollouts of the averaged model as it is at the beginning of a stage."""
        folder = self._rollouts(stage)
        model = folder / "model.safetensors"
        if not model.exists():
            try:
                folder.mkdir(exist_ok=True)
            except OSError as error:
                raise RunError(f"{folder} cannot be made: {reason_and_remedy(error)}") from error
            save_universal(model, UniversalCheckpoint(self.averaged(), self.step, {}, self._facts))
        collect_rollouts(
            folder,
            self._make,
            chunks=range(self.preset.rollout_chunks),
            size=self.preset.chunk,
            points=self.preset.points,
            seed=derived_seed(self.seed, 3, stage),
            rival_share=self.preset.rival_share,
            workers=self._workers + 1,  # training waits meanwhile
            progress=progress,
        )

    def _stream(self, stage: int) -> EpisodeStream:
        return EpisodeStream(
            self._make,
            self.preset,
            seed=derived_seed(self.seed, 1),
            rollouts=self._rollouts(stage) if stage else None,
            rollout_chunks=self.preset.rollout_chunks,
            workers=self._workers,
        )

    def averaged(self) -> UniversalModel:
        """The model with the averaged weights, on the CPU."""
        model = UniversalModel(**self.model.config)
        model.load_state_dict({name: value.cpu() for name, value in self.average.items()})
        return model

    def export(self, path: str | os.PathLike[str]) -> None:
        """Write the averaged weights for use.

        Raises:
            CheckpointError: if the file cannot be written.
        """
        save_universal(path, UniversalCheckpoint(self.averaged(), self.step, {}, self._facts), half=True)

    def _learn(self, episode: Episode, adder: NoiseAdder) -> Tensor:
        generator = torch.Generator().manual_seed(derived_seed(self.seed, 2, self.step) % 2**63)
        rate = learning_rate(self.preset, self.step)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad(set_to_none=True)
        losses = episode_losses(self.model, episode, adder, generator)
        losses.total.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        if bool(torch.isfinite(norm)):
            self.optimizer.step()
            self._skipped = 0
        else:
            self._skipped += 1
            _log.warning("step %d: the gradient is not finite; the step is skipped", self.step)
            if self._skipped == _MOST_SKIPPED:
                raise RunError(
                    f"{_MOST_SKIPPED} steps up to step {self.step} had gradients that are not finite; "
                    f"{self.path} holds the last good state: lower the preset's learning rate"
                )
        with torch.no_grad():
            # Early averages would remember the random start for a thousand steps.
            keep = min(self.preset.ema, (1 + self.step) / (10 + self.step))
            current: list[Tensor] = list(self.model.parameters())
            torch._foreach_lerp_(list(self.average.values()), current, 1 - keep)
        return torch.stack([losses.surprise.detach().cpu(), losses.noise_error.detach().cpu(), norm.cpu()])

    def _save(self) -> None:
        """Rows of metrics, then the checkpoint: rows without a checkpoint are cut off by the next run."""
        self._metrics.save()
        training = {f"average.{name}": value for name, value in self.average.items()}
        for parameter, state in self.optimizer.state.items():
            name = self._names[id(parameter)]
            training.update({f"adam.{key}.{name}": value for key, value in state.items()})
        save_universal(self.path, UniversalCheckpoint(self.model, self.step, training, self._facts))
        self._seen = self._stamp()

    def _restore(self, training: dict[str, Tensor]) -> None:
        for name, parameter in self.model.named_parameters():
            self.average[name].copy_(training[f"average.{name}"])
            state = {
                key: training[f"adam.{key}.{name}"].to(self.device if key != "step" else "cpu")
                for key in ("step", "exp_avg", "exp_avg_sq")
                if f"adam.{key}.{name}" in training
            }
            if any(value.shape not in ((), parameter.shape) for value in state.values()):
                raise KeyError(f"moments of the shape of {name}")
            if state:
                self.optimizer.state[parameter] = state

    def _check_same(self, facts: dict[str, Any]) -> None:
        wanted = json.loads(json.dumps(self._facts))
        # Steps and stages may be added: a finished run is then continued.
        for key in ("preset", "seed"):
            old, new = facts.get(key), wanted[key]
            if key == "preset" and isinstance(old, dict):
                free = {"steps": 0, "rollout_after": 0, "rollout_chunks": 0, "rival_share": 0}
                old, new = {**old, **free}, {**new, **free}
            if old != new:
                raise RunError(
                    f"{self.directory} holds a run with another {key} ({old} there, {new} asked for); choose "
                    "another directory or the same settings"
                )
