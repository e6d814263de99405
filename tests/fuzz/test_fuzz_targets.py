# SPDX-License-Identifier: Apache-2.0
"""The fuzz targets without a fuzzer: seeds, what was found before, and a fixed sample of damaged seeds."""

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))

import fuzzer
from regressions import FOUND

from diffhpo.errors import DiffHPOError

pytestmark = pytest.mark.filterwarnings("ignore")
#: Copies of each seed.
DAMAGED = 40


def mutants(seed: bytes, rng: np.random.Generator):
    """Damaged copies: bytes changed, cut out, repeated, or a token of the fuzzer's put in."""
    for _ in range(DAMAGED):
        data = bytearray(seed)
        for _ in range(rng.integers(1, 4)):
            first, last = sorted(rng.integers(0, len(data) + 1, 2).tolist())
            kind = rng.integers(4)
            if kind == 0 and data:
                data[min(first, len(data) - 1)] = rng.integers(256)
            elif kind == 1:
                del data[first : min(last, first + 20)]
            elif kind == 2:
                data[last:last] = data[first : min(last, first + 50)]
            else:
                token = fuzzer.TOKENS[rng.integers(len(fuzzer.TOKENS))].encode("latin-1")
                data[first : first + len(token) * int(rng.integers(2))] = token
        yield bytes(data)


def test_every_target_is_listed():
    assert len(fuzzer.NAMES) >= 11
    assert {name for name, _ in FOUND} <= set(fuzzer.NAMES)


@pytest.mark.fault(25)
@pytest.mark.parametrize("name", fuzzer.NAMES)
def test_25_seeds_are_read_and_damaged_ones_read_or_refused(name, tmp_path):
    target, rng = fuzzer.target(name), np.random.default_rng(0)
    taken = 0
    for number, seed in enumerate(target.seeds()):
        folder = tmp_path / str(number)
        folder.mkdir()
        try:
            target.one_input(seed, folder)
            taken += 1
        except DiffHPOError:
            pass
        one_input = fuzzer.guarded(target)
        for data in mutants(seed, rng):
            one_input(data)
    assert taken, "no seed reaches the end of the reader"


@pytest.mark.fault(25)
@pytest.mark.parametrize(("name", "data"), FOUND, ids=lambda value: str(value)[:30])
def test_25_what_was_found_stays_mended(name, data):
    fuzzer.guarded(fuzzer.target(name))(data)
