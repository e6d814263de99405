# SPDX-License-Identifier: Apache-2.0
"""Orders that must not matter do not, and padding leaves no trace."""

import pytest
import torch

from diffhpo.model.universal import Dimensions, UniversalContext
from diffhpo.model.universal.network import wish

from .conftest import make_context


def predicted(model, context, query):
    embedding = model.transformer(context)
    conditioned = model.predictor.condition(embedding)
    out = model.predictor(conditioned, query)
    return torch.cat([out.log_weights, out.means, out.deviations.log()], dim=-1)


def noise(model, context, x, improve=1):
    embedding = model.transformer(context)
    batch, count = x.shape[:2]
    t = torch.arange(count).expand(batch, -1) * 50
    flags = torch.full((batch, count), improve)
    wishes = wish(None, count, optimum=True).expand(batch, -1, -1)
    return model.network(x, t, flags, embedding, wishes)


@pytest.mark.parametrize("dim", [1, 2, 7, 32])
def test_the_order_of_dimensions_does_not_matter(model, dim):
    context = make_context(2, 9, dim)
    query, noisy = torch.rand(2, 6, dim), torch.randn(2, 6, dim)
    order = torch.randperm(dim, generator=torch.Generator().manual_seed(1))
    dimensions = Dimensions(context.dimensions.kinds[:, order], context.dimensions.roles[:, order])
    turned = UniversalContext(context.x[..., order], context.y, context.mask, dimensions)
    assert torch.allclose(
        predicted(model, context, query), predicted(model, turned, query[..., order]), atol=2e-4
    )
    assert torch.allclose(
        noise(model, context, noisy)[..., order], noise(model, turned, noisy[..., order]), atol=2e-4
    )


def test_the_order_of_trials_does_not_matter(model, context):
    order = torch.randperm(9, generator=torch.Generator().manual_seed(1))
    turned = UniversalContext(context.x[:, order], context.y[:, order], context.mask, context.dimensions)
    query, noisy = torch.rand(2, 6, 5), torch.randn(2, 6, 5)
    assert torch.allclose(predicted(model, context, query), predicted(model, turned, query), atol=2e-4)
    assert torch.allclose(noise(model, context, noisy), noise(model, turned, noisy), atol=2e-4)


def test_padding_leaves_no_trace(model, context):
    extra_dims, extra_trials = 3, 4
    x = torch.rand(2, 9 + extra_trials, 5 + extra_dims)
    x[:, :9, :5] = context.x
    y = torch.cat([context.y, 1e6 + torch.zeros(2, extra_trials).double()], dim=1)
    mask = torch.arange(9 + extra_trials).expand(2, -1) < 9
    kinds = torch.cat([context.dimensions.kinds, torch.full((2, extra_dims), 3)], dim=1)
    roles = torch.cat([context.dimensions.roles, torch.zeros(2, extra_dims, dtype=torch.int64)], dim=1)
    padded = UniversalContext(x, y, mask, Dimensions(kinds, roles))
    query, noisy = torch.rand(2, 6, 8), torch.randn(2, 6, 8)
    noisy[..., 5:] = 0
    left = predicted(model, context, query[..., :5])
    assert torch.allclose(left, predicted(model, padded, query), atol=2e-4)
    eps = noise(model, padded, noisy)
    assert torch.allclose(noise(model, context, noisy[..., :5]), eps[..., :5], atol=2e-4)
    assert bool((eps[..., 5:] == 0).all())


def test_values_enter_by_their_shape_alone(model, context):
    moved = UniversalContext(context.x, 3 * context.y - 40, context.mask, context.dimensions)
    query = torch.rand(2, 6, 5)
    assert torch.allclose(predicted(model, context, query), predicted(model, moved, query), atol=2e-3)


def test_dimensions_that_look_alike_are_told_apart(model):
    """f(a, b) with a and b distributed alike must not be predicted as f(b, a)."""
    x = torch.rand(1, 20, 2, generator=torch.Generator().manual_seed(0))
    y = (x[..., 0] - x[..., 1]).double()
    context = UniversalContext(x, y, torch.ones(1, 20, dtype=torch.bool), Dimensions.continuous(1, 2))
    query = torch.tensor([[[0.9, 0.1], [0.1, 0.9]]])
    out = predicted(model, context, query)
    assert not torch.allclose(out[0, 0], out[0, 1], atol=1e-2)


@pytest.mark.parametrize("trials", [0, 1, 2])
def test_few_trials(model, trials):
    context = make_context(2, trials, 3)
    out = predicted(model, context, torch.rand(2, 4, 3))
    assert bool(torch.isfinite(out).all())
    assert bool(torch.isfinite(noise(model, context, torch.randn(2, 4, 3))).all())


def test_the_written_network_is_the_same_function(model):
    context = make_context(1, 9, 5)
    embedding = model.transformer(context)
    wishes = wish(torch.tensor([0.7]), 1, optimum=False)
    x, t = torch.randn(6, 5), torch.arange(6) * 100
    for improve in (0, 1, 2):
        flags = torch.full((6,), improve)
        written = model.network.unwritten(5)
        model.network.write(written, embedding)
        pooled = model.network.pooled(embedding, wishes).expand(6, -1)
        left = written(x, t, flags, pooled)
        right = model.network(x[None], t[None], flags[None], embedding, wishes[:, None].expand(1, 6, -1))
        assert torch.allclose(left, right[0], atol=1e-5)
