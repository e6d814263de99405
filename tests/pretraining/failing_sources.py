# SPDX-License-Identifier: Apache-2.0
"""Sources of functions that fail in the process that draws; picklable."""

import os
import signal
import time
from dataclasses import dataclass


@dataclass(frozen=True)
class Ending:
    """Its process ends itself, as the system does when memory is out."""

    def __call__(self):
        return lambda *_: os.kill(os.getpid(), signal.SIGKILL)


@dataclass(frozen=True)
class Slow:
    """It takes longer than anyone waits."""

    seconds: float

    def __call__(self):
        return lambda *_: time.sleep(self.seconds)
