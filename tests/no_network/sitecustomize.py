# SPDX-License-Identifier: Apache-2.0
"""Refuses to look names up and to connect beyond this machine, and notes who tried.

`tests/conftest.py` puts this directory on PYTHONPATH, so that every Python process that a test starts has it.
An audit hook sees what any Python code does with sockets, and cannot be taken away; a library that swallows
the error is found by the note.
"""

import ipaddress
import os
import socket
import sys

#: Names the file that gets a line for each attempt.
LOG = "DIFFHPO_TEST_NETWORK_LOG"
#: Programs of others that try by themselves, whatever they are told: refused too, and not noted. Ray's
#: dashboard asks whether it runs in a cloud.
OTHERS = (os.path.join("ray", "dashboard", "dashboard.py"),)


def _is_this_machine(host):
    if isinstance(host, bytes):
        host = host.decode("ascii", "replace")
    if host in (None, "", "localhost", socket.gethostname()):
        return True
    try:
        # Loopback, and the private addresses by which clusters of local processes name themselves.
        return ipaddress.ip_address(str(host).partition("%")[0]).is_private
    except ValueError:
        return False


def refuse(event, args):
    """The audit hook."""
    if event in ("socket.connect", "socket.sendto", "socket.sendmsg"):
        address = args[1]
        host = address[0] if isinstance(address, tuple) and address and isinstance(address[0], str) else None
    elif event in ("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"):
        host = args[0]
    else:
        return
    if _is_this_machine(host):
        return
    said = f"{event} of {host!r}"
    others = any(argument.endswith(OTHERS) for argument in sys.orig_argv)
    if os.environ.get(LOG) and not others:
        with open(os.environ[LOG], "a", encoding="utf-8") as file:
            file.write(f"process {os.getpid()} ({' '.join(sys.orig_argv)[:200]}): {said}\n")
    raise AssertionError(f"a test opened a connection beyond this machine: {said}")


def _before(method):
    """`connect` looks a name up before its audit event."""

    def checked(client, address):
        refuse("socket.connect", (client, address))
        return method(client, address)

    return checked


sys.addaudithook(refuse)
socket.socket.connect = _before(socket.socket.connect)
socket.socket.connect_ex = _before(socket.socket.connect_ex)
