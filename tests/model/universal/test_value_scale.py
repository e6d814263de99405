# SPDX-License-Identifier: Apache-2.0
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from diffhpo.model.universal.value_scale import ValueScale

values = st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=30, unique=True)


def fitted(y):
    y = torch.tensor([y], dtype=torch.float64)
    return ValueScale.fit(y, torch.ones_like(y, dtype=torch.bool)), y


@settings(max_examples=60, deadline=None)
@given(values, st.floats(0.01, 100), st.floats(-1e3, 1e3))
def test_a_positive_scale_and_a_shift_change_nothing(y, factor, shift):
    spread = max(y) - min(y)
    if spread < 1e-3 * max(map(abs, [*y, shift / factor])):  # rounding would be seen
        return
    scale, tensor = fitted(y)
    moved = tensor * factor + shift
    other = ValueScale.fit(moved, torch.ones_like(moved, dtype=torch.bool))
    assert torch.allclose(scale.standardise(tensor), other.standardise(moved), atol=1e-4)


@settings(max_examples=60, deadline=None)
@given(values)
def test_order_is_kept_and_the_inverse_gives_the_values_back(y):
    scale, tensor = fitted(y)
    z = scale.standardise(tensor)
    order = tensor.argsort()
    assert bool((z.gather(1, order).diff() >= 0).all())
    assert torch.allclose(scale.restore(z), tensor, rtol=1e-5, atol=1e-4 * float(scale.span))


def test_mean_zero_deviation_one():
    scale, y = fitted([1.0, 4.0, -30.0, 2.0, 2.5])
    z = scale.standardise(y)
    assert z.mean().item() == pytest.approx(0, abs=1e-12)
    assert z.std(unbiased=False).item() == pytest.approx(1, rel=1e-12)


def test_slope_is_the_derivative():
    scale, _ = fitted([1.0, 4.0, -30.0, 2.0, 2.5])
    y = torch.tensor([[-50.0, 0.0, 1.9, 3.0, 9.0]], dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(scale.standardise(y).sum(), y)
    assert torch.allclose(scale.log_slope(y.detach()), slope.log())


def test_masked_trials_do_not_count():
    y = torch.tensor([[1.0, 2.0, 4.0, 1e9]])
    mask = torch.tensor([[True, True, True, False]])
    short = ValueScale.fit(y[:, :3], mask[:, :3])
    assert torch.equal(ValueScale.fit(y, mask).standardise(y[:, :3]), short.standardise(y[:, :3]))


@pytest.mark.parametrize("y", [[], [3.0], [2.0, 2.0, 2.0], [0.0, 1.0, 1.0, 1.0], [0.0, 1e300]])
def test_degenerate_contexts_stay_finite(y):
    scale, tensor = fitted(y)
    assert bool(torch.isfinite(scale.standardise(tensor)).all())
    assert float(scale.span) > 0
    assert float(scale.scale) > 0
