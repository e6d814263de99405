# SPDX-License-Identifier: Apache-2.0
"""Interpreters and environments other than the usual: the same suggestions, or a named error."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

import diffhpo
from diffhpo import Categorical, Float, Optimizer, Space

PACKAGE = Path(diffhpo.__file__).parents[1]

#: Its result goes to a file: standard output may be closed.
SCRIPT = f"""
import os, sys
sys.path.insert(0, {str(PACKAGE)!r})
if "no streams" in sys.argv:
    sys.stdin = sys.stdout = sys.stderr = None
from diffhpo import Categorical, Float, Optimizer, Space
space = Space({{"x": Float(0, 1), "kind": Categorical("abc")}})
optimizer = Optimizer(space, seed=5)
optimizer.run(lambda c: c["x"], 7)
with open(sys.argv[1], "w", encoding="utf-8") as file:
    file.write(str([trial.parameters for trial in optimizer.trials]))
"""


def expected() -> str:
    optimizer = Optimizer(Space({"x": Float(0, 1), "kind": Categorical("abc")}), seed=5)
    optimizer.run(lambda c: c["x"], 7, progress=False)
    return str([trial.parameters for trial in optimizer.trials])


#: name -> options of Python, changes of the environment (None removes), words for the script.
SURROUNDINGS: dict[str, tuple[list[str], dict[str, str | None], list[str]]] = {
    "asserts off, no home, C locale": (
        ["-O", "-X", "utf8=0"],
        {"HOME": None, "LANG": "C", "LC_ALL": "C", "PYTHONHASHSEED": "random", "USER": None},
        [],
    ),
    "no docstrings, isolated, warnings are errors": (
        ["-OO", "-I", "-W", "error", "-W", "ignore::DeprecationWarning"],
        {"HOME": "/nowhere", "TMPDIR": None},
        [],
    ),
    "no streams in Python": ([], {"PYTHONHASHSEED": "1"}, ["no streams"]),
}


@pytest.mark.fault(35)
@pytest.mark.parametrize("name", SURROUNDINGS)
def test_35_the_same_suggestions_in_any_surroundings(name: str, tmp_path: Path) -> None:
    options, changes, words = SURROUNDINGS[name]
    if "-OO" in options and find_spec("pyro"):
        pytest.skip("GPyTorch imports Pyro where it is installed, and Pyro needs its docstrings")
    environment = {**os.environ, **{key: value for key, value in changes.items() if value is not None}}
    for key, value in changes.items():
        if value is None:
            environment.pop(key, None)
    done = subprocess.run(
        [sys.executable, *options, "-c", SCRIPT, str(tmp_path / "out"), *words],
        capture_output=True,
        text=True,
        env=environment,
        cwd=tmp_path,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out").read_text(encoding="utf-8") == expected()


@pytest.mark.skipif(sys.platform == "win32", reason="needs a POSIX shell")
def test_closed_streams(tmp_path: Path) -> None:
    """A daemon's: file descriptors 0, 1 and 2 are free, so that the next file opened gets one of them."""
    script = tmp_path / "script.py"
    script.write_text(SCRIPT, encoding="utf-8")
    done = subprocess.run(
        ["/bin/sh", "-c", '"$0" "$@" <&- >&- 2>&-', sys.executable, str(script), str(tmp_path / "out")],
        timeout=240,
        cwd=tmp_path,
    )
    assert done.returncode == 0
    assert (tmp_path / "out").read_text(encoding="utf-8") == expected()


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "trials.csv"
    path.write_text("x,y\n" + "".join(f"{k / 7},{k}\n" for k in range(6)), encoding="utf-8")
    return path


@pytest.mark.fault(30)
@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
@pytest.mark.parametrize(
    ("redirection", "said"), [(">/dev/full", "No space left"), (">&-", "standard output is closed")]
)
def test_30_suggestions_that_standard_output_does_not_take(redirection: str, said: str, table: Path) -> None:
    command = f'"$0" -m diffhpo suggest --history "$1" {redirection}'
    done = subprocess.run(
        ["/bin/sh", "-c", command, sys.executable, str(table)],
        stderr=subprocess.PIPE,
        text=True,
        timeout=240,
        env={**os.environ, "PYTHONPATH": str(PACKAGE)},
    )
    assert done.returncode == 2, done.stderr
    assert "error: " in done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr
