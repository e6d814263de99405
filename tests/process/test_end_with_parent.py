# SPDX-License-Identifier: Apache-2.0
"""The thread that waits for the parent; tests of killed benchmarks show whole processes."""

import multiprocessing
import os
import threading

import pytest

from diffhpo.process.end_with_parent import end_with_parent


class Parent:
    def __init__(self):
        self.ended = threading.Event()

    def join(self):
        assert self.ended.wait(20)


@pytest.fixture
def exits(monkeypatch):
    """The codes with which this process would have ended."""
    codes = []
    monkeypatch.setattr(os, "_exit", codes.append)
    return codes


def waiting():
    (thread,) = [one for one in threading.enumerate() if one.name == "end-with-parent"]
    return thread


def test_it_ends_when_the_parent_has_ended_and_as_a_failure(exits, monkeypatch):
    parent = Parent()
    monkeypatch.setattr(multiprocessing, "parent_process", lambda: parent)
    end_with_parent()
    thread = waiting()
    assert thread.daemon  # or it would keep the process that it is to end
    assert exits == []
    parent.ended.set()
    thread.join(20)
    assert exits == [1]


def test_a_process_without_a_parent_goes_on(exits, monkeypatch):
    monkeypatch.setattr(multiprocessing, "parent_process", lambda: None)
    end_with_parent()
    for thread in threading.enumerate():
        if thread.name == "end-with-parent":
            thread.join(20)
    assert exits == []
