# SPDX-License-Identifier: Apache-2.0
"""Values and configurations that a run may hand over."""

import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from diffhpo import Categorical, Condition, Float, History, Int, Optimizer, Space
from diffhpo.errors import (
    AllFailedWarning,
    DimensionWarning,
    ExhaustedWarning,
    InputError,
    InputWarning,
    SpaceError,
)
from diffhpo.hpob import DiffusionHPO
from diffhpo.policy import initial_design
from diffhpo.pretrained_policy import PretrainedPolicy

SPACE = Space(
    {"lr": Float(1e-4, 1.0, log=True), "depth": Int(1, 9), "kind": Categorical("abc")},
)


def told(values, seed=0):
    optimizer = Optimizer(SPACE, seed=seed)
    for configuration, value in zip(SPACE.sample(len(values), seed=seed), values, strict=True):
        optimizer.tell(configuration, value)
    return optimizer


def are_valid(suggestions):
    for suggestion in suggestions:
        SPACE.encode(suggestion.parameters)
    return len({tuple(s.parameters.items()) for s in suggestions}) == len(suggestions) > 0


@pytest.mark.fault(1)
def test_01_nan_is_named_and_changes_nothing():
    with pytest.raises(InputError, match=r"y_obs\[1\] is nan.*failed"):
        DiffusionHPO().observe_and_suggest([[0.1], [0.2]], [0.0, np.nan])
    optimizer = told([1.0, 2.0])
    with pytest.raises(InputError, match=r"nan.*failed=True"):
        optimizer.tell(SPACE.sample(1, seed=9)[0], float("nan"))
    assert len(optimizer.trials) == 2
    assert are_valid(optimizer.ask(2))


@pytest.mark.fault(2)
@pytest.mark.parametrize("value", [np.inf, -np.inf])
def test_02_infinite_values_are_clipped_with_a_warning(value):
    optimizer = told([1.0, value, 2.0, 0.5, 0.1])
    with pytest.warns(InputWarning, match=r"1 infinite values; they were clipped to \[0.1, 2.0\]"):
        assert are_valid(optimizer.ask(1))
    assert optimizer.trials[1].value == value


@pytest.mark.fault(3)
def test_03_all_trials_failed():
    optimizer = Optimizer(SPACE, seed=0)
    for suggestion in optimizer.ask(5):
        optimizer.tell(suggestion, failed=True)
    with pytest.warns(AllFailedWarning, match="all 5 trials failed"):
        suggestions = optimizer.ask(3)
    assert are_valid(suggestions)
    failed = [tuple(trial.parameters.items()) for trial in optimizer.trials if trial.failed]
    assert not {tuple(s.parameters.items()) for s in suggestions} & set(failed)
    optimizer.tell(suggestions[0], 1.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert are_valid(optimizer.ask(1))


@pytest.mark.fault(4)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -0.1, 1.1])
@pytest.mark.parametrize("argument", ["X_obs", "X_pen"])
def test_04_configurations_outside_the_cube_are_named(bad, argument):
    rows = np.full((3, 2), 0.5)
    rows[2, 1] = bad
    good = np.full((3, 2), 0.25)
    x, pool = (rows, good) if argument == "X_obs" else (good, rows)
    with pytest.raises(InputError, match=rf"{argument}\[2, 1\] is {bad}"):
        DiffusionHPO().observe_and_suggest(x, [0.0, 1.0, 2.0], pool)


@pytest.mark.fault(5)
def test_05_without_a_history_the_initial_design():
    policy = PretrainedPolicy(seed=3)
    design = initial_design(2, 4, start=0, seed=3)
    np.testing.assert_array_equal(policy.suggest(History(np.empty((0, 2)), []), 4), design)
    assert policy.choose(History(np.empty((0, 2)), []), design[::-1]) == 3


@pytest.mark.fault(6)
def test_06_one_observation():
    assert are_valid(told([1.0]).ask(7))


@pytest.mark.fault(7)
@pytest.mark.parametrize("value", [0.0, -3.0, 1e-300])
def test_07_constant_values(value):
    assert are_valid(told([value] * 8).ask(4))


@pytest.mark.fault(8)
@given(
    values=st.lists(
        st.sampled_from(
            [0.0, 1.0, -1.0, 1e-300, -1e-300, 5e-324, 1e300, -1e300, 1.7e308, -1.7e308, 1 + 1e-16]
        ),
        min_size=5,
        max_size=12,
    )
)
@settings(max_examples=25)
def test_08_values_of_any_size(values):
    assert are_valid(told(values).ask(1))


@pytest.mark.fault(9)
def test_09_repeats():
    x = [[0.1], [0.1], [0.1], [0.8]]
    assert len(History(x, [1.0, 1.0, 1.0, 2.0])) == 2
    assert len(History(x, [1.0, 1.5, 1.0, 2.0])) == 3
    optimizer = Optimizer(SPACE)
    (one,) = SPACE.sample(1)
    for value in (1.0, 1.0, 3.0, 0.5, 0.5, 2.0):
        optimizer.tell(one, value)
    assert are_valid(optimizer.ask(2))


@pytest.mark.fault(10)
@pytest.mark.parametrize("dim", [1, 2, 31, 32, 33, 64])
def test_10_dimensions(dim):
    space = Space({f"x{k}": Float(0, 1) for k in range(dim)})
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        optimizer = Optimizer(space)
    assert [w.category for w in caught] == [DimensionWarning] * (dim > 32)
    for configuration in space.sample(6):
        optimizer.tell(configuration, configuration["x0"])
    assert len({tuple(s.parameters.values()) for s in optimizer.ask(3)}) == 3
    if dim > 32:
        with pytest.raises(InputError, match=f"{dim} dimensions; the pretrained model takes 1 to 32"):
            PretrainedPolicy().suggest(optimizer.history)


def bounded_history(count):
    rng = np.random.default_rng(0)
    x = rng.random((count, 3))
    return History(x, -((x - 0.4) ** 2).sum(1) + 0.01 * rng.normal(size=count))


@pytest.mark.fault(11, 38)
def test_11_the_work_of_a_suggestion_does_not_grow_with_the_history(monkeypatch):
    """Not a timing: how many numbers the model is given to read and to score."""
    from diffhpo.model.universal.in_context import InContextModel

    work = []
    init, score = InContextModel.__init__, InContextModel.log_improvement
    monkeypatch.setattr(
        InContextModel,
        "__init__",
        lambda self, model, x, y, **more: (work.append(("read", len(x))), init(self, model, x, y, **more))[1],
    )
    monkeypatch.setattr(
        InContextModel,
        "log_improvement",
        lambda self, x, **more: (work.append(("scored", len(x))), score(self, x, **more))[1],
    )
    policy = PretrainedPolicy(names=["a", "b", "c"])
    counts = []
    for trials in (100, 10_000):
        work.clear()
        assert policy.suggest(bounded_history(trials), 4).shape == (4, 3)
        counts.append(list(work))
    assert counts[0] == counts[1]
    assert ("read", 100) in counts[1]


@pytest.mark.fault(11)
def test_11_which_trials_are_read_of_many():
    kept = bounded_history(10_000).bounded(100)
    whole = bounded_history(10_000)
    assert len(kept) == 100
    assert kept.best == whole.best
    np.testing.assert_array_equal(kept.x[-33:], whole.x[-33:])


@pytest.mark.fault(12)
def test_12_an_empty_pool():
    with pytest.raises(InputError, match="X_pen has no pending configuration"):
        DiffusionHPO().observe_and_suggest([[0.1]], [0.0], np.empty((0, 1)))


@pytest.mark.fault(13)
def test_13_a_pool_of_one_needs_no_model(monkeypatch):
    monkeypatch.setattr(PretrainedPolicy, "read", None)
    assert DiffusionHPO().observe_and_suggest([[0.1], [0.5]], [0.0, 1.0], [[0.3]]) == 0


@pytest.mark.fault(14)
def test_14_a_large_pool_is_read_in_parts():
    history = bounded_history(12)
    pool = np.random.default_rng(1).random((9_000, 3))
    whole = PretrainedPolicy(names=["a", "b", "c"], recipe={"pool_chunk": 10_000}).choose(history, pool)
    for chunk in (1_000, 2_048, 4_097):
        policy = PretrainedPolicy(names=["a", "b", "c"], recipe={"pool_chunk": chunk})
        assert policy.choose(history, pool) == whole


@pytest.mark.fault(15)
def test_15_how_many_are_asked_for():
    optimizer = told([1.0, 2.0, 0.5])
    assert optimizer.ask(0) == []
    for n in (-1, 2.5, "3", True, None):
        with pytest.raises(InputError, match="n is"):
            optimizer.ask(n)
    assert are_valid(optimizer.ask(2000))
    assert are_valid(optimizer.ask(1))


@pytest.mark.fault(16)
@given(sizes=st.lists(st.integers(2, 4), min_size=1, max_size=3), told_first=st.integers(0, 6))
@settings(max_examples=15)
def test_16_a_finite_space_gives_what_it_has(sizes, told_first):
    space = Space({f"p{k}": Int(1, size) for k, size in enumerate(sizes)})
    optimizer = Optimizer(space)
    for suggestion in optimizer.ask(min(told_first, int(space.size))):
        optimizer.tell(suggestion, suggestion.parameters["p0"])
    left = int(space.size) - len(optimizer.trials)
    with pytest.warns(ExhaustedWarning, match=f"the space has {left} that are new"):
        rest = optimizer.ask(left + 1)
    assert len(rest) == left
    assert len({tuple(trial.parameters.values()) for trial in optimizer.trials}) == space.size


@pytest.mark.fault(17)
@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"kind": "d"}, r"'kind': 'd' is not one of \['a', 'b', 'c'\]"),
        ({"depth": 10}, r"'depth': 10 is not a whole number in \[1, 9\]"),
        ({"depth": 2.5}, r"'depth': 2.5 is not a whole number"),
        ({"lr": 2}, r"'lr': 2 is outside \[0.0001, 1.0\]"),
    ],
)
def test_17_values_outside_their_parameters(given, message):
    optimizer = Optimizer(SPACE)
    with pytest.raises(SpaceError, match=message):
        optimizer.tell({"lr": 0.1, "depth": 3, "kind": "a", **given}, 1.0)
    assert optimizer.trials == []


@pytest.mark.fault(18)
def test_18_inactive_parameters_are_absent():
    space = Space(
        {"kind": Categorical("ab"), "depth": Int(1, 9)}, conditions={"depth": Condition("kind", ["b"])}
    )
    optimizer = Optimizer(space)
    for suggestion in optimizer.ask(8):
        assert ("depth" in suggestion.parameters) == (suggestion.parameters["kind"] == "b")
        assert space.decode(space.encode(suggestion.parameters)) == suggestion.parameters
        optimizer.tell(suggestion, suggestion.parameters.get("depth", 0))
    with pytest.raises(SpaceError, match=r"\['depth'\], which are not active"):
        optimizer.tell({"kind": "a", "depth": 3}, 1.0)


X = np.random.default_rng(0).random((6, 2)).astype(np.float16).astype(np.float64)
Y = np.array([0.0, 1.0, 0.5, 0.25, 0.75, 0.125])
LAYOUTS = {
    "float32": lambda a: a.astype(np.float32),
    "float16": lambda a: a.astype(np.float16),
    "fortran": np.asfortranarray,
    "strided": lambda a: np.repeat(a, 2, axis=0)[::2],
    "reversed": lambda a: a[::-1].copy()[::-1],
    "read-only": lambda a: np.frombuffer(a.tobytes()).reshape(a.shape),
    "list": lambda a: a.tolist(),
    "tuple": lambda a: tuple(map(tuple, a)) if a.ndim == 2 else tuple(a),
    "tensor": torch.tensor,
    "tensor with gradient": lambda a: torch.tensor(a, requires_grad=True) * 1,
}


@pytest.mark.fault(19)
@pytest.mark.parametrize("name", LAYOUTS)
def test_19_types_and_layouts(name):
    x, y = LAYOUTS[name](X), LAYOUTS[name](Y)
    before = str(x), str(y)
    found = DiffusionHPO(seed=1).observe_and_suggest(x, y)
    np.testing.assert_array_equal(found, DiffusionHPO(seed=1).observe_and_suggest(X, Y))
    assert (str(x), str(y)) == before


@pytest.mark.fault(19)
def test_19_a_broadcast_row_and_whole_numbers():
    x = np.broadcast_to(np.array([1, 0]), (3, 2))
    assert len(History(x, [1, 2, 3])) == 3
    assert History(x, [1, 2, 3]).x.dtype == np.float64


@pytest.mark.fault(20)
@pytest.mark.parametrize(
    "bad",
    [
        np.full((2, 2), 0.5j),
        np.array([["a", "b"], ["c", "d"]]),
        np.array([[None, 1], [2, 3]], dtype=object),
        [[0.1, 0.2], [0.3]],
        {"x": 1},
        torch.tensor([[1j, 0.5], [0.5, 0.5]]),
    ],
    ids=["complex", "string", "object", "ragged", "dict", "complex tensor"],
)
def test_20_what_is_no_array_of_numbers(bad):
    with pytest.raises(InputError, match="X_obs"):
        DiffusionHPO().observe_and_suggest(bad, [0.0, 1.0])
    with pytest.raises(InputError, match="y_obs"):
        DiffusionHPO().observe_and_suggest([[0.1, 0.2], [0.3, 0.4]], bad)


@pytest.mark.fault(33)
def test_33_ids_and_second_values():
    optimizer = Optimizer(SPACE)
    (suggestion,) = optimizer.ask()
    with pytest.raises(InputError, match="trial 7 is unknown; ids 0 to 0"):
        optimizer.tell(7, 1.0)
    optimizer.tell(suggestion, 1.0)
    with pytest.warns(InputWarning, match="told the same"):
        optimizer.tell(suggestion, 1.0)
    with pytest.raises(InputError, match="a trial has one value"):
        optimizer.tell(suggestion, 2.0)
    assert [trial.value for trial in optimizer.trials] == [1.0]
