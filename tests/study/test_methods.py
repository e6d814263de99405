# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from diffhpo.errors import DependencyError, InputError
from diffhpo.study.methods import METHODS, create, entry


@pytest.mark.parametrize("name", METHODS)
def test_every_registered_method_can_be_made_and_suggests(name: str) -> None:
    module, _, attribute = METHODS[name].target.partition(":")
    assert hasattr(importlib.import_module(module), attribute)
    try:
        method = create(name, seed=3)
    except DependencyError as error:
        pytest.skip(str(error))
    generator = np.random.default_rng(0)
    x, y = generator.random((5, 2)), generator.random((5, 1))
    assert 0 <= int(method.observe_and_suggest(x, y, x[:1])) < 1


def test_the_registry_imports_no_method() -> None:
    code = (
        "import sys, diffhpo.study.methods; "
        "assert not {'torch', 'optuna', 'diffhpo.baselines'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("name", ["", "gpp", "a:b:c", ":Class", "module:", "a b:C", "a..b:C"])
def test_an_unknown_name_lists_what_is_accepted(name: str) -> None:
    with pytest.raises(InputError, match=r"random, gp, .*elite, .*, or module:Class"):
        entry(name)


def test_an_own_class_is_made_with_the_seed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_method.py").write_text(
        "class Mine:\n"
        "    def __init__(self, seed): self.seed = seed\n"
        "    def observe_and_suggest(self, X_obs, y_obs, X_pen=None): return 0\n"
        "class NoMethod:\n"
        "    def __init__(self, seed): pass\n"
    )
    (tmp_path / "own_broken.py").write_text("import a_package_that_is_absent\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert create("own_method:Mine", seed=5).seed == 5  # type: ignore[attr-defined]
    with pytest.raises(InputError, match="own_method has no Other"):
        create("own_method:Other", seed=0)
    with pytest.raises(InputError, match="no observe_and_suggest"):
        create("own_method:NoMethod", seed=0)
    with pytest.raises(InputError, match="there is no module own_absent; put it on PYTHONPATH"):
        create("own_absent:Mine", seed=0)
    with pytest.raises(ModuleNotFoundError, match="a_package_that_is_absent"):  # the user's own error stays
        create("own_broken:Mine", seed=0)
