# SPDX-License-Identifier: Apache-2.0
"""The draws of training in plain torch: their definition, for every executor.

Everything random of step k, row r under seed s is Philox4x32-10 of the counter (index, purpose, k, r) and the
64-bit key s, its four words of 32 bits named w0 to w3:

| purpose | index | words |
|---|---|---|
| `TRIPLE` | 0 | w0 the query, w1 the share of members, w2 balancing, w3 withholding the flag |
| `TRIPLE` | 1 | w0 whether the query is jittered, w1 the timestep; two are unused |
| `MEMBER` | j // 4 | word j mod 4: trial j is a member if it is below the word of the share |
| `JITTER` | j // 4 | the normal of dimension j, as `reference.noise` makes it |
| `NOISE` | j // 4 | eps of dimension j, likewise |

A probability p stands for a word below round(p 2^32); the timestep is floor(word T / 2^32), uniform to within
T / 2^32.
"""

from __future__ import annotations

import torch
from torch import Tensor

from diffhpo.errors import InputError
from diffhpo.kernels.reference import normal_pair, philox4x32, signed_seed
from diffhpo.kernels.training_problem import WORDS, DrawnTriples, DrawRule, TrialTable

#: Second counter word of each purpose. The reverse loop's are timesteps, far below.
TRIPLE, MEMBER, JITTER, NOISE = (0xFFFFFFF0 + k for k in range(4))
#: The flag of a draw that withholds it.
WITHHELD = 2


def _words(key: tuple[Tensor, Tensor], purpose: int, steps: Tensor, rows: Tensor, blocks: int) -> Tensor:
    """(K, B, 4 * blocks) int64 words."""
    index = torch.arange(blocks)
    counter = (
        index[None, None, :],
        torch.tensor(purpose),
        steps[:, None, None],
        rows[None, :, None],
    )
    return torch.stack(philox4x32(counter, key), dim=-1).flatten(-2)


def _normals(words: Tensor, dim: int) -> Tensor:
    first, second = words[..., 0::2], words[..., 1::2]
    return torch.stack(normal_pair(first, second), dim=-1).flatten(-2)[..., :dim]


def draw(table: TrialTable, rule: DrawRule, batch: int, seed: int, steps: range) -> DrawnTriples:
    """Draw the triples and the noise of some steps; each step is the same whichever others are drawn.

    Args:
        table: the history.
        rule: how to draw.
        batch: triples B a step.
        seed: in [0, 2^64).
        steps: step numbers, each in [0, 2^32).

    Returns:
        The K steps' draws.

    Raises:
        InputError: if a number is out of range.

    Example:
        >>> table = TrialTable.of(torch.rand(5, 2), torch.arange(5.0), torch.ones(5))
        >>> many = draw(table, DrawRule(), 4, 7, range(3, 6))
        >>> torch.equal(many.mask[1:2], draw(table, DrawRule(), 4, 7, range(4, 5)).mask)
        True
    """
    if batch < 1 or len(steps) == 0 or min(steps) < 0 or max(steps) >= WORDS:
        raise InputError(f"batch is {batch}, steps {steps}: batch must be positive, steps in [0, 2^32)")
    signed = signed_seed(seed)
    key = (torch.tensor(signed & 0xFFFFFFFF), torch.tensor((signed >> 32) & 0xFFFFFFFF))
    numbers = torch.tensor(list(steps), dtype=torch.int64)
    rows = torch.arange(batch)
    count, dim = table.x.shape
    groups = -(-dim // 4)

    triple = _words(key, TRIPLE, numbers, rows, 2)
    query = torch.searchsorted(table.thresholds, triple[..., 0].contiguous(), right=True)
    mask = _words(key, MEMBER, numbers, rows, -(-count // 4))[..., :count] < triple[..., 1:2]
    if rule.exclude_query:
        mask = mask & (torch.arange(count) != query.unsqueeze(-1))
    better = table.ranks > table.ranks[query].unsqueeze(-1)
    if rule.balanced:
        mask = mask & ~(better & (triple[..., 2:3] < WORDS // 2))
    improve = (~(mask & better).any(dim=-1)).long()
    improve = improve.masked_fill(triple[..., 3] < rule.flag_dropout_below, WITHHELD)
    x = table.x[query]
    if rule.jitter:
        jittered = triple[..., 4:5] < rule.jitter_below
        normals = _normals(_words(key, JITTER, numbers, rows, groups), dim)
        # 2x - 1 moves by `jitter`, so x moves by half of it.
        x = torch.where(jittered, x + normals * (rule.jitter / 2), x)
        # Reflection at 0 and 1: the line folded with period 2.
        x = x - 2 * torch.floor(x * 0.5)
        x = torch.minimum(x, 2 - x)
    t = triple[..., 5] * rule.timesteps >> 32
    eps = _normals(_words(key, NOISE, numbers, rows, groups), dim)
    return DrawnTriples(query, x, improve, mask, t, eps)
