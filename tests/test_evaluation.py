# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
from tests.interrupts_at_every_line import run_interrupted

#: The evaluation of four trials in two threads.
EVALUATIONS = """
from concurrent.futures import ThreadPoolExecutor
from diffhpo import evaluation
from diffhpo.trial import Suggestion

for place in range(1, 402):
    waiting = [Suggestion(number, {}) for number in range(4)]
    with ThreadPoolExecutor(2) as pool:
        count, raised = interrupted_at(
            place,
            lambda: evaluation._at_once(
                pool,
                2,
                lambda _: 0.0,
                lambda: waiting.pop() if waiting else None,
                lambda raw, _: raw(),
                lambda suggestion, value: None,
            ),
            evaluation,
        )
    assert raised or count < place, f"an interrupt at line {place} was lost"
"""


@pytest.mark.fault(36)
def test_an_interrupt_at_any_line_leaves_no_thread_behind() -> None:
    """One inside the pool's `submit` would leave a lock taken that its threads need, and they never end."""
    run_interrupted(EVALUATIONS)
