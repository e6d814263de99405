# SPDX-License-Identifier: Apache-2.0
"""What `one_thread` and `torch_defaults` have in common; the fault tests hold it where suggestions run."""

import os
import threading
import warnings

import pytest

from diffhpo.process.shared_setting import SharedSetting


@pytest.fixture
def level():
    """A setting of the process: 0, raised to 1 by `setting`."""
    return [0]


@pytest.fixture
def setting(level):
    def change():
        before = level[0]

        def restore():
            level[0] = before

        return restore

    def enter():
        level[0] = 1

    return SharedSetting(change, enter)


def hold(setting):
    """Another thread inside: events to let it leave and for its having entered, and the thread."""
    entered, leave = threading.Event(), threading.Event()

    def inside():
        with setting:
            entered.set()
            leave.wait(20)

    thread = threading.Thread(target=inside)
    thread.start()
    assert entered.wait(20)
    return leave, thread


def test_the_last_to_leave_restores_whichever_came_first(level, setting):
    leave, thread = hold(setting)
    with setting:
        leave.set()
        thread.join(20)
        assert level == [1]
    assert level == [0]
    leave, thread = hold(setting)
    with setting:
        pass
    assert level == [1]
    leave.set()
    thread.join(20)
    assert level == [0]


def test_one_who_enters_later_finds_it_changed_whatever_was_set_meanwhile(level, setting):
    with setting:
        level[0] = 7
        with setting:
            assert level == [1]
    assert level == [0]


def test_a_failed_call_leaves_too(level, setting):
    with pytest.raises(ZeroDivisionError), setting:
        raise ZeroDivisionError
    assert level == [0]


def test_waiting_ends_when_nobody_is_inside(level, setting):
    leave, thread = hold(setting)
    setting.wait_until_left(0.01)
    assert level == [1]  # its patience was over
    waiting = threading.Thread(target=setting.wait_until_left, args=[1e6], daemon=True)
    waiting.start()
    leave.set()
    waiting.join(60)
    assert not waiting.is_alive()
    assert level == [0]
    thread.join(20)


def exit_code_of_a_child(child):
    """The exit code of a forked child: what `child` returns there."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 on: fork with threads
        number = os.fork()
    if number == 0:
        code = 99
        try:
            code = child()
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(number, 0)[1])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_leaves_what_other_threads_had_entered(level, setting):
    leave, thread = hold(setting)

    def child():
        seen = [level[0]]
        with setting:
            seen.append(level[0])
        return 0 if [*seen, level[0]] == [0, 1, 0] else 1

    assert exit_code_of_a_child(child) == 0
    leave.set()
    thread.join(20)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_child_forked_inside_stays_inside_until_it_leaves(level, setting):
    """A signal handler or a callback that forks: the count of the child was once one too low ever after."""
    leave, thread = hold(setting)

    def child():
        seen = [level[0]]
        setting.__exit__()
        seen.append(level[0])
        setting.__exit__()
        seen.append(level[0])
        with setting:
            seen.append(level[0])
        return 0 if [*seen, level[0]] == [1, 1, 0, 1, 0] else 1

    with setting, setting:
        assert exit_code_of_a_child(child) == 0
    leave.set()
    thread.join(20)
    assert level == [0]
