# SPDX-License-Identifier: Apache-2.0
"""Settings and fixtures of all tests."""

import ipaddress
import os
import socket
from pathlib import Path

import hypothesis
import pytest

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


def _is_this_machine(host: str) -> bool:
    if host in ("", "localhost", socket.gethostname()):
        return True
    try:
        return ipaddress.ip_address(host).is_private  # loopback, and what local clusters of processes use
    except ValueError:
        return False


@pytest.fixture(scope="session", autouse=True)
def _no_network():
    """No test, and so no part of the package that a test runs, reaches beyond this machine."""
    connect = socket.socket.connect

    def local_only(self, address):
        if isinstance(address, tuple) and not _is_this_machine(address[0]):
            raise AssertionError(f"a test opened a connection to {address[0]!r}")
        return connect(self, address)

    socket.socket.connect = local_only
    yield
    socket.socket.connect = connect
