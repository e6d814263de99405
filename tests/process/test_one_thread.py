# SPDX-License-Identifier: Apache-2.0
import threading

import numpy as np  # noqa: F401 - brings a BLAS
import scipy.linalg  # noqa: F401 - and another
import torch
from threadpoolctl import threadpool_info, threadpool_limits

from diffhpo.process.one_thread import one_thread


def blas_threads():
    return {found["num_threads"] for found in threadpool_info() if found["user_api"] == "blas"}


def test_the_callers_numbers_come_back():
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        with threadpool_limits(2, user_api="blas"):
            with one_thread(), one_thread():
                assert (torch.get_num_threads(), blas_threads()) == (1, {1})
            assert (torch.get_num_threads(), blas_threads()) == (3, {2})
    finally:
        torch.set_num_threads(before)


def test_a_thread_that_leaves_does_not_give_threads_to_one_that_is_still_inside():
    """Two suggestions at once, as Optuna's n_jobs makes them: the first ends while the second computes."""
    entered, left = threading.Event(), threading.Event()
    seen = []

    def second():
        with one_thread():
            entered.set()
            left.wait(20)
            seen.append((torch.get_num_threads(), blas_threads()))

    with threadpool_limits(2, user_api="blas"):
        with one_thread():
            thread = threading.Thread(target=second)
            thread.start()
            assert entered.wait(20)
        left.set()
        thread.join(20)
        assert seen == [(1, {1})]
        assert blas_threads() == {2}


def test_any_thread_has_one_thread_and_gives_the_number_back():
    """threadpoolctl lets the first thread that set OpenBLAS's number keep others from it."""
    seen = []

    def inside():
        with one_thread():
            seen.append((torch.get_num_threads(), blas_threads()))
        seen.append(blas_threads())

    with threadpool_limits(2, user_api="blas"):
        with one_thread():
            pass
        for _ in range(2):
            thread = threading.Thread(target=inside)
            thread.start()
            thread.join(20)
        inside()
    assert seen == [(1, {1}), {2}] * 3
