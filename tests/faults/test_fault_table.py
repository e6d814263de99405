# SPDX-License-Identifier: Apache-2.0
"""Every row of the fault table has a test, and the page in docs says which."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import reliability_page
from fault_rows import ROWS


def test_every_row_has_a_test():
    tests = reliability_page.marked_tests()
    assert sorted(ROWS) == list(range(1, 41))
    assert [row for row in ROWS if row not in tests] == []
    assert set(tests) <= set(ROWS)


def test_the_page_is_current():
    written = reliability_page.PAGE.read_text(encoding="utf-8")
    assert written == reliability_page.page(), "run `python tests/faults/reliability_page.py`"
