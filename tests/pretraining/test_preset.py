# SPDX-License-Identifier: Apache-2.0
import math
from dataclasses import replace

import numpy as np
import pytest

from diffhpo.errors import InputError
from diffhpo.pretraining.preset import PRESETS, preset_named
from diffhpo.pretraining.source import MixedTasks

TINY = PRESETS["tiny"]
COUNTS = ["batch", "chunk", "largest", "passes", "points", "queries", "rollout_chunks", "save_every", "steps"]


@pytest.mark.parametrize("field", [*COUNTS, "targets", "warmup"])
@pytest.mark.parametrize("value", [0, -1, 1.5, "8", None, True])
def test_counts(field, value):
    with pytest.raises(InputError, match=f"{field} is"):
        replace(TINY, **{field: value})


@pytest.mark.parametrize("field", ["learning_rate", "weight_decay", "decay", "ema", "real_share"])
@pytest.mark.parametrize("value", [-0.1, math.nan, math.inf, "1", None, False])
def test_rates_and_shares(field, value):
    with pytest.raises(InputError, match=f"{field} is"):
        replace(TINY, **{field: value})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"learning_rate": 0}, "learning_rate is 0; a finite number above 0"),
        ({"decay": 1.01}, "decay is 1.01; a finite number from 0 to 1"),
        ({"ema": 2}, "ema is 2"),
        ({"real_share": 2}, "real_share is 2"),
        ({"rollout_after": (10, 5)}, r"rollout_after is \(10, 5\); rising steps"),
        ({"rollout_after": (5, 5)}, "rising steps"),
        ({"rollout_after": (0,)}, "rollout_after is 0"),
        ({"batch": 9}, "chunk is 8, less than batch, 9"),
    ],
)
def test_fields_that_do_not_fit_are_named(change, message):
    with pytest.raises(InputError, match=message):
        replace(TINY, **change)


def test_limits_are_accepted_and_numpy_numbers_are_numbers():
    found = replace(TINY, batch=8, decay=1, ema=0, weight_decay=0, steps=np.int64(3), rollout_after=())
    assert (found.batch, found.decay, found.ema, found.weight_decay) == (8, 1, 0, 0)
    assert type(found.steps) is int


@pytest.mark.parametrize("name", ["huge", None, ["tiny"]])
def test_an_unknown_name_is_named(name):
    with pytest.raises(InputError, match="accepted: tiny, small"):
        preset_named(name)


@pytest.mark.parametrize(
    ("seed", "share", "message"),
    [(0, 1.1, "real_share is 1.1"), (0, "half", "real_share is 'half'"), (-1, 0.5, "seed is -1")],
)
def test_mixed_tasks_name_a_bad_setting_before_a_process_opens_them(seed, share, message):
    with pytest.raises(InputError, match=message):
        MixedTasks(seed, "bank.npz", share)
