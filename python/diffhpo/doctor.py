# SPDX-License-Identifier: Apache-2.0
"""What is installed, which executor runs and why: the facts that a bug report needs."""

from __future__ import annotations

import os
from typing import Any

from diffhpo.study.environment import machine, versions


def examine() -> dict[str, Any]:
    """Facts about this installation, as JSON values.

    Example:
        >>> sorted(examine())
        ['cache', 'executors', 'machine', 'threads', 'versions']
    """
    import torch

    from diffhpo.hpob.fetch import cache_directory
    from diffhpo.kernels.executors import describe

    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {
        "versions": versions(),
        "machine": {**machine(), "gpu": gpu},
        "threads": {"torch": torch.get_num_threads(), "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS")},
        "executors": describe(),
        "cache": str(cache_directory()),
    }
