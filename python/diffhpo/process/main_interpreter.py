# SPDX-License-Identifier: Apache-2.0
"""Sub-interpreters are refused before anything native is loaded into them."""

from __future__ import annotations

from importlib import import_module

from diffhpo.errors import InterpreterError


def require_main_interpreter() -> None:
    """Refuse to go on in a sub-interpreter: the native module would wait for itself forever there.

    Raises:
        InterpreterError: in a sub-interpreter.

    Example:
        >>> require_main_interpreter()
    """
    for name in ("_interpreters", "_xxsubinterpreters"):  # from Python 3.13 on, and before
        try:
            interpreters = import_module(name)
        except ImportError:
            continue
        if interpreters.get_current() != interpreters.get_main():
            raise InterpreterError(
                "diffhpo was imported in a sub-interpreter, where its native module, NumPy and PyTorch do "
                "not work; use processes instead (multiprocessing), or, under mod_wsgi, "
                "`WSGIApplicationGroup %{GLOBAL}`"
            )
        return
