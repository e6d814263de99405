# SPDX-License-Identifier: Apache-2.0
import csv
import json

import pytest

from diffhpo.errors import DataError, SpaceError
from diffhpo.space import Categorical, Float, Int
from diffhpo.trial_table import infer_space, read_space_file, read_trial_table, write_configurations

GOOD = "lr,depth,kind,fast,score\n0.1,3,a,true,0.5\n0.001,7,b,false,\n0.01,5,a,True,0.9\n"


def write(tmp_path, text, name="trials.csv"):
    path = tmp_path / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def test_a_table_is_read_with_its_types_and_failures(tmp_path):
    table = read_trial_table(write(tmp_path, GOOD))
    assert table.objective == [0.5, None, 0.9]
    assert table.configurations()[1] == {"lr": 0.001, "depth": 7, "kind": "b", "fast": False}
    assert infer_space(table).parameters == {
        "lr": Float(0.001, 0.1, log=True),
        "depth": Int(3, 7),
        "kind": Categorical(["a", "b"]),
        "fast": Categorical([False, True]),
    }


def test_the_objective_may_be_any_column(tmp_path):
    table = read_trial_table(write(tmp_path, "loss,x\n1,2\n3,4\n"), "loss")
    assert table.objective == [1.0, 3.0]
    assert list(table.columns) == ["x"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("x\n1\n", "two or more"),
        ("x,x\n1,2\n", "different names"),
        ("x,y\n1,2,3\n", "line 2: 3 cells"),
        ("x,y\n1,good\n", "line 2.*'good'"),
        (b"\xff\xfe\x00", "not a readable CSV"),
        ('x,y\n"1,2\n', "not a readable CSV"),
    ],
)
def test_bad_files_are_named(tmp_path, text, message):
    with pytest.raises(DataError, match=message) as error:
        read_trial_table(write(tmp_path, text))
    assert "trials.csv" in str(error.value)


def test_a_missing_file_or_column_is_named(tmp_path):
    with pytest.raises(DataError, match="does not exist"):
        read_trial_table(tmp_path / "none.csv")
    with pytest.raises(DataError, match=r"'acc'.*'score'"):
        read_trial_table(write(tmp_path, GOOD), "acc")


def test_a_constant_column_needs_a_space_file(tmp_path):
    with pytest.raises(SpaceError, match=r"'x'.*space file"):
        infer_space(read_trial_table(write(tmp_path, "x,y\n1,2\n1,3\n")))


def test_a_space_file_is_read(tmp_path):
    entries = {
        "lr": {"type": "float", "low": 1e-4, "high": 1, "log": True},
        "kind": {"type": "categorical", "choices": ["a", None, 3]},
    }
    space = read_space_file(write(tmp_path, json.dumps(entries), "space.json"))
    assert space.parameters == {"lr": Float(1e-4, 1, log=True), "kind": Categorical(["a", None, 3])}


@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        ("{", DataError, "JSON"),
        ("[" * 100_000, DataError, "JSON"),
        ("[]", SpaceError, "object of parameters"),
        ('{"x": 3}', SpaceError, "'x'.*no type"),
        ('{"x": {"type": "float", "low": 2, "high": 1}}', SpaceError, "'x'.*low < high"),
        ('{"x": {"type": "float", "min": 2}}', SpaceError, "'x'.*min"),
    ],
)
def test_bad_space_files_are_named(tmp_path, content, error, message):
    with pytest.raises(error, match=message):
        read_space_file(write(tmp_path, content, "space.json"))


def test_configurations_are_written_as_they_are_read(tmp_path):
    write_configurations(
        tmp_path / "next.csv", ["lr", "kind"], [{"lr": 0.1, "kind": "a"}, {"lr": 0.2, "kind": "b"}]
    )
    with open(tmp_path / "next.csv", newline="") as file:
        assert list(csv.DictReader(file)) == [{"lr": "0.1", "kind": "a"}, {"lr": "0.2", "kind": "b"}]
    with pytest.raises(DataError, match="could not be written"):
        write_configurations(tmp_path / "no" / "next.csv", [], [])


def test_an_empty_cell_is_a_parameter_that_was_not_active(tmp_path):
    table = read_trial_table(write(tmp_path, "kernel,degree,score\nlinear,,0.5\npoly,3,0.7\n"))
    assert table.configurations() == [{"kernel": "linear"}, {"kernel": "poly", "degree": 3}]
    with pytest.raises(SpaceError, match=r"'degree' has empty cells.*space file"):
        infer_space(table)
    write_configurations(tmp_path / "next.csv", ["kernel", "degree"], table.configurations())
    assert (tmp_path / "next.csv").read_text() == "kernel,degree\nlinear,\npoly,3\n"
