# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from diffhpo.blockwise_policy import BlockwisePolicy
from diffhpo.errors import DimensionWarning, InputError
from diffhpo.history import History
from diffhpo.optimizer import Optimizer
from diffhpo.policy import Policy
from diffhpo.space import Categorical, Float, Int, Space

WIDE = Space(
    {
        **{f"x{k}": Float(0, 1) for k in range(30)},
        **{f"n{k}": Int(1, 5) for k in range(6)},
        **{f"c{k}": Categorical("abcd") for k in range(3)},
    }
)


def history(count, dim=48, seed=0):
    x = np.random.default_rng(seed).random((count, dim))
    return History(x, -((x - 0.7) ** 2).sum(1))


@pytest.mark.parametrize("count", [0, 1, 12])
@pytest.mark.parametrize("wanted", [1, 20])
def test_suggestions_are_new_distinct_and_inside(count, wanted):
    policy = BlockwisePolicy(seed=0)
    assert isinstance(policy, Policy)
    seen = history(count)
    x = policy.suggest(seen, wanted)
    assert x.shape == (wanted, 48)
    assert ((x >= 0) & (x <= 1)).all()
    assert len(np.unique(np.concatenate([x, seen.x]), axis=0)) == wanted + count


def test_a_suggestion_changes_one_block_of_the_best_trial():
    seen = history(12)
    x = BlockwisePolicy(seed=1, block=10).suggest(seen)
    changed = x[0] != seen.x[seen.y.argmax()]
    assert 1 <= changed.sum() <= 10
    other = BlockwisePolicy(seed=2, block=10).suggest(seen)[0] != seen.x[seen.y.argmax()]
    assert (changed != other).any()
    np.testing.assert_array_equal(x, BlockwisePolicy(seed=1, block=10).suggest(seen))


def test_columns_of_one_categorical_parameter_stay_together():
    policy = BlockwisePolicy(seed=0, names=WIDE.column_names, kinds=WIDE.column_kinds, block=8)
    for seed in range(40):
        columns = policy._columns(WIDE.dim, np.random.default_rng(seed))
        assert 1 <= len(columns) <= 8
        names = [WIDE.column_names[c] for c in columns]
        for name in set(names):
            assert names.count(name) == WIDE.parameters[name].width


def test_an_optimizer_of_a_wide_space_says_so_and_searches_it():
    def value(parameters):
        return -sum((parameters[f"x{k}"] - 0.3) ** 2 for k in range(30)) + (parameters["c0"] == "b")

    with pytest.warns(DimensionWarning, match="48 columns and the pretrained model takes 32"):
        optimizer = Optimizer(WIDE, seed=0)
    for _ in range(30):
        (suggestion,) = optimizer.ask()
        optimizer.tell(suggestion, value(suggestion.parameters))
    at_random = [value(configuration) for configuration in WIDE.sample(30, seed=1)]
    assert optimizer.best[1] > max(at_random)
    assert len({tuple(s.parameters.values()) for s in optimizer.ask(16)}) == 16


def test_the_pool_of_the_discrete_protocol_is_chosen_from():
    pool = np.random.default_rng(5).random((40, 48))
    assert 0 <= BlockwisePolicy(seed=0).choose(history(12), pool) < 40


@pytest.mark.parametrize("block", [0, 33])
def test_bad_blocks_are_named(block):
    with pytest.raises(InputError, match=f"block is {block}"):
        BlockwisePolicy(block=block)


def test_a_count_of_0_is_named():
    with pytest.raises(InputError, match="count is 0"):
        BlockwisePolicy().suggest(history(3), 0)
