# SPDX-License-Identifier: Apache-2.0
import pytest
import torch

from diffhpo.errors import InputError
from diffhpo.model import NoiseAdder, NoiseSchedule


def test_closed_form_equals_the_chain_of_single_steps():
    """Equation 4 against equation 2 applied t times: same mean and variance."""
    schedule = NoiseSchedule.linear(100)
    adder = NoiseAdder(schedule)
    signal, variance = 1.0, 0.0
    for t, beta in enumerate(schedule.betas.tolist()):
        signal, variance = signal * (1 - beta) ** 0.5, variance * (1 - beta) + beta
        moved = adder(torch.ones(1, 1), torch.tensor([t]), torch.zeros(1, 1)).item()
        noisy = adder(torch.zeros(1, 1), torch.tensor([t]), torch.ones(1, 1)).item()
        assert moved == pytest.approx(signal, rel=1e-6)
        assert noisy**2 == pytest.approx(variance, rel=1e-6)


def test_each_row_has_its_own_timestep():
    adder = NoiseAdder()
    x = torch.ones(3, 2)
    t = torch.tensor([0, 500, 999])
    together = adder(x, t, torch.zeros(3, 2))
    for row in range(3):
        torch.testing.assert_close(together[row], adder(x[:1], t[row : row + 1], torch.zeros(1, 2))[0])
    assert together[0, 0] > together[1, 0] > together[2, 0]


@pytest.mark.parametrize("shapes", [((2, 3), (2,), (2, 2)), ((2, 3), (3,), (2, 3)), ((2, 3), (2, 1), (2, 3))])
def test_shapes_that_do_not_match_are_refused(shapes):
    x, t, eps = shapes
    with pytest.raises(InputError, match="eps"):
        NoiseAdder()(torch.zeros(x), torch.zeros(t, dtype=torch.long), torch.zeros(eps))
