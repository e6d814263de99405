# SPDX-License-Identifier: Apache-2.0
"""The command line in careless hands: one line and exit code 2, no traceback, no file lost."""

import errno
import io
import json
import os

import pytest
from typer.testing import CliRunner

from diffhpo import Categorical, Constant, Ordinal, Space
from diffhpo.cli import app
from diffhpo.errors import BackendError, DataError, InputError, SpaceError
from diffhpo.pretraining.run import _device
from diffhpo.trial_table import infer_space, read_trial_table, write_configurations


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def table(tmp_path, text):
    path = tmp_path / "trials.csv"
    path.write_text(text, encoding="utf-8")
    return read_trial_table(path)


@pytest.mark.parametrize(
    "space",
    [
        Space({"a": Categorical(["1.0", "2.0", "3.5"])}),
        Space({"a": Ordinal(["007", "008"])}),
        Space({"a": Categorical(["true", "false"])}),
        Space({"a": Categorical([True, False])}),
        Space({"a": Categorical([1, "b", 2.5])}),
        Space({"a": Categorical([[1, 2], [3]])}),
        Space({"a": Categorical([" padded", "b"]), "c": Constant("1")}),
    ],
    ids=str,
)
def test_what_suggest_writes_can_be_its_history(space, tmp_path):
    """The type of a column is guessed from its cells; the choices of a space say more."""
    configurations = [space.decode(unit) for unit in space.all_units()]
    stream = io.StringIO()
    write_configurations(stream, list(space.parameters), configurations)
    rows = stream.getvalue().splitlines()
    lines = [rows[0] + ",loss", *(row + ",1" for row in rows[1:])]
    read = table(tmp_path, "\n".join(lines) + "\n").configurations_of(space)
    assert read == configurations
    assert [list(map(type, one.values())) for one in read] == [
        list(map(type, one.values())) for one in configurations
    ]


def test_choices_of_one_text_are_refused(tmp_path):
    with pytest.raises(SpaceError, match="'a': choices 1 and '1' have the same text"):
        table(tmp_path, "a,y\n1,2\n").configurations_of(Space({"a": Categorical([1, "1"])}))


def test_whole_numbers_of_hundreds_of_digits_are_no_range(tmp_path):
    with pytest.raises(SpaceError, match="'a' holds a value that is not finite"):
        infer_space(table(tmp_path, f"a,y\n{'9' * 400},1\n1,2\n"))


def test_a_file_that_cannot_be_written_stays_as_it_is(tmp_path):
    out = tmp_path / "next.csv"
    out.write_text("mine")
    with pytest.raises(DataError, match="could not be written"):
        write_configurations(out, ["\ud800"], [{"\ud800": 1}])
    assert out.read_text() == "mine"


@pytest.mark.parametrize("option", ["--history", "--space"])
def test_what_suggest_reads_is_not_replaced(option, tmp_path):
    (tmp_path / "history.csv").write_text("a,y\n1,2\n2,3\n")
    (tmp_path / "space.json").write_text('{"a": {"type": "int", "low": 1, "high": 9}}')
    os.link(tmp_path / ("history.csv" if option == "--history" else "space.json"), tmp_path / "out")
    before = (tmp_path / "out").read_bytes()
    arguments = ["--history", tmp_path / "history.csv", "--space", tmp_path / "space.json"]
    done = CliRunner().invoke(app, ["suggest", *map(str, arguments), "--out", str(tmp_path / "out")])
    assert done.exit_code == 2
    assert f"the file of {option}; name another" in done.stderr
    assert (tmp_path / "out").read_bytes() == before


def test_an_output_that_lacks_a_character_or_is_closed_is_named():
    ascii_only = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    with pytest.raises(DataError, match="the output could not be written: 'ascii'"):
        write_configurations(ascii_only, ["ä"], [{"ä": 1}])
    with pytest.raises(DataError, match="the output could not be written: it is closed"):
        write_configurations(None, ["a"], [{"a": 1}])


def test_a_full_output_is_one_line_and_a_reader_that_left_is_none(tmp_path, monkeypatch):
    def full(*arguments, **settings):
        raise OSError(errno.ENOSPC, "No space left on device")

    def left(*arguments, **settings):
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")

    import diffhpo.doctor

    monkeypatch.setattr(diffhpo.doctor, "examine", full)
    result = run("doctor")
    assert (result.exit_code, result.output.count("\n")) == (2, 1)
    assert "No space left" in result.output
    monkeypatch.setattr(diffhpo.doctor, "examine", left)
    result = run("doctor")
    assert (result.exit_code, result.output) == (1, "")


@pytest.mark.parametrize(
    ("method", "message"),
    [
        ("no_such_module_of_mine:Search", "there is no module"),
        ("builtins:float", "could not be made"),
        ("os:getcwd", "could not be made"),
    ],
)
def test_a_method_that_cannot_be_made_is_told_before_the_runs(method, message, tmp_path):
    result = run("bench", "run", "--methods", method, "--out", tmp_path / "run")
    assert result.exit_code == 2
    assert message in result.output
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    "arguments",
    [
        ("bench", "run", "--seeds", "9" * 5000),
        ("bench", "report", ".", "--trials", "9" * 5000),
        ("train", "universal", "--device", "abacus"),
        ("train", "universal", "--device", "meta"),
        ("train", "universal", "--threads", "99999999999"),
        ("train", "bank"),
    ],
    ids=lambda arguments: " ".join(arguments)[:40],
)
def test_options_out_of_range_are_named(arguments, tmp_path):
    out = () if arguments[1] == "report" else ("--out", tmp_path / "none" / "here")
    result = run(*arguments, *out)
    assert result.exit_code == 2, result.exception
    assert "rror" in result.output


def test_a_gpu_that_is_not_there_is_named():
    assert str(_device("cpu")) == "cpu"
    with pytest.raises(BackendError, match=r"device is 'cuda:99'.*use cpu"):
        _device("cuda:99")
    with pytest.raises(InputError, match="device is 'abacus'"):
        _device("abacus")


def test_suggest_reads_what_it_wrote(tmp_path):
    space, history, out = (tmp_path / name for name in ("space.json", "trials.csv", "next.csv"))
    space.write_text(json.dumps({"size": {"type": "ordinal", "choices": ["007", "008", "009"]}}))
    history.write_text("size,loss\n007,1\n")
    result = run("suggest", "--history", history, "--space", space, "--n", 2, "--out", out)
    assert result.exit_code == 0, result.output
    assert sorted(out.read_text().split()) == ["008", "009", "size"]
