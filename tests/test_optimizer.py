# SPDX-License-Identifier: Apache-2.0
import contextlib
import copy
import inspect
import os
import threading
import warnings
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures import wait as wait_for_all
from multiprocessing import get_context
from operator import itemgetter

import numpy as np
import pytest

from diffhpo.errors import (
    AllFailedWarning,
    CheckpointError,
    DimensionWarning,
    ExhaustedWarning,
    InputError,
    InputWarning,
    SpaceError,
)
from diffhpo.history_policy import HistoryPolicy
from diffhpo.optimizer import Optimizer
from diffhpo.policy import initial_design
from diffhpo.recipe import ELITE, Recipe
from diffhpo.space import Categorical, Condition, Float, Int, Space
from diffhpo.trial import Trial

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


def test_a_list_of_trials_is_told_whole_or_not_at_all():
    optimizer = Optimizer(MIXED, policy=Sobol(), direction="minimize")
    one, two, three = MIXED.sample(3, seed=0)
    optimizer.tell([Trial(one, 0.5), Trial(two, failed=True), Trial(three)])
    history = optimizer.history
    assert (history.y.tolist(), len(history.failed), len(history.pending)) == ([-0.5], 1, 1)
    assert [trial.value for trial in optimizer.trials] == [0.5, None, None]
    assert optimizer.trials[1].parameters == pytest.approx(two)
    with pytest.raises(SpaceError, match="unknown"):
        optimizer.tell([Trial(one, 0.1), Trial({"x": 1}, 0.5)])
    with pytest.raises(InputError, match="Trials are needed"):
        optimizer.tell([one])
    with pytest.raises(InputError, match="leave value"):
        optimizer.tell([Trial(one)], 1.0)
    assert len(optimizer.trials) == 3


def test_trials_have_checked_values():
    with pytest.raises(InputError, match="value is nan"):
        Trial({}, float("nan"))
    with pytest.raises(InputError, match="failed trial has no value"):
        Trial({}, 1.0, failed=True)
    assert Trial({}, np.float32(0.5)).value == 0.5


def test_enqueued_configurations_come_first_and_once():
    optimizer = Optimizer(MIXED, policy=Sobol())
    one, two, three = MIXED.sample(3, seed=0)
    optimizer.tell(one, 1.0)
    optimizer.enqueue([one, two, two, three])
    asked = optimizer.ask(4)
    assert asked[0].parameters == pytest.approx(two)
    assert asked[1].parameters == pytest.approx(three)
    assert len({tuple(s.parameters.items()) for s in asked}) == 4
    with pytest.raises(SpaceError):
        optimizer.enqueue([one, {"x": 2}])
    assert len(optimizer.ask(1)) == 1


def test_run_goes_on_where_an_exception_ended_it():
    optimizer = Optimizer(MIXED, seed=2, policy=quick(2))
    calls = []

    def fails_once(parameters):
        calls.append(parameters)
        if len(calls) == 4:
            raise ZeroDivisionError
        return value(parameters)

    with pytest.raises(ZeroDivisionError):
        optimizer.run(fails_once, 8, progress=False)
    assert sum(trial.value is not None for trial in optimizer.trials) == 3
    optimizer.run(fails_once, 5, progress=False)
    assert calls[3] == calls[4]  # the evaluation that was interrupted is made again
    undisturbed = Optimizer(MIXED, seed=2, policy=quick(2))
    undisturbed.run(value, 8, progress=False)
    assert undisturbed.trials == optimizer.trials


@pytest.mark.parametrize("workers", [1, 3])
def test_failures_are_told_and_not_raised(workers):
    optimizer = Optimizer(MIXED, policy=Sobol())

    def sometimes(parameters):
        if parameters["flag"]:
            raise ValueError
        return float("nan") if parameters["kind"] == "a" else 1.0

    optimizer.run(sometimes, 20, workers=workers, catch=(ValueError,), progress=False)
    assert len(optimizer.trials) == 20
    for trial in optimizer.trials:
        assert trial.failed == (trial.parameters["flag"] or trial.parameters["kind"] == "a")


@pytest.mark.fault(32)
def test_threads_evaluate_at_once():
    barrier = threading.Barrier(3, timeout=20)
    optimizer = Optimizer(MIXED, policy=Sobol())

    def together(parameters):
        barrier.wait()
        return 1.0

    optimizer.run(together, 6, workers=3, progress=False)
    assert len(optimizer.trials) == 6


def test_processes_evaluate_on_an_executor_of_the_users():
    optimizer = Optimizer(MIXED, policy=Sobol())
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        optimizer.run(itemgetter("depth"), 5, workers=2, executor=pool, progress=False)
        assert pool.submit(abs, -1).result() == 1  # it was not shut down
    assert [trial.value for trial in optimizer.trials] == [t.parameters["depth"] for t in optimizer.trials]


def test_values_that_come_with_a_failure_are_kept():
    barrier = threading.Barrier(2, timeout=20)
    optimizer = Optimizer(MIXED, policy=Sobol())

    class Together(ThreadPoolExecutor):
        """Hands both evaluations over when both are done."""

        def submit(self, function, parameters):
            future = super().submit(function, parameters)
            if len(optimizer.unfinished) == 2:
                wait_for_all([first[0], future])
            first.append(future)
            return future

    first = []

    def one_fails(parameters):
        if barrier.wait() == 0:
            raise ZeroDivisionError
        return 1.0

    with Together(2) as pool, pytest.raises(ZeroDivisionError):
        optimizer.run(one_fails, 4, workers=2, executor=pool, progress=False)
    assert [trial.value for trial in optimizer.trials].count(1.0) == 1
    assert len(optimizer.unfinished) == 1
    optimizer.run(value, 3, progress=False)
    assert optimizer.unfinished == []
    assert len(optimizer.trials) == 4


@pytest.mark.parametrize("returned", [None, (1.0, 2.0), "0.5", [1.0, 2.0], True])
@pytest.mark.parametrize("workers", [1, 2])
def test_an_objective_must_return_a_number(returned, workers):
    optimizer = Optimizer(MIXED, policy=Sobol())
    with pytest.raises(InputError, match="the objective returned"):
        optimizer.run(lambda p: returned, 3, workers=workers, progress=False)
    optimizer.run(value, 3, progress=False)  # the optimizer stays usable


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"n_trials": 0}, "n_trials is 0"),
        ({"workers": 0}, "workers is 0"),
        ({"objective": 3}, "objective is 3"),
    ],
)
def test_bad_run_arguments_are_named(more, message):
    arguments = {"objective": value, "n_trials": 2, "progress": False, **more}
    with pytest.raises(InputError, match=message):
        Optimizer(MIXED, policy=Sobol()).run(**arguments)


def test_an_exhausted_space_ends_a_run():
    optimizer = Optimizer(Space({"a": Int(1, 3)}), policy=Sobol())
    with pytest.warns(ExhaustedWarning):
        optimizer.run(lambda p: p["a"], 10, progress=False)
    assert len(optimizer.trials) == 3


def test_minimize_continues_a_file(tmp_path):
    path = tmp_path / "run.safetensors"
    calls = []

    def loss(parameters):
        calls.append(parameters)
        if len(calls) == 6:
            raise KeyboardInterrupt
        return -value(parameters)

    with pytest.raises(KeyboardInterrupt):
        Optimizer.minimize(loss, MIXED, 9, path=path, progress=False)
    found = Optimizer.minimize(loss, MIXED, 9, path=path, progress=False)
    assert len(calls) == 10
    assert len(found.trials) == 9
    whole = Optimizer.minimize(lambda p: -value(p), MIXED, 9, progress=False)
    assert found.trials == whole.trials
    assert found.best == whole.best
    with pytest.raises(CheckpointError, match="seed 0 and direction 'minimize'"):
        Optimizer.maximize(value, MIXED, 9, path=path, progress=False)
    with pytest.raises(CheckpointError, match="another space"):
        Optimizer.minimize(value, Space({"a": Int(1, 3)}), 9, path=path, progress=False)


@pytest.mark.parametrize(("wanted", "more"), [(3, 0), (4, 0), (5, 1), (7, 3)])
def test_minimize_evaluates_what_a_file_lacks_and_no_more(wanted, more, tmp_path):
    path, evaluated = tmp_path / "run.safetensors", []
    Optimizer.minimize(lambda p: -value(p), MIXED, 4, path=path, progress=False)
    found = Optimizer.minimize(
        lambda p: evaluated.append(p) or -value(p), MIXED, wanted, path=path, progress=False
    )
    assert (len(evaluated), len(found.trials)) == (more, 4 + more)


def test_defaults_are_those_that_the_pages_tell():
    """50 trials, one after the other, of seed 0, with a bar; five of them from the initial design."""
    for call in (Optimizer.minimize, Optimizer.maximize):
        defaults = {name: one.default for name, one in inspect.signature(call).parameters.items()}
        assert [defaults[name] for name in ("n_trials", "seed", "workers", "catch")] == [50, 0, 1, ()]
        assert defaults["progress"] is True
    defaults = {name: one.default for name, one in inspect.signature(Optimizer.run).parameters.items()}
    assert (defaults["workers"], defaults["progress"]) == (1, True)
    assert Optimizer(MIXED, policy=Sobol()).seed == 0
    assert Optimizer(MIXED, policy=Sobol()).initial == 5


def test_a_best_value_of_zero_is_zero():
    optimizer = Optimizer(MIXED, policy=Sobol())
    for number, told in enumerate((-1.0, 0.0, -2.0)):
        optimizer.tell(optimizer.ask()[0], told)
        assert optimizer.best[1] == max((-1.0, 0.0, -2.0)[: number + 1])


def test_ids_that_were_not_asked_for_are_told_with_those_that_were():
    optimizer = Optimizer(MIXED, policy=Sobol())
    with pytest.raises(InputError, match="trial 0 is unknown; none was asked for"):
        optimizer.tell(0, 1.0)
    optimizer.ask(3)
    for number in (3, -1):
        with pytest.raises(InputError, match=f"trial {number} is unknown; ids 0 to 2 were asked for"):
            optimizer.tell(number, 1.0)


def test_a_warning_names_the_line_of_the_caller():
    """And so comes once for each such line, not once for all of them."""
    optimizer = Optimizer(Space({"a": Int(1, 8)}), policy=Sobol(), initial=2)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for suggestion in optimizer.ask(5):
            optimizer.tell(suggestion, failed=True)
        optimizer.tell(0, failed=True)
        optimizer.ask()
        optimizer.ask(5)
    assert [one.category for one in caught] == [
        InputWarning,
        AllFailedWarning,
        AllFailedWarning,
        ExhaustedWarning,
    ]
    assert {one.filename for one in caught} == {__file__}


WAITING = {
    "ask": lambda one: one.ask(),
    "tell": lambda one: one.tell(0, 1.0),
    "enqueue": lambda one: one.enqueue([]),
    "save": lambda one: one.save(os.devnull),
    "trials": lambda one: one.trials,
    "history": lambda one: one.history,
    "best": lambda one: one.best,
    "copy": copy.copy,
}


@pytest.mark.parametrize("name", WAITING)
def test_a_call_waits_for_that_of_another_thread(name):
    """A policy that is asked in one thread while another reads or tells."""
    entered, leave, done = threading.Event(), threading.Event(), threading.Event()

    class Slow(Sobol):
        def suggest(self, history, count=1, *, snap=None):
            entered.set()
            leave.wait(20)
            return super().suggest(history, count, snap=snap)

    optimizer = Optimizer(MIXED, policy=Slow(), initial=0)
    optimizer.tell(MIXED.sample(1)[0], 0.5)

    def call():
        with contextlib.suppress(CheckpointError, InputError):
            WAITING[name](optimizer)
        done.set()

    asking = threading.Thread(target=optimizer.ask)
    asking.start()
    assert entered.wait(20)
    calling = threading.Thread(target=call)
    calling.start()
    try:
        assert not done.wait(0.2)
    finally:
        leave.set()
    assert done.wait(20)
    asking.join(20)
    calling.join(20)


def test_methods_keep_their_names_and_pages():
    for name in ("ask", "tell", "enqueue", "save"):
        method = getattr(Optimizer, name)
        assert method.__name__ == name
        assert method.__doc__


def test_save_and_load_go_on_with_the_same_bits(tmp_path):
    path = tmp_path / "run.safetensors"
    optimizer = Optimizer(MIXED, seed=3, initial=2)
    for suggestion in optimizer.ask(4):
        optimizer.tell(suggestion, value(suggestion.parameters))
    optimizer.tell(MIXED.sample(1, seed=5)[0], float("inf"))
    with pytest.warns(InputWarning, match="infinite"):
        asked = optimizer.ask(2)
    optimizer.tell(asked[0], failed=True)
    optimizer.enqueue(MIXED.sample(1, seed=9))
    optimizer.save(path)
    again = Optimizer.load(path)
    assert again.trials == optimizer.trials
    with pytest.warns(InputWarning, match="infinite"):
        assert again.ask(3) == optimizer.ask(3)


def test_what_a_file_lacks_must_be_given(tmp_path):
    path = tmp_path / "run.safetensors"
    space = Space({"a": Int(1, 9)}, forbidden=lambda c: c["a"] == 3)
    Optimizer(space, policy=Sobol()).save(path)
    with pytest.raises(CheckpointError, match=r"load\(path, space"):
        Optimizer.load(path)
    with pytest.raises(CheckpointError, match=r"load\(path, policy"):
        Optimizer.load(path, space=space)
    with pytest.raises(CheckpointError, match="another space"):
        Optimizer.load(path, space=MIXED, policy=Sobol())
    assert Optimizer.load(path, space=space, policy=Sobol()).space is space


def test_damaged_files_are_named(tmp_path):
    path = tmp_path / "run.safetensors"
    optimizer = Optimizer(MIXED, policy=Sobol())
    optimizer.ask(3)
    optimizer.save(path)
    whole = path.read_bytes()
    for cut in (0, 7, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:cut])
        with pytest.raises(CheckpointError):
            Optimizer.load(path, policy=Sobol())
    with pytest.raises(CheckpointError, match="does not exist"):
        Optimizer.load(tmp_path / "none")
    with pytest.raises(CheckpointError, match="could not be written"):
        optimizer.save(tmp_path / "none" / "run")


CONDITIONAL = Space(
    {"kind": Categorical(["linear", "tree"]), "depth": Int(1, 8), "C": Float(1e-3, 1e3, log=True)},
    conditions={"depth": Condition("kind", ["tree"]), "C": Condition("kind", ["linear"])},
)


def test_conditional_spaces_are_searched():
    def score(p):
        return p["depth"] / 8 if p["kind"] == "tree" else -abs(np.log10(p["C"]))

    optimizer = Optimizer.maximize(score, CONDITIONAL, 16, seed=1, progress=False)
    assert optimizer.best == ({"kind": "tree", "depth": 8}, 1.0)
    asked = [tuple(trial.parameters.items()) for trial in optimizer.trials]
    assert len(set(asked)) == 16


def test_forbidden_configurations_are_never_asked():
    space = Space({"a": Int(1, 6), "b": Int(1, 6)}, forbidden=lambda c: c["a"] * c["b"] > 12)
    optimizer = Optimizer.maximize(lambda p: p["a"] * p["b"], space, 12, progress=False)
    assert optimizer.best[1] == 12
    with pytest.warns(ExhaustedWarning):
        rest = optimizer.ask(40)
    assert len(rest) + 12 == sum(a * b <= 12 for a in range(1, 7) for b in range(1, 7))


WIDE = Space(
    {
        **{f"x{k}": Float(0, 1) for k in range(30)},
        **{f"n{k}": Int(1, 5) for k in range(6)},
        **{f"c{k}": Categorical("abcd") for k in range(3)},
    }
)


def test_a_space_of_more_columns_than_the_pretrained_model_takes_says_so_and_is_searched():
    def value(parameters):
        return -sum((parameters[f"x{k}"] - 0.3) ** 2 for k in range(30)) + (parameters["c0"] == "b")

    with pytest.warns(DimensionWarning, match="48 columns and the pretrained model takes 32"):
        optimizer = Optimizer(WIDE, seed=0)
    optimizer.run(value, 20, progress=False)
    at_random = [value(configuration) for configuration in WIDE.sample(20, seed=1)]
    assert optimizer.best[1] > max(at_random)
    assert len({tuple(s.parameters.values()) for s in optimizer.ask(16)}) == 16
