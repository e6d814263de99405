# SPDX-License-Identifier: Apache-2.0
"""What the weights that come with the package must be able to do, on tasks that may choose settings."""

from pathlib import Path

import numpy as np
import pytest
import torch

import diffhpo.pretrained
from diffhpo.errors import CheckpointError
from diffhpo.hpob import DiffusionHPO, evaluate_continuous, suite
from diffhpo.model.universal.in_context import InContextModel
from diffhpo.pretrained import pretrained_model

FOLDER = Path(diffhpo.pretrained.__file__).parent


def test_they_are_small_and_have_a_card():
    assert sum(file.stat().st_size for file in FOLDER.glob("*.safetensors")) < 8 * 2**20
    assert (FOLDER / "ModelCard.md").exists()
    assert not any(parameter.requires_grad for parameter in pretrained_model().parameters())
    with pytest.raises(CheckpointError, match="nothing"):
        pretrained_model("nothing")


@pytest.mark.parametrize("dim", [1, 3, 8])
def test_predictions_beat_what_the_trials_alone_say(dim):
    """Log-likelihood of smooth functions above that of the normal distribution of the trials' values."""
    rng = np.random.default_rng(dim)
    gains = []
    for _ in range(12):
        centre, slope = rng.random(dim), rng.normal(size=dim)
        x = rng.random((120, dim))
        y = -((x - centre) ** 2).sum(1) + 0.3 * np.sin(4 * x @ slope)
        run = InContextModel(pretrained_model(), torch.tensor(x[:30]), torch.tensor(y[:30]))
        ours = run.predict(torch.tensor(x[30:])).log_prob(torch.tensor(y[30:])).mean().item()
        normal = torch.distributions.Normal(y[:30].mean(), y[:30].std())
        gains.append(ours - normal.log_prob(torch.tensor(y[30:])).mean().item())
    assert np.mean(gains) > (1.0 if dim == 1 else 0.3)


def test_uncertainty_falls_with_trials_and_near_them():
    x = torch.rand(40, 2, generator=torch.Generator().manual_seed(0))
    y = -((x - 0.3) ** 2).sum(1)
    grid = torch.rand(200, 2, generator=torch.Generator().manual_seed(1))
    few = InContextModel(pretrained_model(), x[:5], y[:5])
    many = InContextModel(pretrained_model(), x, y)
    width = [
        run.predict(grid).mixture.variance.sqrt().mean() * run.embedding.scale.scale for run in (few, many)
    ]
    assert width[1] < 0.5 * width[0]


def test_samples_lie_where_the_optimum_may_be():
    x = torch.rand(40, 2, generator=torch.Generator().manual_seed(0))
    y = -((x - torch.tensor([0.25, 0.6])) ** 2).sum(1)
    samples = InContextModel(pretrained_model(), x, y).generate(256, seed=0)
    distance = (samples - torch.tensor([0.25, 0.6])).norm(dim=1)
    assert distance.median() < 0.2  # of uniform points: 0.42
    assert samples.std(0).min() > 0.005


def test_they_beat_random_search_on_validation_tasks():
    benchmark = suite.benchmark("validation")
    names = [column.name for column in suite.describe()]
    regret, random = [], []
    for name in benchmark.tasks(suite.SPACE):
        task = benchmark.task(suite.SPACE, name)
        for method, out in ((DiffusionHPO(seed=0, names=names), regret), (Uniform(), random)):
            out.append(1 - evaluate_continuous(method, task, "test0", 15, corrected=True).incumbents[-1])
    assert np.mean(regret) < 0.8 * np.mean(random)


class Uniform:
    def __init__(self):
        self.rng = np.random.default_rng(0)

    def observe_and_suggest(self, X_obs, y_obs, X_pen=None):
        return self.rng.random((1, X_obs.shape[1]))
