# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
import torch

from diffhpo.errors import InputError
from diffhpo.model import Denoiser, Network, NoiseSchedule
from diffhpo.model.reverse_process import ReverseProcess


def test_it_holds_the_schedules_coefficients_and_the_keys_of_the_noise() -> None:
    schedule = NoiseSchedule.linear(100)
    process = ReverseProcess.of(schedule, [90, 40, 0], "ddpm")
    exact = schedule.reverse([90, 40, 0])
    assert process.keys.tolist() == [100, 90, 40, 0]
    assert process.timesteps.tolist() == [90, 40, 0]
    columns = (exact.x0_from_x, exact.x0_from_eps, exact.x0_weight, exact.x_weight, exact.sigma)
    for column, expected in zip(process.coefficients.T, columns, strict=True):
        assert torch.equal(column, expected)


@pytest.mark.parametrize("executor", ["cpu", "reference"])
def test_a_kept_process_is_of_the_schedule_the_steps_and_the_method_that_were_asked_for(
    executor: str,
) -> None:
    network = Network(3, width=16)
    kept = Denoiser(network, NoiseSchedule.linear(100))
    asked = [
        (NoiseSchedule.linear(100), steps, method)
        for steps in (5, 6, [90, 40, 0], [90, 30, 0])
        for method in ("ddpm", "ddim")
    ]
    asked += [(NoiseSchedule.cosine(100), 5, "ddpm"), (NoiseSchedule.linear(50), 5, "ddpm"), *asked[:2]]
    for schedule, steps, method in asked:
        kept.schedule = schedule
        fresh = Denoiser(network, schedule)
        first, second = (
            denoiser.sample(None, 4, steps=steps, method=method, executor=executor)
            for denoiser in (kept, fresh)
        )
        assert torch.equal(first, second)


def test_a_bad_list_of_steps_is_an_error_each_time() -> None:
    denoiser = Denoiser(Network(3, width=16), NoiseSchedule.linear(10))
    for _ in range(2):
        with pytest.raises(InputError, match="strictly decreasing"):
            denoiser.sample(None, 1, steps=[3, 3])
