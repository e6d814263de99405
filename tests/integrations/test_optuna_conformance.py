# SPDX-License-Identifier: Apache-2.0
"""Optuna's own conformance tests of samplers, unmodified."""

from functools import partial

import pytest

cases = pytest.importorskip("optuna.testing.pytest_samplers")

from diffhpo.integrations.optuna import DiffusionSampler  # noqa: E402

#: Optuna's tests change ranges between trials and ask small spaces for more than they have; both are told of.
pytestmark = [
    pytest.mark.filterwarnings("ignore::diffhpo.errors.IndependentSamplingWarning"),
    pytest.mark.filterwarnings("ignore::diffhpo.errors.ExhaustedWarning"),
]


class TestDiffusionSampler(
    cases.BasicSamplerTestCase, cases.RelativeSamplerTestCase, cases.SingleOnlySamplerTestCase
):
    @pytest.fixture
    def sampler(self):
        return partial(DiffusionSampler, seed=0)
