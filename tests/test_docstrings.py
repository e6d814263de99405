# SPDX-License-Identifier: Apache-2.0
"""Every example in a docstring runs and prints what it says; public names have one."""

import doctest
import importlib
import inspect
import pkgutil

import pytest

import diffhpo

MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages(diffhpo.__path__, "diffhpo.")
    if module.name not in ("diffhpo._C", "diffhpo.__main__")
)


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name):
    failed, _ = doctest.testmod(importlib.import_module(name))
    assert failed == 0


@pytest.mark.parametrize("name", ["diffhpo", "diffhpo.model", "diffhpo.hpob"])
def test_public_classes_have_an_example(name):
    module = importlib.import_module(name)
    without = [
        public
        for public in module.__all__
        if inspect.isclass(getattr(module, public))
        and not getattr(module, public).__dict__.get("__dataclass_fields__")
        and not getattr(getattr(module, public), "_is_protocol", False)
        and ">>>" not in (getattr(module, public).__doc__ or "")
    ]
    assert without == []
