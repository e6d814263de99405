# SPDX-License-Identifier: Apache-2.0
"""Batches of augmented real tasks, in the form that the synthetic prior gives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch

from diffhpo.errors import InputError
from diffhpo.pretraining.augmentation import augment
from diffhpo.pretraining.real_task import RealTask
from diffhpo.pretraining.task_bank import BankEntry, TaskBank
from diffhpo.prior.output_transform import OutputTransform, observe
from diffhpo.prior.task_batch import PADDING, TaskBatch

LARGEST_DIM = 32
#: A transform is not used that leaves broad points with a standard deviation below this share of the range.
FLATTEST = 1e-3
#: Share of the draws whose values keep their shape; the others get the prior's monotone transforms.
P_SHAPE_KEPT = 0.5


class RealTaskSampler:
    """Real train tasks without end: random functions of a bank, augmented.

    A draw takes a family (with a chance in proportion to the square root of its functions), one of its
    functions and a mixture of its two surrogates; `points` of its evaluations; changes of the columns
    (`augment`); a monotone transform of the values in half of the draws; noise in half.

    Args:
        tasks: Train tasks, or a bank built of them.
        seed: at least 0.
        max_dim: largest dimension, 1 to 32; functions of more columns are left out.
        weights: family (`self.families` has their names) -> factor on its chance; 1 where not named.

    Raises:
        InputError: `max_dim` or `seed` out of range, no task with so few columns, weights of unknown
            families, negative or all 0.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> x = rng.random((80, 2), dtype=np.float32)
        >>> task = RealTask("demo/bowl/0", x, -((x - 0.3) ** 2).sum(1), np.zeros(2), np.zeros(2))
        >>> sampler = RealTaskSampler(TaskBank.build([task], points=128), seed=0)
        >>> tasks = sampler.batch(0, size=4, points=64)
        >>> tasks.y.shape, bool((tasks.best_value >= tasks.value.amax(1)).all())
        (torch.Size([4, 64]), True)
    """

    def __init__(
        self,
        tasks: Sequence[RealTask] | TaskBank,
        *,
        seed: int,
        max_dim: int = LARGEST_DIM,
        weights: Mapping[str, float] | None = None,
    ) -> None:
        if not 1 <= max_dim <= LARGEST_DIM:
            raise InputError(f"max_dim is {max_dim}; 1 to {LARGEST_DIM} is accepted")
        if seed < 0:
            raise InputError(f"seed is {seed}; 0 or more is accepted")
        self.seed = seed
        self.max_dim = max_dim
        self.bank = tasks if isinstance(tasks, TaskBank) else TaskBank.build(tasks)
        families: dict[str, list[BankEntry]] = {}
        for entry in self.bank.entries:
            if entry.x.shape[1] <= max_dim:
                families.setdefault(entry.family, []).append(entry)
        if not families:
            raise InputError(f"max_dim is {max_dim}; no function of the bank has so few columns")
        self.families = tuple(sorted(families))
        self._entries = [families[name] for name in self.families]
        factors = dict(weights or {})
        if set(factors) - set(self.families):
            raise InputError(f"weights names {sorted(factors)}; the families are {list(self.families)}")
        chances = np.array(
            [len(families[name]) ** 0.5 * factors.get(name, 1.0) for name in self.families], dtype=np.float64
        )
        if not (chances >= 0).all() or not 0 < chances.sum() < np.inf:
            raise InputError(f"weights is {factors}; each must be finite and >= 0, and one family's > 0")
        self._chances = chances / chances.sum()

    def batch(self, index: int, size: int, points: int = 512) -> TaskBatch:
        """Batch number `index`: `size` functions at `points` points each.

        It is the same whatever was drawn before. Functions with fewer evaluations than `points` repeat some.

        Raises:
            InputError: `index` below 0, `size` or `points` below 1.
        """
        for name, given, least in (("index", index, 0), ("size", size, 1), ("points", points, 1)):
            if given < least:
                raise InputError(f"{name} is {given}; {least} or more is accepted")
        seeds = np.random.SeedSequence((self.seed, index, size, points))
        rng = np.random.default_rng(seeds)
        generator = torch.Generator().manual_seed(int(seeds.generate_state(1, np.uint64)[0] >> np.uint64(1)))
        draws = [self._draw(rng, points) for _ in range(size)]
        D = max(x.shape[1] for x, *_ in draws)
        xs = np.zeros((size, points + 1, D), dtype=np.float32)
        kinds = np.full((size, D), PADDING, dtype=np.int64)
        roles = np.zeros((size, D), dtype=np.int64)
        values = np.empty((size, points + 1), dtype=np.float32)
        broad = np.empty((size, points), dtype=np.bool_)
        for i, (x, value, kind, role, flags, _) in enumerate(draws):
            d = x.shape[1]
            xs[i, :, :d], values[i], kinds[i, :d], roles[i, :d], broad[i] = x, value, kind, role, flags
        raw = torch.from_numpy(values)
        kept = torch.from_numpy(rng.random((size, 1)) < P_SHAPE_KEPT)
        bent = OutputTransform(generator, raw)(raw)
        # A clip of the lower half may leave nothing but the plateau that a search has crowded.
        flat = _broad_spread(bent, broad) < FLATTEST * (
            bent.amax(1, keepdim=True) - bent.amin(1, keepdim=True)
        )
        kept |= flat | (bent.amax(1, keepdim=True) == bent.amin(1, keepdim=True))
        shaped = torch.where(kept, raw, bent)
        x_all = torch.from_numpy(xs)
        return TaskBatch(
            x=x_all[:, :-1].contiguous(),
            y=observe(generator, shaped[:, :-1]),
            value=shaped[:, :-1].contiguous(),
            broad=torch.from_numpy(broad),
            dims=torch.tensor([x.shape[1] for x, *_ in draws]),
            kinds=torch.from_numpy(kinds),
            roles=torch.from_numpy(roles),
            best_x=x_all[:, -1].contiguous(),
            best_value=shaped[:, -1].contiguous(),
            origins=tuple(origin for *_, origin in draws),
        )

    def _draw(
        self, rng: np.random.Generator, points: int
    ) -> tuple[
        np.ndarray[tuple[int, int], np.dtype[np.float32]],
        np.ndarray[tuple[int], np.dtype[np.float32]],
        np.ndarray[tuple[int], np.dtype[np.int64]],
        np.ndarray[tuple[int], np.dtype[np.int64]],
        np.ndarray[tuple[int], np.dtype[np.bool_]],
        str,
    ]:
        """One function: points with its best one last, values, kinds, roles, which are broad, origin."""
        entries = self._entries[rng.choice(len(self._entries), p=self._chances)]
        entry = entries[rng.integers(len(entries))]
        # A third each: trees alone, smooth alone, a mixture.
        weight = np.float32((1.0, 0.0, rng.random())[rng.integers(3)])
        value = entry.values @ np.array([weight, 1 - weight], dtype=np.float32)
        n = len(value)
        rows = rng.permutation(n)[:points] if n >= points else rng.integers(n, size=points)
        # Trees have plateaus: any of the best is as good.
        rows = np.append(rows, rng.choice(np.flatnonzero(value == value.max())))
        x, kinds, roles = augment(rng, entry.x[rows], entry.kinds, entry.roles, self.max_dim)
        return x, value[rows], kinds, roles, entry.broad[rows[:-1]], entry.origin


def _broad_spread(
    values: torch.Tensor, broad: np.ndarray[tuple[int, int], np.dtype[np.bool_]]
) -> torch.Tensor:
    """(B, N + 1) values, (B, N) flags -> (B, 1) standard deviation over the flagged points, 0 without any."""
    flags = torch.from_numpy(broad)
    count = flags.sum(1, keepdim=True).clamp_min(1)
    inner = values[:, :-1]
    centre = (inner * flags).sum(1, keepdim=True) / count
    return (((inner - centre) ** 2 * flags).sum(1, keepdim=True) / count).sqrt()
