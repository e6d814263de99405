# SPDX-License-Identifier: Apache-2.0
import importlib
import sys
import threading

import numpy as np  # noqa: F401 - brings a BLAS
import scipy.linalg  # noqa: F401 - and another
import torch
from threadpoolctl import threadpool_info, threadpool_limits

from diffhpo.process.one_thread import one_thread

#: The package exports nothing, and the module has the name of its function.
module = importlib.import_module("diffhpo.process.one_thread")


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


def test_the_blas_libraries_are_looked_for_again_after_an_import(monkeypatch):
    made = []

    class Controller:
        def __init__(self):
            made.append(self)

    monkeypatch.setattr(module, "ThreadpoolController", Controller)
    monkeypatch.setattr(module, "_controller", None)
    assert module._blas() is module._blas()
    monkeypatch.setitem(sys.modules, "a library with a BLAS of its own", sys)
    assert module._blas() is module._blas()
    monkeypatch.delitem(sys.modules, "a library with a BLAS of its own")
    assert module._blas() is module._blas() is made[-1]
    assert len(made) == 3


def test_when_the_process_ends_daemon_threads_begin_no_suggestion(monkeypatch):
    monkeypatch.setattr(module, "_closing", False)
    module._close()
    entered = threading.Event()

    def suggest():
        with one_thread():
            entered.set()

    threading.Thread(target=suggest, daemon=True).start()
    assert not entered.wait(0.3)
    with one_thread():  # what atexit runs after us may suggest
        pass


def test_the_process_waits_for_a_suggestion_that_goes_on_but_not_for_ever(monkeypatch):
    monkeypatch.setattr(module, "_closing", False)
    waited = []
    monkeypatch.setattr(module._setting, "wait_until_left", waited.append)
    module._close()
    assert waited == [module.PATIENCE]
    assert 10 <= module.PATIENCE <= 60
