# SPDX-License-Identifier: Apache-2.0
"""Batches of synthetic tasks, a function of the seed and their index alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import torch
from torch import Generator

from diffhpo.errors import InputError
from diffhpo.prior.families import FAMILIES, WEIGHTS
from diffhpo.prior.input_transform import InputTransform
from diffhpo.prior.output_transform import OutputTransform, observe
from diffhpo.prior.search import search
from diffhpo.prior.task_batch import TaskBatch, joined
from diffhpo.prior.task_functions import TaskFunctions

#: (smallest, largest, probability) of the dimension.
_DIMENSIONS = ((1, 3, 0.20), (4, 8, 0.45), (9, 16, 0.25), (17, 32, 0.10))
#: Shares of the groups with continuous columns only, and with every column in use.
_CONTINUOUS_SHARE, _ALL_ACTIVE_SHARE = 0.6, 0.7
_WARPED_SHARE = 0.8
#: Share of the groups that read their columns in stairs, and the range of the number of stairs.
_STAIRS_SHARE, _STAIRS = 0.25, (6, 100)
LARGEST_DIM = 32


def _at_least(name: str, given: int, least: int) -> None:
    if given < least:
        raise InputError(f"{name} is {given}; {least} or more is accepted")


class PriorSampler:
    """Tasks drawn from families of synthetic functions.

    Batch `index` of a seed has the same bits whatever was drawn before, in whatever process, on one kind
    of device.

    Args:
        seed: at least 0.
        families: name -> weight; None for the built-in mixture (`diffhpo.prior.WEIGHTS`).
        max_dim: largest dimension drawn, 1 to 32.
        device: where the tensors are made.
        group: how many functions share a family and a dimension, so that one call computes them all. 8
            suits one core; a GPU wants more. Another group size is another stream of tasks.

    Raises:
        InputError: unknown family, weights that are negative or sum to 0, `seed`, `max_dim` or `group`
            out of range.

    Example:
        >>> sampler = PriorSampler(seed=0, max_dim=6)
        >>> tasks = sampler.batch(0, size=16, points=64)
        >>> tasks.y.shape, int(tasks.dims.max()) <= 6, bool((tasks.best_value >= tasks.value.amax(1)).all())
        (torch.Size([16, 64]), True, True)
    """

    def __init__(
        self,
        *,
        seed: int,
        families: Mapping[str, float] | None = None,
        max_dim: int = LARGEST_DIM,
        device: torch.device | str = "cpu",
        group: int = 8,
    ) -> None:
        weights = dict(WEIGHTS if families is None else families)
        unknown = sorted(set(weights) - set(FAMILIES))
        if unknown:
            raise InputError(f"families names {unknown}; known are {sorted(FAMILIES)}")
        if not weights or min(weights.values()) < 0 or not 0 < sum(weights.values()) < float("inf"):
            raise InputError(f"families has weights {weights}; each must be >= 0 and one > 0")
        if not 1 <= max_dim <= LARGEST_DIM:
            raise InputError(f"max_dim is {max_dim}; 1 to {LARGEST_DIM} is accepted")
        _at_least("seed", seed, 0)
        _at_least("group", group, 1)
        self.group = group
        self.seed = seed
        self.max_dim = max_dim
        self.device = torch.device(device)
        self._names = sorted(name for name, weight in weights.items() if weight > 0)
        shares = np.array([weights[name] for name in self._names], dtype=np.float64)
        self._shares = shares / shares.sum()
        chances = np.zeros(max_dim)
        for low, high, probability in _DIMENSIONS:
            chances[low - 1 : high] = probability / (high - low + 1)
        self._dim_chances = chances / chances.sum()

    def batch(self, index: int, size: int, points: int = 512) -> TaskBatch:
        """Batch number `index`: `size` functions at `points` points each, in groups of one family.

        Raises:
            InputError: `index` below 0, `size` or `points` below 1.
        """
        return joined([batch for _, batch in self.groups(index, size, points)])

    def groups(self, index: int, size: int, points: int = 512) -> Iterator[tuple[TaskFunctions, TaskBatch]]:
        """The groups that `batch` joins, each with its functions, which may be evaluated elsewhere."""
        _at_least("index", index, 0)
        _at_least("size", size, 1)
        _at_least("points", points, 1)
        seeds = np.random.SeedSequence((self.seed, index, size, points))
        chooser = np.random.default_rng(seeds)
        generator = Generator(device=self.device)
        generator.manual_seed(int(seeds.generate_state(1, np.uint64)[0] >> np.uint64(1)))
        for start in range(0, size, self.group):
            yield self._group(chooser, generator, min(self.group, size - start), points)

    @torch.no_grad()
    def _group(
        self, chooser: np.random.Generator, generator: Generator, count: int, points: int
    ) -> tuple[TaskFunctions, TaskBatch]:
        name = self._names[chooser.choice(len(self._names), p=self._shares)]
        dim = int(chooser.choice(self.max_dim, p=self._dim_chances)) + 1
        mixed = bool(chooser.random() > _CONTINUOUS_SHARE)
        active = dim if chooser.random() < _ALL_ACTIVE_SHARE else int(chooser.integers(1, dim + 1))
        warped, stairs = bool(chooser.random() < _WARPED_SHARE), 0
        if chooser.random() < _STAIRS_SHARE:
            stairs = round(float(np.exp(chooser.uniform(*np.log(_STAIRS)))))
        inputs = InputTransform(generator, count, dim, active, mixed=mixed, warped=warped, stairs=stairs)
        function = FAMILIES[name].draw(generator, count, active)
        found = search(generator, inputs, lambda x: function(inputs(x)), points)
        raw = torch.cat([found.value, found.best_value.unsqueeze(1)], dim=1)
        outputs = OutputTransform(generator, raw)
        value = outputs(raw)
        batch = TaskBatch(
            x=found.x,
            y=observe(generator, value[:, :-1]),
            value=value[:, :-1],
            broad=found.broad,
            dims=torch.full((count,), dim, device=self.device),
            kinds=inputs.kinds,
            roles=torch.zeros_like(inputs.kinds),
            best_x=found.best_x,
            best_value=value.amax(1),
            origins=(name,) * count,
        )
        return TaskFunctions(name, inputs, function, outputs), batch
