# SPDX-License-Identifier: Apache-2.0
import re
import subprocess
import sys
from dataclasses import FrozenInstanceError
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.quadratic_history import quadratic_history
from tests.untrained_model import untrained_model

from diffhpo import panel, pretrained_policy
from diffhpo.errors import InputError
from diffhpo.history import History
from diffhpo.history_policy import HistoryPolicy
from diffhpo.panel import Panel
from diffhpo.policy import Policy
from diffhpo.pretrained import pretrained_model
from diffhpo.pretrained_policy import PretrainedPolicy, PretrainedRecipe
from diffhpo.space import Categorical, Float, Int, Space

POINTS = np.random.default_rng(5).random((40, 3))
SMALL = PretrainedRecipe(generated=16, spread=32, elites=16, refined=16)


@pytest.fixture(scope="module")
def model():
    return untrained_model().eval().requires_grad_(False)


@pytest.mark.parametrize("count", [0, 1, 2, 9])
@pytest.mark.parametrize("wanted", [1, 5])
def test_suggestions_are_new_distinct_and_inside(model, count, wanted):
    policy = PretrainedPolicy(model, recipe=SMALL)
    assert isinstance(policy, Policy)
    seen = quadratic_history(count)
    x = policy.suggest(seen, wanted)
    assert x.shape == (wanted, 3)
    assert ((x >= 0) & (x <= 1)).all()
    assert len(np.unique(np.concatenate([x, seen.x]), axis=0)) == wanted + count


def test_a_suggestion_is_a_function_of_history_and_seed(model):
    policy = PretrainedPolicy(model, seed=3, recipe=SMALL)
    first = policy.suggest(quadratic_history(9))
    policy.suggest(quadratic_history(12))
    np.testing.assert_array_equal(first, policy.suggest(quadratic_history(9)))
    np.testing.assert_array_equal(
        first, PretrainedPolicy(model, seed=3, recipe=SMALL).suggest(quadratic_history(9))
    )
    assert not np.array_equal(
        first, PretrainedPolicy(model, seed=4, recipe=SMALL).suggest(quadratic_history(9))
    )


def test_global_random_state_and_threads_are_left_alone(model):
    torch.manual_seed(7)
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    PretrainedPolicy(model, recipe=SMALL).suggest(quadratic_history(6), 3)
    assert torch.equal(state, torch.get_rng_state())
    assert torch.get_num_threads() == threads


def test_suggestions_and_choices_run_on_one_thread(model, monkeypatch):
    policy, scored, inside = PretrainedPolicy(model, recipe=SMALL), PretrainedPolicy._panel, []

    def counted(*arguments):
        inside.append(torch.get_num_threads())
        return scored(*arguments)

    monkeypatch.setattr(PretrainedPolicy, "_panel", counted)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        policy.suggest(quadratic_history(6))
        policy.choose(quadratic_history(6), POINTS)
    finally:
        torch.set_num_threads(before)
    assert inside == [1, 1]


def test_a_policy_is_made_and_reads_under_any_settings_of_torch(model):
    columns = {"kinds": [0, 1, 2], "names": ["learning_rate", "max_depth", "kernel"]}
    plain = PretrainedPolicy(model, **columns)
    with torch.device("meta"):
        made = PretrainedPolicy(model, **columns)
    with torch.device("meta"):
        run = plain.read(quadratic_history(6))
    assert made.kinds.tolist() == [0, 1, 2]
    expected = plain.read(quadratic_history(6)).log_improvement(torch.from_numpy(POINTS))
    for other in (run, made.read(quadratic_history(6))):
        assert torch.equal(other.log_improvement(torch.from_numpy(POINTS)), expected)


def test_pending_trials_repel(model):
    """What is under evaluation is not proposed again, nor is its neighbour as likely."""
    policy = PretrainedPolicy(model, recipe=SMALL)
    alone = policy.suggest(quadratic_history(9))
    other = policy.suggest(quadratic_history(9, pending=alone))
    assert not np.array_equal(alone, other)


def test_failed_trials_count_as_the_worst(model):
    run = PretrainedPolicy(model, recipe=SMALL).read(quadratic_history(6, failed=[[0.1, 0.1, 0.1]]))
    y = run.embedding.context.y[0]
    assert len(y) == 7
    assert y[-1] == y.min()


@pytest.mark.parametrize("failed", [0, 2])
def test_a_history_without_values_can_be_read(model, failed):
    run = PretrainedPolicy(model, recipe=SMALL).read(History(np.empty((0, 3)), [], failed=POINTS[:failed]))
    assert run.embedding.context.y.tolist() == [[0.0] * failed]
    assert torch.isfinite(run.log_improvement(torch.from_numpy(POINTS))).all()
    with pytest.raises(InputError, match="the history has 0 dimensions"):
        PretrainedPolicy(model).read(History([], []))


@pytest.mark.parametrize("wanted", [1, 4])
def test_snapped_suggestions_stand_for_configurations(model, wanted):
    space = Space({"a": Int(1, 4), "b": Categorical(["x", "y", "z"]), "c": Float(0, 1)})
    policy = PretrainedPolicy(model, kinds=space.column_kinds, names=space.column_names, recipe=SMALL)
    x = space.snap(np.random.default_rng(0).random((6, space.dim)))
    out = policy.suggest(History(x, np.arange(6.0)), wanted, snap=space.snap)
    np.testing.assert_array_equal(out, space.snap(out))
    assert len(np.unique(out, axis=0)) == wanted


def test_what_a_snap_returns_is_checked(model):
    with pytest.raises(InputError, match=r"what snap returned\[0, 0\] is nan"):
        PretrainedPolicy(model).suggest(quadratic_history(6), snap=lambda points: points * np.nan)
    with pytest.raises(InputError, match="snap is 3; a function"):
        PretrainedPolicy(model).suggest(quadratic_history(6), snap=3)


def test_an_exhausted_space_gives_what_is_left(model):
    space = Space({"a": Int(1, 3)})
    seen = space.snap(np.array([[0.1], [0.5]]))
    out = PretrainedPolicy(model, recipe=SMALL).suggest(History(seen, [0.0, 1.0]), 3, snap=space.snap)
    assert len(out) <= 1


def test_a_space_of_which_all_was_seen_has_nothing_left(model):
    space = Space({"max_depth": Int(1, 3)})  # its name is known, so the best candidates would be refined
    policy = PretrainedPolicy(model, seed=0, kinds=space.column_kinds, names=space.column_names)
    history = History(space.all_units(), [0.1, 0.5, 0.3])
    assert policy.suggest(history, 2, snap=space.snap).shape == (0, 1)


def test_the_discrete_choice_has_the_largest_improvement(model):
    policy, seen = PretrainedPolicy(model, recipe={"rank_with": "predictor"}), quadratic_history(8)
    pool = np.random.default_rng(1).random((300, 3))
    score = policy.read(seen).log_improvement(torch.from_numpy(pool))
    assert policy.choose(seen, pool) == int(score.argmax())
    small = PretrainedPolicy(model, recipe={"rank_with": "predictor", "pool_chunk": 7})
    assert small.choose(seen, pool) == policy.choose(seen, pool)
    assert policy.choose(quadratic_history(0), pool) in range(300)


def test_many_dimensions_and_bad_arguments_are_named(model):
    policy = PretrainedPolicy(model, recipe=SMALL)
    assert policy.suggest(quadratic_history(5, dim=32)).shape == (1, 32)
    with pytest.raises(InputError, match=r"33 dimensions.*HistoryPolicy"):
        policy.suggest(quadratic_history(5, dim=33))
    with pytest.raises(InputError, match="count is 0"):
        policy.suggest(quadratic_history(5), 0)
    with pytest.raises(InputError, match="names has 2 entries"):
        PretrainedPolicy(model, names=["a", "b"]).suggest(quadratic_history(5))


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ({"sprea": 3}, r"recipe has unknown \['sprea'\]; accepted: generated, spread, "),
        ({"generated": -1}, "generated is -1; a whole number from 0"),
        ({"spread": "a"}, "spread is 'a'; a whole number"),
        ({"elites": 1.5}, r"elites is 1\.5; a whole number"),
        ({"refinements": True}, "refinements is True; a whole number"),
        ({"context_size": 2}, "context_size is 2; a whole number from 3"),
        ({"reverse_steps": 0}, "reverse_steps is 0; a whole number from 1"),
        ({"refined": 0}, "refined is 0"),
        ({"pool_chunk": 0}, "pool_chunk is 0"),
        ({"pending_size": -1}, "pending_size is -1"),
        ({"joint": 0}, "joint is 0"),
        ({"guidance": "strong"}, "guidance is 'strong'; a finite number"),
        ({"guidance": float("inf")}, "guidance is inf"),
        ({"guidance": True}, "guidance is True"),
        ({"generated": 0, "spread": 0, "elites": 0}, "are all 0; nothing would be ranked"),
        ({"noisy": 1}, "noisy is 1; True or False"),
        ({"rank_with": "nothing"}, "rank_with is 'nothing'; accepted: auto, predictor, "),
        ({"rank_with": ["gp"]}, r"rank_with is \['gp'\]; accepted"),
        (["joint"], r"recipe is \['joint'\]; a PretrainedRecipe or a dictionary"),
    ],
)
def test_settings_that_make_no_sense_are_named(model, recipe, message):
    with pytest.raises(InputError, match=message):
        PretrainedPolicy(model, recipe=recipe)


@pytest.mark.parametrize("candidates", ["generated", "spread", "elites"])
def test_the_least_settings_work(model, candidates):
    recipe = {"generated": 0, "spread": 0, "elites": 0, "refinements": 0, "refined": 1, "reverse_steps": 1}
    recipe |= {"context_size": 3, "pool_chunk": 1, "joint": 1, "pending_size": 0}
    policy = PretrainedPolicy(model, recipe={**recipe, candidates: 1})
    seen = quadratic_history(5, pending=[[0.1, 0.2, 0.3]])
    assert policy.suggest(seen).shape == (1, 3)
    assert policy.choose(seen, seen.x[:2]) in (0, 1)


def test_settings_left_out_are_those_of_the_page():
    """docs/settings.md, whose defaults are those that its figures were measured with."""
    page = (Path(__file__).resolve().parents[1] / "docs" / "settings.md").read_text(encoding="utf-8")
    stated = {}
    for names, values in re.findall(r"^\| (`[a-z_`, ]+) \| ([^|]+) \|", page, re.M):
        stated |= zip(re.findall(r"\w+", names), values.split(", "), strict=False)
    recipe = PretrainedRecipe()
    assert stated["rank_with"].startswith(f'`"{recipe.rank_with}"`')
    names = ("generated", "spread", "elites", "reverse_steps", "guidance", "noisy", "context_size")
    assert [stated[name] for name in names] == [
        f"{vars(recipe)[name]:g}" if name != "noisy" else "true" for name in names
    ]
    assert recipe.noisy is True
    with pytest.raises(FrozenInstanceError):
        recipe.joint = 3


def test_what_is_left_out_is_the_packages_model_and_seed_0(model):
    assert PretrainedPolicy().model is pretrained_model()
    assert PretrainedPolicy(model).seed == 0
    with pytest.raises(InputError, match=r"model is 'universal'; a UniversalModel is needed"):
        PretrainedPolicy("universal")


def test_steps_of_0_and_more_are_taken(model):
    policy = PretrainedPolicy(model, steps=[0.0, 0.25, 1.0], recipe=SMALL)
    assert policy.suggest(quadratic_history(6)).shape == (1, 3)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"kinds": [0, 3]}, r"kinds\[1\] is 3; accepted: 0, 1 or 2"),
        ({"kinds": [0.0, 1]}, r"kinds\[0\] is 0\.0"),
        ({"kinds": "01"}, r"kinds is '01'; a list of 0, 1 or 2"),
        ({"kinds": 1}, r"kinds is 1; a list"),
        ({"names": ["a", 2]}, r"names\[1\] is 2; accepted: strings"),
        ({"names": "ab"}, r"names is 'ab'; a list of strings"),
        ({"steps": [0.1, -0.1]}, r"steps\[1\] is -0\.1; accepted: finite numbers of at least 0"),
        ({"steps": [float("nan"), 0.1]}, r"steps\[0\] is nan"),
        ({"steps": [0.1, float("inf")]}, r"steps\[1\] is inf"),
        ({"steps": ["a", 0.1]}, r"steps\[0\] is 'a'"),
        ({"steps": [np.array([0.1, 0.2]), 0.1]}, r"steps\[0\] is array"),
        ({"steps": [0.1]}, "steps has 1 entries for 2 dimensions"),
        ({"kinds": [0, 1, 2]}, "kinds has 3 entries for 2 dimensions"),
    ],
)
def test_columns_that_make_no_sense_are_named(model, columns, message):
    with pytest.raises(InputError, match=message):
        PretrainedPolicy(model, **columns).suggest(quadratic_history(5, dim=2))


@pytest.mark.parametrize("count", [0, -1, 1.5, True, "2", None])
def test_a_count_that_is_none_is_named(model, count):
    for policy in (PretrainedPolicy(model, recipe=SMALL), HistoryPolicy()):
        with pytest.raises(InputError, match="count is"):
            policy.suggest(quadratic_history(5), count)


def test_a_large_batch_is_topped_up_by_samples(model):
    """Beyond `joint` a batch is drawn by the diffusion model, and is as new and distinct as the rest."""
    policy = PretrainedPolicy(model, recipe={**vars(SMALL), "joint": 3})
    seen = quadratic_history(6, dim=2)
    x = policy.suggest(seen, 10)
    assert x.shape == (10, 2)
    assert len(np.unique(np.concatenate([x, seen.x]), axis=0)) == 16
    np.testing.assert_array_equal(x[:3], policy.suggest(seen, 3))
    space = Space({"a": Int(1, 3), "b": Int(1, 3)})
    known = History(space.snap(np.array([[0.1, 0.1], [0.5, 0.5]])), [0.0, 1.0])
    few = policy.suggest(known, 20, snap=space.snap)
    assert len(few) == len(np.unique(few, axis=0)) <= 7


def test_names_reach_the_model(model):
    named = PretrainedPolicy(model, names=["learning_rate", "max_depth", "what"], recipe=SMALL)
    plain = PretrainedPolicy(model, recipe=SMALL)
    roles = named.read(quadratic_history(5)).embedding.context.dimensions.roles
    assert (roles[0, :2] > 0).all()
    assert roles[0, 2] == 0
    query = torch.rand(4, 3)
    told, untold = (policy.read(quadratic_history(5)).log_improvement(query) for policy in (named, plain))
    assert not torch.allclose(told, untold)


@pytest.mark.parametrize("trials", [200, 1000])
def test_long_histories_are_bounded(model, trials):
    run = PretrainedPolicy(model, recipe=SMALL).read(quadratic_history(trials))
    assert run.embedding.context.x.shape[1] == 100


@pytest.mark.parametrize(
    ("columns", "experts", "weighed"),
    [
        ({}, 2, True),
        ({"names": ["learning_rate", "y"]}, 2, True),
        ({"names": ["learning_rate", "y"], "kinds": [0, 1]}, 2, True),
        ({"kinds": [0, 2]}, 2, False),
        ({"names": ["learning_rate", "y"], "kinds": [0, 2]}, 2, False),
        ({"names": ["learning_rate", "y"], "kinds": [0, 2], "recipe": {"rank_with": "evidence"}}, 2, True),
        ({"recipe": {"rank_with": "predictor"}}, 1, False),
        ({"recipe": {"rank_with": "gp"}}, 1, False),
        ({"recipe": {"rank_with": "both"}}, 2, False),
    ],
)
def test_what_ranks_follows_from_what_is_known_of_the_columns(model, monkeypatch, columns, experts, weighed):
    made = []

    class Recorded(Panel):
        def __init__(self, who, log_weights=None):
            super().__init__(who, log_weights)
            made.append((len(who), log_weights is not None))

    monkeypatch.setattr(pretrained_policy, "Panel", Recorded)
    monkeypatch.setattr(panel, "Panel", Recorded)
    PretrainedPolicy(model, **columns).suggest(quadratic_history(7, dim=2))
    assert made == [(experts, weighed)]


def test_a_first_suggestion_loads_neither_botorch_nor_torchs_compiler():
    """They take seconds, of which a new process would have nothing."""
    code = (
        "import sys, numpy as np\n"
        "from diffhpo import History\n"
        "from diffhpo.pretrained_policy import PretrainedPolicy\n"
        "PretrainedPolicy().suggest(History(np.eye(3), [0.0, 1.0, 2.0]), 2)\n"
        "assert not {'botorch', 'gpytorch', 'torch._dynamo'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
