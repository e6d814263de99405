# SPDX-License-Identifier: Apache-2.0
"""The README's Python examples run as they stand."""

import re
from pathlib import Path

README = Path(__file__).resolve().parents[1] / "README.md"


def test_the_examples_run(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    shared = {}
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    for block in blocks:
        exec(compile(block, "README.md", "exec"), shared)
        (line,) = capsys.readouterr().out.splitlines()
        configuration, value = eval(line)
        assert {"lr", "booster"} <= set(configuration) <= {"lr", "booster", "max_depth"}
        assert value >= 0
    assert len(blocks) == 2


def test_the_blocks_that_ci_runs_are_there():
    text = README.read_text(encoding="utf-8")
    for name in ("install", "tests"):
        assert re.search(rf"<!-- ci: {name} -->\n```bash\n\S", text)
