# SPDX-License-Identifier: Apache-2.0
"""The episodes of one chunk of functions: a function of the seed and the chunk's number alone."""

from __future__ import annotations

from pathlib import Path

import torch

from diffhpo.policy import derived_seed
from diffhpo.pretraining.episode import Episode, draw_episode
from diffhpo.pretraining.preset import Preset
from diffhpo.pretraining.rollout import FIRST_CHUNK
from diffhpo.pretraining.rollout_file import load_rollouts
from diffhpo.pretraining.source import TaskSource

#: One chunk in so many is of functions with rollouts, where there are some.
ROLLOUT_EVERY = 3


def episodes_in_chunk(preset: Preset) -> int:
    """How many steps a chunk of functions serves."""
    return preset.chunk // preset.batch * preset.passes


def chunk_episodes(
    source: TaskSource,
    preset: Preset,
    index: int,
    *,
    seed: int,
    rollouts: Path | None = None,
    rollout_chunks: int = 0,
) -> list[Episode]:
    """The episodes that chunk `index` serves, in the order of the steps.

    Functions are sorted by dimension and cut into batches, so that a batch pads little; each of them is seen
    `passes` times, with new contexts.

    Args:
        source: of the functions.
        preset: sizes.
        index: 0, 1, ...
        seed: of the contexts.
        rollouts: directory of `collect_rollouts`, or None.
        rollout_chunks: how many are in it.

    Raises:
        DataError: if a file of rollouts is missing or damaged.
    """
    number = None
    if rollouts is not None and rollout_chunks and index % ROLLOUT_EVERY == 0:
        number = index // ROLLOUT_EVERY % rollout_chunks
    tasks = source(
        index if number is None else FIRST_CHUNK + number, preset.chunk, preset.points
    ).by_dimension()
    runs = None if rollouts is None or number is None else load_rollouts(rollouts, number)

    batches = preset.chunk // preset.batch
    episodes = []
    for place in range(episodes_in_chunk(preset)):
        # A permutation of the chunk's batches in each pass: successive steps differ in dimension.
        generator = torch.Generator().manual_seed(derived_seed(seed, index, place // batches) % 2**63)
        first = int(torch.randperm(batches, generator=generator)[place % batches]) * preset.batch
        rows = slice(first, first + preset.batch)
        step = index * episodes_in_chunk(preset) + place
        episodes.append(
            draw_episode(
                tasks.rows(rows),
                torch.Generator().manual_seed(derived_seed(seed, step) % 2**63),
                largest=preset.largest,
                queries=preset.queries,
                targets=preset.targets,
                rollouts=None if runs is None else runs.rows(rows),
            )
        )
    return episodes
