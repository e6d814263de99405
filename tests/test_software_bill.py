# SPDX-License-Identifier: Apache-2.0
"""A wheel's bill of materials is whole and true, and the check of it finds where one is not."""

import copy
import hashlib
import importlib.util
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import diffhpo

ROOT = Path(__file__).resolve().parents[1]
FILES = {
    "diffhpo/__init__.py": b"",
    "diffhpo/_C.so": b"\x7fELF",
    "diffhpo/hpob/suite/tables.json.gz": b"tables",
    "diffhpo/pretrained/universal.safetensors": b"weights",
}
PLACE = "diffhpo-1.2.dist-info/sboms/diffhpo.cdx.json"
WEIGHTS = "diffhpo/pretrained/universal.safetensors"


def loaded(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


MAKER = loaded(ROOT / "cmake" / "software_bill.py")
CHECK = loaded(ROOT / ".ci" / "software_bill.py")


@pytest.fixture
def bill():
    parts = {
        name: hashlib.sha256(data).hexdigest()
        for name, data in FILES.items()
        if name.endswith(MAKER.PART_SUFFIXES)
    }
    return MAKER.bill("1.2", "GNU 12", [("pybind11", "3.1")], parts)


@pytest.fixture
def faults(tmp_path):
    """What the check says of a wheel with this bill."""

    def found(*bills):
        path = tmp_path / "diffhpo-1.2-cp311-cp311-linux_x86_64.whl"
        with zipfile.ZipFile(path, "w") as archive:
            for name, data in FILES.items():
                archive.writestr(name, data)
            for number, content in enumerate(bills):
                text = content if isinstance(content, str) else json.dumps(content)
                archive.writestr(PLACE.replace("-1.2.", f"-1.2{'.0' * number}."), text)
        return CHECK.faults(path)

    return found


def test_a_true_bill_has_no_fault(bill, faults):
    assert faults(bill) == []


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda b: b.pop("specVersion"), "specVersion is None, not '1.6'"),
        (lambda b: b.update(bomFormat="SPDX"), "bomFormat is 'SPDX', not 'CycloneDX'"),
        (lambda b: b.update(serialNumber="7"), "serialNumber is '7'"),
        (lambda b: b["components"][0].pop("version"), "a library lacks its version"),
        (lambda b: b["components"][0].update(type="weights"), "a component lacks its type"),
        (lambda b: b["components"][1].pop("bom-ref"), "a component lacks its type, name or bom-ref"),
        (lambda b: b["components"].append(b["components"][0]), "a bom-ref is not unique"),
        (lambda b: b["dependencies"][0]["dependsOn"].append("x"), "dependencies name 'x'"),
        (lambda b: b["metadata"]["component"].update(version="1.1"), "it is of diffhpo 1.1"),
        (lambda b: b["components"].pop(), f"{WEIGHTS} is there and not listed"),
        (lambda b: b["components"][-1].update(name="diffhpo/a.gz"), "diffhpo/a.gz is listed and not there"),
        (lambda b: b["components"][-1]["hashes"][0].update(content="0" * 64), f"{WEIGHTS} has sha256"),
        (lambda b: b["components"].pop(0), "pybind11, which is compiled in, is not listed"),
    ],
)
def test_what_is_wrong_with_a_bill_is_named(bill, faults, change, fault):
    changed = copy.deepcopy(bill)
    change(changed)
    assert any(sentence.startswith(fault) for sentence in faults(changed)), faults(changed)


def test_a_wheel_without_a_bill_or_with_two_or_a_broken_one_is_named(bill, faults):
    assert faults() == ["it has 0 bills of materials in .dist-info/sboms"]
    assert faults(bill, bill) == ["it has 2 bills of materials in .dist-info/sboms"]
    assert "is not JSON" in faults("{")[0]


def test_the_package_as_it_is_gives_the_same_bill_twice_with_the_weights_own_checksum(tmp_path):
    package = Path(diffhpo.__file__).parent
    command = [sys.executable, str(ROOT / "cmake" / "software_bill.py"), str(package)]
    options = ["--version", "1.2", "--compiler", "GNU 12", "--library", "pybind11=3.1"]
    for name in ("a", "b"):
        subprocess.run([*command, str(tmp_path / name), *options], check=True)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    made = json.loads((tmp_path / "a").read_text(encoding="utf-8"))
    listed = {entry["name"]: entry for entry in made["components"]}
    wanted = hashlib.sha256((package.parent / WEIGHTS).read_bytes()).hexdigest()
    assert listed[WEIGHTS]["hashes"] == [{"alg": "SHA-256", "content": wanted}]
    assert listed[WEIGHTS]["type"] == "machine-learning-model"
    files = {p.relative_to(package.parent).as_posix() for p in package.rglob("*.gz")}
    assert files
    assert files <= set(listed)
