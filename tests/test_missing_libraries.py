# SPDX-License-Identifier: Apache-2.0
"""What needs an optional library says which one, and how to install it, where the library is not there."""

import importlib.util
import sys
from pathlib import Path

import pytest

import diffhpo
from diffhpo.baselines.smac3 import SMAC
from diffhpo.errors import DependencyError
from diffhpo.integrations.optuna.version import require_optuna
from diffhpo.pretraining.surrogate_pair import SurrogatePair
from diffhpo.study.plots import critical_difference_diagram
from diffhpo.suites.bbob import BBOBFunction


def without(library, monkeypatch):
    """Importing it fails, as where it is not installed."""
    for name in [name for name in sys.modules if name.split(".")[0] == library]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, library, None)


@pytest.mark.parametrize(
    ("module", "library", "message"),
    [
        ("ax", "ax", r"needs Ax 1\.3.*diffhpo\[ax\]"),
        ("ray", "ray", r"needs Ray Tune.*diffhpo\[ray\]"),
        ("sklearn", "sklearn", r"needs scikit-learn.*diffhpo\[sklearn\]"),
        ("configspace", "ConfigSpace", r"ConfigSpace is needed.*diffhpo\[configspace\]"),
    ],
)
def test_an_integration_names_its_library(module, library, message, monkeypatch):
    without(library, monkeypatch)
    file = Path(diffhpo.__path__[0]) / "integrations" / f"{module}.py"
    spec = importlib.util.spec_from_file_location(f"{module}_without_its_library", file)
    with pytest.raises(DependencyError, match=message):
        spec.loader.exec_module(importlib.util.module_from_spec(spec))


@pytest.mark.parametrize(
    ("call", "library", "message"),
    [
        (require_optuna, "optuna", r'optuna is needed.*pip install "optuna>=4\.0"'),
        (lambda: SMAC(0), "smac", r"smac is needed.*diffhpo\[smac\]"),
        (lambda: BBOBFunction(1, 1, 2), "ioh", r"suite bbob needs ioh.*diffhpo\[bench\]"),
        (lambda: SurrogatePair(None), "xgboost", r"need xgboost: pip install xgboost-cpu"),
        (lambda: critical_difference_diagram([]), "scikit_posthocs", r"scikit-posthocs.*diffhpo\[bench\]"),
    ],
)
def test_a_function_names_its_library(call, library, message, monkeypatch):
    without(library, monkeypatch)
    with pytest.raises(DependencyError, match=message):
        call()


@pytest.mark.parametrize("version", ["3.6.1", "unknown"])
def test_an_old_optuna_is_named_with_the_oldest_that_will_do(version, monkeypatch):
    optuna = pytest.importorskip("optuna")
    monkeypatch.setattr(optuna, "__version__", version)
    with pytest.raises(DependencyError, match=rf"optuna {version} is installed; 4\.0 or newer"):
        require_optuna()
