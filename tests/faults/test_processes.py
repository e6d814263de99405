# SPDX-License-Identifier: Apache-2.0
"""Shutdown, signals, forks and sub-interpreters while native code runs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from tests.other_process import started

from diffhpo.model.universal.model import UniversalModel

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")

#: A limit against hanging, not a measure of time.
HANG = 120

NATIVE = """
import os, signal, sys, threading, time
import torch
from diffhpo.model.denoiser import Denoiser
from diffhpo.model.network import Network
torch.manual_seed(0)
denoiser = Denoiser(Network(16, width=128, blocks=4))
def sample(n, threads=1, steps=1000):
    return denoiser.sample(None, n, executor="cpu", threads=threads, steps=steps)
few = sample(3, steps=2)
"""

ASKING = """
import os, signal, sys, threading, time
from diffhpo import Float, Optimizer, Space
space = Space({"a": Float(0, 1), "b": Float(0, 1)})
def told(seed=0):
    optimizer = Optimizer(space, seed=seed)
    for configuration in space.sample(8, seed=1):
        optimizer.tell(configuration, configuration["a"])
    return optimizer
told().ask()
"""


def run(script: str, *arguments: str, **more: object) -> subprocess.CompletedProcess[str]:
    """A script in a new interpreter, killed if it hangs."""
    return subprocess.run(  # type: ignore[call-overload, no-any-return]
        [sys.executable, "-c", script, *arguments],
        **{"capture_output": True, "text": True, "timeout": HANG, **more},
    )


def assert_prints(line: str, script: str) -> None:
    """A script ends well, and this is all that it says."""
    done = run(script)
    assert (done.returncode, done.stdout) == (0, f"{line}\n"), done.stderr
    assert "terminate" not in done.stderr


@pytest.mark.fault(36)
def test_36_the_interpreter_ends_during_native_calls() -> None:
    """The daemons come back from their call, or look for signals in it, when there is no interpreter."""
    assert_prints(
        "end",
        NATIVE
        + """
def work(steps):
    while True: sample(2000, 2, steps)
for steps in (100, 1000, 1000):
    threading.Thread(target=work, args=(steps,), daemon=True).start()
time.sleep(0.5)
print("end", flush=True)
""",
    )


@pytest.mark.fault(36)
def test_36_the_interpreter_ends_during_ask() -> None:
    assert_prints(
        "end",
        ASKING
        + """
def work():
    optimizer = told()
    while True: optimizer.ask(4)
threading.Thread(target=work, daemon=True).start()
time.sleep(0.3)
print("end", flush=True)
""",
    )


@pytest.mark.fault(36)
def test_36_what_a_handler_raises_leaves_a_native_call_whole() -> None:
    assert_prints(
        "from the handler\nwhole",
        NATIVE
        + """
class Late(Exception): pass
def raises(*_): raise Late("from the handler")
signal.signal(signal.SIGALRM, raises)
signal.setitimer(signal.ITIMER_REAL, 0.3)
try:
    sample(10**6, 2)
except Late as error:
    print(error)
assert torch.equal(few, sample(3, steps=2))
print("whole")
""",
    )


@pytest.mark.fault(36)
def test_36_a_handler_that_returns_changes_nothing() -> None:
    """SIGCHLD, SIGUSR1 and a timer arrive all the time; a handler may use the package itself."""
    assert_prints(
        "same",
        NATIVE
        + """
calls = []
def handler(number, frame):
    calls.append(number)
    if len(calls) == 3:
        assert torch.equal(few, sample(3, steps=2))
undisturbed = sample(600, 2, 200)
for number in (signal.SIGALRM, signal.SIGCHLD):
    signal.signal(number, handler)
signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)
child = os.fork()
if child == 0:
    time.sleep(0.05)
    os._exit(0)
while signal.SIGCHLD not in calls or len(calls) < 5:
    assert torch.equal(undisturbed, sample(600, 2, 200))
signal.setitimer(signal.ITIMER_REAL, 0)
print("same")
""",
    )


@pytest.mark.fault(36)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_36_a_signal_that_ends_a_process_ends_it_in_a_native_call(number: signal.Signals) -> None:
    process = started("-c", NATIVE + "print('ready', flush=True)\nsample(10**7, 2)\n", says="ready")
    try:
        process.send_signal(number)
        assert process.wait(HANG) == -number
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.mark.fault(36)
def test_36_an_exception_of_a_handler_during_ask_and_run_leaves_the_state() -> None:
    assert_prints(
        "same",
        ASKING
        + """
class Late(Exception): pass
def raises(*_): raise Late
signal.signal(signal.SIGALRM, raises)
optimizer, late = told(), 0
for delay in (0.001, 0.003, 0.01, 0.02, 0.03, 0.05, 0.1):
    trials = optimizer.trials
    try:
        signal.setitimer(signal.ITIMER_REAL, delay)
        optimizer.ask(3)
        signal.setitimer(signal.ITIMER_REAL, 0)
    except Late:
        late += 1
        assert optimizer.trials == trials
        continue
    optimizer = told()
assert late, "no signal came in time"
assert optimizer.ask(3) == told().ask(3)
print("same")
""",
    )


@pytest.mark.fault(36)
def test_36_what_a_handler_raises_while_weights_are_copied_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    """torch made a RuntimeError of it, and `ask` raised that."""

    class LateError(Exception):
        pass

    def interrupted(*_: object) -> None:
        raise LateError

    network = UniversalModel(width=16).network
    monkeypatch.setattr(torch.Tensor, "copy_", interrupted)
    with pytest.raises(LateError):
        network.unwritten(2)


@pytest.mark.fault(34)
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_34_forks_after_native_threads_and_from_another_thread() -> None:
    """multiprocessing's fork and os.fork, also while another thread is inside a suggestion."""
    assert_prints(
        "same",
        NATIVE
        + ASKING
        + """
import multiprocessing, warnings
warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 on: fork with threads
undisturbed, asked = sample(200, 2, 100), told().ask(2)
def same(_):
    return torch.equal(undisturbed, sample(200, 2, 100)) and told().ask(2) == asked
with multiprocessing.get_context("fork").Pool(2) as pool:
    assert pool.map(same, range(4)) == [True] * 4
from diffhpo.process import one_thread
for inside in (one_thread.one_thread(), one_thread._setting._lock):
    entered, leave = threading.Event(), threading.Event()
    def hold():
        with inside:
            entered.set()
            leave.wait()
    thread = threading.Thread(target=hold)
    thread.start()
    entered.wait()
    child = os.fork()
    if child == 0:
        torch.set_num_threads(2)
        assert same(0)
        os._exit(0 if torch.get_num_threads() == 2 else 3)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    leave.set()
    thread.join()
print("same")
""",
    )


SUBINTERPRETER = """
import sys
try:
    import _interpreters as interpreters
except ImportError:
    import _xxsubinterpreters as interpreters
if sys.argv[2] == "after":
    from diffhpo import Float, Optimizer, Space
    Optimizer(Space({"a": Float(0, 1)})).ask(6)
made = interpreters.create()
try:
    failure = interpreters.run_string(made, sys.argv[1])
except Exception as error:
    failure = error
print(failure)
"""


@pytest.mark.fault(37)
@pytest.mark.parametrize(("script", "when"), [("import diffhpo", "first"), ("import diffhpo._C", "after")])
def test_37_a_sub_interpreter_is_refused(script: str, when: str) -> None:
    pytest.importorskip("_xxsubinterpreters" if sys.version_info < (3, 13) else "_interpreters")
    done = run(SUBINTERPRETER, script, when)
    assert done.returncode == 0, done.stderr
    assert "InterpreterError" in done.stdout
    assert "use processes instead" in done.stdout


def test_a_lock_is_not_inherited_by_a_forked_child(tmp_path: Path) -> None:
    done = run(
        """
import os, sys, time
from pathlib import Path
from diffhpo.files.run_lock import RunLock
lock = RunLock(Path(sys.argv[1]), "it")
ready, told = os.pipe()
if os.fork() == 0:
    os.write(told, b"x")
    time.sleep(60)
    os._exit(0)
os.read(ready, 1)
os.kill(os.getpid(), 9)
""",
        str(tmp_path / "lock"),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        capture_output=False,
    )
    assert done.returncode == -signal.SIGKILL
    from diffhpo.files.run_lock import RunLock

    begun = time.monotonic()
    with RunLock(tmp_path / "lock", "it") as lock:
        assert "which has died" in lock.notice
    assert time.monotonic() - begun < 30
