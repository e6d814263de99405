# SPDX-License-Identifier: Apache-2.0
"""The same suggestions whatever runs them, and a state that no interruption changes."""

import copy
import os
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import torch

from diffhpo import Categorical, Float, Int, Optimizer, Space
from diffhpo.kernels.ops import native_isas
from diffhpo.model import Denoiser, Network
from diffhpo.pretrained_policy import PretrainedPolicy

SPACE = Space({"lr": Float(1e-4, 1.0, log=True), "depth": Int(1, 9), "kind": Categorical("abc")})

SCRIPT = """
import sys
import torch
torch.set_num_threads(int(sys.argv[1]))
from diffhpo import Categorical, Float, Int, Optimizer, Space
space = Space({"lr": Float(1e-4, 1.0, log=True), "depth": Int(1, 9), "kind": Categorical("abc")})
optimizer = Optimizer(space, seed=5)
for configuration in space.sample(12, seed=1):
    optimizer.tell(configuration, configuration["lr"] * configuration["depth"])
print(optimizer.ask(3), optimizer.ask(1))
"""


def suggestions():
    optimizer = Optimizer(SPACE, seed=5)
    for configuration in SPACE.sample(12, seed=1):
        optimizer.tell(configuration, configuration["lr"] * configuration["depth"])
    return f"{optimizer.ask(3)} {optimizer.ask(1)}"


@pytest.mark.fault(35)
@pytest.mark.parametrize(("threads", "hashing"), [(1, "0"), (2, "1"), (16, "random")])
def test_35_threads_and_processes(threads, hashing):
    environment = {**os.environ, "PYTHONHASHSEED": hashing, "OMP_NUM_THREADS": str(threads)}
    run = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(threads)],
        capture_output=True,
        text=True,
        check=True,
        env=environment,
    )
    assert run.stdout.strip() == suggestions()


def assert_threads_change_nothing():
    before = torch.get_num_threads()
    found = []
    try:
        for threads in (1, 2, 16):
            torch.set_num_threads(threads)
            found.append(suggestions())
    finally:
        torch.set_num_threads(before)
    assert found[0] == found[1] == found[2]


@pytest.mark.fault(35)
def test_35_threads_in_one_process():
    assert_threads_change_nothing()


@pytest.mark.fault(35)
def test_35_candidates_do_not_depend_on_how_many_are_drawn():
    x = np.random.default_rng(0).random((9, 3))
    policy = PretrainedPolicy(seed=0)
    optimizer = Optimizer(Space({k: Float(0, 1) for k in "abc"}), policy=policy)
    for row in x:
        optimizer.tell(dict(zip("abc", row.tolist(), strict=True)), float(-((row - 0.4) ** 2).sum()))
    run = policy.read(optimizer.history)
    whole = run.generate(40, seed=3, steps=10)
    for count in (1, 7, 39):
        assert torch.equal(whole[:count], run.generate(count, seed=3, steps=10))


@pytest.mark.fault(35)
@pytest.mark.parametrize("isa", native_isas(runnable=True))
def test_35_threads_on_every_instruction_set(isa, monkeypatch):
    monkeypatch.setenv("DIFFHPO_ISA", isa)
    assert_threads_change_nothing()


@pytest.mark.fault(35)
def test_35_instruction_sets_agree_within_the_stated_bound():
    """docs/numerics.md: each is at most twice as far from float64 as torch in float32."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = Network(6, width=64, blocks=2)
    exact = Denoiser(copy.deepcopy(network).double())
    denoiser = Denoiser(network)

    def sample(executor, of=denoiser):
        return of.sample(None, 200, seed=3, steps=50, executor=executor).double()

    bound = 2 * 2 * (sample("reference") - sample("reference", exact)).abs().mean()
    found = {isa: sample(f"cpu-{isa}") for isa in native_isas(runnable=True)}
    for one in found:
        for other in found:
            assert (found[one] - found[other]).abs().mean() <= bound, (one, other)
    assert 0 < bound < 1e-5


@pytest.mark.fault(34)
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_34_a_forked_child_suggests_the_same():
    script = SCRIPT + textwrap.dedent(
        """
        import os
        sys.stdout.flush()
        first = str(Optimizer(space, seed=1).ask(2))
        optimizer.tell(space.sample(1, seed=8)[0], 1.0)
        mine = str(optimizer.policy.suggest(optimizer.history, 2, snap=space.snap).tolist())
        child = os.fork()
        if child == 0:
            same = mine == str(optimizer.policy.suggest(optimizer.history, 2, snap=space.snap).tolist())
            os._exit(0 if same else 3)
        _, status = os.waitpid(child, 0)
        sys.exit(os.waitstatus_to_exitcode(status))
        """
    )
    run = subprocess.run([sys.executable, "-c", script, "2"], capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stderr


@pytest.mark.fault(36)
@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")
def test_36_an_interrupt_during_ask_leaves_the_state(monkeypatch):
    optimizer = Optimizer(SPACE, seed=5)
    for configuration in SPACE.sample(12, seed=1):
        optimizer.tell(configuration, configuration["lr"])
    optimizer.enqueue(SPACE.sample(1, seed=77))
    trials, queue = optimizer.trials, len(optimizer._queue)
    scored = PretrainedPolicy._panel

    def interrupted(self, *arguments):
        signal.raise_signal(signal.SIGINT)
        return scored(self, *arguments)

    monkeypatch.setattr(PretrainedPolicy, "_panel", interrupted)
    with pytest.raises(KeyboardInterrupt):
        optimizer.ask(3)
    monkeypatch.undo()
    assert optimizer.trials == trials
    assert len(optimizer._queue) == queue
    undisturbed = Optimizer(SPACE, seed=5)
    for configuration in SPACE.sample(12, seed=1):
        undisturbed.tell(configuration, configuration["lr"])
    undisturbed.enqueue(SPACE.sample(1, seed=77))
    assert optimizer.ask(3) == undisturbed.ask(3)
