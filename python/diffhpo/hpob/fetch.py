# SPDX-License-Identifier: Apache-2.0
"""HPO-B's published data in a local cache: fetch, verify, describe.

The cache is the argument `cache_dir`, else the environment variable DIFFHPO_CACHE, else the user's cache
directory. Data that is complete there is used without any network.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import sys
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diffhpo import __version__
from diffhpo.errors import DataError, DependencyError, InputError
from diffhpo.files.file_schema import WRITER, check_schema
from diffhpo.files.regular_file import open_regular
from diffhpo.hpob.archive import unpack
from diffhpo.hpob.download import RemoteFile, download
from diffhpo.hpob.json_file import read_json, write_json

#: Version of the layout of a manifest; a reader refuses a later one.
SCHEMA = 1
CACHE_VARIABLE = "DIFFHPO_CACHE"

_GITHUB = "https://github.com/sebastianpinedaar/hpo-data/raw/refs/heads/main/"
_HUGGING_FACE = "https://huggingface.co/datasets/Sebastianpinar/hpob/resolve/main/"


@dataclass(frozen=True)
class Archive:
    """A published zip archive and the file by which its top directory is known."""

    file: RemoteFile
    marker: str


def _archive(name: str, size: int, sha256: str, marker: str) -> Archive:
    file = f"{name}.zip"
    return Archive(RemoteFile(file, size, sha256, (_GITHUB + file, _HUGGING_FACE + file)), marker)


#: Directory in the cache -> archive. Sizes and checksums: the pointers in HPO-B's own mirrors.
ARCHIVES: dict[str, Archive] = {
    "hpob-data": _archive(
        "hpob-data",
        261_011_374,
        "ab1c439e50ffea3d8a3f1e0ad7ee7f03cd3c12df05576de84ad7c3b58fbf3358",
        "meta-test-dataset.json",
    ),
    "saved-surrogates": _archive(
        "saved-surrogates",
        148_595_881,
        "bda3a71e8b720efa97ea654a5e883f87aed1345fa35553318980e1d45b7b5662",
        "summary-stats.json",
    ),
}


@dataclass(frozen=True)
class CachedData:
    """What the cache holds of one archive."""

    name: str
    path: Path
    complete: bool
    """Unpacked from the archive with the right checksum, and no file missing or of another size."""
    n_files: int
    n_bytes: int
    download_bytes: int
    sha256: str
    """Of the archive."""
    mirrors: tuple[str, ...]


def cache_directory(cache_dir: str | Path | None = None) -> Path:
    """The directory of the cached data, whether or not it exists yet."""
    chosen = cache_dir or os.environ.get(CACHE_VARIABLE)
    if chosen:
        return Path(chosen).expanduser() / "hpob"
    try:
        import pooch
    except ImportError as error:
        raise DependencyError(
            f'finding the cache needs pooch: pip install "diffhpo[bench]", or set {CACHE_VARIABLE}'
        ) from error
    return Path(pooch.os_cache("diffhpo")) / "hpob"


def fetch(name: str = "hpob", cache_dir: str | Path | None = None, progress: bool = True) -> Path:
    """Bring HPO-B's data into the cache; what is complete there is left alone.

    Args:
        name: "hpob" for all, or "hpob-data" (tables) or "saved-surrogates" (continuous protocol) alone.
        cache_dir: where to keep it, see above. About 0.4 GB are downloaded, and more unpacked.
        progress: show progress bars on stderr.

    Returns:
        The directory to give to `Benchmark`.

    Raises:
        InputError: on an unknown name.
        DataError: if no mirror delivers (offline, or a wrong checksum: both hashes are named), the archive
            is not safe to unpack, or the cache cannot be written.
        DependencyError: if pooch is not installed.
    """
    names = _names(name)
    root = cache_directory(cache_dir)
    wanted = [part for part in names if not _is_complete(root, part)]
    if not wanted:
        return root
    try:
        root.mkdir(parents=True, exist_ok=True)
        with _locked(root / ".lock"):
            for part in wanted:
                if not _is_complete(root, part):  # another process may have brought it meanwhile
                    _install(root, part, progress)
    except OSError as error:
        raise DataError(
            f"the cache {root} cannot be written ({error.strerror or error}); free space there, or set "
            f"{CACHE_VARIABLE} to a directory that can be written"
        ) from error
    return root


def verify(cache_dir: str | Path | None = None, name: str = "hpob") -> list[CachedData]:
    """Compare the checksum of every unpacked file with the one taken when it was unpacked.

    Raises:
        DataError: if data is not there, or listing the files that are missing or changed.
        InputError: on an unknown name.
    """
    root = cache_directory(cache_dir)
    for part in _names(name):
        faults = []
        for file, (size, sha256) in _manifest(root, part).items():
            path = root / part / file
            if not path.is_file():
                faults.append(f"{path} is missing")
            elif (found := _sha256(path)) != sha256:
                faults.append(
                    f"{path} has sha256 {found} and {path.stat().st_size} bytes, not {sha256} and {size}"
                )
        if not _manifest(root, part):
            faults.append(f"{root / part} is not complete")
        if faults:
            more = f" and {len(faults) - 10} more" if len(faults) > 10 else ""
            raise DataError(
                f"{'; '.join(faults[:10])}{more}: delete {root / part} and run `diffhpo data fetch`"
            )
    return [entry for entry in info(cache_dir) if entry.name in _names(name)]


def info(cache_dir: str | Path | None = None) -> list[CachedData]:
    """What the cache holds and what it could hold; reads no file's contents and no network."""
    root = cache_directory(cache_dir)
    entries = []
    for part, archive in ARCHIVES.items():
        files = _manifest(root, part)
        remote = archive.file
        entries.append(
            CachedData(
                part,
                root / part,
                _is_complete(root, part),
                len(files),
                sum(size for size, _ in files.values()),
                remote.size,
                remote.sha256,
                remote.mirrors,
            )
        )
    return entries


def _names(name: str) -> list[str]:
    if name == "hpob":
        return list(ARCHIVES)
    if name not in ARCHIVES:
        raise InputError(f"name is {name!r}; accepted: 'hpob', {', '.join(map(repr, ARCHIVES))}")
    return [name]


def _manifest_file(root: Path, part: str) -> Path:
    return root / f"{part}.manifest.json"


def _manifest(root: Path, part: str) -> dict[str, tuple[int, str]]:
    """{file: (bytes, sha256)} as it was unpacked; empty if it was not, or from another archive."""
    file = _manifest_file(root, part)
    if not file.is_file():
        return {}
    value = read_json(file)
    # Manifests of before the field are of schema 1.
    check_schema(value.get("schema", 1), SCHEMA, file, writer=value.get(WRITER), error=DataError)
    if value.get("sha256") != ARCHIVES[part].file.sha256:
        return {}
    try:
        return {name: (int(size), str(sha256)) for name, (size, sha256) in value["files"].items()}
    except (AttributeError, KeyError, OverflowError, TypeError, ValueError):
        raise DataError(f"{file} is damaged; delete it and run `diffhpo data fetch`") from None


def write_manifest(root: Path, part: str, sha256: str, files: Mapping[str, tuple[int, str]]) -> None:
    """Note what was unpacked: file -> (bytes, sha256), of the archive with this checksum."""
    content = {"schema": SCHEMA, WRITER: __version__, "sha256": sha256, "files": files}
    write_json(_manifest_file(root, part), content)


def _is_complete(root: Path, part: str) -> bool:
    files = _manifest(root, part)
    paths = [(root / part / name, size) for name, (size, _) in files.items()]
    return bool(files) and all(path.is_file() and path.stat().st_size == size for path, size in paths)


def _install(root: Path, part: str, progress: bool) -> None:
    archive = ARCHIVES[part]
    downloads = root / "downloads"
    file = download(archive.file, downloads, progress=progress)
    staging = downloads / f"unpack-{uuid.uuid4().hex}"
    try:
        staging.mkdir()
        files = unpack(file, staging)
        # The archive may or may not wrap its files in a directory, and may hold others beside it.
        places = [Path(name).parent for name in files if Path(name).name == archive.marker]
        if not places:
            raise DataError(f"{file} has no {archive.marker}; it is not the archive of {part}")
        top = min(places, key=lambda place: len(place.parts))
        kept: dict[str, Any] = {
            Path(name).relative_to(top).as_posix(): entry
            for name, entry in files.items()
            if Path(name).is_relative_to(top)
        }
        # Without its manifest the directory counts as incomplete, so a crash in between does no harm.
        _manifest_file(root, part).unlink(missing_ok=True)
        if (root / part).exists():
            shutil.rmtree(root / part)
        os.replace(staging / top, root / part)
        write_manifest(root, part, archive.file.sha256, kept)
        file.unlink()
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with open_regular(path) as stream:
        while chunk := stream.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold a file lock, so that two processes do not fetch the same archive; it ends with the process."""
    # Not through a link: what it names would be emptied.
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o644)
    with open(descriptor, "w") as stream:
        if sys.platform != "win32":
            import fcntl

            fcntl.flock(stream, fcntl.LOCK_EX)
        yield
