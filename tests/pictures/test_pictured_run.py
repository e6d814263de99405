# SPDX-License-Identifier: Apache-2.0
from types import SimpleNamespace

import numpy as np
import pytest

from diffhpo import Float, Space
from diffhpo.errors import InputError
from diffhpo.pictures import PicturedRun


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
    assert run.states == ["told"] * 12 + ["failed", "pending"]
    assert (run.configurations[run.best], run.values[run.best]) == optimizer.best
    assert np.allclose(run.history.x, optimizer.history.x, rtol=0, atol=1e-12)
    assert np.array_equal(run.history.y, optimizer.history.y)
    assert np.allclose(run.history.failed, optimizer.history.failed, rtol=0, atol=1e-12)
    assert np.allclose(run.history.pending, optimizer.history.pending, rtol=0, atol=1e-12)
    assert PicturedRun.of(run) is run


def test_trials_of_any_kind_are_read(space):
    configuration = space.decode(np.full(space.dim, 0.5))
    trials = [
        SimpleNamespace(parameters=configuration, value=1.0, failed=False),
        SimpleNamespace(parameters=configuration, value=None, failed=True),
        SimpleNamespace(parameters=configuration, value=None, failed=False),
    ]
    assert PicturedRun.from_trials(space, trials).states == ["told", "failed", "pending"]


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
