# SPDX-License-Identifier: Apache-2.0
"""Says what is wrong with distributions: something absent, too large, or for another platform than it says.

python .ci/wheel_contents.py dist/*.whl dist/*.tar.gz
"""

from __future__ import annotations

import re
import sys
import tarfile
import zipfile
from pathlib import Path

#: Compressed bytes of a distribution, and bytes of one file in it.
MOST_BYTES = 6_000_000
MOST_BYTES_OF_A_FILE = 3_000_000

NEEDED = {
    ".whl": [
        r"diffhpo/_C\.[^/]*(so|pyd)",
        r"diffhpo/py\.typed",
        r"diffhpo/pretrained/universal\.safetensors",
        r"diffhpo/hpob/suite/.*meta-test-dataset\.json\.gz",
        r"diffhpo-[^/]*\.dist-info/licenses/LICENSE",
    ],
    ".gz": [
        r"[^/]+/CMakeLists\.txt",
        r"[^/]+/csrc/denoise/denoise_cpu\.cpp",
        r"[^/]+/python/diffhpo/pretrained/universal\.safetensors",
        r"[^/]+/LICENSE",
        r"[^/]+/PKG-INFO",
    ],
}
#: A wheel has the package alone, and no library of others (auditwheel would put one into diffhpo.libs); a
#: source distribution has nothing that was built, fetched or trained.
FORBIDDEN = {
    ".whl": r"(?!diffhpo/|diffhpo-[^/]*\.dist-info/)",
    ".gz": r"[^/]+/(checkpoints|build|dist|runs|docs/results|\.git)/|.*\.(so|pyd|o|pyc)$",
}


def files_of(path: Path) -> dict[str, int]:
    """Name -> bytes of the files in a distribution."""
    if path.suffix == ".whl":
        with zipfile.ZipFile(path) as archive:
            return {item.filename: item.file_size for item in archive.infolist() if not item.is_dir()}
    with tarfile.open(path) as archive:
        return {item.name: item.size for item in archive if item.isfile()}


def faults(path: Path) -> list[str]:
    """What is wrong with a distribution, one sentence each."""
    files = files_of(path)
    found = []
    if path.stat().st_size > MOST_BYTES:
        found.append(f"{path.stat().st_size} bytes; at most {MOST_BYTES} are wanted")
    found += [f"{name} has {size} bytes" for name, size in files.items() if size > MOST_BYTES_OF_A_FILE]
    for pattern in NEEDED[path.suffix]:
        if not any(re.fullmatch(pattern, name) for name in files):
            found.append(f"there is no {pattern}")
    found += [f"{name} should not be there" for name in files if re.match(FORBIDDEN[path.suffix], name)]
    return found


def main(paths: list[str]) -> int:
    wrong = 0
    for path in map(Path, paths):
        print(f"{path.name}: {path.stat().st_size / 1e6:.1f} MB, {len(files_of(path))} files")
        for fault in faults(path):
            print(f"  {fault}")
            wrong += 1
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
