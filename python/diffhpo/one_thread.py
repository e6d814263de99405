# SPDX-License-Identifier: Apache-2.0
"""One thread of torch and of BLAS inside a suggestion."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from threadpoolctl import ThreadpoolController


@functools.cache
def _blas() -> ThreadpoolController:
    # Finds numpy's and scipy's libraries, in milliseconds; both are loaded by now.
    return ThreadpoolController()


@contextmanager
def one_thread() -> Iterator[None]:
    """One thread of torch and of BLAS inside: sums are taken in one order, whatever the caller's settings.

    The matrices are too small to gain from more: with two BLAS threads the Gaussian process of 500 trials
    took twice as long. The reverse loop has its own threads.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with _blas().limit(limits=1, user_api="blas"):
            yield
    finally:
        torch.set_num_threads(threads)
