# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
import torch
from botorch.acquisition import LogExpectedImprovement
from tests.untrained_model import untrained_model

from diffhpo.gaussian_process import fit_gaussian_process
from diffhpo.model.universal.checkpoint import UniversalCheckpoint, save_universal
from diffhpo.model.universal.dimensions import Dimensions
from diffhpo.model.universal.transformer import UniversalContext
from diffhpo.pretraining import rollout_acquisition
from diffhpo.pretraining.rollout import INITIAL, LENGTH, roll_out
from diffhpo.pretraining.rollout_acquisition import GaussianProcessAcquisition, PredictorAcquisition
from diffhpo.pretraining.rollout_collection import collect_rollouts
from diffhpo.pretraining.rollout_file import load_rollouts
from diffhpo.pretraining.source import SyntheticTasks
from diffhpo.prior import PriorSampler
from diffhpo.prior.task_batch import points_at


@pytest.fixture(scope="module")
def tasks():
    return PriorSampler(seed=1, max_dim=6).batch(0, 8, 256)


def context(tasks, n):
    shown = torch.ones(len(tasks), n, dtype=torch.bool)
    return UniversalContext(tasks.x[:, :n], tasks.y[:, :n], shown, Dimensions(tasks.kinds, tasks.roles))


def test_the_rival_is_botorchs_log_improvement(tasks):
    scores = GaussianProcessAcquisition()(context(tasks, 12), tasks.x[:, 100:140])
    for row, dim in enumerate(tasks.dims.tolist()):
        x, y = tasks.x[row, :12, :dim].double(), tasks.y[row, :12].double()
        model = fit_gaussian_process(x, y)
        expected = LogExpectedImprovement(model, best_f=y.max())(
            tasks.x[row, 100:140, :dim].double().unsqueeze(1)
        )
        # Far below the best there is nothing to choose, and asymptotic series differ there.
        near = expected > expected.max() - 20
        assert torch.allclose(scores[row].double()[near], expected[near].detach(), atol=2e-3, rtol=1e-3)


def test_the_rival_fits_anew_when_its_trials_have_grown_by_a_quarter(tasks, monkeypatch):
    kept = []
    ranker = rollout_acquisition.Ranker

    def counted(history, fit=None):
        kept.append(fit is not None)
        return ranker(history, fit=fit)

    monkeypatch.setattr(rollout_acquisition, "Ranker", counted)
    runs = roll_out(GaussianProcessAcquisition(), tasks.rows(slice(0, 1)), torch.Generator().manual_seed(0))
    fitted = [n for n, old in zip(range(INITIAL, LENGTH), kept, strict=True) if not old]
    assert fitted == [5, 7, 9, 12, 15, 19, 24, 30, 38]
    assert len(runs.order[0].unique()) == LENGTH


def test_a_run_of_the_rival_does_not_depend_on_its_neighbours(tasks):
    whole, alone = GaussianProcessAcquisition(), GaussianProcessAcquisition()
    for n in (5, 6, 9):
        together = whole(context(tasks, n), tasks.x[:, 100:140])
        row = tasks.rows(slice(3, 4))
        assert torch.equal(together[3:4], alone(context(row, n), row.x[:, 100:140]))


def test_the_rival_chooses_better_points_than_chance(tasks):
    rank = tasks.value.argsort(1).argsort(1) / 255

    def chosen(wants):
        runs = roll_out(wants, tasks, torch.Generator().manual_seed(0))
        return float(rank.gather(1, runs.order[:, INITIAL:]).mean())

    draws = torch.Generator().manual_seed(1)
    chance = chosen(lambda _, candidates: torch.rand(candidates.shape[:2], generator=draws))
    assert chosen(GaussianProcessAcquisition()) > chance + 0.1


def test_the_models_wish_is_the_predictors_log_improvement(tasks):
    model = untrained_model().eval()
    seen = context(tasks, 9)
    with torch.no_grad():
        embedding = model.transformer(seen)
        predicted = model.predictor(model.predictor.condition(embedding), tasks.x[:, 100:120], noisy=False)
        improvement = predicted.expected_improvement(embedding.best.unsqueeze(1))
    scores = PredictorAcquisition(model)(seen, tasks.x[:, 100:120])
    assert torch.allclose(scores.exp(), improvement, rtol=1e-4, atol=1e-7)


def collected(folder, model, share):
    folder.mkdir()
    save_universal(folder / "model.safetensors", UniversalCheckpoint(model))
    collect_rollouts(
        folder,
        SyntheticTasks(3),
        chunks=range(1),
        size=8,
        points=256,
        seed=0,
        rival_share=share,
        progress=False,
    )
    return load_rollouts(folder, 0)


def test_a_share_of_the_functions_is_the_rivals(tmp_path):
    models = [untrained_model(), untrained_model()]
    with torch.no_grad():
        for parameter in models[1].parameters():
            parameter.add_(0.3)
    same = {}
    for share in (0.0, 0.5, 1.0):
        first, second = (
            collected(tmp_path / f"{share}-{which}", model, share) for which, model in enumerate(models)
        )
        same[share] = (first.order == second.order).all(1).numpy()
        for order in first.order:
            assert len(order.unique()) == LENGTH
    # Whose functions do not depend on the model: none, every second one, all.
    assert not same[0.0].any()
    np.testing.assert_array_equal(same[0.5], np.arange(8) % 2 == 1)
    assert same[1.0].all()


def test_wanted_points_are_candidates(tasks):
    runs = roll_out(GaussianProcessAcquisition(), tasks, torch.Generator().manual_seed(1))
    assert torch.equal(runs.asked[:, INITIAL:, 0], runs.order[:, INITIAL:])
    assert points_at(tasks.x, runs.order).shape == (8, LENGTH, tasks.x.shape[2])
