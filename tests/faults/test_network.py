# SPDX-License-Identifier: Apache-2.0
"""Connections beyond this machine are refused in all tests; here is that the guard works."""

import socket

import pytest


@pytest.mark.parametrize("host", ["93.184.216.34", "2606:2800:220::1", "example.org"])
def test_a_connection_beyond_this_machine_is_refused(host):
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as tried:
        tried.settimeout(0.01)
        with pytest.raises(AssertionError, match="opened a connection"):
            tried.connect((host, 80))


def test_this_machine_is_reached():
    with socket.socket() as server, socket.socket() as client:
        server.bind(("127.0.0.1", 0))
        server.listen()
        client.connect(server.getsockname())
