# SPDX-License-Identifier: Apache-2.0
"""Nothing beyond this machine is reached in all tests, by any process; here is that the guard works."""

import contextlib
import multiprocessing
import socket
import subprocess
import sys
import urllib.request

import pytest

REFUSED = "beyond this machine"


@pytest.fixture
def tried(network_log):
    """The attempts of this test, which are meant and do not fail it."""
    before = len(network_log.read_bytes())
    yield lambda: network_log.read_bytes()[before:].decode()
    with open(network_log, "r+b") as file:
        file.truncate(before)


@pytest.mark.parametrize("host", ["93.184.216.34", "2606:2800:220::1", "example.org"])
@pytest.mark.parametrize("connect", ["connect", "connect_ex"])
def test_a_connection_beyond_this_machine_is_refused(host, connect, tried):
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as client:
        client.settimeout(0.01)
        with pytest.raises(AssertionError, match=REFUSED):
            getattr(client, connect)((host, 80))
    assert host in tried()


def test_a_datagram_is_refused(tried):
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client,
        pytest.raises(AssertionError, match=REFUSED),
    ):
        client.sendto(b"", ("93.184.216.34", 53))
    assert "93.184.216.34" in tried()


@pytest.mark.parametrize("look_up", [lambda name: socket.getaddrinfo(name, 80), socket.gethostbyname])
def test_a_name_is_not_looked_up(look_up, tried):
    with pytest.raises(AssertionError, match=REFUSED):
        look_up("example.org")
    assert "example.org" in tried()


def test_what_swallows_the_error_is_noted(tried):
    with contextlib.suppress(Exception):
        urllib.request.urlopen("https://example.org/", timeout=1)
    assert "socket.getaddrinfo of 'example.org'" in tried()


def test_a_child_process_is_refused(tried):
    program = "import socket; socket.create_connection(('93.184.216.34', 80), timeout=1)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 1
    assert REFUSED in done.stderr
    assert "93.184.216.34" in tried()


def _reach():
    with socket.socket() as client:
        client.connect_ex(("93.184.216.34", 80))


@pytest.mark.parametrize("start", ["spawn", "fork"])
def test_a_worker_process_is_refused(start, tried):
    program = (
        f"import multiprocessing, socket, sys; sys.path.insert(0, {__file__.rpartition('/')[0]!r})\n"
        "from test_network import _reach\n"
        "if __name__ == '__main__':\n"
        f"    process = multiprocessing.get_context({start!r}).Process(target=_reach)\n"
        "    process.start(); process.join(60); raise SystemExit(process.exitcode)\n"
    )
    assert start in multiprocessing.get_all_start_methods()
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 1, done.stderr
    assert "93.184.216.34" in tried()


def test_this_machine_is_reached(tried):
    with socket.socket() as server, socket.socket() as client:
        server.bind(("127.0.0.1", 0))
        server.listen()
        client.connect(server.getsockname())
    socket.getaddrinfo("localhost", 80)
    assert tried() == ""


def test_fetching_data_is_what_reaches_out(tmp_path, tried):
    command = [sys.executable, "-m", "diffhpo", "data", "fetch", "--cache-dir", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode != 0
    assert "socket.getaddrinfo of 'github.com'" in tried()
