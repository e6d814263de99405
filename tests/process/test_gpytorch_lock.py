# SPDX-License-Identifier: Apache-2.0
"""Suggestions in several threads at once: GPyTorch's settings belong to the process."""

import os
import sys
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from gpytorch import settings
from tests.quadratic_history import quadratic_history

from diffhpo.acquisition import climb_acquisition, maximise_acquisition, score_candidates, select_batch
from diffhpo.baselines.deep_kernel import fit_deep_kernel
from diffhpo.baselines.q_log_ei import QLogEI
from diffhpo.gaussian_process import fit_gaussian_process
from diffhpo.process.gpytorch_lock import gpytorch_lock

SEEN, POINTS = quadratic_history(6), np.random.default_rng(1).random((64, 3))
X, Y = torch.tensor(SEEN.x), torch.tensor(SEEN.y)


@pytest.fixture(scope="module")
def model():
    return fit_gaussian_process(X, Y)


CALLS = {
    "fit": lambda _: fit_gaussian_process(X, Y).covar_module.lengthscale.detach().numpy(),
    "scores": lambda model: score_candidates(model, torch.from_numpy(POINTS), SEEN.best).numpy(),
    "climb": lambda model: climb_acquisition(model, torch.from_numpy(POINTS[:4]), SEEN.best).numpy(),
    "maximise": lambda model: maximise_acquisition(model, 3, SEEN.best, raw_samples=32).numpy(),
    "batch": lambda model: select_batch(model, torch.from_numpy(POINTS), 3, SEEN.best).numpy(),
    "qlogei": lambda _: QLogEI().suggest_batch(SEEN.x, SEEN.y, 2),
    "deep kernel": lambda _: fit_deep_kernel(SEEN, seed=0, steps=20).features(POINTS).numpy(),
}


@pytest.mark.fault(35)
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_threads_get_what_one_thread_gets(call, model):
    expected = call(model)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(lambda _: call(model), range(12)))
    finally:
        sys.setswitchinterval(interval)
    for one in found:
        np.testing.assert_array_equal(one, expected)
    assert settings.lazily_evaluate_kernels.is_default()
    assert settings.lazily_evaluate_kernels.on()


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_a_call_waits_until_the_other_thread_has_left(call, model):
    done = threading.Event()
    thread = threading.Thread(target=lambda: (call(model), done.set()))
    with gpytorch_lock():
        thread.start()
        assert not done.wait(0.5)
    assert done.wait(60)
    thread.join(60)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_fork_waits_for_the_thread_inside_and_the_child_can_compute():
    entered, leave, left = threading.Event(), threading.Event(), threading.Event()

    def inside():
        with gpytorch_lock(), settings.lazily_evaluate_kernels(False):
            entered.set()
            leave.wait(20)
        left.set()

    thread = threading.Thread(target=inside)
    thread.start()
    assert entered.wait(20)
    threading.Timer(0.3, leave.set).start()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 on: fork with threads
        child = os.fork()
    if child == 0:
        with gpytorch_lock():
            os._exit(3 if settings.lazily_evaluate_kernels.on() else 4)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 3
    assert left.wait(20)
    thread.join(20)
