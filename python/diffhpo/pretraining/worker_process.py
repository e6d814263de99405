# SPDX-License-Identifier: Apache-2.0
"""What a process that works for a training run begins with."""

from __future__ import annotations

import signal

import torch

from diffhpo.process.end_with_parent import end_with_parent


def begin_worker() -> None:
    """End with the parent, leave Ctrl-C to it, which then saves, and use one core."""
    end_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
