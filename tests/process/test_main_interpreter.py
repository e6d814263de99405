# SPDX-License-Identifier: Apache-2.0
"""Which interpreter counts as the main one; tests of processes import the package in a real other one."""

import sys
from types import SimpleNamespace

import pytest

from diffhpo.errors import InterpreterError
from diffhpo.process.main_interpreter import require_main_interpreter

NAMES = ["_interpreters", "_xxsubinterpreters"]
MAIN = SimpleNamespace(get_current=lambda: 0, get_main=lambda: 0)
OTHER = SimpleNamespace(get_current=lambda: 3, get_main=lambda: 0)


@pytest.mark.parametrize(
    ("modules", "refused"),
    [
        ([MAIN, None], False),
        ([None, MAIN], False),
        ([OTHER, None], True),
        ([None, OTHER], True),
        ([MAIN, OTHER], False),
        ([None, None], False),
    ],
)
def test_any_but_the_main_one_is_refused(modules, refused, monkeypatch):
    for name, module in zip(NAMES, modules, strict=True):
        monkeypatch.setitem(sys.modules, name, module)
    if refused:
        with pytest.raises(InterpreterError, match="use processes instead"):
            require_main_interpreter()
    else:
        require_main_interpreter()
