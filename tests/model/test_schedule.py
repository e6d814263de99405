# SPDX-License-Identifier: Apache-2.0
import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from diffhpo.errors import InputError
from diffhpo.model import NoiseSchedule


def test_linear_schedule_has_the_papers_ends():
    betas = NoiseSchedule.linear().betas
    assert len(betas) == 1000
    assert betas[0].item() == pytest.approx(1e-4, rel=1e-15)
    assert betas[-1].item() == pytest.approx(0.02, rel=1e-15)


def test_tables_equal_a_product_written_out():
    schedule = NoiseSchedule.linear(50)
    product = 1.0
    for t, beta in enumerate(schedule.betas.tolist()):
        previous, product = product, product * (1 - beta)
        assert schedule.alpha_bars[t].item() == pytest.approx(product, rel=1e-13)
        variance = beta * (1 - previous) / (1 - product)
        assert schedule.posterior_variance[t].item() == pytest.approx(variance, rel=1e-12, abs=1e-18)


def test_cosine_schedule_follows_its_formula():
    schedule = NoiseSchedule.cosine(1000)
    start = math.cos(0.008 / 1.008 * math.pi / 2) ** 2
    for t in (0, 10, 500, 900):
        wanted = math.cos(((t + 1) / 1000 + 0.008) / 1.008 * math.pi / 2) ** 2 / start
        assert schedule.alpha_bars[t].item() == pytest.approx(wanted, rel=1e-9)
    assert schedule.betas.max() <= 0.999


@pytest.mark.parametrize("schedule", [NoiseSchedule.linear(), NoiseSchedule.cosine()])
def test_full_ddpm_reverse_is_the_posterior_of_equation_7(schedule):
    reverse = schedule.reverse(1000)
    assert reverse.timesteps.tolist() == list(range(999, -1, -1))
    t = reverse.timesteps[:-1]
    bar, previous = schedule.alpha_bars[t], schedule.alpha_bars[t - 1]
    torch.testing.assert_close(
        reverse.x0_weight[:-1], previous.sqrt() * schedule.betas[t] / (1 - bar), rtol=1e-9, atol=0
    )
    torch.testing.assert_close(
        reverse.x_weight[:-1], schedule.alphas[t].sqrt() * (1 - previous) / (1 - bar), rtol=1e-9, atol=0
    )
    torch.testing.assert_close(reverse.sigma[:-1] ** 2, schedule.posterior_variance[t], rtol=1e-9, atol=0)


def test_ddpm_mean_in_x0_equals_equation_11_in_eps():
    schedule = NoiseSchedule.linear()
    reverse = schedule.reverse(1000)
    x, eps = torch.randn(2, 1000, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    t = reverse.timesteps
    x0 = reverse.x0_from_x * x - reverse.x0_from_eps * eps
    ours = reverse.x0_weight * x0 + reverse.x_weight * x
    mean = (x - schedule.betas[t] / (1 - schedule.alpha_bars[t]).sqrt() * eps) / schedule.alphas[t].sqrt()
    torch.testing.assert_close(ours, mean, rtol=1e-8, atol=1e-8)


def test_ddim_step_moves_along_the_same_eps():
    schedule = NoiseSchedule.linear()
    reverse = schedule.reverse(7, "ddim")
    assert (reverse.sigma == 0).all()
    x0, eps = 0.3, -1.2
    for k in range(6):
        bar = schedule.alpha_bars[reverse.timesteps[k]].item()
        bar_previous = schedule.alpha_bars[reverse.timesteps[k + 1]].item()
        x = math.sqrt(bar) * x0 + math.sqrt(1 - bar) * eps
        moved = reverse.x0_weight[k].item() * x0 + reverse.x_weight[k].item() * x
        assert moved == pytest.approx(math.sqrt(bar_previous) * x0 + math.sqrt(1 - bar_previous) * eps)


@given(total=st.integers(1, 1200), steps=st.integers(1, 1200), method=st.sampled_from(["ddpm", "ddim"]))
def test_few_step_lists_are_exact(total, steps, method):
    schedule = NoiseSchedule.linear(total)
    if steps > total:
        with pytest.raises(InputError, match="steps"):
            schedule.reverse(steps, method)
        return
    reverse = schedule.reverse(steps, method)
    chosen = reverse.timesteps.tolist()
    assert len(chosen) == steps
    assert chosen[0] == total - 1
    assert steps == 1 or chosen[-1] == 0
    assert all(a > b for a, b in pairwise(chosen))
    assert (reverse.x0_weight[-1], reverse.x_weight[-1], reverse.sigma[-1]) == (1, 0, 0)


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: NoiseSchedule(torch.zeros(0)), "betas"),
        (lambda: NoiseSchedule(torch.tensor([0.5, 1.0])), "betas"),
        (lambda: NoiseSchedule(torch.tensor([float("nan")])), "betas"),
        (lambda: NoiseSchedule.linear(10).timesteps(0), "steps"),
        (lambda: NoiseSchedule.linear(10).timesteps([]), "steps"),
        (lambda: NoiseSchedule.linear(10).timesteps([3, 3]), "steps"),
        (lambda: NoiseSchedule.linear(10).timesteps([10, 0]), "steps"),
        (lambda: NoiseSchedule.linear(10).timesteps([3, -1]), "steps"),
        (lambda: NoiseSchedule.linear(10).reverse(5, "euler"), "method"),
    ],
)
def test_bad_arguments_are_named(call, named):
    with pytest.raises(InputError, match=named):
        call()
