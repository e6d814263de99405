# SPDX-License-Identifier: Apache-2.0
"""Download one file of known size from a list of mirrors; a broken download resumes where it stopped."""

from __future__ import annotations

import contextlib
import http
import http.client
import logging
import os
import ssl
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diffhpo.errors import DataError, DependencyError

#: Seconds without an answer after which a mirror is given up.
TIMEOUT = 60.0

_CHUNK = 1 << 20
#: What a broken connection raises; other OSErrors are the disk's.
_NETWORK_ERRORS = (
    http.client.HTTPException,
    urllib.error.URLError,
    ssl.SSLError,
    ConnectionError,
    TimeoutError,
)
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True)
class RemoteFile:
    """A file that others publish: its name, size and checksum, and where it can be had."""

    name: str
    size: int
    """bytes"""
    sha256: str
    mirrors: tuple[str, ...]
    """URLs in the order in which they are tried; https, or http on this machine's loopback."""


class _MirrorError(Exception):
    """A mirror failed; the next one may not."""


def download(file: RemoteFile, directory: Path, *, progress: bool = True) -> Path:
    """Bring a file into a directory and check it; a file that is there already is only checked.

    What a broken download left behind (`NAME.part`) is continued, from another mirror if need be. Nothing
    that fails its checksum stays on the disk.

    Args:
        file: what to fetch.
        directory: it is made if it is missing.
        progress: show a progress bar on stderr.

    Returns:
        The file's path.

    Raises:
        DataError: if no mirror delivers the file; the message has every mirror's failure, for a checksum
            both hashes.
        DependencyError: if pooch is not installed.
        OSError: if the directory cannot be written.
    """
    try:
        import pooch
    except ImportError as error:
        raise DependencyError('fetching data needs pooch: pip install "diffhpo[bench]"') from error
    directory.mkdir(parents=True, exist_ok=True)
    part = directory / f"{file.name}.part"
    failures = []
    with _quiet(pooch.get_logger(), not progress):
        for url in file.mirrors:
            # A part begun elsewhere may be what spoils the checksum: such a mirror gets a second try.
            attempts = 2 if part.exists() else 1
            for _ in range(attempts):
                try:
                    pooch.retrieve(
                        url,
                        known_hash=f"sha256:{file.sha256}",
                        fname=file.name,
                        path=directory,
                        downloader=_ResumingDownloader(part, file.size, progress),
                    )
                except _MirrorError as error:
                    failures.append(f"{url}: {error}")
                    break
                except ValueError as error:  # pooch's word for a wrong checksum; it has both hashes
                    failures.append(f"{url}: {error}")
                else:
                    return directory / file.name
    raise DataError(
        f"{file.name} could not be fetched. " + " | ".join(failures) + f" | If this machine is offline, "
        f"bring the file (sha256 {file.sha256}) to {directory / file.name} and try again"
    )


class _ResumingDownloader:
    """A pooch downloader that collects the file in `part` and continues it with an HTTP range."""

    def __init__(self, part: Path, size: int, progress: bool) -> None:
        self.part = part
        self.size = size
        self.progress = progress

    def __call__(self, url: str, output_file: str, _pooch: Any = None, check_only: bool = False) -> None:
        if self._have() > self.size:
            self.part.unlink()
        if self._have() < self.size:
            try:
                self._receive(url)
            except urllib.error.HTTPError as error:
                error.close()
                if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                    self.part.unlink()  # it is not a beginning of this file
                raise _MirrorError(f"HTTP {error.code} {error.reason}") from error
            except _NETWORK_ERRORS as error:
                raise _MirrorError(str(error) or type(error).__name__) from error
        if self._have() != self.size:
            raise _MirrorError(f"the connection ended after {self._have()} of {self.size} bytes")
        os.replace(self.part, output_file)

    def _have(self) -> int:
        return self.part.stat().st_size if self.part.exists() else 0

    def _receive(self, url: str) -> None:
        start = self._have()
        request = urllib.request.Request(_secure(url), headers={"User-Agent": "diffhpo"})
        if start:
            request.add_header("Range", f"bytes={start}-")
        opener = urllib.request.build_opener(_SecureRedirects)
        with opener.open(request, timeout=TIMEOUT) as response:
            # A server that ignores the range answers 200 and sends the file from its beginning.
            resumed = response.status == 206 and str(response.headers.get("Content-Range", "")).startswith(
                f"bytes {start}-"
            )
            if response.status == 206 and not resumed:
                raise _MirrorError(
                    f"the server sent another range than the bytes from {start} that were asked"
                )
            have = start if resumed else 0
            with open(self.part, "ab" if resumed else "wb") as stream, self._bar(have) as bar:
                while chunk := response.read(_CHUNK):
                    have += len(chunk)
                    if have > self.size:
                        stream.close()
                        self.part.unlink()
                        raise _MirrorError(f"the server sends more than the file's {self.size} bytes")
                    stream.write(chunk)
                    bar.update(len(chunk))

    def _bar(self, have: int) -> Any:
        from tqdm import tqdm

        name = self.part.name.removesuffix(".part")
        return tqdm(
            total=self.size,
            initial=have,
            unit="B",
            unit_scale=True,
            desc=name,
            disable=not self.progress or sys.stderr is None,
        )


class _SecureRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        if req.type == "https" and urllib.parse.urlsplit(newurl).scheme != "https":
            raise _MirrorError(f"{req.full_url} leads away from TLS, to {newurl}")
        return super().redirect_request(req, fp, code, msg, headers, _secure(newurl))


def _secure(url: str) -> str:
    parts = urllib.parse.urlsplit(url)
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in _LOOPBACK):
        raise _MirrorError(f"{url} is not an https address")
    return url


@contextlib.contextmanager
def _quiet(logger: logging.Logger, quiet: bool) -> Iterator[None]:
    level = logger.level
    if quiet:
        logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)
