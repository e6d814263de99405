# SPDX-License-Identifier: Apache-2.0
"""The protocols against a transcription of their written rules, element by element, in plain lists."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from diffhpo.errors import DataError, InputError
from diffhpo.hpob.data import Benchmark, Task
from diffhpo.hpob.protocol import Run, evaluate_continuous, evaluate_discrete, normalise


class Sensitive:
    """Its suggestion depends on every bit that it is shown, and it keeps what it saw."""

    def __init__(self) -> None:
        self.seen: list[tuple[Any, ...]] = []

    def observe_and_suggest(self, X_obs: Any, y_obs: Any, X_pen: Any = None) -> Any:
        shown = [np.array(a) for a in (X_obs, y_obs, X_pen) if a is not None]
        self.seen.append(tuple(a.tolist() for a in shown))
        words = np.frombuffer(b"".join(a.tobytes() for a in shown), dtype=np.uint32)
        rng = np.random.default_rng(words)
        return rng.random((1, shown[0].shape[1])) if X_pen is None else int(rng.integers(len(X_pen)))


class Always:
    """Gives the same answer to every question."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def observe_and_suggest(self, X_obs: Any, y_obs: Any, X_pen: Any = None) -> Any:
        return self.answer


def read(root: Path, space: str, task: str) -> tuple[list[list[float]], list[float], dict[str, Any]]:
    table = json.loads((root / "hpob-data" / "meta-test-dataset.json").read_text())[space][task]
    designs = json.loads((root / "hpob-data" / "bo-initializations.json").read_text())[space][task]
    return table["X"], [row[0] for row in table["y"]], designs


def discrete_by_the_rules(
    root: Path, space: str, task: str, seed: str, n_trials: int, method: Any
) -> list[float]:
    X, raw, designs = read(root, space, task)
    y = [(value - min(raw)) / (max(raw) - min(raw)) for value in raw]
    done = list(designs[seed])
    todo = [row for row in range(len(X)) if row not in done]
    curve = [max(y[row] for row in done)]
    for _ in range(n_trials):
        answer = method.observe_and_suggest(
            [X[row] for row in done], [[y[row]] for row in done], [X[row] for row in todo]
        )
        done.append(todo.pop(answer))
        curve.append(max(y[row] for row in done))
    return curve


def continuous_by_the_rules(
    root: Path, space: str, task: str, seed: str, n_trials: int, method: Any, corrected: bool
) -> list[float]:
    xgboost = pytest.importorskip("xgboost")
    X, raw, designs = read(root, space, task)
    surrogates = root / "saved-surrogates"
    limits = json.loads((surrogates / "summary-stats.json").read_text())[f"surrogate-{space}-{task}"]
    model = xgboost.Booster(model_file=surrogates / f"surrogate-{space}-{task}.json")

    def scale(value: float) -> float:
        return min(1.0, max(0.0, (value - limits["y_min"]) / (limits["y_max"] - limits["y_min"])))

    x = [X[row] for row in designs[seed]]
    y = [scale(raw[row]) for row in designs[seed]]
    curve = []
    for _ in range(n_trials):
        curve.append(max(y))
        answer = method.observe_and_suggest(x, [[value] for value in y])
        x.append(answer[0].tolist())
        y.append(scale(float(model.predict(xgboost.DMatrix(answer))[0])))
    curve.append(max(y) if corrected or not n_trials else curve[-1])
    return curve


def check_run(run: Run, task: Task, n_trials: int) -> None:
    assert len(run.incumbents) == n_trials + 1
    assert run.x.shape == (5 + n_trials, task.dim)
    assert run.y.shape == (5 + n_trials,)
    assert len(run.suggest_seconds) == n_trials
    assert all(seconds >= 0 for seconds in run.suggest_seconds)
    assert all(type(value) is float for value in run.incumbents)


@pytest.mark.parametrize("seed", ["test0", "test1"])
@pytest.mark.parametrize(("space", "name"), [("100", "1"), ("200", "7")])
@pytest.mark.parametrize("n_trials", [0, 1, 12, 35])
@pytest.mark.parametrize("corrected", [False, True])
def test_discrete_follows_the_rules(
    tiny_root: Path, space: str, name: str, seed: str, n_trials: int, corrected: bool
) -> None:
    task = Benchmark(tiny_root).task(space, name)
    ours, theirs = Sensitive(), Sensitive()
    run = evaluate_discrete(ours, task, seed, n_trials, corrected=corrected)
    assert run.incumbents == discrete_by_the_rules(tiny_root, space, name, seed, n_trials, theirs)
    assert ours.seen == theirs.seen
    check_run(run, task, n_trials)
    assert run.rows is not None
    assert len(set(run.rows)) == 5 + n_trials
    np.testing.assert_array_equal(run.x, task.x[run.rows])
    assert run.incumbents[-1] == run.y.max()


@pytest.mark.parametrize("seed", ["test0", "test1"])
@pytest.mark.parametrize(("space", "name"), [("100", "1"), ("200", "7")])
@pytest.mark.parametrize("n_trials", [0, 1, 25])
@pytest.mark.parametrize("corrected", [False, True])
def test_continuous_follows_the_rules(
    tiny_root: Path, space: str, name: str, seed: str, n_trials: int, corrected: bool
) -> None:
    task = Benchmark(tiny_root).task(space, name)
    ours, theirs = Sensitive(), Sensitive()
    run = evaluate_continuous(ours, task, seed, n_trials, corrected=corrected)
    expected = continuous_by_the_rules(tiny_root, space, name, seed, n_trials, theirs, corrected)
    assert run.incumbents == expected
    assert ours.seen == theirs.seen
    check_run(run, task, n_trials)
    assert run.rows is None


def test_both_protocols_follow_the_rules_on_the_published_files(data_directory: Path) -> None:
    root = data_directory / "hpob-reduced"
    benchmark = Benchmark(root)
    for space in benchmark.spaces()[:4]:
        task = benchmark.task(space, benchmark.tasks(space)[0])
        ours, theirs = Sensitive(), Sensitive()
        run = evaluate_discrete(ours, task, "test2", 10)
        assert run.incumbents == discrete_by_the_rules(root, space, task.name, "test2", 10, theirs)
        run = evaluate_continuous(ours, task, "test2", 10)
        assert run.incumbents == continuous_by_the_rules(root, space, task.name, "test2", 10, theirs, False)
        assert ours.seen == theirs.seen


class FirstColumn:
    """Stands in for a surrogate: the response is the first hyperparameter."""

    path = Path("first column")

    def __call__(self, x: Any) -> np.ndarray:
        return np.asarray(x)[:, 0]


class Climber:
    """Suggests 0.1, 0.2, 0.3, ..."""

    def observe_and_suggest(self, X_obs: Any, y_obs: Any, X_pen: Any = None) -> Any:
        return np.array([[(len(y_obs) - 4) / 10]])


def test_the_official_continuous_curve_leaves_the_last_evaluation_out() -> None:
    task = Task(
        "s",
        "t",
        np.zeros((5, 1)),
        [0.0, 0.05, 0.0, 0.0, 0.0],
        initial={"test0": [0, 1, 2, 3, 4]},
        surrogate=FirstColumn(),  # type: ignore[arg-type]
        response_range=(0.0, 1.0),
    )
    official = evaluate_continuous(Climber(), task, "test0", 4)
    corrected = evaluate_continuous(Climber(), task, "test0", 4, corrected=True)
    assert official.incumbents == [0.05, 0.1, 0.2, 0.3, 0.3]
    assert corrected.incumbents == [0.05, 0.1, 0.2, 0.3, 0.4]
    assert official.y.tolist() == corrected.y.tolist() == [0.0, 0.05, 0.0, 0.0, 0.0, 0.1, 0.2, 0.3, 0.4]


class Recording:
    """Stands in for a surrogate: keeps what it is asked, and answers from a list."""

    path = Path("recording.json")

    def __init__(self, answers: list[float]) -> None:
        self.answers = answers
        self.asked: list[list[list[float]]] = []

    def __call__(self, x: Any) -> np.ndarray:
        self.asked.append(np.asarray(x).tolist())
        return np.array([self.answers[len(self.asked) - 1]])


def recorded(answers: list[float]) -> tuple[Recording, Task]:
    surrogate = Recording(answers)
    task = Task(
        "s",
        "t",
        np.zeros((5, 1)),
        [-1.0, 0.0, 1.0, 2.0, 3.0],
        initial={"test0": [0, 1, 2, 3, 4]},
        surrogate=surrogate,  # type: ignore[arg-type]
        response_range=(0.0, 4.0),
    )
    return surrogate, task


def test_the_surrogate_is_asked_for_one_configuration_a_trial() -> None:
    surrogate, task = recorded([5.0, -5.0, 3.5])
    run = evaluate_continuous(Climber(), task, "test0", 3)
    assert surrogate.asked == [[[0.1]], [[0.2]], [[0.3]]]
    assert run.y.tolist() == [0.0, 0.0, 0.25, 0.5, 0.75, 1.0, 0.0, 0.875]


@pytest.mark.parametrize("response", [np.nan, np.inf])
def test_a_surrogate_that_predicts_no_number_is_named(response: float) -> None:
    _, task = recorded([0.5, response])
    with pytest.raises(DataError, match=rf"recording\.json predicts {response} at \[0\.2\]; fetch it again"):
        evaluate_continuous(Climber(), task, "test0", 2)


def test_both_ends_of_the_range_are_clipped(tiny_root: Path) -> None:
    task = Benchmark(tiny_root).task("100", "1")
    run = evaluate_continuous(Sensitive(), task, "test0", 40)
    assert run.y.min() == 0.0
    assert run.y.max() == 1.0


def test_trials_are_reported_as_they_end(tiny_root: Path) -> None:
    task = Benchmark(tiny_root).task("100", "1")
    for evaluate in (evaluate_discrete, evaluate_continuous):
        told: list[tuple[int, float]] = []
        run = evaluate(Sensitive(), task, "test0", 4, on_trial=lambda i, s, told=told: told.append((i, s)))
        assert told == list(enumerate(run.suggest_seconds))


class Vandal(Sensitive):
    """Overwrites everything that it is given."""

    def observe_and_suggest(self, X_obs: Any, y_obs: Any, X_pen: Any = None) -> Any:
        answer = super().observe_and_suggest(X_obs, y_obs, X_pen)
        for array in (X_obs, y_obs, X_pen):
            if array is not None:
                array[:] = 0.25
        return answer


def test_a_method_that_overwrites_its_arguments_harms_nobody(tiny_root: Path) -> None:
    task = Benchmark(tiny_root).task("100", "2")
    for evaluate in (evaluate_discrete, evaluate_continuous):
        harmed, whole = (evaluate(method, task, "test0", 8) for method in (Vandal(), Sensitive()))
        np.testing.assert_array_equal(harmed.x, whole.x)
        np.testing.assert_array_equal(harmed.y, whole.y)


def test_a_suggestion_kept_and_changed_by_the_method_does_not_change_the_run(tiny_root: Path) -> None:
    task = Benchmark(tiny_root).task("100", "2")
    own = np.full((1, 2), 0.5)

    def spoil(_index: int, _seconds: float) -> None:
        own[:] = 0.125

    run = evaluate_continuous(Always(own), task, "test0", 1, on_trial=spoil)
    assert run.x[-1].tolist() == [0.5, 0.5]


# Where the official handler fails -----------------------------------------------------------------


def test_constant_responses_are_all_optimal() -> None:
    rng = np.random.default_rng(0)
    task = Task("s", "t", rng.random((9, 2)), np.full(9, 0.657238), initial={"test0": [0, 1, 2, 3, 4]})
    method = Sensitive()
    run = evaluate_discrete(method, task, "test0", 3)
    assert run.incumbents == [1.0] * 4
    assert method.seen[0][1] == [[1.0]] * 5


class Level:
    """Stands in for a surrogate with a constant response."""

    path = Path("level")

    def __call__(self, x: Any) -> np.ndarray:
        return np.full(len(x), 0.5)


def test_an_empty_surrogate_range_is_no_division_by_zero() -> None:
    y = [0.1, 0.2, 0.3, 0.4, 0.4]
    task = Task(
        "s",
        "t",
        np.eye(5),
        y,
        initial={"test0": [0, 1, 2, 3, 4]},
        surrogate=Level(),  # type: ignore[arg-type]
        response_range=(0.5, 0.5),
    )
    run = evaluate_continuous(Always(np.zeros((1, 5))), task, "test0", 2)
    assert run.y.tolist() == [0, 0, 0, 0, 0, 1, 1]
    assert run.incumbents == [0.0, 1.0, 1.0]


def test_normalisation_over_no_range_is_0_below_and_1_from_there() -> None:
    assert normalise(np.array([0.1, 0.5, 0.7]), 0.5, 0.5).tolist() == [0.0, 1.0, 1.0]


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=20))
def test_normalisation_has_its_ends_at_0_and_1(values: list[float]) -> None:
    y = np.array(values)
    scaled = normalise(y, y.min(), y.max())
    assert scaled.max() == 1.0
    assert np.isfinite(scaled).all()
    if y.min() < y.max():
        assert scaled.min() == 0.0
    assert (np.diff(scaled[np.argsort(y)]) >= 0).all()


# What a method may return -------------------------------------------------------------------------


@pytest.mark.parametrize("answer", [3, np.int64(3), np.array(3), np.uint8(3)])
def test_row_numbers_of_any_integer_type_are_taken(tiny_root: Path, answer: Any) -> None:
    task = Benchmark(tiny_root).task("100", "1")
    run = evaluate_discrete(Always(answer), task, "test1", 1)
    assert run.rows == [5, 4, 1, 2, 39, 7]  # 0, 3, 6, 7 are the first rows that are left


@pytest.mark.parametrize(
    "answer", [-1, 35, 36, 100, 3.0, "3", None, True, np.array([3, 4]), np.array([[0.1, 0.2]])]
)
def test_other_answers_to_the_discrete_question_are_refused(tiny_root: Path, answer: Any) -> None:
    task = Benchmark(tiny_root).task("100", "1")
    with pytest.raises(InputError, match=r"Always\.observe_and_suggest returned .*0 to 34"):
        evaluate_discrete(Always(answer), task, "test0", 1)


@pytest.mark.parametrize(
    "answer",
    [np.array([[0.25, 0.75]]), np.array([0.25, 0.75]), [[0.25, 0.75]], np.array([[0.25, 0.75]], np.float32)],
)
def test_one_configuration_of_either_shape_is_taken(tiny_root: Path, answer: Any) -> None:
    task = Benchmark(tiny_root).task("100", "1")
    run = evaluate_continuous(Always(answer), task, "test0", 2)
    assert run.x[-1].tolist() == [0.25, 0.75]


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (np.array([[0.5, 1.5]]), r"returned 1\.5 in dimension 1; values must lie in \[0, 1\]"),
        (np.array([[-0.1, 0.5]]), r"returned -0\.1 in dimension 0"),
        (np.array([[np.nan, 0.5]]), "returned nan in dimension 0"),
        (np.array([[np.inf, 0.5]]), "returned inf in dimension 0"),
        (np.array([[0.5]]), r"shape \(1, 1\); \(1, 2\) is needed"),
        (np.zeros((2, 2)), r"shape \(2, 2\)"),
        (np.zeros((2, 1)), r"shape \(2, 1\)"),
        (3, r"shape \(\)"),
        ("ab", "no array of numbers"),
        (None, r"returned (an array of shape \(\)|no array)"),
        ([[0.1, 0.2], [0.3]], "no array of numbers"),
    ],
)
def test_other_answers_to_the_continuous_question_are_refused(
    tiny_root: Path, answer: Any, reason: str
) -> None:
    task = Benchmark(tiny_root).task("100", "1")
    with pytest.raises(InputError, match=rf"Always\.observe_and_suggest {reason}|Always.*{reason}"):
        evaluate_continuous(Always(answer), task, "test0", 1)


def test_rounding_at_the_edge_is_passed_on_as_it_is(tiny_root: Path) -> None:
    task = Benchmark(tiny_root).task("100", "1")
    run = evaluate_continuous(Always([[1 + 1e-9, -1e-9]]), task, "test0", 1)
    assert run.x[-1].tolist() == [1 + 1e-9, -1e-9]


@pytest.mark.parametrize("n_trials", [-1, 1.0, "3", None, True])
def test_a_bad_number_of_trials_is_refused(tiny_root: Path, n_trials: Any) -> None:
    task = Benchmark(tiny_root).task("100", "1")
    for evaluate in (evaluate_discrete, evaluate_continuous):
        with pytest.raises(InputError, match="n_trials is"):
            evaluate(Sensitive(), task, "test0", n_trials)


def test_more_trials_than_rows_are_refused_before_the_first(tiny_root: Path) -> None:
    task = Benchmark(tiny_root).task("100", "1")
    method = Sensitive()
    with pytest.raises(InputError, match=r"n_trials is 36; .* 35 rows left"):
        evaluate_discrete(method, task, "test0", 36)
    assert method.seen == []


def test_a_missing_seed_or_surrogate_is_a_data_error(tiny_root: Path) -> None:
    benchmark = Benchmark(tiny_root)
    with pytest.raises(DataError, match="test7"):
        evaluate_discrete(Sensitive(), benchmark.task("100", "1"), "test7", 1)
    alone = Task("s", "t", np.eye(5), np.arange(5), initial={"test0": [0, 1, 2, 3, 4]})
    with pytest.raises(DataError, match="surrogate"):
        evaluate_continuous(Sensitive(), alone, "test0", 1)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(5, 30), st.integers(0, 25), st.integers(0, 2**32 - 1))
def test_discrete_curves_never_fall_and_rows_never_repeat(size: int, trials: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x, y = rng.random((size, 2)), rng.integers(0, 4, size) / 4
    task = Task("s", "t", x, y, initial={"a": rng.permutation(size)[:5].tolist()})
    trials = min(trials, size - 5)
    run = evaluate_discrete(Sensitive(), task, "a", trials)
    assert run.rows is not None
    assert len(set(run.rows)) == len(run.rows) == 5 + trials
    assert (np.diff(run.incumbents) >= 0).all()
    if trials == size - 5:
        assert run.incumbents[-1] == 1.0
