# SPDX-License-Identifier: Apache-2.0
"""Every example in a docstring runs and prints what it says; public names have one."""

import doctest
import importlib
import inspect
import pkgutil
import types
import warnings

import pytest

import diffhpo

MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages(diffhpo.__path__, "diffhpo.")
    if module.name not in ("diffhpo._C", "diffhpo.__main__")
)


def module_of(name):
    """The module; a bridge to a library that is not installed is skipped."""
    if not name.startswith("diffhpo.integrations."):
        return importlib.import_module(name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the library's own imports
        try:
            return importlib.import_module(name)
        except ImportError as error:
            cause = error.__cause__ or error  # a DependencyError tells of it in its own words
            if not isinstance(cause, ModuleNotFoundError) or cause.name.startswith("diffhpo"):
                raise
            return pytest.skip(str(error))


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name):
    failed, _ = doctest.testmod(module_of(name))
    assert failed == 0


@pytest.mark.parametrize("name", ["diffhpo", "diffhpo.model", "diffhpo.hpob"])
def test_public_classes_have_an_example(name):
    module = importlib.import_module(name)
    without = [
        public
        for public in module.__all__
        if type(getattr(module, public)) is not types.GenericAlias  # a class for Python 3.10
        and inspect.isclass(getattr(module, public))
        and not getattr(module, public).__dict__.get("__dataclass_fields__")
        and not getattr(getattr(module, public), "_is_protocol", False)
        and ">>>" not in (getattr(module, public).__doc__ or "")
    ]
    assert without == []
