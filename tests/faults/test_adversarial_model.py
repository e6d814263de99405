# SPDX-License-Identifier: Apache-2.0
"""The parts of the model in careless hands: sizes, rates and shares of other types are named."""

import math

import numpy as np
import pytest
import torch

from diffhpo import History
from diffhpo.errors import InputError
from diffhpo.model import Denoiser, Network, NoiseSchedule, Sampler, Trainer, Transformer

HISTORY = History(np.linspace(0, 1, 12).reshape(6, 2), np.arange(6.0))
NO_SIZES = [None, -1, 1.5, "8", math.nan, True, 10**12]


def parts():
    return Network(2, width=8, blocks=1, context_width=8), Transformer(2, width=8)


@pytest.mark.parametrize("size", NO_SIZES)
def test_sizes(size):
    for name in ("dim", "width", "blocks", "context_width", "time_features"):
        with pytest.raises(InputError, match=f"{name} is"):
            Network(**{"dim": 2, name: size})
    for name in ("dim", "width", "layers", "heads"):
        with pytest.raises(InputError, match=f"{name} is"):
            Transformer(**{"dim": 2, name: size})
    with pytest.raises(InputError, match="batch is"):
        Trainer(*parts(), batch=size)
    if size != 10**12:
        with pytest.raises(InputError, match="steps is"):
            Trainer(*parts()).fit(Sampler(HISTORY), size)


@pytest.mark.parametrize("number", [None, -1, "8", math.nan, math.inf, True])
def test_rates_and_shares(number):
    with pytest.raises(InputError, match="learning_rate is"):
        Trainer(*parts(), learning_rate=number)
    for name in ("greed", "jitter", "jitter_share", "flag_dropout"):
        with pytest.raises(InputError, match=f"{name} is"):
            Sampler(HISTORY, **{name: number})


def test_parts_in_the_wrong_place():
    network, transformer = parts()
    for arguments, message in (
        ((None, None), "network is NoneType"),
        ((transformer, network), "network is Transformer"),
        ((network, transformer, 1000), "schedule is int"),
    ):
        with pytest.raises(InputError, match=message):
            Trainer(*arguments)
    for history in (None, [[1.0]]):
        with pytest.raises(InputError, match=r"a diffhpo\.History is needed"):
            Sampler(history)
    with pytest.raises(InputError, match="sampler is NoneType"):
        Trainer(network, transformer).fit(None, 3)


@pytest.mark.parametrize("steps", [None, 1.5, "8", math.nan, True])
def test_steps_of_the_reverse_loop(steps):
    network, transformer = parts()
    denoiser = Denoiser(network, NoiseSchedule.linear(), transformer)
    with pytest.raises(InputError, match="steps is"):
        denoiser.sample((torch.rand(3, 2), torch.rand(3)), 2, steps=steps)
