# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from diffhpo import Categorical, Condition, Float, HistoryPolicy, Optimizer, Space, Trial
from diffhpo.errors import InputError
from diffhpo.pictures import PicturedRun
from diffhpo.pretrained_policy import PretrainedPolicy


def test_the_incumbent_is_the_best_value_that_counts_so_far(run):
    best = np.inf
    for k, (value, state) in enumerate(zip(run.values, run.states, strict=True)):
        if state == "told":
            best = min(best, value)
        assert run.incumbent[k] == best
    assert run.values[run.best] == best


def test_before_the_first_value_there_is_no_incumbent(space):
    configuration = space.decode(np.full(space.dim, 0.5))
    run = PicturedRun(space, [configuration] * 3, [np.nan, 2.0, 1.0], ["failed", "told", "told"])
    assert np.isnan(run.incumbent[0])
    assert run.incumbent[1:].tolist() == [2.0, 2.0]
    assert PicturedRun(space, [], [], []).best is None


def test_an_optimizer_is_read_as_it_was_told(optimizer):
    run = PicturedRun.of(optimizer)
    assert run.states == ["told"] * 5 + ["failed"] + ["told"] * 7 + ["pending"]
    assert (run.configurations[run.best], run.values[run.best]) == optimizer.best
    for name in ("x", "y", "failed", "pending"):
        ours, theirs = getattr(run.history, name), getattr(optimizer.history, name)
        assert np.allclose(ours, theirs, rtol=0, atol=1e-12)
    assert PicturedRun.of(run) is run


def test_the_model_of_the_optimizers_own_policy_is_asked(space):
    policy = PretrainedPolicy(seed=0, kinds=space.column_kinds)
    assert PicturedRun.of(Optimizer(space, policy=policy)).reader is policy
    assert PicturedRun.of(Optimizer(space, policy=HistoryPolicy())).reader.names == space.column_names


def test_a_space_with_conditions_is_read_whole():
    space = Space(
        {"kind": Categorical(["a", "b"]), "x": Float(0, 1)}, conditions={"x": Condition("kind", ["b"])}
    )
    trials = [Trial({"kind": "a"}, 1.0), Trial({"kind": "b", "x": 0.3}, 2.0)]
    run = PicturedRun.from_trials(space, trials)
    assert run.modelled() is run
    assert run.history.x.tolist() == [[0.0, 0.5], [1.0, 0.3]]


def test_the_history_is_signed_and_leaves_pruned_trials_out(run):
    told = [k for k, state in enumerate(run.states) if state == "told"]
    assert np.array_equal(run.history.y, -run.values[told])
    assert np.array_equal(run.history.x, [run.space.encode(run.configurations[k]) for k in told])
    assert (len(run.history.failed), len(run.history.pending)) == (1, 1)


def test_the_model_reads_the_parameters_that_all_have():
    space = Space({"a": Float(0, 1), "b": Float(0, 1)})
    configurations = [{"a": 0.1, "b": 0.2}, {"a": 0.3}, {"b": 0.4}]
    run = PicturedRun(space, configurations, [1.0, 2.0, np.nan], ["told", "told", "failed"])
    modelled = run.modelled()
    assert list(modelled.space.parameters) == ["a"]
    assert modelled.history.x.tolist() == [[0.1], [0.3]]
    assert len(modelled.history.failed) == 0
    with pytest.raises(InputError, match="no parameter is in every trial"):
        PicturedRun(space, [{"a": 0.1}, {"b": 0.2}], [1.0, 2.0], ["told", "told"]).modelled()
    with pytest.raises(InputError, match="no trial has a value"):
        PicturedRun(space, [{"a": 0.1}], [np.nan], ["failed"]).modelled()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"values": [1.0]}, "1 values and 2 states"),
        ({"states": ["told", "lost"]}, "accepted: told, failed"),
        ({"direction": "up"}, "direction is 'up'"),
        ({"values": [1.0, np.nan]}, "its state is 'failed'"),
    ],
)
def test_bad_runs_are_refused(changed, message):
    settings = {
        "space": Space({"a": Float(0, 1)}),
        "configurations": [{"a": 0.1}, {"a": 0.2}],
        "values": [1.0, 2.0],
        "states": ["told", "told"],
    }
    with pytest.raises(InputError, match=message):
        PicturedRun(**{**settings, **changed})
    with pytest.raises(InputError, match="an Optimizer or a PicturedRun"):
        PicturedRun.of([1, 2])
