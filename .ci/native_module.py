# SPDX-License-Identifier: Apache-2.0
"""Says what is unsafe about the native module of a Linux wheel, as `checksec` would.

python .ci/native_module.py dist/*.whl

Needs `readelf`, of the compiler's binutils.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

#: What may be loaded with it: the C and C++ libraries of glibc and musl systems, and no others.
LIBRARIES = (
    r"lib(c|m|pthread|rt|dl)\.so\.\d+|libstdc\+\+\.so\.6|libgcc_s\.so\.1|ld-linux[\w-]*\.so\.\d|"
    r"libc\.musl-\w+\.so\.1|ld-musl-\w+\.so\.1"
)
#: Versions that the symbols of those libraries have on a glibc system.
VERSIONS = r"GLIBC(XX)?_[\d.]+|CXXABI_[\w.]+|GCC_[\d.]+"
#: The C API of Python, which the interpreter brings.
PYTHON = r"_?Py[A-Z_]\w*"


def _readelf(path: Path, *options: str) -> str:
    done = subprocess.run(
        ["readelf", "-W", *options, str(path)],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "LC_ALL": "C"},
    )
    return done.stdout


def faults(path: Path) -> list[str]:
    """What is wrong with a shared library, one sentence each."""
    dynamic, segments = _readelf(path, "-d"), _readelf(path, "-l")
    symbols = _readelf(path, "--dyn-syms")
    found = []
    if "Type:                              DYN" not in _readelf(path, "-h"):
        found.append("it is no shared library")
    stack = re.search(r"^\s*GNU_STACK\s.*?\s([RWE ]+?)\s+0x\w+$", segments, re.MULTILINE)
    if stack is None or "E" in stack[1]:
        found.append("its stack is executable")
    if re.search(r"^\s*LOAD\s.*\sRWE\s", segments, re.MULTILINE):
        found.append("a segment can be written and run")
    if "GNU_RELRO" not in segments or not re.search(r"BIND_NOW|FLAGS_1\).*\bNOW\b", dynamic):
        found.append("its tables of addresses can be written (no full RELRO)")
    if "TEXTREL" in dynamic:
        found.append("its code is changed when it is loaded (TEXTREL)")
    for name in re.findall(r"\((RPATH|RUNPATH)\)", dynamic):
        found.append(f"it says where libraries are ({name})")
    for name in re.findall(r"\(NEEDED\).*\[(.*)\]", dynamic):
        if not re.fullmatch(LIBRARIES, name):
            found.append(f"it needs {name}")
    names = _symbols(symbols)
    if not any(name == "__stack_chk_fail" for _, _, name, _ in names):
        found.append("its functions do not guard their stack (no -fstack-protector)")
    versioned = any(version for *_, version in names)  # musl's symbols have none
    for binding, index, name, version in names:
        if index == "UND":
            system = re.fullmatch(VERSIONS, version) if versioned else not version
            if binding != "WEAK" and not system and not re.fullmatch(PYTHON, name):
                found.append(f"it leaves {name} undefined, which no system library and no Python has")
        elif not name.startswith("PyInit_") and name not in ("_init", "_fini"):
            found.append(f"it exports {name}")
    return found


def _symbols(table: str) -> list[tuple[str, str, str, str]]:
    """(binding, section, name, version) of the dynamic symbols; the version is "" where there is none."""
    rows = [line.split() for line in table.splitlines() if re.match(r"\s*\d+:", line)]
    found = []
    for row in rows:
        if len(row) >= 8 and row[4] in ("GLOBAL", "WEAK", "UNIQUE"):
            name, _, version = row[7].partition("@")
            found.append((row[4], row[6], name, version.lstrip("@")))
    return found


def modules(wheel: Path, folder: Path) -> list[Path]:
    """The native modules of a wheel, unpacked."""
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if re.search(r"\.so(\.|$)", name)]
        return [Path(archive.extract(name, folder)) for name in names]


def main(wheels: list[str]) -> int:
    wrong = 0
    for wheel in map(Path, wheels):
        with tempfile.TemporaryDirectory() as folder:
            found = modules(wheel, Path(folder))
            if not found:
                print(f"{wheel.name}: no native module")
                wrong += 1
            for module in found:
                sentences = faults(module)
                print(f"{wheel.name}: {module.name}: {'; '.join(sentences) or 'no fault'}")
                wrong += len(sentences)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
