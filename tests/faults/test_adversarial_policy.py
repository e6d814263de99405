# SPDX-License-Identifier: Apache-2.0
"""Histories, policies and HPO-B's interface in careless hands: every argument is answered by name."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

from diffhpo import History, HistoryPolicy
from diffhpo.errors import InputError
from diffhpo.hpob import DiffusionHPO
from diffhpo.model import Denoiser, Network
from diffhpo.pretrained_policy import PretrainedPolicy, PretrainedRecipe
from diffhpo.recipe import BRIEF

X, Y = [[0.1, 0.2], [0.4, 0.5], [0.9, 0.3]], [0.0, 1.0, 0.2]
PRETRAINED = "diffhpo.pretrained_policy:PretrainedPolicy"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: History(np.ma.array([[0.5]], mask=True), [1.0]), "x has masked entries"),
        (lambda: History([[0.5]], np.ma.array([9.0], mask=True)), "y has masked entries"),
        (lambda: History(torch.empty(2, 2, device="meta"), [1.0, 2.0]), "x is a tensor without"),
        (lambda: History(torch.eye(2).to_sparse(), [1.0, 2.0]), "x is "),
        (
            lambda: History([], [], failed=[[0.1, 0.2]], pending=[[0.1]]),
            "pending has 1 columns; 2 are needed",
        ),
        (lambda: History(X, Y).bounded("5"), "size is '5'"),
        (lambda: History(X, Y).bounded(5.5), "size is 5.5"),
        (lambda: History(X, Y).bounded(2), "size is 2"),
    ],
)
def test_histories(make, message):
    with pytest.raises(InputError, match=message):
        make()


def test_an_empty_list_has_the_dimensions_of_what_failed():
    history = History([], [], failed=[[0.1, 0.2]])
    assert (history.dim, history.seen.tolist()) == (2, [[0.1, 0.2]])
    assert PretrainedPolicy().suggest(history).shape == (1, 2)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"recipe": ["elite"]}, "recipe is"),
        ({"policy": 3}, "policy is 3; an object with suggest"),
        ({"policy": PretrainedPolicy}, "policy is <class"),
        ({"policy": "os:path"}, "policy is 'os:path'; module:Class"),
        ({"policy": ".x:Y"}, "policy is '.x:Y'; module:Class"),
        ({"policy": PRETRAINED, "policy_settings": {"foo": 1}}, "does not take .*'foo'"),
        ({"policy": PRETRAINED, "policy_settings": [1]}, r"policy_settings is \[1\]"),
        ({"names": "lr"}, "names is 'lr'; a list"),
        ({"names": 5}, "names is 5; a list"),
        ({"names": ["lr", 2]}, r"names\[1\] is 2"),
    ],
)
def test_methods_for_hpob(settings, message):
    with pytest.raises(InputError, match=message):
        DiffusionHPO(**settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"model": "weights.safetensors"}, "model is 'weights"),
        ({"kinds": [9, 0]}, r"kinds\[0\] is 9"),
        ({"kinds": [0, -1]}, r"kinds\[1\] is -1"),
        ({"kinds": [0.5, 0]}, r"kinds\[0\] is 0.5"),
        ({"kinds": "ab"}, "kinds is 'ab'"),
        ({"steps": [-1.0, 0]}, r"steps\[0\] is -1"),
        ({"steps": [0.1, float("nan")]}, r"steps\[1\] is nan"),
        ({"steps": 5}, "steps is 5"),
        ({"recipe": {"foo": 1}}, "'foo'"),
        ({"recipe": "elite"}, "recipe is 'elite'"),
        ({"recipe": {"generated": -1}}, "generated is -1"),
        ({"recipe": {"spread": "9"}}, "spread is '9'"),
        ({"recipe": {"elites": 10**10}}, "elites is 10000000000"),
        ({"recipe": {"joint": -1}}, "joint is -1"),
        ({"recipe": {"pool_chunk": 0}}, "pool_chunk is 0"),
        ({"recipe": {"noisy": "no"}}, "noisy is 'no'"),
        ({"recipe": {"rank_with": ["gp"]}}, "rank_with is"),
    ],
)
def test_settings_of_the_pretrained_policy(settings, message):
    with pytest.raises(InputError, match=message):
        PretrainedPolicy(**settings)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("greed", "x"),
        ("jitter", float("inf")),
        ("candidates", 0),
        ("candidates", 1.5),
        ("uniform_candidates", -1),
        ("reverse_steps", 1.5),
        ("first_steps", -1),
        ("warm_steps", -1),
        ("learning_rate", float("nan")),
        ("width", 0),
        ("context_size", 2),
        ("pool_neighbours", 0),
        ("climb_every", -1),
        ("balanced", None),
        ("greed", -0.1),
        ("greed", 10**400),
        ("jitter", -0.1),
        ("jitter_share", 1.1),
        ("flag_dropout", -0.1),
        ("flag_dropout", 1.1),
        ("guidance", None),
        ("learning_rate", 0),
        ("precision", "fp8"),
        ("precision", np.array(["fp32", "bf16"])),
    ],
)
def test_fields_of_a_recipe(field, value):
    with pytest.raises(InputError, match=f"{field} is"):
        replace(BRIEF, **{field: value})


@pytest.mark.parametrize("make", [partial(replace, BRIEF), PretrainedRecipe])
def test_numpy_numbers_are_numbers_in_a_recipe(make):
    """One that came from NumPy was accepted here and refused by the Denoiser, once there were trials."""
    network = Network(2, width=8, blocks=1)
    guidance = make(guidance=np.float32(0.5)).guidance
    assert type(guidance) is float
    drawn = Denoiser(network).sample(None, 3, improve=1, guidance=guidance, steps=2)
    assert torch.equal(drawn, Denoiser(network).sample(None, 3, improve=1, guidance=np.float32(0.5), steps=2))


@pytest.mark.parametrize("policy", [PretrainedPolicy(), HistoryPolicy("brief")], ids=type)
def test_requests(policy):
    history = History(X, Y)
    for count in (0, -1, "1", 1.5, None, True, 10**12):
        with pytest.raises(InputError, match="count is"):
            policy.suggest(history, count)
    for other in (X, None):
        with pytest.raises(InputError, match=r"a diffhpo\.History is needed"):
            policy.suggest(other)
        with pytest.raises(InputError, match=r"a diffhpo\.History is needed"):
            policy.choose(other, X)
    with pytest.raises(InputError, match=r"shape \(0, d\)"):
        DiffusionHPO(policy=policy).observe_and_suggest([], [])
    assert DiffusionHPO(policy=policy).observe_and_suggest(np.empty((0, 2)), []).shape == (1, 2)


@pytest.mark.parametrize(
    ("snap", "message"),
    [
        (3, "snap is 3; a function"),
        (lambda points: None, "what snap returned has dtype object"),
        (lambda points: points * np.nan, r"what snap returned\[0, 0\] is nan"),
        (lambda points: points + 5, r"what snap returned\[0, 0\] is .*must lie in \[0, 1\]"),
        (lambda points: points[:, :1], "what snap returned has 1 columns"),
        (lambda points: points.repeat(2, axis=0), r"snap returned \d+ points for \d+; at most one for each"),
    ],
)
@pytest.mark.parametrize("history", [History(X, Y), History(X[:0], Y[:0])], ids=len)
def test_what_a_snap_returns_is_checked(snap, message, history):
    history = history if len(history) else History(np.empty((0, 3)), [])
    with pytest.raises(InputError, match=message):
        HistoryPolicy("brief").suggest(history, 2, snap=snap)
