# SPDX-License-Identifier: Apache-2.0
"""The check of built distributions finds what is absent, too large or foreign."""

import importlib.util
import io
import tarfile
import zipfile
from pathlib import Path

import pytest

_SCRIPT = Path(__file__).resolve().parents[1] / ".ci" / "wheel_contents.py"
WHEEL = {
    "diffhpo/_C.cpython-311-x86_64-linux-gnu.so": 10,
    "diffhpo/py.typed": 0,
    "diffhpo/pretrained/universal.safetensors": 10,
    "diffhpo/hpob/suite/test/hpob-data/meta-test-dataset.json.gz": 10,
    "diffhpo-0.1.0.dist-info/licenses/LICENSE": 10,
}
SOURCE = {
    "diffhpo-0.1.0/CMakeLists.txt": 10,
    "diffhpo-0.1.0/csrc/denoise/denoise_cpu.cpp": 10,
    "diffhpo-0.1.0/python/diffhpo/pretrained/universal.safetensors": 10,
    "diffhpo-0.1.0/LICENSE": 10,
    "diffhpo-0.1.0/PKG-INFO": 10,
}


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("wheel_contents", _SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def wheel(path, files):
    with zipfile.ZipFile(path, "w") as archive:
        for name, size in files.items():
            archive.writestr(name, b"\0" * size)
    return path


def source(path, files):
    with tarfile.open(path, "w:gz") as archive:
        for name, size in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = size
            archive.addfile(entry, io.BytesIO(b"\0" * size))
    return path


def test_whole_distributions_have_no_fault(script, tmp_path):
    paths = [wheel(tmp_path / "a.whl", WHEEL), source(tmp_path / "a.tar.gz", SOURCE)]
    assert script.main([str(path) for path in paths]) == 0


@pytest.mark.parametrize("name", sorted(WHEEL))
def test_what_a_wheel_lacks_is_named(script, tmp_path, name):
    files = {other: size for other, size in WHEEL.items() if other != name}
    assert len(script.faults(wheel(tmp_path / "a.whl", files))) == 1
    assert script.main([str(tmp_path / "a.whl")]) == 1


@pytest.mark.parametrize("name", sorted(SOURCE))
def test_what_a_source_distribution_lacks_is_named(script, tmp_path, name):
    files = {other: size for other, size in SOURCE.items() if other != name}
    assert len(script.faults(source(tmp_path / "a.tar.gz", files))) == 1


@pytest.mark.parametrize("name", ["tests/test_a.py", "diffhpo.libs/libgomp.so.1", "csrc/panels.h"])
def test_what_a_wheel_should_not_have_is_named(script, tmp_path, name):
    (fault,) = script.faults(wheel(tmp_path / "a.whl", {**WHEEL, name: 1}))
    assert fault == f"{name} should not be there"


@pytest.mark.parametrize("name", ["checkpoints/a.safetensors", "python/diffhpo/_C.so", "runs/a.json"])
def test_what_a_source_distribution_should_not_have_is_named(script, tmp_path, name):
    (fault,) = script.faults(source(tmp_path / "a.tar.gz", {**SOURCE, f"diffhpo-0.1.0/{name}": 1}))
    assert fault.endswith("should not be there")


def test_a_large_file_is_named(script, tmp_path):
    (fault,) = script.faults(wheel(tmp_path / "a.whl", {**WHEEL, "diffhpo/a.bin": 3_000_001}))
    assert fault == "diffhpo/a.bin has 3000001 bytes"
