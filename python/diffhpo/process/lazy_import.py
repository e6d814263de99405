# SPDX-License-Identifier: Apache-2.0
"""Packages whose names are imported on first use."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def lazy_exports(
    package: str, modules: Mapping[str, str]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """`__getattr__` and `__dir__` of a package that imports its public names on first use (PEP 562).

    Args:
        package: the package's `__name__`.
        modules: public name -> the package's module that defines it.

    Returns:
        `__getattr__`, which raises AttributeError for a name that is not in `modules`; and `__dir__`.

    Example:
        >>> get, names = lazy_exports("diffhpo", {"Space": "space"})
        >>> get("Space").__module__, "Space" in names()
        ('diffhpo.space.space', True)
    """

    def get(name: str) -> Any:
        if name in modules:
            return getattr(import_module(f"{package}.{modules[name]}"), name)
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    def names() -> list[str]:
        return sorted({*vars(sys.modules[package]), *modules})

    return get, names
