# SPDX-License-Identifier: Apache-2.0
"""Devices that are not there, are another, or run out of memory."""

import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from diffhpo import History
from diffhpo.errors import BackendError, InputError
from diffhpo.model import Denoiser, Network
from diffhpo.pretrained_policy import PretrainedPolicy

cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")


@pytest.mark.fault(22)
@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_22_cuda_asked_for_and_not_there():
    history = History([[0.1], [0.5], [0.9]], [0.0, 1.0, 0.2])
    with pytest.raises(BackendError, match=r"executor cuda is not available.*`diffhpo doctor`"):
        PretrainedPolicy(executor="cuda").suggest(history)
    with pytest.raises(BackendError, match="not available"):
        Denoiser(Network(2, width=16)).sample(None, 3, executor="cuda")


@pytest.mark.fault(22)
def test_22_imports_do_not_need_a_device():
    script = "import diffhpo, diffhpo.model, diffhpo.kernels.ops, diffhpo.optimizer; print('fine')"
    run = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": "9"},
        check=True,
    )
    assert run.stdout.strip() == "fine"


@pytest.mark.fault(21)
def test_21_a_network_on_another_device_than_the_executor():
    network = Network(2, width=16).to("meta")
    with pytest.raises((InputError, BackendError), match="meta"):
        Denoiser(network).sample(None, 3, executor="cpu")


@pytest.mark.fault(21)
@cuda
def test_21_trials_on_the_gpu_are_taken_from_it():
    x = torch.rand(5, 2, dtype=torch.float64)
    here = PretrainedPolicy().suggest(History(x, x.sum(1)))
    there = PretrainedPolicy().suggest(History(x.cuda(), x.sum(1).cuda()))
    np.testing.assert_array_equal(here, there)


@pytest.mark.fault(23)
@cuda
def test_23_memory_that_runs_out_is_an_error_and_the_next_call_works():
    denoiser = Denoiser(Network(4, width=64).cuda())
    blocked = torch.empty(int(torch.cuda.mem_get_info()[0] * 0.98), dtype=torch.uint8, device="cuda")
    try:
        with pytest.raises((BackendError, torch.cuda.OutOfMemoryError)):
            denoiser.sample(None, 2**28, executor="cuda", steps=2)
    finally:
        del blocked
        torch.cuda.empty_cache()
    assert denoiser.sample(None, 8, executor="cuda", steps=2).isfinite().all()
