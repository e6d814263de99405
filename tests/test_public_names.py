# SPDX-License-Identifier: Apache-2.0
"""The names that other code calls, with the arguments that it calls them with."""

import inspect

import torch

import diffhpo
import diffhpo.errors
import diffhpo.hpob
import diffhpo.model


def test_the_briefs_parts_have_the_briefs_names():
    for name in ("Sampler", "NoiseAdder", "Transformer", "Network", "Loss", "Denoiser"):
        assert inspect.isclass(getattr(diffhpo.model, name))


def test_the_denoiser_is_called_with_network_and_schedule():
    network = diffhpo.model.Network(3)
    denoiser = diffhpo.model.Denoiser(network, diffhpo.model.NoiseSchedule.linear())
    x = denoiser.sample(None, 5, improve=True, steps=1000, seed=0, executor="cpu")
    assert x.shape == (5, 3)
    assert x.dtype == torch.float32
    assert ((x >= 0) & (x <= 1)).all()


def test_the_optimizer_and_the_hpob_method_take_a_seed():
    space = diffhpo.Space({"x": diffhpo.Float(0, 1)})
    assert len(diffhpo.Optimizer(space, seed=0).ask(3)) == 3
    assert diffhpo.hpob.DiffusionHPO(seed=0).observe_and_suggest([[0.1]], [1.0]).shape == (1, 1)


def test_every_error_has_one_root():
    for name, value in vars(diffhpo.errors).items():
        if inspect.isclass(value) and issubclass(value, Exception) and not issubclass(value, Warning):
            assert issubclass(value, diffhpo.errors.DiffHPOError), name


def test_all_public_names_are_there():
    for module in (diffhpo, diffhpo.hpob, diffhpo.model):
        for name in module.__all__:
            assert hasattr(module, name)
