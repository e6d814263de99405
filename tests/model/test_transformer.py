# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
import torch
from scipy import stats

from diffhpo.errors import InputError
from diffhpo.model import ContextBatch, Transformer
from diffhpo.model.transformer import rank_within, standardise_within


def context(count, dim=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(count, dim, generator=generator), torch.randn(count, generator=generator)


@pytest.fixture
def transformer():
    torch.manual_seed(0)
    return Transformer(3, layers=2).double()


@pytest.mark.parametrize("count", [1, 2, 17, 64])
def test_any_order_of_the_trials_gives_the_same_embedding(transformer, count):
    x, y = context(count)
    order = torch.randperm(count, generator=torch.Generator().manual_seed(1))
    plain = transformer(ContextBatch.single(x.double(), y.double()))
    shuffled = transformer(ContextBatch.single(x[order].double(), y[order].double()))
    torch.testing.assert_close(plain.pooled, shuffled.pooled, rtol=0, atol=1e-12)
    torch.testing.assert_close(plain.tokens[:, order], shuffled.tokens, rtol=0, atol=1e-12)


def test_a_positional_encoding_would_break_it(transformer):
    """The control: the same encoder with positions added to its tokens tells orders apart."""
    x, y = context(17)
    positions = torch.linspace(0, 1, 17).unsqueeze(1)
    plain = transformer(ContextBatch.single((x + positions).double(), y.double())).pooled
    shuffled = transformer(ContextBatch.single((x.flip(0) + positions).double(), y.flip(0).double())).pooled
    assert (plain - shuffled).abs().max() > 1e-3


def test_padding_does_not_count(transformer):
    x, y = context(9)
    alone = transformer(ContextBatch.single(x[:5].double(), y[:5].double())).pooled
    mask = torch.arange(9).unsqueeze(0) < 5
    junk = y.clone()
    junk[5:] = 1e30
    padded = transformer(ContextBatch(x.unsqueeze(0).double(), junk.unsqueeze(0).double(), mask)).pooled
    torch.testing.assert_close(alone, padded, rtol=0, atol=1e-12)


def test_the_empty_context_has_an_embedding_of_its_own(transformer):
    empty = transformer(ContextBatch.single(torch.zeros(0, 3), torch.zeros(0))).pooled
    masked = transformer(
        ContextBatch(torch.rand(1, 4, 3), torch.rand(1, 4), torch.zeros(1, 4, dtype=torch.bool))
    ).pooled
    assert torch.isfinite(empty).all()
    torch.testing.assert_close(empty, masked, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("shift", "scale"), [(0.0, 1e6), (100.0, 1.0), (-3.0, 1e-5)])
def test_units_of_y_do_not_matter(transformer, shift, scale):
    x, y = context(20)
    plain = transformer(ContextBatch.single(x.double(), y.double())).pooled
    moved = transformer(ContextBatch.single(x.double(), y.double() * scale + shift)).pooled
    torch.testing.assert_close(plain, moved, rtol=0, atol=1e-7)


def test_ranks_equal_scipys_midranks():
    y = torch.tensor([[3.0, 1.0, 1.0, 2.0, 9.0, 9.0, -1.0]], dtype=torch.float64)
    mask = torch.tensor([[True, True, True, False, True, True, True]])
    ours = rank_within(y, mask)[mask]
    ranks = stats.rankdata(y[mask])
    np.testing.assert_allclose(ours, 2 * (ranks - 1) / (len(ranks) - 1) - 1)


def test_z_scores_equal_scipys():
    y = torch.randn(1, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    mask = torch.ones(1, 12, dtype=torch.bool)
    np.testing.assert_allclose(standardise_within(y, mask)[0], stats.zscore(y[0]).clip(-4, 4), rtol=1e-10)


@pytest.mark.parametrize("y", [[1e300, -1e300, 0.0], [1e-300, 2e-300, 3e-300], [5.0, 5.0], [7.0]])
def test_extreme_values_stay_finite(transformer, y):
    values = torch.tensor(y, dtype=torch.float64)
    out = transformer(ContextBatch.single(torch.rand(len(y), 3).double(), values))
    assert torch.isfinite(out.pooled).all()


@pytest.mark.parametrize("sizes", [{"dim": 0}, {"dim": 2, "width": 30, "heads": 4}, {"dim": 2, "layers": 0}])
def test_bad_sizes_are_refused(sizes):
    with pytest.raises(InputError, match=r"(dim|width|layers) is"):
        Transformer(**sizes)
