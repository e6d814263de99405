# SPDX-License-Identifier: Apache-2.0
"""The README's Python example runs as it stands."""

import re
from pathlib import Path

README = Path(__file__).resolve().parents[1] / "README.md"


def test_the_example_runs(capsys):
    (example,) = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    exec(compile(example, "README.md", "exec"), {})
    configuration, _ = eval(capsys.readouterr().out)
    assert set(configuration) == {"lr", "depth", "kind"}


def test_the_blocks_that_ci_runs_are_there():
    text = README.read_text(encoding="utf-8")
    for name in ("install", "tests"):
        assert re.search(rf"<!-- ci: {name} -->\n```bash\n\S", text)
