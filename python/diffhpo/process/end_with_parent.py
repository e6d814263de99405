# SPDX-License-Identifier: Apache-2.0
"""Worker processes that end when their parent does."""

from __future__ import annotations

import multiprocessing
import os
import threading


def end_with_parent() -> None:
    """Let this process end as soon as its parent has ended, however that came about.

    A pool's workers wait on a pipe that they hold open themselves: without this they outlive a parent that
    was killed.
    """
    threading.Thread(target=_wait, name="end-with-parent", daemon=True).start()


def _wait() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
