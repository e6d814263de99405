# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import subprocess
import sys

import pytest

#: Interrupts the evaluation of endless trials in two threads at every line of the first few in turn.
INTERRUPTED = """
import concurrent.futures, faulthandler, os, signal, sys, threading
from concurrent.futures import ThreadPoolExecutor
from diffhpo import evaluation
from diffhpo.trial import Suggestion

traced = (evaluation.__file__, threading.__file__, os.path.dirname(concurrent.futures.__file__))

def interrupt_at(place):
    count = number = 0
    def following():
        nonlocal number
        number += 1
        return Suggestion(number, {}) if number < 5 else None
    def line(frame, event, argument):
        nonlocal count
        if event == "line":
            count += 1
            if count == place:
                sys.settrace(None)
                os.kill(os.getpid(), signal.SIGINT)
                return None
        return line
    pool = ThreadPoolExecutor(2)
    sys.settrace(lambda frame, event, argument: line if frame.f_code.co_filename.startswith(traced) else None)
    try:
        evaluation._at_once(
            pool, 2, lambda _: 0.0, following, lambda raw, _: raw(), lambda suggestion, value: None
        )
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(None)
        pool.shutdown(wait=True, cancel_futures=True)
    return count < place

signal.signal(signal.SIGINT, signal.default_int_handler)
place = 0
while True:
    place += 1
    faulthandler.dump_traceback_later(20, exit=True)
    assert interrupt_at(place), f"an interrupt at line {place} was lost"
    if place > 400:
        break
"""


@pytest.mark.fault(36)
def test_an_interrupt_at_any_line_leaves_no_thread_behind() -> None:
    """One inside the pool's `submit` would leave a lock taken that its threads need, and they never end."""
    done = subprocess.run([sys.executable, "-c", INTERRUPTED], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
