# SPDX-License-Identifier: Apache-2.0
"""Every reader of files, given what is no file, another file, or a damaged one."""

import os
import pickle
import signal

import numpy as np
import pytest
import torch
from tests.faults.file_readers import READERS

from diffhpo.errors import DiffHPOError

#: A hang; any of these takes milliseconds.
HANG_SECONDS = 60


@pytest.fixture(autouse=True)
def _no_hang():
    def stop(signum, frame):
        raise TimeoutError(f"{HANG_SECONDS} s on one file")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(HANG_SECONDS)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture(scope="module")
def valid(tmp_path_factory):
    """name -> (a valid file's bytes, what is read of it)."""
    found = {}
    for name, reader in READERS.items():
        folder = tmp_path_factory.mktemp(name)
        content = reader.content(folder)
        path = tmp_path_factory.mktemp(name) / reader.file
        path.write_bytes(content)
        found[name] = content, reader.read(path)
    return found


def outcome(name, path):
    """What is read, or None where the package's own error refuses it; anything else is a failure."""
    try:
        return READERS[name].read(path)
    except DiffHPOError:
        return None


def place(tmp_path, name, content=None):
    path = tmp_path / READERS[name].file
    if content is not None:
        path.write_bytes(content)
    return path


@pytest.mark.fault(25)
@pytest.mark.parametrize("name", READERS)
def test_25_what_is_no_regular_file_is_refused_at_once(name, tmp_path):
    path = place(tmp_path, name)
    makers = {
        "nothing": lambda: None,
        "directory": path.mkdir,
        "pipe": lambda: os.mkfifo(path),
        "endless": lambda: path.symlink_to("/dev/zero"),
        "terminal": lambda: path.symlink_to("/dev/tty"),
        "dangling": lambda: path.symlink_to("nothing"),
        "loop": lambda: path.symlink_to(path.name),
        "empty": lambda: path.write_bytes(b""),
    }
    for kind, make in makers.items():
        make()
        assert outcome(name, path) is None, kind
        if path.is_dir() and not path.is_symlink():
            path.rmdir()
        else:
            path.unlink(missing_ok=True)


@pytest.mark.fault(25)
@pytest.mark.parametrize("name", READERS)
def test_25_other_contents_are_refused(name, valid, tmp_path):
    rng = np.random.default_rng(0)
    others = [bytes(64), b"\xff\xfe" * 40, rng.bytes(300), b"[" * 100_000, b'{"a":' * 100_000, b"\n" * 100]
    both = {"study-journal", "study-sqlite"}, {"archive", "rollouts"}  # of one kind
    alike = next((names for names in both if name in names), {name})
    others += [content for other, (content, _) in valid.items() if other not in alike]
    for content in others:
        found = outcome(name, place(tmp_path, name, content))
        assert found is None, content[:80]


class Bomb:
    def __reduce__(self):
        return (pytest.fail, ("a pickle was run",))


@pytest.mark.fault(26)
@pytest.mark.parametrize("name", READERS)
def test_26_a_pickle_in_any_place_is_refused(name, tmp_path):
    path = place(tmp_path, name, pickle.dumps(Bomb()))
    assert outcome(name, path) is None
    with path.open("wb") as file:
        np.save(file, np.array([Bomb()], dtype=object), allow_pickle=True)
    assert outcome(name, path) is None
    # Both are zip archives, which "archive" unpacks, and reads no file of.
    torch.save({"a": Bomb()}, path)
    assert outcome(name, path) is None or name == "archive"
    with path.open("wb") as file:
        np.savez(file, order=np.array([Bomb()], dtype=object), asked=np.array([Bomb()], dtype=object))
    assert outcome(name, path) is None or name == "archive"


@pytest.mark.fault(25)
@pytest.mark.parametrize("name", READERS)
def test_25_a_file_that_was_cut_is_refused(name, valid, tmp_path):
    content, _ = valid[name]
    step = 1 if len(content) < 700 else 17 if len(content) < 4096 else 1024 if len(content) < 65536 else 8192
    for length in range(0, len(content) - 1, step):
        part = outcome(name, place(tmp_path, name, content[:length]))
        assert part is None or not READERS[name].whole, length


#: A changed bit of these is seen: they have checksums over all that is read of them.
_CHECKED = ("checkpoint", "universal", "optimizer", "journal", "archive", "rollouts")


@pytest.mark.fault(25)
@pytest.mark.parametrize("name", READERS)
def test_25_a_flipped_bit_is_refused_or_changes_nothing_unseen(name, valid, tmp_path):
    content, found = valid[name]
    rng = np.random.default_rng(1)
    kept = 0
    for _ in range(10 if name == "study-sqlite" else 40):
        damaged = bytearray(content)
        damaged[rng.integers(len(content))] ^= 1 << rng.integers(8)
        read = outcome(name, place(tmp_path, name, bytes(damaged)))
        kept += read is not None
        if name in _CHECKED and read is not None:
            # The last record of a journal may be lost, which is told, and its run is done again.
            assert read == found or (name == "journal" and read == found[:1]), "a change was not seen"
    if name in ("checkpoint", "universal", "optimizer"):
        assert kept < 5


@pytest.mark.fault(25)
@pytest.mark.parametrize("name", READERS)
def test_25_links_and_odd_names_are_read(name, valid, tmp_path):
    content, found = valid[name]
    (tmp_path / "real").write_bytes(content)
    soft, hard = tmp_path / "soft" / READERS[name].file, tmp_path / "hard" / READERS[name].file
    for path, link in ((soft, os.symlink), (hard, os.link)):
        path.parent.mkdir()
        link(tmp_path / "real", path)
        assert repr(READERS[name].read(path)) == repr(found)
    for odd in ("a\nb", os.fsdecode(b"a\xff"), "ä b'\"", "-"):
        folder = tmp_path / odd
        folder.mkdir()
        path = folder / (odd if READERS[name].file == "file" else READERS[name].file)
        path.write_bytes(content)
        if name == "study-sqlite" and odd == os.fsdecode(b"a\xff"):
            continue  # SQLite's own URIs are UTF-8
        assert repr(READERS[name].read(path)) == repr(found)


@pytest.mark.fault(25)
@pytest.mark.parametrize("name", [name for name in READERS if READERS[name].text])
def test_25_marks_and_line_ends_of_editors_change_nothing(name, valid, tmp_path):
    content, found = valid[name]
    for other in (b"\xef\xbb\xbf" + content, content.replace(b"\n", b"\r\n"), content + b"\r\n"):
        assert repr(outcome(name, place(tmp_path, name, other))) == repr(found)
    for other in (content.replace(b"0", b"0\0", 1), content.replace(b"t", b"\xff", 1)):
        if other != content:
            assert outcome(name, place(tmp_path, name, other)) is None


@pytest.mark.fault(25)
@pytest.mark.parametrize("name", READERS)
def test_25_a_file_without_permission_is_refused(name, valid, tmp_path, monkeypatch):
    path = place(tmp_path, name, valid[name][0])
    if os.geteuid() == 0:
        # Root reads everything: the answer of the system is given in its place.
        opened = os.open

        def refused(file, *args, **kwargs):
            if os.fspath(file) == os.fspath(path):
                raise PermissionError(13, "Permission denied", os.fspath(path))
            return opened(file, *args, **kwargs)

        monkeypatch.setattr(os, "open", refused)
    path.chmod(0)
    assert outcome(name, path) is None
