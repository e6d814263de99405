# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from diffhpo.errors import ExhaustedWarning, InputError, InputWarning, SpaceError
from diffhpo.history_policy import HistoryPolicy
from diffhpo.optimizer import Optimizer
from diffhpo.policy import initial_design
from diffhpo.recipe import ELITE, Recipe
from diffhpo.space import Categorical, Float, Int, Space

MIXED = Space(
    {
        "lr": Float(1e-5, 1.0, log=True),
        "depth": Int(1, 9),
        "kind": Categorical(["a", "b", "c"]),
        "flag": Categorical([False, True]),
    }
)


class Sobol:
    """A policy that only continues the initial design; counts how often it was asked."""

    def __init__(self):
        self.calls = 0

    def suggest(self, history, count=1, *, snap=None):
        self.calls += 1
        points = initial_design(history.dim, count, start=1000 + len(history.seen), seed=0)
        return points if snap is None else snap(points)

    def choose(self, history, pool):
        return 0


def value(parameters):
    return -abs(np.log10(parameters["lr"]) + 2) - abs(parameters["depth"] - 4) + (parameters["kind"] == "b")


def quick(seed=0):
    recipe = Recipe(**{**vars(ELITE), "first_steps": 10, "warm_steps": 2, "candidates": 32})
    return HistoryPolicy(recipe, seed=seed)


def test_asked_configurations_are_valid_and_distinct():
    optimizer = Optimizer(MIXED, policy=quick())
    asked = []
    for _ in range(6):
        for suggestion in optimizer.ask(3):
            asked.append(suggestion)
            optimizer.tell(suggestion, value(suggestion.parameters))
    assert [s.id for s in asked] == list(range(18))
    assert len({tuple(s.parameters.items()) for s in asked}) == 18
    for suggestion in asked:
        assert MIXED.encode(suggestion.parameters).shape == (6,)
        assert type(suggestion.parameters["depth"]) is int


def test_same_calls_same_suggestions():
    def run():
        optimizer = Optimizer(MIXED, seed=4, policy=quick(4))
        out = []
        for _ in range(8):
            (suggestion,) = optimizer.ask()
            out.append(suggestion.parameters)
            optimizer.tell(suggestion, value(suggestion.parameters))
        return out

    assert run() == run()


def test_minimize_is_maximize_of_the_negative():
    up, down = Optimizer(MIXED, policy=quick()), Optimizer(MIXED, policy=quick(), direction="minimize")
    for _ in range(8):
        (a,), (b,) = up.ask(), down.ask()
        assert a.parameters == b.parameters
        up.tell(a, value(a.parameters))
        down.tell(b, -value(b.parameters))
    assert up.best[0] == down.best[0]
    assert up.best[1] == -down.best[1]


def test_pending_and_failed_trials_reach_the_policy():
    optimizer = Optimizer(MIXED, policy=Sobol(), initial=0)
    one, two, three = optimizer.ask(3)
    optimizer.tell(one, 1.0)
    optimizer.tell(two.id, failed=True)
    history = optimizer.history
    assert (len(history), len(history.failed), len(history.pending)) == (1, 1, 1)
    np.testing.assert_allclose(MIXED.encode(three.parameters), history.pending[0])


def test_values_from_elsewhere_are_taken():
    optimizer = Optimizer(MIXED, policy=Sobol())
    optimizer.tell({"lr": 0.1, "depth": 2, "kind": "c", "flag": True}, 5)
    assert optimizer.best[1] == 5.0
    with pytest.raises(SpaceError, match="'depth'"):
        optimizer.tell({"lr": 0.1, "depth": 99, "kind": "c", "flag": True}, 5)
    assert len(optimizer.history) == 1


def test_ask_numbers():
    optimizer = Optimizer(MIXED, policy=Sobol())
    assert optimizer.ask(0) == []
    for n in (-1, 1.5, True, "3"):
        with pytest.raises(InputError, match="n is"):
            optimizer.ask(n)
    assert len(optimizer.ask(200)) == 200


@pytest.mark.parametrize("policy", [Sobol, quick])
def test_a_finite_space_gives_each_configuration_once_then_says_so(policy):
    space = Space({"a": Int(1, 3), "b": Categorical("xyz")})
    optimizer = Optimizer(space, policy=policy())
    seen = []
    for n in (4, 4):
        for suggestion in optimizer.ask(n):
            seen.append(tuple(suggestion.parameters.values()))
            optimizer.tell(suggestion, suggestion.parameters["a"])
    with pytest.warns(ExhaustedWarning, match="5 configurations were asked for; the space has 1"):
        seen += [tuple(s.parameters.values()) for s in optimizer.ask(5)]
    assert len(set(seen)) == len(seen) == 9
    with pytest.warns(ExhaustedWarning):
        assert optimizer.ask(1) == []


def test_a_trial_has_one_value():
    optimizer = Optimizer(MIXED, policy=Sobol())
    (suggestion,) = optimizer.ask()
    optimizer.tell(suggestion, 1.0)
    with pytest.warns(InputWarning, match="told the same"):
        optimizer.tell(suggestion.id, 1.0)
    with pytest.raises(InputError, match=r"told before, as value 1\.0"):
        optimizer.tell(suggestion, 2.0)
    with pytest.raises(InputError, match="told before"):
        optimizer.tell(suggestion, failed=True)
    assert optimizer.history.y.tolist() == [1.0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"trial": 7, "value": 1.0}, "trial 7 is unknown"),
        ({"trial": "x", "value": 1.0}, "'x'"),
        ({"trial": 0, "value": float("nan")}, "failed=True"),
        ({"trial": 0, "value": "good"}, "'good'"),
        ({"trial": 0}, "give a value"),
        ({"trial": 0, "value": 1.0, "failed": True}, "give a value"),
    ],
)
def test_bad_tells_are_named_and_change_nothing(arguments, message):
    optimizer = Optimizer(MIXED, policy=Sobol())
    optimizer.ask()
    with pytest.raises(InputError, match=message):
        optimizer.tell(**arguments)
    assert len(optimizer.history) == 0
    optimizer.tell(0, 1.0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"space": {"a": Float(0, 1)}}, "space is dict"),
        ({"direction": "up"}, "direction is 'up'"),
        ({"seed": -1}, "seed"),
        ({"initial": -1}, "initial"),
    ],
)
def test_bad_settings_are_named(arguments, message):
    with pytest.raises(InputError, match=message):
        Optimizer(**{"space": MIXED, "policy": Sobol(), **arguments})


def test_an_infinite_value_is_clipped_when_read():
    optimizer = Optimizer(MIXED, policy=quick(), initial=3)
    for suggestion, told in zip(optimizer.ask(3), (1.0, 2.0, float("inf")), strict=True):
        optimizer.tell(suggestion, told)
    with pytest.warns(InputWarning, match="infinite"):
        assert len(optimizer.ask(2)) == 2
