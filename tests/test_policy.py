# SPDX-License-Identifier: Apache-2.0
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import qmc
from tests.quadratic_history import quadratic_history

from diffhpo.errors import InputError
from diffhpo.history import History
from diffhpo.history_policy import HistoryPolicy, training_stages
from diffhpo.policy import Policy, check_seed, derived_seed, initial_design, new_rows
from diffhpo.recipe import BRIEF, ELITE, Recipe

#: As the two recipes, with little training, for tests that look at behaviour and not at quality.
QUICK = {
    "brief": Recipe(**{**vars(BRIEF), "first_steps": 20, "warm_steps": 3, "reverse_steps": 50}),
    "elite": Recipe(**{**vars(ELITE), "first_steps": 20, "warm_steps": 3, "candidates": 32}),
}


@pytest.fixture(params=["brief", "elite"])
def recipe(request):
    return QUICK[request.param]


@pytest.mark.parametrize("count", [0, 1, 2, 3, 5, 9])
@pytest.mark.parametrize("wanted", [1, 4])
def test_suggestions_are_new_distinct_and_inside(recipe, count, wanted):
    policy = HistoryPolicy(recipe)
    assert isinstance(policy, Policy)
    seen = quadratic_history(count)
    x = policy.suggest(seen, wanted)
    assert x.shape == (wanted, 3)
    assert ((x >= 0) & (x <= 1)).all()
    assert len(np.unique(np.concatenate([x, seen.x]), axis=0)) == wanted + count


def test_a_suggestion_is_a_function_of_history_and_seed(recipe):
    alive = HistoryPolicy(recipe, seed=3)
    whole = quadratic_history(25)
    for count in (5, 6, 9, 20, 22):
        part = History(whole.x[:count], whole.y[:count])
        grown = alive.suggest(part)
        np.testing.assert_array_equal(grown, HistoryPolicy(recipe, seed=3).suggest(part))
        np.testing.assert_array_equal(grown, alive.suggest(part))
    np.testing.assert_array_equal(
        alive.suggest(quadratic_history(9, seed=1)),
        HistoryPolicy(recipe, seed=3).suggest(quadratic_history(9, seed=1)),
    )
    assert not np.array_equal(alive.suggest(whole), HistoryPolicy(recipe, seed=4).suggest(whole))


def test_a_suggestion_is_the_same_in_another_process_with_more_threads():
    ours = HistoryPolicy(seed=5).suggest(quadratic_history(6))
    script = """
        import numpy as np, torch
        torch.set_num_threads(2)
        from diffhpo import History, HistoryPolicy
        x = np.random.default_rng(0).random((6, 3))
        print(HistoryPolicy(seed=5).suggest(History(x, -((x - 0.7) ** 2).sum(1))).tobytes().hex())
    """
    out = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, check=True
    )
    assert out.stdout.strip() == ours.tobytes().hex()


def test_global_random_states_are_left_alone(recipe):
    before = torch.random.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    HistoryPolicy(recipe).suggest(quadratic_history(6))
    assert torch.equal(before[0], torch.random.get_rng_state())
    assert (before[1] == np.random.get_state()[1]).all()  # noqa: NPY002


def test_an_interrupted_call_changes_nothing(monkeypatch):
    policy = HistoryPolicy(QUICK["elite"])
    policy.suggest(quadratic_history(5))
    fit = "diffhpo.model.train.Trainer.fit"

    def interrupted(self, sampler, steps):
        self._take(sampler, 2)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(fit, interrupted)
        with pytest.raises(KeyboardInterrupt):
            policy.suggest(quadratic_history(7))
    np.testing.assert_array_equal(
        policy.suggest(quadratic_history(7)), HistoryPolicy(QUICK["elite"]).suggest(quadratic_history(7))
    )


def test_the_flag_improves_samples():
    """With I = 1 the model's samples are better than uniform ones, before any ranking."""
    seen = quadratic_history(40, dim=2)
    samples = HistoryPolicy(seed=0).sample(seen, 256)
    ours = -((samples - 0.7) ** 2).sum(1)
    uniform = -((np.random.default_rng(1).random((4096, 2)) - 0.7) ** 2).sum(1)
    assert np.median(ours) > np.quantile(uniform, 0.75)


def test_elite_finds_the_optimum_of_a_bowl():
    policy = HistoryPolicy(seed=0)
    x = np.random.default_rng(0).random((5, 3))
    for _ in range(12):
        x = np.concatenate([x, policy.suggest(History(x, -((x - 0.7) ** 2).sum(1)))])
    random = np.random.default_rng(1).random((200, 3))
    assert ((x - 0.7) ** 2).sum(1).min() < ((random - 0.7) ** 2).sum(1).min()


def test_choose_takes_one_of_the_pool(recipe):
    pool = np.random.default_rng(2).random((50, 3))
    policy = HistoryPolicy(recipe)
    for count in (0, 2, 8):
        chosen = policy.choose(quadratic_history(count), pool)
        assert isinstance(chosen, int)
        assert 0 <= chosen < 50
    assert policy.choose(quadratic_history(8), pool[:1]) == 0
    with pytest.raises(InputError, match="X_pen"):
        policy.choose(quadratic_history(8), np.empty((0, 3)))


def test_pending_and_failed_configurations_are_not_proposed_again():
    policy = HistoryPolicy(QUICK["elite"])
    first = policy.suggest(quadratic_history(8), 3)
    pending = History(quadratic_history(8).x, quadratic_history(8).y, pending=first[:2], failed=first[2:])
    second = policy.suggest(pending, 3)
    assert not {tuple(row) for row in first} & {tuple(row) for row in second}


def test_snapping_to_few_points_gives_only_new_ones(recipe):
    def snap(x):
        return np.round(x)

    x = HistoryPolicy(recipe).suggest(quadratic_history(6, dim=2), 16, snap=snap)
    assert len(np.unique(x, axis=0)) == len(x) <= 4
    assert set(x.ravel()) <= {0.0, 1.0}


@pytest.mark.parametrize("y", [[1.0] * 6, [0, 0, 0, 0, 1e300, -1e300], [1e-300 * k for k in range(6)]])
def test_constant_and_extreme_values_give_suggestions(recipe, y):
    x = np.random.default_rng(0).random((6, 2))
    assert np.isfinite(HistoryPolicy(recipe).suggest(History(x, y))).all()


def test_stages_are_few_and_grow_with_the_history():
    for count in [*range(1, 200), 1000, 10_000]:
        stages = training_stages(count)
        assert stages == sorted(set(stages))
        assert stages[-1] <= count
        assert len(stages) <= 61
        assert count - stages[-1] < max(1, stages[0] // 16)


def test_the_first_design_continues_where_it_stopped():
    whole = initial_design(3, 8, start=0, seed=1)
    np.testing.assert_array_equal(whole[3:], initial_design(3, 5, start=3, seed=1))
    assert not np.array_equal(whole, initial_design(3, 8, start=0, seed=2))


@pytest.mark.filterwarnings("ignore:The balance properties of Sobol")  # SciPy's own, of its direct use
@pytest.mark.parametrize("count", [0, 1, 2, 7])
@pytest.mark.parametrize("start", [0, 1, 5])
def test_the_first_design_is_scipys_sobol_sequence(start, count):
    design = initial_design(4, count, start=start, seed=9)
    whole = qmc.Sobol(4, rng=np.random.default_rng([9, 4])).random(16)
    assert design.shape == (count, 4)
    np.testing.assert_array_equal(design, whole[start : start + count])


def test_derived_seeds_fill_64_bits_and_differ():
    seeds = [derived_seed(seed, a, b) for seed in range(4) for a in range(4) for b in range(4)]
    assert len(set(seeds)) == 64
    assert 2**63 < max(seeds) < 2**64
    assert len({seed % 2**32 for seed in seeds}) == 64
    assert derived_seed(3) != derived_seed(3, 0, 1)


@pytest.mark.parametrize("seed", [0, 1, np.int64(2), 2**70])
def test_whole_numbers_from_0_are_seeds(seed):
    assert check_seed(seed) == seed
    assert type(check_seed(seed)) is int


def test_a_policy_is_told_by_its_methods():
    assert isinstance(HistoryPolicy(), Policy)
    assert not isinstance(object(), Policy)


@pytest.mark.parametrize("seed", [-1, 1.5, True, "a"])
def test_bad_seeds_are_named(seed):
    with pytest.raises(InputError, match="seed"):
        HistoryPolicy(seed=seed)


def test_an_unknown_recipe_is_named():
    with pytest.raises(InputError, match=r"'best'.*'brief', 'elite'"):
        HistoryPolicy("best")


@given(seed=st.integers(0, 2**32), n=st.integers(0, 30), m=st.integers(0, 30))
def test_new_rows_agree_with_comparing_all_pairs(seed, n, m):
    rng = np.random.default_rng(seed)
    # The signs of zeros differ within each, and do not tell two rows apart.
    rows, seen = (rng.integers(-1, 2, (k, 2)) * rng.choice([-0.5, 0.5], (k, 2)) for k in (n, m))
    kept = []
    for row in rows:
        if not any((row == other).all() for other in [*seen, *kept]):
            kept.append(row)
    np.testing.assert_array_equal(new_rows(rows, seen), np.array(kept).reshape(-1, 2))
