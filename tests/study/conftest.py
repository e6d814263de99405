# SPDX-License-Identifier: Apache-2.0
"""A tiny benchmark in HPO-B's format, and toy methods that worker processes can import."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

TOY_METHODS = '''
import os, signal, time
import numpy as np

class Uniform:
    """Random pending row, from seed and history length alone."""
    pause = 0.0
    def __init__(self, seed=0):
        self.seed = seed
    def observe_and_suggest(self, X_obs, y_obs, X_pen=None):
        time.sleep(self.pause)
        generator = np.random.default_rng([self.seed, len(X_obs)])
        if X_pen is None:
            return generator.random((1, np.shape(X_obs)[1]))
        return int(generator.integers(len(X_pen)))

class Slow(Uniform):
    pause = 0.02

class Nearest(Uniform):
    """The pending row nearest to the best one: better than Uniform on a smooth task."""
    def observe_and_suggest(self, X_obs, y_obs, X_pen=None):
        best = X_obs[int(np.argmax(np.ravel(y_obs)))]
        return int(np.argmin(((X_pen - best) ** 2).sum(1)))

class Failing(Uniform):
    def observe_and_suggest(self, X_obs, y_obs, X_pen=None):
        if len(X_obs) == 7:
            raise ZeroDivisionError("the third suggestion fails")
        return super().observe_and_suggest(X_obs, y_obs, X_pen)

class FailingUnlessFile(Uniform):
    """Fails until the file named by TOY_FILE is there."""
    def observe_and_suggest(self, X_obs, y_obs, X_pen=None):
        if not os.path.exists(os.environ["TOY_FILE"]):
            raise OSError("TOY_FILE is absent")
        return super().observe_and_suggest(X_obs, y_obs, X_pen)

class Killed(Uniform):
    """Ends its own process as the kernel does when memory runs out."""
    def observe_and_suggest(self, X_obs, y_obs, X_pen=None):
        os.kill(os.getpid(), signal.SIGKILL)

class Exits(Uniform):
    def observe_and_suggest(self, X_obs, y_obs, X_pen=None):
        os._exit(3)

class Warns(Uniform):
    def observe_and_suggest(self, X_obs, y_obs, X_pen=None):
        import warnings
        warnings.warn("be careful", UserWarning)
        return super().observe_and_suggest(X_obs, y_obs, X_pen)

class Threads(Uniform):
    """Fails with the thread counts that it sees."""
    def observe_and_suggest(self, X_obs, y_obs, X_pen=None):
        import torch
        names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
        raise RuntimeError(f"{torch.get_num_threads()} " + " ".join(os.environ[name] for name in names))

class NoInterface:
    def __init__(self, seed=0):
        pass
'''


def write_benchmark(root: Path, tasks: dict[str, list[str]], rows: int = 60, seeds: int = 3) -> Path:
    """A benchmark of smooth tasks in two dimensions, for the discrete protocol."""
    generator = np.random.default_rng(0)
    tables: dict[str, dict[str, object]] = {}
    initial: dict[str, dict[str, object]] = {}
    for space, names in tasks.items():
        tables[space], initial[space] = {}, {}
        for name in names:
            x = generator.random((rows, 2))
            y = -((x - generator.random(2)) ** 2).sum(1)
            tables[space][name] = {"X": x.tolist(), "y": y[:, None].tolist()}
            initial[space][name] = {
                f"test{seed}": generator.permutation(rows)[:5].tolist() for seed in range(seeds)
            }
    data = root / "hpob-data"
    data.mkdir(parents=True)
    (data / "meta-test-dataset.json").write_text(json.dumps(tables))
    (data / "bo-initializations.json").write_text(json.dumps(initial))
    return root


@pytest.fixture
def suite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Path of the tiny benchmark (spaces s1 with three tasks and s2 with two); `toy` can be imported."""
    modules = tmp_path / "modules"
    modules.mkdir()
    (modules / "toy.py").write_text(TOY_METHODS)
    monkeypatch.syspath_prepend(str(modules))
    monkeypatch.setenv("PYTHONPATH", str(modules), prepend=":")
    return str(write_benchmark(tmp_path / "bench", {"s1": ["t1", "t2", "t3"], "s2": ["t4", "t5"]}))
