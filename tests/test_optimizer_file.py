# SPDX-License-Identifier: Apache-2.0
"""Files of an optimizer: what was saved comes back, and contents that cannot be right are named."""

import json
import sys
from dataclasses import FrozenInstanceError

import numpy as np
import pytest
import torch

from diffhpo.errors import CheckpointError, InputError, RunError
from diffhpo.model.tensor_file import read_tensors, write_tensors
from diffhpo.optimizer import Optimizer
from diffhpo.optimizer_file import locked, read_state
from diffhpo.pretrained_policy import PretrainedPolicy
from diffhpo.space import Categorical, Float, Int, Space
from diffhpo.trial import Trial

SPACE = Space({"lr": Float(1e-4, 1.0, log=True), "depth": Int(1, 9), "kind": Categorical("ab")})
FORMAT = "diffhpo-optimizer"


def saved(path, **settings):
    """Two values, a failure, a pending trial and two configurations that wait."""
    optimizer = Optimizer(SPACE, **settings)
    one, two, three, four, *waiting = SPACE.sample(6, seed=3)
    optimizer.tell([Trial(one, 0.5), Trial(two, failed=True), Trial(three, -np.inf), Trial(four)])
    optimizer.enqueue(waiting)
    optimizer.save(path)
    return optimizer


def changed(path, text=(), **tensors):
    """The file with other contents, as another program might write it: with a checksum that is right."""
    found, metadata = read_tensors(path, kind=FORMAT, schema=1, described="")
    assert metadata["schema"] == "1"
    write_tensors(path, {**found, **tensors}, {**metadata, **dict(text)})


@pytest.mark.parametrize(
    "settings",
    [{}, {"seed": 7, "direction": "minimize", "initial": 0}, {"seed": 2**70, "initial": 12}],
)
@pytest.mark.filterwarnings("ignore:y holds 1 infinite value")
def test_what_was_saved_comes_back(tmp_path, settings):
    path = tmp_path / "run"
    optimizer = saved(path, **settings)
    again = Optimizer.load(path)
    assert again.trials == optimizer.trials
    assert [(t.value, t.failed, t.pending) for t in again.trials] == [
        (0.5, False, False),
        (None, True, False),
        (-np.inf, False, False),
        (None, False, True),
    ]
    assert (again.seed, again.direction, again.initial) == (
        optimizer.seed,
        optimizer.direction,
        optimizer.initial,
    )
    waiting = [suggestion.parameters for suggestion in again.ask(2)]
    assert waiting == [suggestion.parameters for suggestion in optimizer.ask(2)]
    assert waiting == [SPACE.decode(SPACE.encode(one)) for one in SPACE.sample(6, seed=3)[4:]]
    assert again.unfinished == []


def test_an_optimizer_without_trials_comes_back(tmp_path):
    Optimizer(SPACE, seed=4).save(tmp_path / "run")
    again = Optimizer.load(tmp_path / "run")
    assert again.trials == []
    assert again.ask(6) == Optimizer(SPACE, seed=4).ask(6)


UNITS, BITS = torch.full((4, 3), 0.5, dtype=torch.float64), torch.zeros(4, dtype=torch.int64)
YES, NO = torch.ones(4, dtype=torch.bool), torch.zeros(4, dtype=torch.bool)


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"units": UNITS[:, :2]}, r"units has shape \(4, 2\), not \(4, 3\)"),
        ({"units": UNITS[:3]}, r"units has shape \(3, 3\)"),
        ({"values": BITS[:3]}, r"values has shape \(3,\), not \(4,\)"),
        ({"values": BITS[:, None]}, r"values has shape \(4, 1\)"),
        ({"failed": NO[:3]}, r"failed has shape \(3,\)"),
        ({"told": YES[:3], "failed": NO}, r"damaged: \w+ has shape"),
        ({"told": YES[:, None]}, r"told has shape \(4, 1\)"),
        ({"told": YES[0]}, r"told has shape \(\)"),
        ({"queue": UNITS[:, :1]}, r"queue has shape \(4, 1\), not \(4, 3\)"),
        ({"queue": UNITS[0, 0]}, r"queue has shape \(\)"),
        ({"units": UNITS - 0.5 - 1e-12}, "outside the unit cube"),
        ({"units": UNITS + 0.5 + 1e-12}, "outside the unit cube"),
        ({"queue": UNITS + 1}, "outside the unit cube"),
        ({"told": YES, "failed": NO, "values": BITS - 1}, "or a value is nan"),
        ({"told": YES, "failed": YES.clone()}, "a failed trial has a value"),
        ({"values": UNITS[:, 0].clone()}, r"values are torch\.float64, not bits"),
        ({"other": NO}, "tensors that its schema does not know, first 'other'"),
    ],
)
def test_tensors_that_cannot_be_right_are_named(tmp_path, tensors, message):
    path = tmp_path / "run"
    saved(path)
    changed(path, **tensors)
    with pytest.raises(CheckpointError, match=message):
        Optimizer.load(path)


@pytest.mark.parametrize("edge", [0.0, 1.0])
def test_the_unit_cube_has_its_edges(tmp_path, edge):
    path = tmp_path / "run"
    saved(path)
    changed(path, units=torch.full((4, 3), edge, dtype=torch.float64))
    assert Optimizer.load(path).trials[0].parameters["depth"] == (9 if edge else 1)


@pytest.mark.parametrize(
    "run",
    [
        ["0", "up", 5, False],
        ["0", ["maximize"], 5, False],
        ["0", "maximize", -1, False],
        ["0", "maximize", 5.0, False],
        ["0", "maximize", True, False],
        ["0", "maximize", 5, 0],
        ["0", "maximize", 5, None],
        ["-1", "maximize", 5, False],
        ["one", "maximize", 5, False],
        [None, "maximize", 5, False],
        ["0", "maximize", 5],
        ["0", "maximize", 5, False, 1],
        {"seed": 0},
        7,
    ],
)
def test_settings_that_cannot_be_right_are_named(tmp_path, run):
    path = tmp_path / "run"
    saved(path)
    changed(path, {"run": json.dumps(run)})
    with pytest.raises(CheckpointError, match=r"run is damaged"):
        Optimizer.load(path)


@pytest.mark.parametrize("name", ["space", "columns", "run"])
@pytest.mark.parametrize("text", ["", "{", "[1, 2]", "null", '{"a": 1}'])
def test_text_that_is_none_is_named(tmp_path, name, text):
    path = tmp_path / "run"
    saved(path)
    changed(path, {name: text})
    with pytest.raises(CheckpointError, match=str(path)):
        Optimizer.load(path)


def test_a_file_of_another_space_is_named_whoever_gives_the_space(tmp_path):
    path = tmp_path / "run"
    saved(path)
    same = Space(dict(SPACE.parameters))
    assert Optimizer.load(path, space=same).space is same
    wider = Space({**SPACE.parameters, "depth": Int(1, 10)})
    with pytest.raises(CheckpointError, match="is of another space: its columns are"):
        Optimizer.load(path, space=wider)
    changed(path, {"space": json.dumps(wider.to_json())})
    with pytest.raises(CheckpointError, match="is of another space: its columns are"):
        Optimizer.load(path)


@pytest.mark.skipif(sys.platform == "win32", reason="no flock(2)")
def test_a_lock_stands_beside_the_file_while_it_is_held(tmp_path):
    path = tmp_path / "run"
    with locked(path):
        assert [file.name for file in tmp_path.iterdir()] == ["run.lock"]
        with pytest.raises(RunError, match=f"{path} is in use by process"), locked(str(path)):
            pass
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "run.lock").write_text('{"pid": 1, "host": "far-away"}')
    with locked(path):  # what is preempted goes on elsewhere
        pass


def test_without_a_path_nothing_is_held(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with locked(None):
        assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform == "win32", reason="no flock(2)")
@pytest.mark.parametrize(
    ("name", "message"),
    [
        (".", "could not be written: it is a directory; name a file in it"),
        ("nul\0l", "could not be written: .*null"),
        ("none/run", "could not be written: .*No such file"),
    ],
)
def test_what_cannot_be_locked_cannot_be_written(tmp_path, monkeypatch, name, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CheckpointError, match=message), locked(name):
        pass
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_space_is_named(tmp_path):
    saved(tmp_path / "run")
    with pytest.raises(InputError, match=r"space is dict; a diffhpo\.Space is needed"):
        Optimizer.load(tmp_path / "run", space={})


def test_a_policy_of_ones_own_must_be_given_again(tmp_path):
    path = tmp_path / "run"
    saved(path)
    changed(path, {"run": json.dumps(["0", "maximize", 5, True])})
    with pytest.raises(CheckpointError, match=r"a policy of its own; .*load\(path, policy="):
        Optimizer.load(path)
    assert Optimizer.load(path, policy=PretrainedPolicy()).direction == "maximize"


def test_the_reason_is_told_and_a_state_stays_as_it_was_read(tmp_path):
    path = tmp_path / "run"
    saved(path)
    _, state = read_state(path, None, policy_given=False)
    with pytest.raises(FrozenInstanceError):
        state.seed = 3
    changed(path, {"run": json.dumps(["one", "maximize", 5, False])})
    with pytest.raises(CheckpointError, match=r'run is damaged: "invalid literal for int'):
        Optimizer.load(path)


def test_a_space_that_json_cannot_hold_must_be_given_again(tmp_path):
    path = tmp_path / "run"
    space = Space(dict(SPACE.parameters), forbidden=lambda c: c["depth"] == 3)
    Optimizer(space).save(path)
    with pytest.raises(CheckpointError, match=r"a `forbidden` function.*load\(path, space="):
        Optimizer.load(path)
    assert Optimizer.load(path, space=space).space is space
