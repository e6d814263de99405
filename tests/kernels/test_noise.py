# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats
import torch

from diffhpo.errors import InputError
from diffhpo.kernels import ops, reference

_ONES = 0xFFFFFFFF
# Known answers of Random123 (Salmon et al. 2011), its file kat_vectors: counter, key, output.
_KNOWN = [
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((_ONES,) * 4, (_ONES,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]


@pytest.mark.parametrize(("counter", "key", "expected"), _KNOWN)
def test_philox_gives_the_published_words(
    counter: tuple[int, ...], key: tuple[int, ...], expected: tuple[int, ...]
) -> None:
    words = reference.philox4x32(
        tuple(torch.tensor(word) for word in counter), tuple(torch.tensor(word) for word in key)
    )
    assert tuple(int(word) for word in words) == expected


def philox_of_python(counter: list[int], key: list[int]) -> list[int]:
    for _ in range(10):
        p0, p1 = 0xD2511F53 * counter[0], 0xCD9E8D57 * counter[2]
        counter = [
            (p1 >> 32) ^ counter[1] ^ key[0],
            p1 & _ONES,
            (p0 >> 32) ^ counter[3] ^ key[1],
            p0 & _ONES,
        ]
        key = [(key[0] + 0x9E3779B9) & _ONES, (key[1] + 0xBB67AE85) & _ONES]
    return counter


def test_noise_is_box_muller_of_the_documented_counters() -> None:
    seed, step, dim = 2**63 + 98765, 417, 11
    candidates = [0, 5, 2**32 - 1, 2**32, 2**40 + 3]
    drawn = reference.noise(seed, torch.tensor(candidates), step, dim)
    for row, candidate in enumerate(candidates):
        for j in range(dim):
            counter = [j // 4, step, candidate & _ONES, candidate >> 32]
            words = philox_of_python(counter, [seed & _ONES, seed >> 32])
            first, second = words[:2] if j % 4 < 2 else words[2:]
            radius = math.sqrt(-2 * math.log((first + 0.5) / 2**32))
            angle = 2 * math.pi * second / 2**32
            exact = radius * (math.sin(angle) if j % 2 else math.cos(angle))
            # (w + 1/2) / 2^32 is rounded to float32 first; near 1 that is most of the error.
            assert float(drawn[row, j]) == pytest.approx(exact, rel=3e-6, abs=3e-6)


def test_normals_are_within_four_ulp_of_box_muller() -> None:
    generator = torch.Generator().manual_seed(0)
    edges = torch.cat([torch.arange(4096), _ONES - torch.arange(4096), 2 ** torch.arange(32)])
    words = torch.cat([torch.randint(0, 2**32, (200000,), generator=generator), edges])
    angles = words[torch.randperm(len(words), generator=generator)]
    z0, z1 = reference.normal_pair(words, angles)
    # The uniform as float32 holds it; everything after that in float64.
    uniform = ((words >> 16).float() * 65536 + ((words & 0xFFFF).float() + 0.5)).double() / 2**32
    radius, angle = (-2 * uniform.log()).sqrt(), 2 * math.pi * angles.double() / 2**32
    for drawn, exact in ((z0, radius * angle.cos()), (z1, radius * angle.sin())):
        assert bool(torch.isfinite(drawn).all())
        ulp = torch.from_numpy(np.spacing(exact.abs().float().numpy())).double()
        error = (drawn.double() - exact).abs()
        assert float((error / ulp)[exact.abs() > 1e-9].max()) <= 4
        assert float(error.max()) < 2e-6
        assert 6.3 < float(drawn.abs().max()) < 6.77


def test_noise_is_standard_normal() -> None:
    z = reference.noise(1, range(200000), 999, 4).double().numpy().ravel()
    n = len(z)
    assert abs(z.mean()) < 4 / math.sqrt(n)
    assert abs(z.var() - 1) < 4 * math.sqrt(2 / n)
    assert abs((z**4).mean() - 3) < 4 * math.sqrt(96 / n)
    assert scipy.stats.kstest(z, "norm").pvalue > 1e-3
    for threshold in (3.0, 4.0):
        expected = n * 2 * scipy.stats.norm.sf(threshold)
        assert abs((np.abs(z) > threshold).sum() - expected) < 4 * math.sqrt(expected) + 1


def test_noise_is_independent_across_dimensions_steps_candidates_and_seeds() -> None:
    n, dim = 20000, 8
    draws = torch.stack([reference.noise(seed, range(n), step, dim) for seed in (0, 1) for step in (7, 8)])
    columns = draws.permute(0, 2, 1).reshape(4 * dim, n).double()
    columns = torch.cat([columns, columns[:dim].roll(1, dims=1)])  # the next candidate
    correlation = torch.corrcoef(columns) - torch.eye(len(columns))
    squares = torch.corrcoef(columns.square()) - torch.eye(len(columns))
    assert float(correlation.abs().max()) < 5 / math.sqrt(n)
    assert float(squares.abs().max()) < 5 / math.sqrt(n)


@pytest.mark.parametrize("dim", [1, 2, 3, 4, 5, 16, 17, 64])
def test_native_noise_has_the_same_bits(isa: str, dim: int) -> None:
    for seed in (0, 2**64 - 1, 0x0123456789ABCDEF):
        for candidates in (range(0), range(1), range(37), range(2**32 - 3, 2**32 + 5), range(9, 200, 7)):
            for step in (0, 1000, _ONES):
                expected = reference.noise(seed, candidates, step, dim)
                drawn = ops.noise(seed, candidates, step, dim, isa=isa)
                assert torch.equal(drawn.view(torch.int32), expected.view(torch.int32))


def test_native_noise_has_the_same_bits_on_many_words(isa: str) -> None:
    expected = reference.noise(5, range(250000), 3, 4)
    drawn = ops.noise(5, range(250000), 3, 4, isa=isa)
    assert torch.equal(drawn.view(torch.int32), expected.view(torch.int32))


def test_noise_does_not_depend_on_the_range() -> None:
    whole = reference.noise(2, range(100), 4, 6)
    assert torch.equal(whole[17:30], reference.noise(2, range(17, 30), 4, 6))
    assert torch.equal(whole[[3, 1]], reference.noise(2, torch.tensor([3, 1]), 4, 6))
    assert torch.equal(whole[:, :3], reference.noise(2, range(100), 4, 3))


@pytest.mark.parametrize(
    ("seed", "candidates", "step", "dim"),
    [
        (-1, range(2), 0, 1),
        (2**64, range(2), 0, 1),
        (0.5, range(2), 0, 1),
        (0, torch.tensor([-1]), 0, 1),
        (0, torch.tensor([0.0]), 0, 1),
        (0, range(2), -1, 1),
        (0, range(2), 2**32, 1),
        (0, range(2), 0, 0),
    ],
)
def test_bad_arguments_are_named(seed: int, candidates: range, step: int, dim: int) -> None:
    with pytest.raises(InputError, match=r"seed|candidates|step|dim"):
        reference.noise(seed, candidates, step, dim)
