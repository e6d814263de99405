# SPDX-License-Identifier: Apache-2.0
"""An optimizer in careless hands: the result is right or the error has a name, and no trial is lost."""

import copy
import datetime
import os
import pickle
import threading
from concurrent.futures import CancelledError, Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from decimal import Decimal
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from diffhpo import Categorical, Float, Int, Optimizer, Space, Suggestion, Trial
from diffhpo.errors import CheckpointError, InputError
from diffhpo.policy import initial_design

SPACE = Space({"lr": Float(1e-4, 1.0, log=True), "depth": Int(1, 9), "kind": Categorical("abc")})


class Sobol:
    """The next points of the initial design."""

    def suggest(self, history, count=1, *, snap=None):
        points = initial_design(history.dim, count, start=len(history.seen), seed=0)
        return points if snap is None else snap(points)

    def choose(self, history, pool):
        return 0


def optimizer(**settings):
    return Optimizer(SPACE, policy=Sobol(), **settings)


def value(parameters):
    return parameters["lr"]


class Odd:
    """Fails in a way of its own when it is made a number."""

    def __float__(self):
        raise RuntimeError("odd")


NO_NUMBERS = [
    True,
    np.True_,
    b"1",
    np.array("1"),
    np.array(["0.5"]),
    np.array("1", dtype=object),
    np.datetime64("2020-01-01", "ns"),
    np.timedelta64(5, "ns"),
    np.array([5], dtype="m8[ns]"),
    datetime.timedelta(1),
    np.void(b"1"),
    np.ma.masked,
    np.ma.array(3.0, mask=True),
    10**400,
    1j,
    Odd(),
    torch.tensor([1.0, 2.0]),
    torch.tensor(True),
    torch.tensor(1j),
]


@pytest.mark.parametrize("told", NO_NUMBERS, ids=lambda told: type(told).__name__)
def test_what_is_no_number_is_no_value(told):
    one = optimizer()
    (asked,) = one.ask()
    with pytest.raises(InputError, match="value is"):
        one.tell(asked, told)
    with pytest.raises(InputError, match="value is"):
        Trial({}, told)
    with pytest.raises(InputError, match="the objective returned"):
        one.run(lambda p: told, 1, catch=(Exception,), progress=False)
    assert [trial.pending for trial in one.trials] == [True, True]
    one.tell(asked, 1.0)


@pytest.mark.parametrize(
    "told",
    [
        torch.tensor(0.5, requires_grad=True),
        torch.tensor([0.5], dtype=torch.bfloat16),
        Decimal("0.5"),
        np.float16(0.5),
        [[0.5]],
    ],
)
def test_numbers_of_any_type_are_values(told):
    one = optimizer()
    one.run(lambda p: told, 1, progress=False)
    one.tell(one.ask()[0], told)
    assert [trial.value for trial in one.trials] == [0.5, 0.5]


@pytest.mark.parametrize("failed", ["no", None, 1, [], np.array([True, False])])
def test_failed_is_true_or_false(failed):
    one = optimizer()
    (asked,) = one.ask()
    for arguments in ({}, {"value": 1.0}):
        with pytest.raises(InputError, match=r"failed is .*True or False"):
            one.tell(asked, failed=failed, **arguments)
        with pytest.raises(InputError, match=r"failed is .*True or False"):
            Trial({}, failed=failed, **arguments)
    assert one.trials[0].pending


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"initial": "5"}, "initial is '5'"),
        ({"initial": 2.5}, "initial is 2.5"),
        ({"initial": float("nan")}, "initial is nan"),
        ({"initial": True}, "initial is True"),
        ({"direction": np.array(["maximize", "minimize"])}, "direction is"),
        ({"policy": "elite"}, "policy is 'elite'"),
        ({"policy": Sobol}, "policy is <class"),
    ],
)
def test_settings_of_other_types_are_named(arguments, message):
    with pytest.raises(InputError, match=message):
        Optimizer(**{"space": SPACE, **arguments})


def test_a_request_that_would_fill_the_memory_is_refused():
    with pytest.raises(InputError, match="from 0 to 100,000"):
        optimizer().ask(10**9)


def test_a_suggestion_with_another_value_is_not_told_as_what_was_asked_for():
    """The value would be credited to a configuration that was not evaluated."""
    one = optimizer()
    for change in ({"lr": 0.123}, {"lr": 77.0}, {"depth": 99}, {"kind": None}):
        (asked,) = one.ask()
        name = next(iter(change))
        other = next(k for k in "abc" if k != asked.parameters["kind"])
        asked.parameters[name] = other if name == "kind" else change[name]
        with pytest.raises(InputError, match=f"asked for with {name} = .* and the suggestion has"):
            one.tell(asked, 1.0)
    assert all(trial.pending for trial in one.trials)
    for stranger in (Optimizer(SPACE, seed=5, policy=Sobol()), Optimizer(Space({"x": Int(1, 3)}))):
        (asked,) = stranger.ask()
        with pytest.raises(InputError, match="another optimizer"):
            one.tell(asked, 1.0)
    with pytest.raises(InputError, match="parameters are None"):
        one.tell(Suggestion(0, None), 1.0)


def test_what_a_caller_makes_of_a_suggestion_is_its_own():
    """Entries taken out, put in, rounded to single precision or turned into text and classes."""
    one = optimizer()
    for prepare in (
        lambda p: p.clear(),
        lambda p: p.pop("lr"),
        lambda p: p.update(jobs=4),
        lambda p: p.update(lr=float(np.float32(p["lr"]))),
        lambda p: p.update(lr=str(p["lr"]), depth=str(p["depth"])),
        lambda p: p.update(kind={"a": int, "b": float, "c": str}[p["kind"]]),
    ):
        (asked,) = one.ask()
        prepare(asked.parameters)
        one.tell(asked, 1.0)
    assert [trial.value for trial in one.trials] == [1.0] * 6


def test_a_pending_configuration_may_be_told_itself():
    """It would stay pending for good otherwise, and be kept away from."""
    one = optimizer()
    for _ in range(3):
        (asked,) = one.ask()
        one.tell(asked.parameters, 1.0)
    assert [trial.value for trial in one.trials] == [1.0, 1.0, 1.0]
    one.tell(one.trials[0].parameters, 2.0)  # a repeat
    assert len(one.history) == 4


@pytest.mark.parametrize("given", [None, 3, "abc", {"lr": 0.1, "depth": 1, "kind": "a"}])
def test_enqueue_takes_a_list(given):
    with pytest.raises(InputError, match="a list of dictionaries"):
        optimizer().enqueue(given)


@pytest.mark.parametrize(
    ("suggests", "message"),
    [
        (lambda h, n: None, "what policy.suggest returned has dtype object"),
        (lambda h, n: np.full((n, h.dim), np.nan), "is nan"),
        (lambda h, n: np.zeros((n, 1)), "has 1 columns; 5 are needed"),
    ],
)
def test_what_a_policy_returns_is_checked(suggests, message):
    policy = Sobol()
    policy.suggest = lambda history, count, snap: suggests(history, count)
    one = Optimizer(SPACE, policy=policy, initial=0)
    with pytest.raises(InputError, match=message):
        one.ask(2)
    assert one.trials == []


def test_a_policy_that_neither_counts_nor_snaps_nor_chooses():
    policy = Sobol()
    policy.suggest = lambda history, count, snap: np.random.default_rng(0).random((50, history.dim))
    one = Optimizer(SPACE, policy=policy, initial=0)
    assert len(one.ask(3)) == 3
    for unit in one.history.pending:
        np.testing.assert_array_equal(SPACE.snap(unit[None])[0], unit)
    policy.suggest = lambda history, count, snap: np.full((count, history.dim), 0.5)
    for place in (-1, 10**9, "0", 1.5, None):
        policy.choose = lambda history, pool, place=place: place
        with pytest.raises(InputError, match=r"what policy\.choose returned is"):
            one.ask(2)


@pytest.mark.parametrize("catch", ["ValueError", None, (ValueError(),), (KeyboardInterrupt,)])
def test_what_is_caught_is_checked_before_an_evaluation(catch):
    with pytest.raises(InputError, match="catch holds"):
        optimizer().run(lambda p: 1 / 0, 2, catch=catch, progress=False)


def test_a_run_inside_of_a_run_is_refused():
    one = optimizer()
    with pytest.raises(InputError, match="while a run of this optimizer is going on"):
        one.run(lambda p: one.run(value, 1, progress=False) or 1.0, 2, progress=False)
    one.run(value, 2, progress=False)
    assert [trial.pending for trial in one.trials] == [False, False]


def test_an_interrupted_trial_that_was_told_meanwhile_is_not_evaluated_again():
    one = optimizer()

    def interrupted(parameters):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        one.run(interrupted, 1, progress=False)
    one.tell(0, failed=True)
    one.run(value, 2, progress=False)
    assert [trial.failed for trial in one.trials] == [True, False, False]


def test_a_broken_pool_is_no_failed_trial():
    one = optimizer()
    with (
        ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool,
        pytest.raises(RuntimeError, match="abruptly"),
    ):
        one.run(dies, 4, executor=pool, workers=2, catch=(Exception,), progress=False)
    assert all(trial.pending for trial in one.trials)
    one.run(value, 4, progress=False)
    assert len(one.trials) == 4


def dies(parameters):
    os._exit(3)


class Answers(Executor):
    """Submits nothing and answers what it was given."""

    def __init__(self, answer):
        self.answer = answer

    def submit(self, *_):
        return self.answer()


def cancelled():
    future = Future()
    future.cancel()
    return future


def closed():
    pool = ThreadPoolExecutor(1)
    pool.shutdown()
    return pool


@pytest.mark.parametrize(
    ("executor", "message"),
    [
        (closed(), "executor takes no evaluations: cannot schedule new futures after shutdown"),
        (Answers(lambda: 3), "executor's submit returned 3"),
        (Answers(cancelled), "^$"),
    ],
)
def test_an_executor_that_does_not_evaluate_is_named(executor, message):
    one = optimizer()
    with pytest.raises((InputError, CancelledError), match=message):
        one.run(value, 2, executor=executor, progress=False)
    assert [trial.pending for trial in one.trials] == [True]
    one.run(value, 2, progress=False)
    assert [trial.pending for trial in one.trials] == [False, False]


def test_an_executor_that_is_shut_down_during_a_run_ends_it():
    """`concurrent.futures.wait` waits for ever for futures that `shutdown(cancel_futures=True)` cancels."""
    one, pool = optimizer(), ThreadPoolExecutor(1)

    def shut(parameters):
        pool.shutdown(wait=False, cancel_futures=True)
        return 1.0

    errors = []

    def run():
        try:
            one.run(shut, 3, workers=3, executor=pool, progress=False)
        except (CancelledError, InputError) as error:
            errors.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(60)
    assert not thread.is_alive()
    assert len(errors) == 1
    assert one.trials[-1].pending
    one.run(value, 3, progress=False)
    assert not any(trial.pending for trial in one.trials)


def test_an_objective_that_no_process_can_be_sent_is_named():
    one = optimizer()
    with (
        ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool,
        pytest.raises(InputError, match=r"objective is .*cannot be sent to the executor's processes"),
    ):
        one.run(lambda p: 1.0, 2, executor=pool, progress=False)
    assert one.trials == []


@pytest.mark.parametrize("progress", ["no", 1, None])
def test_progress_is_true_or_false(progress):
    with pytest.raises(InputError, match=r"progress is .*True or False"):
        optimizer().run(value, 1, progress=progress)


def test_configurations_without_an_end_are_not_enqueued():
    one = optimizer()
    with pytest.raises(InputError, match="more than 100,000"):
        one.enqueue({"lr": 0.5, "depth": 1, "kind": "a"} for _ in iter(int, 1))
    assert one.ask()[0].parameters["lr"] != 0.5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"policy": 3}, "policy is 3; an object"), ({"space": 3}, "space is int; a diffhpo.Space")],
)
def test_a_wrong_argument_of_load_does_not_blame_the_file(arguments, message, tmp_path):
    optimizer().save(tmp_path / "run")
    with pytest.raises(InputError, match=message):
        Optimizer.load(tmp_path / "run", **arguments)


def test_threads_ask_and_tell_at_once():
    one = optimizer()
    begin, ids = threading.Barrier(8, timeout=60), []

    def work():
        begin.wait()
        for _ in range(10):
            (asked,) = one.ask()
            ids.append(asked.id)
            one.tell(asked, float(asked.id))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(ids) == list(range(80))
    assert [trial.value for trial in one.trials] == list(range(80))
    assert len({tuple(trial.parameters.items()) for trial in one.trials}) == 80


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))])
def test_a_copy_goes_on_by_itself(copied):
    one = optimizer()
    one.ask(2)
    one.unfinished.append(0)
    other = copied(one)
    other.tell(0, 1.0)
    assert one.trials[0].pending
    assert one.unfinished == [0]
    assert other.ask()[0] == one.ask()[0]


@pytest.mark.parametrize("path", [7, 1.5, None, ["run"]])
def test_what_is_no_path_is_named(path):
    with pytest.raises(InputError, match="path is"):
        optimizer().save(path)
    with pytest.raises(InputError, match="path is"):
        Optimizer.load(path)
    if path is not None:
        with pytest.raises(InputError, match="path is"):
            Optimizer.minimize(value, SPACE, 1, path=path, progress=False)


@pytest.mark.parametrize("path", ["", ".", "nul\0l", "none/run.safetensors"])
def test_a_path_that_cannot_be_written_is_told_before_an_evaluation(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    evaluated = []
    with pytest.raises(CheckpointError):
        Optimizer.minimize(lambda p: evaluated.append(p) or 1.0, SPACE, 2, path=path, progress=False)
    assert evaluated == []
    assert list(tmp_path.iterdir()) == []


def test_values_that_a_run_does_not_know_of_are_not_replaced(tmp_path):
    """A script that makes its optimizer anew and runs on the file of its last run: the values were lost."""
    path, evaluated = tmp_path / "run", []

    def counted(parameters):
        evaluated.append(parameters)
        return parameters["lr"] if len(evaluated) % 3 else float("nan")

    first = optimizer()
    first.run(counted, 4, path=path, progress=False)
    first.run(counted, 1, path=path, progress=False)
    saved = path.read_bytes()
    again = optimizer()
    again.ask(5)
    for known in ([], first.trials[:4]):
        again.tell(known)
        with pytest.raises(CheckpointError, match=r"this optimizer was not told.*Optimizer\.load"):
            again.run(counted, 1, path=path, progress=False)
        assert path.read_bytes() == saved
    again.tell(first.trials[4:])
    again.run(counted, 1, path=path, progress=False)
    Optimizer.load(path, policy=Sobol()).run(counted, 1, path=path, progress=False)
    assert len(evaluated) == 7
    with pytest.raises(CheckpointError, match="7 values"):
        optimizer(seed=9).run(counted, 1, path=path, progress=False)


@pytest.mark.parametrize("content", [b"a,y\n1,2\n", b"", None])
def test_a_run_replaces_no_file_of_something_else(content, tmp_path):
    path = tmp_path / "results.csv"
    if content is None:
        save_file({"weights": torch.ones(2)}, path)
    else:
        path.write_bytes(content)
    content = path.read_bytes()
    with pytest.raises(CheckpointError, match=r"results\.csv is there and cannot be continued.*name another"):
        optimizer().run(value, 1, path=path, progress=False)
    assert path.read_bytes() == content


def test_what_stands_at_the_path_is_not_replaced_unless_it_is_a_file(tmp_path, monkeypatch):
    pipe, link, real = tmp_path / "pipe", tmp_path / "link", tmp_path / "real"
    os.mkfifo(pipe)
    with pytest.raises(CheckpointError, match="no regular file"):
        optimizer().save(pipe)
    assert pipe.is_fifo()
    link.symlink_to(real)
    optimizer().save(os.fsencode(link))
    assert link.is_symlink()
    assert Optimizer.load(real, policy=Sobol()).trials == []
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != real)  # root may write anything
    with pytest.raises(CheckpointError, match="write-protected"):
        optimizer().save(real)


def test_a_run_of_choices_that_are_tuples_asks_for_its_space(tmp_path):
    space = Space({"layers": Categorical([(64,), (64, 64)])})
    Optimizer(space, seed=1).save(tmp_path / "run")
    with pytest.raises(CheckpointError, match=r"space=\.\.\."):
        Optimizer.load(tmp_path / "run")
    assert Optimizer.load(tmp_path / "run", space=space).ask()[0].parameters["layers"] in [(64,), (64, 64)]
    with pytest.raises(InputError, match="space is str"):
        Optimizer.load(tmp_path / "run", space="layers")
