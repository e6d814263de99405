# SPDX-License-Identifier: Apache-2.0
"""Writes docs/reliability.md: the promises, and for every fault what the user gets and the tests of it.

python tests/faults/reliability_page.py
"""

from __future__ import annotations

import ast
import sys
from collections import defaultdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from fault_rows import PROMISES, ROWS

TESTS = Path(__file__).resolve().parents[1]
PAGE = TESTS.parent / "docs" / "reliability.md"


def marked_tests() -> dict[int, list[str]]:
    """Row -> "path::test" of every test with `@pytest.mark.fault(row, ...)`."""
    found = defaultdict(list)
    for path in sorted(TESTS.rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.FunctionDef):
                continue
            for decorator in node.decorator_list:
                if isinstance(decorator, ast.Call) and ast.unparse(decorator.func) == "pytest.mark.fault":
                    for row in decorator.args:
                        found[ast.literal_eval(row)].append(
                            f"{path.relative_to(TESTS).as_posix()}::{node.name}"
                        )
    return found


def page() -> str:
    """The page's text."""
    tests = marked_tests()
    lines = [
        "# Reliability",
        "",
        "What diffhpo promises, what it does when something goes wrong, and the tests that show it.",
        "`tests/faults/reliability_page.py` writes this page.",
        "",
        "## Promises",
        "",
        *(f"{number}. {promise}" for number, promise in enumerate(PROMISES, 1)),
        "",
        "## Faults",
        "",
        "| | what goes wrong | what you get | tests, under `tests/` |",
        "|---|---|---|---|",
    ]
    for row, (fault, outcome) in ROWS.items():
        shown = "<br>".join(f"`{name}`" for name in tests.get(row, []))
        lines.append(f"| {row} | {fault} | {outcome} | {shown} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
