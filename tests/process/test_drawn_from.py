# SPDX-License-Identifier: Apache-2.0
import threading

import pytest
import torch
from torch import nn

from diffhpo.model.network import Network
from diffhpo.model.transformer import Transformer
from diffhpo.model.universal import UniversalModel
from diffhpo.process.drawn_from import drawn_from, not_drawn

MODELS = {
    "Network": lambda: Network(3, cross_attention=True),
    "Transformer": lambda: Transformer(3),
    "UniversalModel": lambda: UniversalModel(width=16),
}


def same(one: nn.Module, other: nn.Module) -> bool:
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(*pair) for pair in pairs)


@pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)
def test_the_weights_are_those_of_a_seeded_process_whose_state_stays(make):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        expected = make()
    torch.manual_seed(9)
    before = torch.get_rng_state()
    with drawn_from(5):
        made = make()
    assert torch.equal(before, torch.get_rng_state())
    assert same(made, expected)
    with drawn_from(6):
        assert not same(make(), expected)


def test_a_callers_settings_do_not_matter():
    with drawn_from(5):
        expected = nn.Linear(4, 4)
    with torch.device("meta"), drawn_from(5):
        assert same(nn.Linear(4, 4), expected)


def test_another_thread_keeps_its_own_draws():
    torch.manual_seed(1)
    expected = torch.randn(4)
    torch.manual_seed(1)
    drawn = []
    with drawn_from(5):
        one = nn.Linear(4, 4)
        thread = threading.Thread(target=lambda: drawn.append(torch.randn(4)))
        thread.start()
        thread.join(20)
        two = nn.Linear(4, 4)
    assert torch.equal(drawn[0], expected)
    with drawn_from(5):
        assert same(one, nn.Linear(4, 4))
        assert same(two, nn.Linear(4, 4))


@pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)
@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_what_is_not_drawn_has_its_shapes_and_takes_a_state(make, device):
    expected = make()
    before = torch.get_rng_state()
    with torch.device(device), not_drawn():
        made = make()
    assert torch.equal(before, torch.get_rng_state())
    shapes = [{name: value.shape for name, value in one.state_dict().items()} for one in (made, expected)]
    assert shapes[0] == shapes[1]
    if device == "cpu":
        made.load_state_dict(expected.state_dict())
        assert same(made, expected)
