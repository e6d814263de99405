# SPDX-License-Identifier: Apache-2.0
"""The Python blocks of the Optuna page run, one after the other."""

import re
from pathlib import Path

import pytest

optuna = pytest.importorskip("optuna", minversion="4.0")

PAGE = Path(__file__).resolve().parents[2] / "docs" / "integrations" / "optuna.md"


def test_the_blocks_run(capsys):
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 6
    names = {"__name__": "page"}
    for block in blocks:
        exec(compile(block, PAGE.name, "exec"), names)
    first, resumed = capsys.readouterr().out.splitlines()
    assert set(eval(first)) == {"learning_rate", "max_depth"}
    assert resumed == "12"
