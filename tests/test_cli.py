# SPDX-License-Identifier: Apache-2.0
import csv
import json
import subprocess
import sys

import pytest
from typer.testing import CliRunner

import diffhpo
from diffhpo.cli import app

TRIALS = "lr,depth,kind,loss\n0.1,3,a,0.5\n0.001,7,b,\n0.01,5,a,0.9\n0.02,4,b,0.2\n0.03,6,a,0.3\n"
SPACE = {
    "lr": {"type": "float", "low": 1e-4, "high": 1, "log": True},
    "depth": {"type": "int", "low": 1, "high": 10},
    "kind": {"type": "categorical", "choices": ["a", "b", "c"]},
}


@pytest.fixture
def files(tmp_path):
    (tmp_path / "trials.csv").write_text(TRIALS)
    (tmp_path / "space.json").write_text(json.dumps(SPACE))
    return tmp_path


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_suggest_writes_new_configurations_inside_the_space(files):
    out = files / "next.csv"
    result = run(
        "suggest", "--history", files / "trials.csv", "--n", 8, "--space", files / "space.json",
        "--minimize", "--out", out,
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    with open(out, newline="") as file:
        rows = list(csv.DictReader(file))
    assert len({tuple(row.values()) for row in rows}) == 8
    for row in rows:
        assert 1e-4 <= float(row["lr"]) <= 1
        assert 1 <= int(row["depth"]) <= 10
        assert row["kind"] in "abc"


def test_suggest_prints_csv_and_says_what_it_inferred(files):
    result = run("suggest", "--history", files / "trials.csv", "--n", 2)
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[0] == "lr,depth,kind"
    assert len(result.stdout.splitlines()) == 3
    assert "ranges seen in the history" in result.stderr
    assert "Float(low=0.001, high=0.1, log=True)" in result.stderr
    assert result.stdout == run("suggest", "--history", files / "trials.csv", "--n", 2).stdout


def test_suggest_in_a_conditional_space(tmp_path):
    (tmp_path / "trials.csv").write_text("kernel,degree,score\nlinear,,0.5\npoly,3,0.7\nrbf,,\n")
    space = {
        "kernel": {"type": "categorical", "choices": ["linear", "poly", "rbf"]},
        "degree": {"type": "int", "low": 2, "high": 5, "when": {"kernel": ["poly"]}},
    }
    (tmp_path / "space.json").write_text(json.dumps(space))
    result = run(
        "suggest", "--history", tmp_path / "trials.csv", "--space", tmp_path / "space.json", "--n", 3
    )
    assert result.exit_code == 0, result.output
    # linear, rbf and poly with 3 are known; what is left is poly with 2, 4 and 5.
    assert sorted(result.stdout.splitlines()[1:]) == ["poly,2", "poly,4", "poly,5"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--history", "none.csv"], "none.csv does not exist"),
        (["--history", "trials.csv", "--objective", "acc"], "no column 'acc'"),
        (["--history", "trials.csv", "--n", "-1"], "n is -1"),
        (["--history", "trials.csv", "--seed", "-1"], "seed"),
        (["--history", "trials.csv", "--space", "trials.csv"], "not readable JSON"),
    ],
)
def test_errors_are_one_line_and_exit_code_2(files, monkeypatch, arguments, message):
    monkeypatch.chdir(files)
    result = run("suggest", *arguments)
    assert result.exit_code == 2
    assert message in result.stderr
    assert "Traceback" not in result.output


def test_doctor_names_the_executor(files):
    facts = json.loads(run("doctor", "--json").stdout)
    assert facts["executors"]["auto"].startswith("cpu-")
    assert facts["versions"]["diffhpo"] == diffhpo.__version__
    assert "executors:" in run("doctor").stdout


@pytest.mark.parametrize(
    "command",
    [[], ["suggest"], ["doctor"], ["bench", "run"], ["bench", "report"], ["data", "fetch"], ["report"]],
)
def test_help_shows_an_example(command):
    result = run(*command, "--help")
    assert result.exit_code == 0
    assert "Example: diffhpo" in result.stdout


def test_help_needs_no_torch():
    script = "import sys, diffhpo.cli; assert 'torch' not in sys.modules, 'torch was imported'"
    subprocess.run([sys.executable, "-c", script], check=True)
