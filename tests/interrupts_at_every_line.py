# SPDX-License-Identifier: Apache-2.0
"""Ctrl-C at every line of a call in turn, in another Python process."""

from __future__ import annotations

import subprocess
import sys

#: What a script of `run_interrupted` finds: `interrupted_at(place, call, *modules)` sends SIGINT when `call`
#: executes that line, counted from 1, of the modules, of `threading` or of `concurrent.futures`; it gives the
#: number of lines up to there, and whether KeyboardInterrupt came of it.
_INTERRUPTED_AT = """
import concurrent.futures, faulthandler, os, signal, sys, threading

signal.signal(signal.SIGINT, signal.default_int_handler)

def interrupted_at(place, call, *modules):
    futures = os.path.dirname(concurrent.futures.__file__)
    files = (futures, threading.__file__, *(module.__file__ for module in modules))
    count, raised = 0, False
    def line(frame, event, argument):
        nonlocal count
        if event == "line":
            count += 1
            if count == place:
                sys.settrace(None)
                os.kill(os.getpid(), signal.SIGINT)
                return None
        return line
    faulthandler.dump_traceback_later(20, exit=True)
    sys.settrace(lambda frame, event, argument: line if frame.f_code.co_filename.startswith(files) else None)
    try:
        call()
    except KeyboardInterrupt:
        raised = True
    finally:
        sys.settrace(None)
    return count, raised
"""


def run_interrupted(script: str) -> str:
    """What a script prints that calls `interrupted_at`; it fails where a call hangs for 20 seconds."""
    done = subprocess.run(
        [sys.executable, "-c", _INTERRUPTED_AT + script], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
