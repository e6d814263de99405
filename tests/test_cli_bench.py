# SPDX-License-Identifier: Apache-2.0
"""`diffhpo bench` and `diffhpo data` from the outside."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.other_process import wait_until
from typer.testing import CliRunner

from diffhpo import __version__
from diffhpo.cli import app
from diffhpo.study import commands, presets

COMMANDS = [
    ["bench", "run"],
    ["bench", "report"],
    ["bench", "main"],
    ["bench", "preset"],
    ["bench", "methods"],
    ["data", "fetch"],
    ["data", "verify"],
    ["data", "info"],
]

OWN_METHODS = """
import time
import numpy as np

class Uniform:
    def __init__(self, seed=0):
        self.seed = seed
    def observe_and_suggest(self, X_obs, y_obs, X_pen=None):
        return int(np.random.default_rng([self.seed, len(X_obs)]).integers(len(X_pen)))

class Slow(Uniform):
    def observe_and_suggest(self, X_obs, y_obs, X_pen=None):
        time.sleep(0.1)
        return super().observe_and_suggest(X_obs, y_obs, X_pen)

class Failing(Uniform):
    def observe_and_suggest(self, X_obs, y_obs, X_pen=None):
        raise ZeroDivisionError("on purpose")
"""


def call(*arguments: Any) -> Any:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current directory: a tiny discrete benchmark in `suite` and own methods in `own.py`."""
    generator = np.random.default_rng(0)
    x = generator.random((30, 2))
    table = {"X": x.tolist(), "y": (-(x**2).sum(1))[:, None].tolist()}
    data = tmp_path / "suite" / "hpob-data"
    data.mkdir(parents=True)
    tasks = ("t1", "t2")
    (data / "meta-test-dataset.json").write_text(json.dumps({"s": dict.fromkeys(tasks, table)}))
    seeds = {f"test{seed}": generator.permutation(30)[:5].tolist() for seed in range(2)}
    (data / "bo-initializations.json").write_text(json.dumps({"s": dict.fromkeys(tasks, seeds)}))
    (tmp_path / "own.py").write_text(OWN_METHODS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    return tmp_path


RUN = ["bench", "run", "--suite", "suite", "--protocol", "discrete", "--seeds", "2", "--trials", "5"]


def test_a_study_from_run_to_report(place: Path) -> None:
    done = call(*RUN, "--methods", "own:Uniform", "--out", "runs/a", "--workers", 1, "--no-progress")
    assert done.exit_code == 0, done.output
    assert "4 new runs, 0 kept, 0 failed" in done.stdout
    assert "diffhpo bench report runs/a" in done.stdout
    again = call(*RUN, "--methods", "own:Uniform", "--out", "runs/a", "--no-progress")
    assert "0 new runs, 4 kept, 0 failed" in again.stdout
    done = call("bench", "report", "runs/a", "--trials", "1,5")
    assert done.exit_code == 0, done.output
    assert "regret @1" in done.stdout
    assert "Uniform" in done.stdout
    report = place / "runs" / "a" / "report"
    names = {path.name for path in report.iterdir()}
    assert {"report.md", "report.json", "timing.json", "rank-and-regret.png"} <= names
    results = json.loads((report / "results" / "own-Uniform.json").read_text())
    assert len(results["s"]["t1"]["test0"]) == 6
    (place / "Theirs.json").write_text(json.dumps(results))
    done = call("bench", "report", "runs/a", "--with", "Theirs.json", "--to", "elsewhere", "--svg")
    assert "Theirs" in done.stdout
    assert (place / "elsewhere" / "rank-and-regret.svg").is_file()


def test_a_preset_runs_and_reports_its_studies(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    studies = (presets.PresetStudy("a", "embedded", "test", seeds=1, trials=2, methods=("random", "sobol")),)
    batches = presets.PresetStudy("b", "embedded", "test", 1, 2, ("random", "sobol"), batch=3)
    monkeypatch.setitem(presets.PRESETS, "dev", (*studies, batches))
    preset = ["bench", "preset", "dev", "--out", "runs/dev", "--workers", 1, "--no-progress"]
    done = call(*preset)
    assert done.exit_code == 0, done.output
    for name, text in (("a", "2 trials after"), ("b", "2 rounds of 3 configurations")):
        report = (place / "runs" / "dev" / name / "report" / "report.md").read_text()
        assert text in report
        assert "Against the best of the others" in report
    done = call(*preset, "--studies", "b", "--methods", "random,sobol,own:Uniform")
    assert done.exit_code == 1  # it knows the discrete protocol alone
    assert "has no suggest_batch" in done.stderr
    assert "16 kept" in done.stdout


def test_failed_runs_give_code_1_and_their_names(place: Path) -> None:
    arguments = [*RUN, "--methods", "own:Uniform,own:Failing", "--out", "runs/f", "--tasks", "t1"]
    done = call(*arguments, "--no-progress")
    assert done.exit_code == 1
    assert "failed: s/t1/test0/own:Failing: ZeroDivisionError: on purpose" in done.stderr
    assert "--retry-failed" in done.stderr
    done = call("bench", "report", "runs/f")
    assert done.exit_code == 2
    assert "s/t1/test0/own:Failing (failed)" in done.stderr
    done = call("bench", "report", "runs/f", "--allow-missing")
    assert done.exit_code == 0
    assert "Uniform" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([*RUN, "--out", "x", "--methods", "gpp"], "method is 'gpp'; accepted: random, gp"),
        ([*RUN, "--out", "x", "--protocol", "both"], "accepted: continuous, discrete"),
        ([*RUN, "--out", "x", "--spaces", "q"], "space 'q' is not in the suite; accepted: s"),
        ([*RUN, "--out", "x", "--tasks", "q"], "task 'q' is not in the suite's"),
        ([*RUN, "--out", "x", "--seeds", "3"], "seeds is 3; 1 to 2 are accepted"),
        ([*RUN, "--out", "x", "--seeds", "test0,test7"], "seed 'test7'"),
        ([*RUN, "--out", "x", "--trials", "0"], "trials is 0"),
        ([*RUN, "--out", "x", "--shard", "3/2"], "i/n"),
        ([*RUN, "--out", "x", "--workers", "0"], "workers is 0"),
        ([*RUN, "--out", "own.py", "--methods", "own:Uniform"], "choose a writable --out"),
        (["bench", "run", "--out", "x", "--suite", "absent"], "absent"),
        (["bench", "report", "absent"], "absent is not a run directory"),
        (["bench", "report", "absent", "--trials", "ten"], "trials names 'ten'"),
        (["bench", "report", "absent", "--with", "a/M.json", "--with", "b/M.json"], "names M twice"),
        (["bench", "preset", "tiny", "--out", "x"], "preset is 'tiny'; accepted: dev, full"),
        (["bench", "preset", "dev", "--out", "x", "--studies", "bbob"], "hpob-choice, hpob-pools-choice"),
        ([*RUN, "--out", "x", "--batch", "4"], "the discrete protocol has no batches"),
        (["data", "fetch", "hpob-v4"], "accepted: 'hpob'"),
        (["data", "verify", "--cache-dir", "nothing"], "diffhpo data fetch"),
    ],
)  # fmt: skip
def test_bad_input_is_one_message_and_code_2(place: Path, arguments: list[str], message: str) -> None:
    done = call(*arguments)
    assert done.exit_code == 2
    assert done.stderr.startswith("error: ")
    assert message in done.stderr
    assert "Traceback" not in done.output


def test_the_traceback_is_there_on_request(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "not a run directory" in str(call("--debug", "bench", "report", "absent").exception)
    monkeypatch.setenv("DIFFHPO_DEBUG", "1")
    assert "not a run directory" in str(call("bench", "report", "absent").exception)


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_help_shows_an_example(command: list[str]) -> None:
    done = call(*command, "--help")
    assert done.exit_code == 0
    assert f"Example: diffhpo {' '.join(command)}" in done.stdout


def test_no_argument_shows_help() -> None:
    for arguments in ([], ["bench"], ["data"]):
        assert "Commands:" in call(*arguments).output


def test_the_version() -> None:
    assert call("--version").stdout == f"diffhpo {__version__}\n"


def test_the_methods_are_listed() -> None:
    lines = call("bench", "methods").stdout.splitlines()
    assert [line.split()[0] for line in lines][:2] == ["random", "gp"]
    assert set(commands.MAIN.methods) <= {line.split()[0] for line in lines}


def test_data_info_needs_no_network(tmp_path: Path) -> None:
    done = call("data", "info", "--cache-dir", tmp_path)
    assert done.exit_code == 0, done.output
    assert "hpob-data: not there" in done.stdout
    assert str(tmp_path) in done.stdout


def test_the_command_line_starts_without_heavy_imports() -> None:
    code = "import sys, diffhpo.cli; assert not {'torch', 'numpy', 'matplotlib'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_ctrl_c_gives_code_130_and_one_message(place: Path) -> None:
    code = "from diffhpo.cli import app; app()"
    arguments = [*RUN, "--methods", "own:Slow", "--out", "runs/c", "--no-progress", "--workers", "1"]
    process = subprocess.Popen(
        [sys.executable, "-c", code, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    journal = place / "runs" / "c" / "journal.jsonl"
    try:
        wait_until(lambda: journal.exists() and os.path.getsize(journal))
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=30)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == 130
    assert "of 4 runs are finished and kept in runs/c; give the same command again" in stderr
    assert "Traceback" not in stderr
