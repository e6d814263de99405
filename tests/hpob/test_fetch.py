# SPDX-License-Identifier: Apache-2.0
"""Fetching against a server on this machine's loopback, with every way in which a mirror can fail."""

from __future__ import annotations

import hashlib
import http.server
import io
import os
import re
import socket
import stat
import sys
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from diffhpo.errors import DataError, DependencyError, InputError
from diffhpo.hpob import archive, download, fetch

pytest.importorskip("pooch")


def zipped(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as out:
        for name, contents in members.items():
            out.writestr(name, contents)
    return buffer.getvalue()


TABLES = zipped(
    {
        "hpob-data/meta-test-dataset.json": b'{"100": {}}',
        "hpob-data/bo-initializations.json": b"{}",
        "__MACOSX/hpob-data/._x": b"junk",
        "hpob-data/big.json": os.urandom(300_000),
    }
)
SURROGATES = zipped({"summary-stats.json": b"{}", "surrogate-1-2.json": b"{}"})
FILES = {"hpob-data.zip": TABLES, "saved-surrogates.zip": SURROGATES}


class Server(http.server.ThreadingHTTPServer):
    """Serves FILES under /NAME/ in the way that NAME says, and notes every request."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.requests: list[tuple[str, str | None]] = []

    def url(self, way: str, file: str) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/{way}/{file}"


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        _, way, file = self.path.split("/")
        asked = self.headers.get("Range")
        self.server.requests.append((way, asked))
        body = FILES[file]
        if way == "gone":
            self.send_error(404)
        elif way == "wrong":
            self.send(200, bytes(len(body)))
        elif way == "endless":
            self.send(200, body + b"more")
        elif way == "plain":  # a redirect away from TLS
            self.send_response(302)
            self.send_header("Location", f"http://mirror.example/{file}")
            self.end_headers()
        elif way == "moved":
            self.send_response(302)
            self.send_header("Location", f"/good/{file}")
            self.end_headers()
        elif way == "other-range" and asked:
            self.send(206, body[:10], "bytes 0-9/*")
        elif way == "no-range" and asked:
            self.send_error(416)
        elif way == "short":  # promises all, sends half, hangs up
            self.send(200, body[: len(body) // 2], length=len(body))
        elif asked and way != "rangeless":
            start = int(asked.removeprefix("bytes=").removesuffix("-"))
            self.send(206, body[start:], f"bytes {start}-{len(body) - 1}/{len(body)}")
        else:
            self.send(200, body)

    def send(self, status: int, body: bytes, content_range: str = "", length: int | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        if content_range:
            self.send_header("Content-Range", content_range)
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = True


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield server
        server.shutdown()


def offer(monkeypatch: pytest.MonkeyPatch, server: Server, *ways: str) -> None:
    """Let both archives come from these mirrors."""
    for name, published in list(fetch.ARCHIVES.items()):
        body = FILES[published.file.name]
        urls = tuple(server.url(way, published.file.name) for way in ways)
        file = replace(published.file, size=len(body), sha256=hashlib.sha256(body).hexdigest(), mirrors=urls)
        monkeypatch.setitem(fetch.ARCHIVES, name, replace(published, file=file))


def test_the_published_archives_are_named_with_two_secure_mirrors() -> None:
    for name, entry in fetch.ARCHIVES.items():
        assert entry.file.name == f"{name}.zip"
        assert re.fullmatch("[0-9a-f]{64}", entry.file.sha256)
        assert len(entry.file.mirrors) == 2
        assert all(url.startswith("https://") and url.endswith(entry.file.name) for url in entry.file.mirrors)


def test_data_is_unpacked_and_then_needs_no_network(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    offer(monkeypatch, server, "good")
    root = fetch.fetch(cache_dir=tmp_path, progress=False)
    assert (root / "hpob-data" / "meta-test-dataset.json").read_bytes() == b'{"100": {}}'
    assert (root / "saved-surrogates" / "summary-stats.json").read_bytes() == b"{}"
    assert not list(root.rglob("*.zip"))
    assert not list(root.rglob("__MACOSX"))
    assert list((root / "downloads").iterdir()) == []
    assert len(server.requests) == 2
    assert fetch.fetch(cache_dir=tmp_path, progress=False) == root
    assert len(server.requests) == 2
    assert [entry.complete for entry in fetch.verify(tmp_path)] == [True, True]


def test_one_archive_can_be_fetched_alone(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    offer(monkeypatch, server, "good")
    fetch.fetch("hpob-data", tmp_path, progress=False)
    assert [(entry.name, entry.complete) for entry in fetch.info(tmp_path)] == [
        ("hpob-data", True),
        ("saved-surrogates", False),
    ]
    assert fetch.info(tmp_path)[0].n_files == 3
    assert fetch.info(tmp_path)[0].n_bytes == 300_000 + 13
    assert fetch.verify(tmp_path, "hpob-data")[0].complete
    with pytest.raises(DataError, match="saved-surrogates is not complete"):
        fetch.verify(tmp_path)
    with pytest.raises(InputError, match="accepted: 'hpob', 'hpob-data', 'saved-surrogates'"):
        fetch.fetch("hpo-b", tmp_path)


@pytest.mark.fault(27)
@pytest.mark.parametrize("bad", ["gone", "wrong", "endless", "short", "plain"])
def test_the_next_mirror_serves_when_one_fails(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bad: str
) -> None:
    offer(monkeypatch, server, bad, "good")
    fetch.fetch("hpob-data", tmp_path, progress=False)
    assert [way for way, _ in server.requests] == [bad, "good"]
    assert fetch.verify(tmp_path, "hpob-data")


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ("gone", "HTTP 404"),
        ("endless", f"more than the file's {len(TABLES)} bytes"),
        ("short", f"ended after {len(TABLES) // 2} of {len(TABLES)} bytes"),
        ("plain", "http://mirror.example/hpob-data.zip is not an https address"),
    ],
)
def test_when_all_mirrors_fail_each_is_named_with_its_reason(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bad: str, reason: str
) -> None:
    offer(monkeypatch, server, bad)
    with pytest.raises(DataError, match=re.escape(reason)) as caught:
        fetch.fetch("hpob-data", tmp_path, progress=False)
    assert f"/{bad}/hpob-data.zip" in str(caught.value)
    assert "offline" in str(caught.value)
    assert not (tmp_path / "hpob" / "hpob-data").exists()


@pytest.mark.fault(27)
def test_a_wrong_checksum_names_both_hashes_and_leaves_nothing(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    offer(monkeypatch, server, "wrong")
    with pytest.raises(DataError) as caught:
        fetch.fetch("hpob-data", tmp_path, progress=False)
    assert hashlib.sha256(TABLES).hexdigest() in str(caught.value)
    assert hashlib.sha256(bytes(len(TABLES))).hexdigest() in str(caught.value)
    assert list((tmp_path / "hpob" / "downloads").iterdir()) == []


@pytest.mark.fault(27)
def test_nothing_is_unpacked_before_its_checksum_is_right(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    offer(monkeypatch, server, "wrong")
    monkeypatch.setattr(fetch, "unpack", lambda *_: pytest.fail("it was unpacked"))
    with pytest.raises(DataError, match="SHA256"):
        fetch.fetch("hpob-data", tmp_path, progress=False)


@pytest.mark.fault(27)
@pytest.mark.parametrize(
    ("way", "ranges"),
    [
        ("good", ["bytes=1000-"]),
        ("moved", ["bytes=1000-", "bytes=1000-"]),
        ("rangeless", ["bytes=1000-"]),
    ],
)
def test_a_broken_download_is_continued(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str, ranges: list[str]
) -> None:
    offer(monkeypatch, server, way)
    downloads = tmp_path / "hpob" / "downloads"
    downloads.mkdir(parents=True)
    (downloads / "hpob-data.zip.part").write_bytes(TABLES[:1000])
    fetch.fetch("hpob-data", tmp_path, progress=False)
    assert [asked for _, asked in server.requests] == ranges
    assert fetch.verify(tmp_path, "hpob-data")


def test_the_second_mirror_continues_what_the_first_broke_off(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    offer(monkeypatch, server, "short", "good")
    fetch.fetch("hpob-data", tmp_path, progress=False)
    assert server.requests == [("short", None), ("good", f"bytes={len(TABLES) // 2}-")]


def test_a_spoilt_beginning_is_thrown_away_and_fetched_again(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    offer(monkeypatch, server, "good")
    downloads = tmp_path / "hpob" / "downloads"
    downloads.mkdir(parents=True)
    (downloads / "hpob-data.zip.part").write_bytes(bytes(1000))
    fetch.fetch("hpob-data", tmp_path, progress=False)
    assert server.requests == [("good", "bytes=1000-"), ("good", None)]


@pytest.mark.parametrize("part", [TABLES, TABLES + b"x"])
def test_a_part_that_is_complete_or_too_long(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: bytes
) -> None:
    offer(monkeypatch, server, "good")
    downloads = tmp_path / "hpob" / "downloads"
    downloads.mkdir(parents=True)
    (downloads / "hpob-data.zip.part").write_bytes(part)
    fetch.fetch("hpob-data", tmp_path, progress=False)
    assert server.requests == ([] if part == TABLES else [("good", None)])


@pytest.mark.parametrize(("way", "reason"), [("other-range", "another range"), ("no-range", "HTTP 416")])
def test_a_server_that_mishandles_ranges_is_left(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str, reason: str
) -> None:
    downloads = tmp_path / "hpob" / "downloads"
    downloads.mkdir(parents=True)
    (downloads / "hpob-data.zip.part").write_bytes(TABLES[:1000])
    offer(monkeypatch, server, way)
    with pytest.raises(DataError, match=reason):
        fetch.fetch("hpob-data", tmp_path, progress=False)
    # Told that its range does not exist, the part cannot be a beginning of the file.
    assert (downloads / "hpob-data.zip.part").exists() == (way == "other-range")
    offer(monkeypatch, server, way, "good")
    fetch.fetch("hpob-data", tmp_path, progress=False)
    assert fetch.verify(tmp_path, "hpob-data")


@pytest.mark.fault(27)
def test_offline_says_where_to_bring_the_file_and_takes_it_there(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    offer(monkeypatch, server, "good")
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    name = fetch.ARCHIVES["hpob-data"]
    dead = replace(name.file, mirrors=(f"http://127.0.0.1:{port}/hpob-data.zip",))
    monkeypatch.setitem(fetch.ARCHIVES, "hpob-data", replace(name, file=dead))
    with pytest.raises(DataError, match="If this machine is offline, bring the file") as caught:
        fetch.fetch("hpob-data", tmp_path, progress=False)
    place = tmp_path / "hpob" / "downloads" / "hpob-data.zip"
    assert str(place) in str(caught.value)
    place.write_bytes(TABLES)
    fetch.fetch("hpob-data", tmp_path, progress=False)
    assert server.requests == []


@pytest.mark.parametrize(
    "url",
    [
        "http://mirror.example/x",
        "file:///etc/passwd",
        "ftp://mirror.example/x",
        "http://127.0.0.1@mirror.example/x",
        "http://localhost.mirror.example/x",
        "http://127.0.0.1.mirror.example/x",
        "data:text/plain,abc",
        "//mirror.example/x",
    ],
)
def test_only_secure_addresses_are_opened(tmp_path: Path, url: str) -> None:
    file = download.RemoteFile("x", 3, "0" * 64, (url,))
    with pytest.raises(DataError, match="is not an https address"):
        download.download(file, tmp_path, progress=False)


# The cache ----------------------------------------------------------------------------------------


def test_the_cache_is_the_argument_else_the_variable_else_the_users(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DIFFHPO_CACHE", str(tmp_path / "variable"))
    assert fetch.cache_directory(tmp_path / "argument") == tmp_path / "argument" / "hpob"
    assert fetch.cache_directory() == tmp_path / "variable" / "hpob"
    monkeypatch.delenv("DIFFHPO_CACHE")
    assert fetch.cache_directory().parts[-2:] == ("diffhpo", "hpob")


@pytest.mark.fault(28)
def test_a_cache_that_cannot_be_written_names_the_variable(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    offer(monkeypatch, server, "good")
    (tmp_path / "plain").write_text("")
    with pytest.raises(DataError, match=r"plain.* cannot be written .*DIFFHPO_CACHE"):
        fetch.fetch("hpob-data", tmp_path / "plain", progress=False)
    if os.geteuid() != 0:  # root may write anywhere
        (tmp_path / "locked").mkdir(mode=0o500)
        with pytest.raises(DataError, match="DIFFHPO_CACHE"):
            fetch.fetch("hpob-data", tmp_path / "locked", progress=False)


@pytest.mark.fault(28, 30)
def test_a_full_disk_names_the_variable_and_the_next_try_succeeds(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    offer(monkeypatch, server, "good")

    def full(*_: Any) -> Any:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(fetch, "unpack", full)
        with pytest.raises(DataError, match=r"No space left on device.*DIFFHPO_CACHE"):
            fetch.fetch("hpob-data", tmp_path, progress=False)
    fetch.fetch("hpob-data", tmp_path, progress=False)
    assert len(server.requests) == 1


def test_a_complete_cache_is_used_without_writing(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    offer(monkeypatch, server, "good")
    root = fetch.fetch(cache_dir=tmp_path, progress=False)
    before = {path: path.stat().st_mtime_ns for path in [root, *root.rglob("*")]}
    fetch.fetch(cache_dir=tmp_path, progress=False)
    fetch.info(tmp_path)
    fetch.verify(tmp_path)
    assert {path: path.stat().st_mtime_ns for path in [root, *root.rglob("*")]} == before


def test_changed_and_missing_files_are_found_and_fetch_repairs_what_is_missing(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    offer(monkeypatch, server, "good")
    root = fetch.fetch(cache_dir=tmp_path, progress=False)
    file = root / "hpob-data" / "bo-initializations.json"
    file.write_bytes(b"[]")
    with pytest.raises(DataError) as caught:
        fetch.verify(tmp_path)
    assert str(file) in str(caught.value)
    assert hashlib.sha256(b"[]").hexdigest() in str(caught.value)
    assert hashlib.sha256(b"{}").hexdigest() in str(caught.value)
    file.unlink()
    with pytest.raises(DataError, match=r"bo-initializations\.json is missing"):
        fetch.verify(tmp_path)
    assert not fetch.info(tmp_path)[0].complete
    fetch.fetch(cache_dir=tmp_path, progress=False)
    os.truncate(root / "hpob-data" / "big.json", 1000)
    assert not fetch.info(tmp_path)[0].complete
    fetch.fetch(cache_dir=tmp_path, progress=False)
    assert fetch.verify(tmp_path)


def test_an_archive_of_another_checksum_is_fetched_anew(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    offer(monkeypatch, server, "good")
    fetch.fetch("hpob-data", tmp_path, progress=False)
    newer = zipped({"hpob-data/meta-test-dataset.json": b"{}"})
    monkeypatch.setitem(FILES, "hpob-data.zip", newer)
    offer(monkeypatch, server, "good")
    assert not fetch.info(tmp_path)[0].complete
    root = fetch.fetch("hpob-data", tmp_path, progress=False)
    assert [path.name for path in (root / "hpob-data").iterdir()] == ["meta-test-dataset.json"]


def test_an_archive_without_its_marker_is_refused(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(FILES, "hpob-data.zip", zipped({"other.json": b"{}"}))
    offer(monkeypatch, server, "good")
    with pytest.raises(DataError, match=r"has no meta-test-dataset\.json"):
        fetch.fetch("hpob-data", tmp_path, progress=False)
    assert not list((tmp_path / "hpob" / "downloads").glob("unpack-*"))


def test_without_pooch_the_remedy_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pooch", None)
    with pytest.raises(DependencyError, match=r'pip install "diffhpo\[bench\]"'):
        fetch.fetch("hpob-data", tmp_path)
    monkeypatch.delenv("DIFFHPO_CACHE", raising=False)
    with pytest.raises(DependencyError, match="DIFFHPO_CACHE"):
        fetch.cache_directory()


def test_two_threads_fetch_the_archive_once(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    offer(monkeypatch, server, "good")
    threads = [threading.Thread(target=fetch.fetch, args=("hpob-data", tmp_path, False)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(server.requests) == 1
    assert fetch.verify(tmp_path, "hpob-data")


# Archives that others made ------------------------------------------------------------------------


def special(name: str, mode: int) -> bytes:
    entry = zipfile.ZipInfo(name)
    entry.create_system = 3  # Unix
    entry.external_attr = mode << 16
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as out:
        out.writestr(entry, b"/etc")
    return buffer.getvalue()


@pytest.mark.fault(27)
@pytest.mark.parametrize(
    ("contents", "reason"),
    [
        (zipped({"../evil": b"x"}), "leads out"),
        (zipped({"a/../../evil": b"x"}), "leads out"),
        (zipped({"/evil": b"x"}), "leads out"),
        (zipped({"..\\evil": b"x"}), "leads out"),
        (zipped({"C:evil": b"x"}), "leads out"),
        (special("link", stat.S_IFLNK | 0o777), "a link or special file"),
        (special("pipe", stat.S_IFIFO | 0o666), "a link or special file"),
        (zipped({"a": b"x", "a/b": b"x"}), "twice"),
        (b"not a zip", "cannot be unpacked"),
        (TABLES[:-30], "cannot be unpacked"),
        (TABLES.replace(b'{"100"', b'{"900"'), "cannot be unpacked"),
    ],
)
def test_unsafe_and_damaged_archives_are_refused(tmp_path: Path, contents: bytes, reason: str) -> None:
    file, target = tmp_path / "a.zip", tmp_path / "inside" / "target"
    file.write_bytes(contents)
    target.mkdir(parents=True)
    with pytest.raises(DataError, match=rf"a\.zip .*{reason}"):
        archive.unpack(file, target)
    assert {path.name for path in tmp_path.iterdir()} == {"a.zip", "inside"}
    assert [path.name for path in (tmp_path / "inside").iterdir()] == ["target"]


def test_a_bomb_is_stopped_at_the_limit(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as out:
        out.writestr("zeros", bytes(5_000_000))
        out.writestr("more", bytes(5_000_000))
    (tmp_path / "a.zip").write_bytes(buffer.getvalue())
    (tmp_path / "t").mkdir()
    with pytest.raises(DataError, match="more than 6000000 bytes"):
        archive.unpack(tmp_path / "a.zip", tmp_path / "t", max_bytes=6_000_000)
    assert sum(path.stat().st_size for path in (tmp_path / "t").iterdir()) <= 6_000_000
    with pytest.raises(DataError, match="2 members; at most 1"):
        archive.unpack(tmp_path / "a.zip", tmp_path / "t", max_files=1)


def test_unpacking_reports_every_file(tmp_path: Path) -> None:
    members = {"d/a": b"123", "d/e/b": b"", "c": os.urandom(3_000_000)}
    (tmp_path / "a.zip").write_bytes(zipped(members))
    (tmp_path / "t").mkdir()
    found = archive.unpack(tmp_path / "a.zip", tmp_path / "t")
    assert found == {name: (len(body), hashlib.sha256(body).hexdigest()) for name, body in members.items()}
    assert all((tmp_path / "t" / name).read_bytes() == body for name, body in members.items())
