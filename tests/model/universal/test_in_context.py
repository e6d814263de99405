# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
import torch

from diffhpo.errors import CheckpointError, InputError
from diffhpo.model.universal import UniversalModel
from diffhpo.model.universal.checkpoint import UniversalCheckpoint, load_universal, save_universal
from diffhpo.model.universal.in_context import InContextModel


@pytest.fixture
def run(model):
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(12, 3, generator=generator)
    return InContextModel(model, x, 40 * torch.randn(12, generator=generator) - 700)


def test_densities_in_the_users_units_integrate_to_the_distribution(run):
    query = torch.rand(5, 3)
    predicted = run.predict(query)
    y = torch.linspace(-4000, 1500, 200_001).double()
    for row in range(5):
        one = InContextModel(run.model, run.embedding.context.x[0], run.embedding.context.y[0]).predict(
            query[row : row + 1].expand(len(y), -1)
        )
        density = one.log_prob(y).exp().numpy()
        whole = np.trapezoid(density, y.numpy())
        assert whole == pytest.approx(1, abs=2e-3)
        middle = float(predicted.median[row])
        below = np.trapezoid(density[y.numpy() <= middle], y.numpy()[y.numpy() <= middle])
        assert below == pytest.approx(0.5, abs=5e-3)
        assert predicted.cdf(torch.full((5,), middle).double())[row] == pytest.approx(0.5, abs=1e-6)


def test_quantiles_invert_the_distribution(run):
    predicted = run.predict(torch.rand(5, 3))
    for level in (0.001, 0.1, 0.5, 0.9, 0.999):
        share = predicted.cdf(predicted.quantile(level))
        assert torch.allclose(share, torch.full((5,), level).double(), atol=1e-7)
    assert torch.equal(predicted.quantile(0.5), predicted.median)
    with pytest.raises(InputError, match="level is 1"):
        predicted.quantile(1)


def test_candidates_do_not_see_each_other(run):
    query = torch.rand(9, 3)
    whole = run.log_improvement(query)
    parts = torch.cat([run.log_improvement(query[:4]), run.log_improvement(query[4:])])
    assert torch.allclose(whole, parts, atol=1e-4)


def test_samples_are_the_same_in_any_batch(run):
    whole = run.generate(9, seed=5)
    assert torch.equal(whole[:4], run.generate(4, seed=5))
    assert torch.equal(whole[4:], run.generate(5, seed=5, first_candidate=4))
    assert not torch.equal(whole, run.generate(9, seed=6))
    assert not torch.equal(whole, run.generate(9, seed=5, improvement=1.0))
    assert bool(((whole >= 0) & (whole <= 1)).all())


def test_bad_shapes_are_named(model):
    with pytest.raises(InputError, match="y"):
        InContextModel(model, torch.rand(3, 2), torch.rand(4))
    with pytest.raises(InputError, match="33 dimensions"):
        InContextModel(model, torch.rand(3, 33), torch.rand(3))


def test_a_checkpoint_comes_back(model, tmp_path):
    path = tmp_path / "model.safetensors"
    save_universal(path, UniversalCheckpoint(model, 7, {"a": torch.ones(2)}, {"seed": 1}))
    found = load_universal(path)
    assert (found.step, found.facts) == (7, {"seed": 1})
    assert torch.equal(found.training["a"], torch.ones(2))
    for name, value in model.state_dict().items():
        assert torch.equal(value, found.model.state_dict()[name])


@pytest.mark.parametrize("keep", [0, 7, 100, 5000, -1])
def test_a_truncated_checkpoint_is_named(model, tmp_path, keep):
    path = tmp_path / "model.safetensors"
    save_universal(path, UniversalCheckpoint(model))
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(CheckpointError, match=r"model\.safetensors"):
        load_universal(path)


def test_weights_that_are_not_finite_are_refused(tmp_path):
    model = UniversalModel(width=16, heads=2)
    with torch.no_grad():
        model.transformer.anchor[0] = float("nan")
    save_universal(tmp_path / "m.safetensors", UniversalCheckpoint(model))
    with pytest.raises(CheckpointError, match=r"transformer\.anchor"):
        load_universal(tmp_path / "m.safetensors")
