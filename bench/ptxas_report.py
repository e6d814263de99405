# SPDX-License-Identifier: Apache-2.0
"""Registers, spills and shared memory of every CUDA kernel, as ptxas reports them: needs nvcc, no device.

`python bench/ptxas_report.py` prints the tables of docs/performance.md. It exits with 1 if the bf16 kernels
of a 64-wide network with up to 16 dimensions spill, with 2 if nvcc is missing or fails.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

_CSRC = Path(__file__).parents[1] / "csrc"
_SOURCES = ("denoise_cuda.cu", "denoise_cuda_bf16.cu", "arrange_cuda.cu")
_ARCHITECTURES = ("80", "90a")
#: As CMakeLists.txt compiles them.
_FLAGS = ("-std=c++17", "-O3", "--fmad=false", "--expt-relaxed-constexpr", "-Xptxas", "-v")
_MUST_NOT_SPILL = {
    "denoise_bf16_kernel<64, 16, 1>",
    "denoise_bf16_kernel<64, 16, 2>",
    "denoise_split_kernel<64, 16>",
}

_ENTRY = re.compile(r"Compiling entry function '(\S+)'")
_SPILLS = re.compile(r"(\d+) bytes spill stores, (\d+) bytes spill loads")
_USED = re.compile(r"Used (\d+) registers")
_SHARED = re.compile(r"(\d+) bytes smem")


@dataclass
class Kernel:
    """One kernel on one architecture."""

    name: str
    registers: int = 0
    spilled: int = 0
    """Bytes of spill stores and loads."""
    shared: int = 0
    """Bytes of static shared memory."""


def demangled(symbol: str) -> str:
    """The kernel's name and its integer template arguments; both are all that the kernels here have.

    Example:
        >>> demangled("_ZN7diffhpo12_GLOBAL__N_119denoise_bf16_kernelILi64ELi16ELi2EEEv")
        'denoise_bf16_kernel<64, 16, 2>'
    """
    # A mangled name is its length and its letters; what stands before may end in digits, too.
    lengths = re.finditer(r"(?=(\d\d)[a-z])", symbol)
    names = [symbol[at.start() + 2 : at.start() + 2 + int(at[1])] for at in lengths]
    name = next((name for name in names if name.endswith("_kernel") and len(name) < 40), symbol)
    arguments = re.findall(r"Li(\d+)E", symbol)
    return name + (f"<{', '.join(arguments)}>" if arguments else "")


def parse(log: str) -> list[Kernel]:
    """The kernels of what nvcc -Xptxas -v printed."""
    kernels: list[Kernel] = []
    for line in log.splitlines():
        if entry := _ENTRY.search(line):
            kernels.append(Kernel(demangled(entry[1])))
        elif kernels and (spills := _SPILLS.search(line)):
            kernels[-1].spilled = int(spills[1]) + int(spills[2])
        elif kernels and (used := _USED.search(line)):
            kernels[-1].registers = int(used[1])
            shared = _SHARED.search(line)
            kernels[-1].shared = int(shared[1]) if shared else 0
    return kernels


def compile_for(nvcc: str, source: str, architecture: str, folder: str) -> list[Kernel]:
    """Compile one file for one architecture.

    Raises:
        SystemExit: with what nvcc printed, if it fails.
    """
    target = f"arch=compute_{architecture},code=sm_{architecture}"
    command = [
        nvcc,
        *_FLAGS,
        f"-I{_CSRC}",
        "-gencode",
        target,
        "-c",
        str(_CSRC / "cuda" / source),
        "-o",
        f"{folder}/kernel.o",
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        print(done.stdout + done.stderr, file=sys.stderr)
        raise SystemExit(2)
    return parse(done.stdout + done.stderr)


def main() -> int:
    nvcc = shutil.which("nvcc")
    if nvcc is None:
        print("nvcc is not on PATH", file=sys.stderr)
        return 2
    version = subprocess.run([nvcc, "--version"], capture_output=True, text=True).stdout
    print(re.findall(r"release [\d.]+, V[\d.]+", version)[0])
    spilling = []
    for architecture in _ARCHITECTURES:
        print(f"\n| sm_{architecture} | registers | spilled bytes | static shared bytes |\n|---|---|---|---|")
        with tempfile.TemporaryDirectory() as folder:
            found = [k for source in _SOURCES for k in compile_for(nvcc, source, architecture, folder)]
        for kernel in sorted(found, key=lambda kernel: kernel.name):
            print(f"| {kernel.name} | {kernel.registers} | {kernel.spilled} | {kernel.shared} |")
        if not {kernel.name for kernel in found} >= _MUST_NOT_SPILL:
            print(f"the report lacks one of {sorted(_MUST_NOT_SPILL)}", file=sys.stderr)
            return 2
        spilling += [k.name for k in found if k.name in _MUST_NOT_SPILL and k.spilled]
    for name in spilling:
        print(f"{name} spills", file=sys.stderr)
    return 1 if spilling else 0


if __name__ == "__main__":
    sys.exit(main())
