# SPDX-License-Identifier: Apache-2.0
"""The check of a wheel's native module finds each thing that would make a memory fault an exploit."""

import importlib.util
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

if sys.platform != "linux" or not (shutil.which("cc") and shutil.which("readelf")):
    pytest.skip("needs a C compiler and readelf, on Linux", allow_module_level=True)

_SCRIPT = Path(__file__).resolve().parents[1] / ".ci" / "native_module.py"
SOUND = ["-fPIC", "-shared", "-fstack-protector-all", "-Wl,-z,relro,-z,now,-z,noexecstack"]
SOURCE = """
#include <math.h>
#include <string.h>
extern void* PyLong_FromLong(long);
__attribute__((visibility("default"))) void* PyInit__C(void) {
  char text[64]; memset(text, 1, sizeof text); return PyLong_FromLong((long)(pow(text[3], 1.5) * 2));
}
"""


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("native_module", _SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def built(tmp_path):
    def build(*options, source=SOURCE, sound=SOUND):
        file = tmp_path / "module.c"
        file.write_text(source)
        command = ["cc", "-O1", *sound, str(file), "-o", str(tmp_path / "_C.so"), "-lm", *options]
        subprocess.run(command, check=True, capture_output=True)
        return tmp_path / "_C.so"

    return build


def test_a_sound_module_has_no_fault(script, built):
    assert script.faults(built()) == []


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        (["-Wl,-z,execstack"], "its stack is executable"),
        (["-Wl,-z,lazy"], "its tables of addresses can be written (no full RELRO)"),
        (["-Wl,-z,norelro"], "its tables of addresses can be written (no full RELRO)"),
        (["-Wl,-rpath,/opt/x"], "it says where libraries are (RUNPATH)"),
        (["-Wl,-rpath,/opt/x,--disable-new-dtags"], "it says where libraries are (RPATH)"),
        (["-fno-stack-protector"], "its functions do not guard their stack (no -fstack-protector)"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_each_option_that_is_missing_is_named(script, built, options, fault):
    assert fault in script.faults(built(*options))


def test_code_that_can_be_written_is_named(script, built):
    source = SOURCE + r"""__asm__(".section .wx,\"awx\",@progbits\n .long 0\n .previous");"""
    assert "a segment can be written and run" in script.faults(built(source=source))


def test_symbols_that_nobody_has_are_named(script, built):
    source = SOURCE + "extern int absent(int); int helper(int x) { return absent(x); }"
    found = script.faults(built(source=source))
    assert "it leaves absent undefined, which no system library and no Python has" in found
    assert "it exports helper" in found
    assert len(found) == 2


def test_a_library_of_others_is_named(script, built, tmp_path):
    (tmp_path / "other.c").write_text("int absent(int x) { return x; }")
    other = tmp_path / "libother.so"
    subprocess.run(["cc", "-fPIC", "-shared", str(tmp_path / "other.c"), "-o", str(other)], check=True)
    source = SOURCE + "extern int absent(int); static int x; int PyInit_b(int y) { return absent(y); }"
    assert any(f.endswith("libother.so") for f in script.faults(built(str(other), source=source)))


def test_a_program_is_no_module(script, built):
    path = built(source="int main(void) { return 0; }", sound=["-no-pie"])
    assert "it is no shared library" in script.faults(path)


def test_the_modules_of_a_wheel_are_found(script, built, tmp_path, capsys):
    wheel = tmp_path / "diffhpo-1.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.write(built(), "diffhpo/_C.so")
    assert script.main([str(wheel)]) == 0
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.write(built("-Wl,-z,execstack"), "diffhpo/_C.so")
    assert script.main([str(wheel)]) == 1
    assert "_C.so: its stack is executable" in capsys.readouterr().out
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("diffhpo/a.py", "")
    assert script.main([str(wheel)]) == 1
