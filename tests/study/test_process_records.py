# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import subprocess
import sys

import pytest

#: Interrupts the making of two records, in threads in place of processes, at every line of it in turn.
INTERRUPTED = """
import concurrent.futures, faulthandler, os, signal, sys, threading
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from diffhpo.study import process_records

class Slot:
    def __init__(self, grid):
        self.executor, self.ended = ThreadPoolExecutor(1), threading.Event()
        made.append(self)
    def submit(self, cell):
        return self.executor.submit(self.record, cell)
    def record(self, cell):
        if cell:
            self.ended.wait()
        return {"cell": cell}
    def kill(self):
        self.ended.set()
    def close(self):
        self.executor.shutdown(wait=True)

process_records._Slot = Slot
process_records.versions = process_records.machine = dict
traced = (process_records.__file__, threading.__file__, os.path.dirname(concurrent.futures.__file__))

def interrupt_at(place):
    count = 0
    def line(frame, event, argument):
        nonlocal count
        if event == "line":
            count += 1
            if count == place:
                sys.settrace(None)
                os.kill(os.getpid(), signal.SIGINT)
                return None
        return line
    sys.settrace(lambda frame, event, argument: line if frame.f_code.co_filename.startswith(traced) else None)
    records = []
    try:
        for record in process_records.process_records(None, deque(range(2)), 1):
            records.append(record["cell"])
            if records:
                threading.Timer(0, os.kill, (os.getpid(), signal.SIGINT)).start()  # the next has no end
    except KeyboardInterrupt:
        return count
    finally:
        sys.settrace(None)
    raise AssertionError(f"an interrupt at line {place} was lost")

place = 0
signal.signal(signal.SIGINT, signal.default_int_handler)
while True:
    made, place = [], place + 1
    faulthandler.dump_traceback_later(20, exit=True)
    count = interrupt_at(place)
    for slot in made:
        slot.ended.set()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if count < place:
        break
print(place)
"""


@pytest.mark.fault(36)
def test_an_interrupt_at_any_line_ends_the_run() -> None:
    """One inside `concurrent.futures` would leave the lock of a run's future taken, and closing hang."""
    done = subprocess.run([sys.executable, "-c", INTERRUPTED], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 100
