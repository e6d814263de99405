# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator

import pytest

from diffhpo.process.deferred_interrupts import deferred_interrupts


@pytest.fixture(autouse=True)
def pythons_handler() -> Iterator[None]:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    signal.signal(signal.SIGINT, before)


def press() -> None:
    os.kill(os.getpid(), signal.SIGINT)
    for _ in range(20):  # the handler runs between two instructions
        time.sleep(0.001)


def test_it_is_told_and_raised_where_it_is_delivered() -> None:
    told: list[str] = []
    with deferred_interrupts(lambda: told.append("told")) as deliver:
        press()
        assert told == ["told"]
        with pytest.raises(KeyboardInterrupt):
            deliver()
        press()  # a second one, while the first is being dealt with
        assert told == ["told", "told"]
        with pytest.raises(KeyboardInterrupt):
            deliver()


def test_one_that_was_not_delivered_is_raised_on_leaving() -> None:
    done = []

    def leave() -> None:
        with deferred_interrupts():
            press()
            done.append(True)

    with pytest.raises(KeyboardInterrupt):
        leave()
    assert done


def test_without_one_nothing_is_raised() -> None:
    with deferred_interrupts():
        pass


def test_it_is_told_also_where_another_thread_takes_the_signal() -> None:
    leave, told = threading.Event(), []
    thread = threading.Thread(target=leave.wait)
    thread.start()
    try:
        with deferred_interrupts(lambda: told.append(True)) as deliver:
            before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # in this thread alone
            press()
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            assert told
            with pytest.raises(KeyboardInterrupt):
                deliver()
    finally:
        leave.set()
        thread.join(20)


def test_a_handler_of_the_callers_own_is_called_at_delivery_and_stays() -> None:
    calls: list[int] = []

    def own(number: int, _: object) -> None:
        calls.append(number)

    signal.signal(signal.SIGINT, own)
    try:
        with deferred_interrupts() as deliver:
            press()
            assert not calls
            deliver()
            assert calls == [signal.SIGINT]
            press()
            assert calls == [signal.SIGINT]
        assert calls == [signal.SIGINT] * 2
        assert signal.getsignal(signal.SIGINT) is own
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.mark.parametrize("handler", [signal.SIG_IGN, signal.SIG_DFL])
def test_an_ignored_or_deadly_interrupt_stays_so(handler: signal.Handlers) -> None:
    signal.signal(signal.SIGINT, handler)
    try:
        with deferred_interrupts() as deliver:
            assert signal.getsignal(signal.SIGINT) is handler
            deliver()
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def test_other_threads_than_the_main_one_change_nothing() -> None:
    seen: list[object] = []

    def inside() -> None:
        with deferred_interrupts() as deliver:
            deliver()
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=inside)
    thread.start()
    thread.join()
    assert seen == [signal.default_int_handler]
