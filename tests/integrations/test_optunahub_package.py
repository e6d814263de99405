# SPDX-License-Identifier: Apache-2.0
"""The folder for OptunaHub is complete, and its example runs."""

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

optuna = pytest.importorskip("optuna", minversion="4.0")

REGISTRY = Path(__file__).resolve().parents[2] / "integrations" / "optunahub" / "package"
FOLDER = REGISTRY / "samplers" / "diffhpo"


def load(path, name):
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_example_finds_the_right_branch(monkeypatch):
    hub = ModuleType("optunahub")  # what its load_local_module does: import the folder's __init__.py

    def load_local_module(package, *, registry_root):
        return load(Path(registry_root) / package / "__init__.py", "optunahub_package")

    hub.load_local_module = load_local_module
    monkeypatch.setitem(sys.modules, "optunahub", hub)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = load(FOLDER / "example.py", "example").main(n_trials=15, registry_root=str(REGISTRY))
    assert study.best_params["learner"] == "tree"
    assert study.best_value < 0.5


def test_the_front_matter_has_what_the_registry_asks_for():
    _, front, _ = (FOLDER / "README.md").read_text(encoding="utf-8").split("---\n", 2)
    keys = dict(line.split(": ", 1) for line in front.splitlines())
    assert set(keys) == {"author", "title", "description", "tags", "optuna_versions", "license"}
    assert "sampler" in re.findall(r"[\w ]+", keys["tags"])


def test_the_folder_is_complete():
    assert {path.name for path in FOLDER.iterdir() if path.is_file()} == {
        "LICENSE",
        "README.md",
        "__init__.py",
        "example.py",
        "requirements.txt",
    }
