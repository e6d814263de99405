# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
from tests.interrupts_at_every_line import run_interrupted

#: The making of two records, in threads in place of processes; the second has no end.
RECORDS = """
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from diffhpo.study import process_records

class Slot:
    def __init__(self, grid):
        self.executor, self.ended = ThreadPoolExecutor(1), threading.Event()
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

def make():
    for record in process_records.process_records(None, deque(range(2)), 1):
        threading.Timer(0, os.kill, (os.getpid(), signal.SIGINT)).start()  # the next has no end

place = 0
while True:
    place += 1
    count, raised = interrupted_at(place, make, process_records)
    assert raised, f"an interrupt at line {place} was lost"
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if count < place:
        break
print(place)
"""


@pytest.mark.fault(36)
def test_an_interrupt_at_any_line_ends_the_run() -> None:
    """One inside `concurrent.futures` would leave the lock of a run's future taken, and closing hang."""
    assert int(run_interrupted(RECORDS)) > 100
