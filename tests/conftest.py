# SPDX-License-Identifier: Apache-2.0
"""Settings and fixtures of all tests."""

import importlib.util
import os
from pathlib import Path

import hypothesis
import pytest
import torch

# No timing decides a test; a fixed choice of examples keeps the suite reproducible.
hypothesis.settings.register_profile("diffhpo", deadline=None, derandomize=True)
hypothesis.settings.load_profile("diffhpo")


@pytest.fixture(scope="session")
def data_directory() -> Path:
    """The folder of published benchmark data, which is not part of the project; skips without it."""
    default = Path(__file__).resolve().parents[1].parent / "shared" / "data"
    path = Path(os.environ.get("DIFFHPO_DATA", default))
    if not path.is_dir():
        pytest.skip(f"no benchmark data at {path}; set DIFFHPO_DATA")
    return path


@pytest.fixture
def one_torch_thread():
    """torch sums in one thread, so in one order: runs are compared bit by bit."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


_GUARD = Path(__file__).parent / "no_network"


@pytest.fixture(scope="session", autouse=True)
def network_log(tmp_path_factory) -> Path:
    """A file with a line for each attempt to reach beyond this machine, of this process or its children."""
    log = tmp_path_factory.mktemp("network") / "log"
    log.touch()
    os.environ["DIFFHPO_TEST_NETWORK_LOG"] = str(log)
    path = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = f"{_GUARD}{os.pathsep}{path}" if path else str(_GUARD)
    spec = importlib.util.spec_from_file_location("no_network", _GUARD / "sitecustomize.py")
    spec.loader.exec_module(importlib.util.module_from_spec(spec))
    return log


@pytest.fixture(autouse=True)
def _no_network(network_log):
    """Fails a test in which something tried, even where the error was swallowed."""
    before = network_log.read_bytes()
    yield
    tried = network_log.read_bytes()[len(before) :].decode()
    assert tried == "", f"something reached beyond this machine:\n{tried}"
