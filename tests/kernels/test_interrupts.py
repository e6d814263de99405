# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time

import pytest

_SAMPLING = """
import sys, time
from diffhpo.model.denoiser import Denoiser
from diffhpo.model.network import Network
denoiser = Denoiser(Network(16, width=128, blocks=4))
denoiser.sample(None, 1, executor="cpu", steps=2)
print("ready", flush=True)
try:
    denoiser.sample(None, 200000, executor="cpu", threads=int(sys.argv[1]))
except KeyboardInterrupt:
    print("interrupted", time.time(), flush=True)
    assert denoiser.sample(None, 3, executor="cpu", steps=2).shape == (3, 16)
    print("whole", flush=True)
"""

_TRAINING = """
import time, torch
from diffhpo.history import History
from diffhpo.model import Network, Sampler, Trainer, Transformer
def trainer():
    torch.manual_seed(0)
    return Trainer(Network(4), Transformer(4), batch=64, executor="cpu")
sampler = Sampler(History(torch.rand(40, 4, generator=torch.Generator().manual_seed(0)), list(range(40))))
ours = trainer()
print("ready", flush=True)
try:
    ours.fit(sampler, 10**6)
except KeyboardInterrupt:
    print("interrupted", time.time(), flush=True)
    again = trainer()
    again.fit(sampler, ours.step)
    assert 0 < ours.step == len(ours.losses) and ours.losses == again.losses
    assert all(torch.equal(a, b) for a, b in zip(ours._loss.parameters(), again._loss.parameters()))
    print("whole", flush=True)
"""


@pytest.mark.fault(36)
@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")
@pytest.mark.parametrize(
    "script",
    [
        pytest.param((_SAMPLING, "1"), id="sampling-1-thread"),
        pytest.param((_SAMPLING, "2"), id="sampling-2-threads"),
        pytest.param((_TRAINING,), id="training"),
    ],
)
def test_ctrl_c_ends_a_native_call_at_once_and_leaves_it_whole(script: tuple[str, ...]) -> None:
    process = subprocess.Popen([sys.executable, "-c", *script], stdout=subprocess.PIPE, text=True)
    watchdog = threading.Timer(60, process.kill)
    watchdog.start()
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        time.sleep(0.3)
        sent = time.time()
        process.send_signal(signal.SIGINT)
        word, _, at = process.stdout.readline().partition(" ")
        assert word == "interrupted"
        assert float(at) - sent < 0.5  # 0.1 s on a machine that does nothing else
        assert process.stdout.readline() == "whole\n"
        assert process.wait(20) == 0
    finally:
        watchdog.cancel()
        process.kill()
        process.wait()
        process.stdout.close()
