# SPDX-License-Identifier: Apache-2.0
import pytest
import torch

from diffhpo.model.universal import Dimensions, UniversalContext, UniversalModel


@pytest.fixture(scope="session")
def model():
    """A small model, every weight of which matters: no layer is left at its zero start."""
    torch.manual_seed(0)
    model = UniversalModel(width=32, layers=2, predictor_layers=1, blocks=2)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape))
    return model.eval().requires_grad_(False)


@pytest.fixture
def context():
    return make_context(2, 9, 5)


def make_context(batch, trials, dim, seed=0):
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(batch, trials, dim, generator=generator)
    y = torch.randn(batch, trials, generator=generator).double()
    kinds = torch.randint(0, 3, (batch, dim), generator=generator)
    roles = torch.randint(0, 20, (batch, dim), generator=generator)
    return UniversalContext(x, y, torch.ones(batch, trials, dtype=torch.bool), Dimensions(kinds, roles))
