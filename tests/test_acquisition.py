# SPDX-License-Identifier: Apache-2.0
"""Acquisition functions: against SciPy's normal distribution; batches; chunks; the maximum."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import norm

from diffhpo.acquisition import maximise_acquisition, score_candidates, select_batch
from diffhpo.errors import InputError
from diffhpo.gaussian_process import fit_gaussian_process


def _model(n: int = 10, d: int = 2, scale: float = 1.0):
    rng = np.random.default_rng(3)
    x = rng.random((n, d))
    y = scale * (5 - ((x - 0.4) ** 2).sum(1) + 0.1 * np.sin(9 * x[:, 0]))
    return fit_gaussian_process(torch.tensor(x), torch.tensor(y)), float(y.max()), torch.tensor(x)


def _moments(model, candidates):
    with torch.no_grad():
        posterior = model.posterior(candidates.unsqueeze(1))
        # `posterior.variance` has a lower bound of 1e-10, whatever the units.
        variance = posterior.distribution.covariance_matrix
    return posterior.mean.numpy().ravel(), np.sqrt(variance.numpy().ravel())


@pytest.mark.parametrize("acquisition", ["logei", "ei", "pi", "ucb"])
@pytest.mark.parametrize("scale", [1.0, 1e-9, 1e6])
def test_scores_are_the_closed_forms(acquisition, scale):
    model, best, _ = _model(scale=scale)
    candidates = torch.rand(200, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    mean, deviation = _moments(model, candidates)
    u = (mean - best) / deviation
    improvement = deviation * (norm.pdf(u) + u * norm.cdf(u))
    expected = {
        "ei": improvement,
        "logei": np.log(np.maximum(improvement, 1e-300)),
        "pi": norm.cdf(u),
        "ucb": mean + 1.5 * deviation,
    }[acquisition]
    scores = score_candidates(model, candidates, best, acquisition, ucb_beta=2.25).numpy()
    # Where u is far below zero the two terms of EI cancel in SciPy's form.
    far = (u < -5) & (acquisition in ("ei", "logei"))
    assert (~far).sum() > 50
    np.testing.assert_allclose(scores[~far], expected[~far], rtol=1e-5, atol=1e-9 * scale)


def test_logei_tells_candidates_apart_where_ei_underflows():
    model, best, x = _model(scale=1.0)
    scores = score_candidates(model, x, best + 50.0)
    assert torch.isfinite(scores).all()
    assert len(scores.unique()) == len(x)
    assert score_candidates(model, x, best + 50.0, "ei").max() < 1e-200


@pytest.mark.parametrize("chunk", [3, 7, 1000])
def test_chunks_do_not_change_the_scores(chunk):
    model, best, _ = _model()
    candidates = torch.rand(100, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    whole = score_candidates(model, candidates, best)
    parts = score_candidates(model, candidates, best, chunk=chunk)
    torch.testing.assert_close(parts, whole, rtol=1e-9, atol=1e-9)
    assert parts.argmax() == whole.argmax()
    assert score_candidates(model, candidates[:0], best).shape == (0,)


@pytest.mark.parametrize("acquisition", ["logei", "ucb"])
def test_maximum_is_not_below_a_fine_grid(acquisition):
    model, best, _ = _model()
    torch.manual_seed(5)
    before = torch.get_rng_state()
    point = maximise_acquisition(model, 2, best, acquisition, seed=1)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(point, maximise_acquisition(model, 2, best, acquisition, seed=1))
    assert point.shape == (2,)
    assert bool(((point >= 0) & (point <= 1)).all())
    axis = torch.linspace(0, 1, 101, dtype=torch.float64)
    grid = torch.cartesian_prod(axis, axis)
    value = score_candidates(model, point.unsqueeze(0), best, acquisition).item()
    assert value >= score_candidates(model, grid, best, acquisition).max().item() - 1e-9


def test_batch_is_distinct_greedy_and_spread():
    model, best, _ = _model()
    candidates = torch.rand(60, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    batch = select_batch(model, candidates, 8, best)
    assert len(set(batch.tolist())) == 8
    assert batch[0] == score_candidates(model, candidates, best).argmax()
    top = score_candidates(model, candidates, best).argsort(descending=True)[:8]
    assert torch.pdist(candidates[batch]).mean() > torch.pdist(candidates[top]).mean()
    assert sorted(select_batch(model, candidates[:5], 5, best).tolist()) == [0, 1, 2, 3, 4]


def test_second_choice_is_made_after_believing_the_first():
    model, best, _ = _model()
    candidates = torch.rand(60, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    batch = select_batch(model, candidates, 2, best)
    # The closed form of the variance after one more observation under the same hyperparameters.
    first = candidates[batch[0]].unsqueeze(0)
    with torch.no_grad():
        joint = model.posterior(torch.cat([first, candidates])).distribution.covariance_matrix
        mean = model.posterior(candidates).mean.squeeze(1)
    noise = model.likelihood.noise.item() * model.outcome_transform.stdvs.item() ** 2
    variance = joint.diagonal()[1:] - joint[0, 1:] ** 2 / (joint[0, 0] + noise)
    best = max(best, mean[batch[0]].item())
    deviation = variance.sqrt().numpy()
    u = (mean.numpy() - best) / deviation
    improvement = deviation * (norm.pdf(u) + u * norm.cdf(u))
    improvement[batch[0]] = -1
    assert batch[1] == improvement.argmax()


def test_pending_points_and_duplicates_are_passed_over():
    model, best, _ = _model()
    candidates = torch.rand(40, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    first, second = select_batch(model, candidates, 2, best).tolist()
    pending = candidates[first].unsqueeze(0)
    rest = torch.cat([candidates[:first], candidates[first + 1 :]])
    chosen = select_batch(model, rest, 1, best, pending=pending)
    assert torch.equal(rest[chosen[0]], candidates[second])
    doubled = torch.cat([candidates, candidates])
    batch = doubled[select_batch(model, doubled, 10, best)]
    assert len(batch.unique(dim=0)) == 10
    same = candidates[:1].expand(4, 2)
    assert sorted(select_batch(model, same, 4, best).tolist()) == [0, 1, 2, 3]


def test_bad_arguments_are_named():
    model, best, x = _model()
    with pytest.raises(InputError, match="acquisition is 'nei'; accepted: logei, ei, ucb, pi"):
        score_candidates(model, x, best, "nei")
    with pytest.raises(InputError, match="q is 11"):
        select_batch(model, x, 11, best)
    with pytest.raises(InputError, match="candidates has shape"):
        score_candidates(model, x[0], best)
    with pytest.raises(InputError, match="ucb_beta"):
        score_candidates(model, x, best, "ucb", ucb_beta=-1.0)
