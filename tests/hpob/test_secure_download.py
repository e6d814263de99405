# SPDX-License-Identifier: Apache-2.0
"""Downloads over TLS: only from a server whose certificate is known, of its name and of today."""

from __future__ import annotations

import hashlib
import http.server
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from diffhpo.errors import DataError
from diffhpo.hpob.download import RemoteFile, download

pytest.importorskip("pooch")

#: Self-signed, with their keys: `this-machine` for localhost, `another-name`, and `expired` in 2020.
CERTIFICATES = Path(__file__).parent / "certificates"
BODY = b"published data"


class Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        if self.path.startswith("/to/"):
            self.send_response(302)
            self.send_header("Location", self.path.removeprefix("/to/"))
            self.end_headers()
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(BODY)))
        self.end_headers()
        self.wfile.write(BODY)


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: Any) -> None:
        """A client that hangs up is what the tests want."""


def serve(certificate: str | None) -> Iterator[str]:
    with Server(("127.0.0.1", 0), Handler) as server:
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(CERTIFICATES / f"{certificate}.pem")
            server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield f"http{'s' if certificate else ''}://localhost:{server.server_address[1]}"
        server.shutdown()


@pytest.fixture
def address(request: pytest.FixtureRequest) -> Iterator[str]:
    yield from serve(request.param)


@pytest.fixture
def plain() -> Iterator[str]:
    yield from serve(None)


def fetched(url: str, folder: Path) -> bytes:
    file = RemoteFile("data", len(BODY), hashlib.sha256(BODY).hexdigest(), (url,))
    return download(file, folder, progress=False).read_bytes()


@pytest.fixture
def trusted(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Makes a certificate one that this machine knows."""
    return lambda name: monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATES / f"{name}.pem"))


@pytest.mark.parametrize("address", ["this-machine"], indirect=True)
def test_a_known_certificate_is_taken(address: str, tmp_path: Path, trusted: Any) -> None:
    trusted("this-machine")
    assert fetched(f"{address}/data", tmp_path) == BODY


@pytest.mark.parametrize("address", ["this-machine"], indirect=True)
def test_an_unknown_certificate_is_refused(address: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"CERTIFICATE_VERIFY_FAILED.*self.signed"):
        fetched(f"{address}/data", tmp_path)
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("address", "reason"),
    [("another-name", "Hostname mismatch"), ("expired", "certificate has expired")],
    indirect=["address"],
)
def test_a_known_certificate_of_another_name_or_time_is_refused(
    address: str, reason: str, tmp_path: Path, trusted: Any, request: pytest.FixtureRequest
) -> None:
    trusted(request.node.callspec.params["address"])
    with pytest.raises(DataError, match=f"CERTIFICATE_VERIFY_FAILED.*{reason}"):
        fetched(f"{address}/data", tmp_path)


@pytest.mark.parametrize("address", ["this-machine"], indirect=True)
def test_a_redirect_away_from_tls_is_refused(address: str, plain: str, tmp_path: Path, trusted: Any) -> None:
    trusted("this-machine")
    # Loopback without TLS is served to tests, and yet a mirror may not lead there.
    assert fetched(f"{plain}/data", tmp_path / "plain") == BODY
    with pytest.raises(DataError, match="leads away from TLS, to http://localhost"):
        fetched(f"{address}/to/{plain}/data", tmp_path)
    assert fetched(f"{address}/to/{address}/data", tmp_path) == BODY


@pytest.mark.parametrize("address", ["this-machine"], indirect=True)
@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://localhost/data"])
def test_a_redirect_to_another_scheme_is_refused(
    address: str, target: str, tmp_path: Path, trusted: Any
) -> None:
    trusted("this-machine")
    with pytest.raises(DataError, match=r"HTTP 302|leads away from TLS|not an https address"):
        fetched(f"{address}/to/{target}", tmp_path)
