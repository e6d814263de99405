# SPDX-License-Identifier: Apache-2.0
"""The page that names the origin and licence of every table."""

from __future__ import annotations

from typing import Any

_HEAD = """# Sources of the embedded suite

The evaluations, surrogates and initial designs in this folder were computed by this project (Apache-2.0)
with XGBoost on the tables below. None of the tables is included. OpenML's tables are used under CC-BY 4.0:
they are due to their original donors and to OpenML (Vanschoren et al., "OpenML: networked science in machine
learning", SIGKDD Explorations 15(2), 2013). What was changed: large tables were cut to a random part of
their rows, and categories were coded as numbers. Scikit-learn's bundled tables come under its BSD-3-Clause
licence. The search space follows space 5971 of HPO-B (Pineda-Arango et al., arXiv 2106.06257, MIT).

| split | task | rows used / in source | classes | source | licence |
|---|---|---|---|---|---|
"""


def sources_page(descriptions: dict[str, dict[str, Any]]) -> str:
    """The Markdown page from the tasks' descriptions."""
    rows = [
        f"| {d['split']} | {task} | {d['rows']} / {d['rows_in_source']} | {d['classes']} | {d['source']} "
        f"| {d['licence']} |\n"
        for task, d in descriptions.items()
    ]
    return _HEAD + "".join(rows)
