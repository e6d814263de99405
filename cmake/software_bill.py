# SPDX-License-Identifier: Apache-2.0
"""Writes the bill of materials that a wheel carries (PEP 770): CycloneDX 1.6, JSON.

It lists what is inside and came from elsewhere or was computed: libraries that are compiled into the native
module, the pretrained weights, the benchmark's data. What the package only needs at run time is in its
METADATA. The same contents give the same bytes.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

#: Files of the package that are neither code nor text; the native module's bytes change when it is repaired.
PART_SUFFIXES = (".safetensors", ".gz", ".json", ".npz")
LICENCES: Mapping[str, dict[str, str]] = {
    "diffhpo": {"id": "Apache-2.0"},
    "pybind11": {"id": "BSD-3-Clause"},
    "cudart": {"name": "NVIDIA CUDA Toolkit EULA"},
}


def parts(package: Path) -> dict[str, str]:
    """Name in the wheel -> sha256, of the package's data files."""
    return {
        f"{package.name}/{path.relative_to(package).as_posix()}": hashlib.sha256(
            path.read_bytes()
        ).hexdigest()
        for path in sorted(package.rglob("*"))
        if path.suffix in PART_SUFFIXES and path.is_file()
    }


def bill(
    version: str, compiler: str, libraries: Sequence[tuple[str, str]], files: Mapping[str, str]
) -> dict[str, Any]:
    """The bill as JSON values.

    Args:
        version: of the package.
        compiler: what built the native module.
        libraries: (name, version) of what is compiled into it.
        files: of `parts`.
    """
    components = [_library(name, number) for name, number in libraries]
    components += [
        {
            "type": "machine-learning-model" if name.endswith(".safetensors") else "data",
            "bom-ref": f"file:{name}",
            "name": name,
            "hashes": [{"alg": "SHA-256", "content": sha256}],
        }
        for name, sha256 in files.items()
    ]
    package = {
        **_library("diffhpo", version),
        "properties": [{"name": "diffhpo:compiler", "value": compiler}],
    }
    content = {
        "metadata": {"component": package},
        "components": components,
        "dependencies": [
            {"ref": package["bom-ref"], "dependsOn": [entry["bom-ref"] for entry in components]},
            *({"ref": entry["bom-ref"]} for entry in components),
        ],
    }
    # A serial number is wanted, and a random one would make every build differ.
    serial = uuid.uuid5(uuid.NAMESPACE_URL, json.dumps(content, sort_keys=True))
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{serial}",
        "version": 1,
        **content,
    }


def _library(name: str, version: str) -> dict[str, Any]:
    kind = "generic" if name == "cudart" else "pypi"
    purl = f"pkg:{kind}/{name}@{version}"
    return {
        "type": "library",
        "bom-ref": purl,
        "name": name,
        "version": version,
        "purl": purl,
        "licenses": [{"license": LICENCES[name]}],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("package", type=Path, help="the package's directory")
    parser.add_argument("output", type=Path)
    parser.add_argument("--version", required=True)
    parser.add_argument("--compiler", required=True)
    parser.add_argument("--library", action="append", default=[], help="NAME=VERSION, compiled in")
    given = parser.parse_args()
    libraries = [tuple(text.split("=", 1)) for text in given.library]
    made = bill(given.version, given.compiler, libraries, parts(given.package))
    given.output.write_text(json.dumps(made, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
