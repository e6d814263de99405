# SPDX-License-Identifier: Apache-2.0
"""Says what is wrong with the bill of materials in a wheel: CycloneDX's required fields, and that it is true.

python .ci/software_bill.py dist/*.whl
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
import zipfile
from pathlib import Path
from typing import Any

BILL = r"diffhpo-[^/]*\.dist-info/sboms/diffhpo\.cdx\.json"
#: Files whose bytes a bill states: all that is neither code nor text. The native module's change in a repair.
PARTS = r"diffhpo/.*(?<!\.py)(?<!\.pyi)(?<!/py\.typed)(?<!\.md)(?<!\.so)(?<!\.pyd)"
#: Types of a component by CycloneDX 1.6 that a wheel can have.
TYPES = ("library", "data", "machine-learning-model", "file")


def faults(wheel: Path) -> list[str]:
    """What is wrong, one sentence each."""
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if not name.endswith("/")]
        found = [name for name in names if re.fullmatch(BILL, name)]
        if len(found) != 1:
            return [f"it has {len(found)} bills of materials in .dist-info/sboms"]
        try:
            bill = json.loads(archive.read(found[0]))
        except ValueError as error:
            return [f"{found[0]} is not JSON: {error}"]
        stated = {
            name: hashlib.sha256(archive.read(name)).hexdigest()
            for name in names
            if re.fullmatch(PARTS, name)
        }
    return [*_malformed(bill), *_untrue(bill, stated, wheel.name.split("-")[1])]


def _malformed(bill: Any) -> list[str]:
    """Against the schema of CycloneDX 1.6."""
    found = []
    head = {"bomFormat": "CycloneDX", "specVersion": "1.6", "version": 1}
    found += [
        f"{key} is {bill.get(key)!r}, not {value!r}" for key, value in head.items() if bill.get(key) != value
    ]
    if not re.fullmatch(r"urn:uuid:[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", str(bill.get("serialNumber"))):
        found.append(f"serialNumber is {bill.get('serialNumber')!r}")
    package = bill.get("metadata", {}).get("component", {})
    components = bill.get("components", [])
    references = [entry.get("bom-ref") for entry in [package, *components]]
    for entry in [package, *components]:
        if entry.get("type") not in TYPES or not entry.get("name") or not entry.get("bom-ref"):
            found.append(f"a component lacks its type, name or bom-ref: {entry}")
        if entry.get("type") == "library" and not (
            entry.get("version") and entry.get("purl") and entry.get("licenses")
        ):
            found.append(f"a library lacks its version, purl or licenses: {entry}")
    if len(set(references)) < len(references):
        found.append("a bom-ref is not unique")
    for row in bill.get("dependencies", []):
        for reference in [row.get("ref"), *row.get("dependsOn", [])]:
            if reference not in references:
                found.append(f"dependencies name {reference!r}, which is no component")
    return found


def _untrue(bill: Any, stated: dict[str, str], version: str) -> list[str]:
    """Against the wheel's files (name -> sha256) and its version."""
    found = []
    package = bill.get("metadata", {}).get("component", {})
    if (package.get("name"), package.get("version")) != ("diffhpo", version):
        found.append(
            f"it is of {package.get('name')} {package.get('version')}, the wheel of diffhpo {version}"
        )
    components = bill.get("components", [])
    if not any(entry.get("name") == "pybind11" for entry in components):
        found.append("pybind11, which is compiled in, is not listed")
    listed = {
        entry.get("name"): [
            hash_.get("content") for hash_ in entry.get("hashes", []) if hash_.get("alg") == "SHA-256"
        ]
        for entry in components
        if entry.get("type") != "library"
    }
    for name in sorted({*listed, *stated}, key=str):
        if name not in stated:
            found.append(f"{name} is listed and not there")
        elif name not in listed:
            found.append(f"{name} is there and not listed")
        elif listed[name] != [stated[name]]:
            found.append(f"{name} has sha256 {stated[name]}, not {listed[name]}")
    return found


def main(wheels: list[str]) -> int:
    wrong = 0
    for wheel in map(Path, wheels):
        sentences = faults(wheel)
        print(f"{wheel.name}: bill of materials: {'; '.join(sentences) or 'no fault'}")
        wrong += len(sentences)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
