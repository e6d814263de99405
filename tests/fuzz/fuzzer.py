# SPDX-License-Identifier: Apache-2.0
"""Runs the fuzz targets of this directory one after the other; `.ci/fuzz` calls it.

python tests/fuzz/fuzzer.py [SECONDS a target] [TARGET ...]

A target is a file `fuzz_NAME.py` with `seeds()`, a few valid inputs made by code, and `one_input(data,
folder)`, which gives an input to a reader. Nothing but the errors of diffhpo.errors may come out of it, in
less than a second of processor time and with less than 1 GB of memory. What fails is kept as
NAME-SHA1 in the directory that FUZZ_FOUND names, `build/fuzz` by default: mend the fault, and add the
input to `regressions.py`.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import os
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

HERE = Path(__file__).resolve().parent
NAMES = sorted(path.stem.removeprefix("fuzz_") for path in HERE.glob("fuzz_*.py"))
#: CI's minute, shared by all targets.
SECONDS_OF_ALL = 60
#: Of processor time: a loaded machine is no fault.
MOST_SECONDS = 1.0
#: Of wall time; a true hang.
TIMEOUT = 60
MOST_MEGABYTES = 1024
#: Longest input, bytes.
MAX_LEN = 16384
#: What breaks readers of JSON, CSV and archives, for the mutator.
TOKENS = (
    *("1e400", "-1e400", "NaN", "Infinity", "-0", "-0.0", "1e-400", "9" * 30, "18446744073709551616"),
    *(
        "null",
        "true",
        "false",
        "[",
        "]",
        "{}",
        "[[[[[[[[",
        '{"":',
        '""',
        '"a":',
        ",",
        ":",
        "\\u0000",
        "\\ud800",
    ),
    *("\n", "\r\n", "\0", "\xff", "\xef\xbb\xbf", "1_0", "nan", "inf", "../", "PK\x05\x06", "\x93NUMPY"),
)


def guarded(module: ModuleType, found: Path | None = None) -> Callable[[bytes], None]:
    """The target's `one_input` with its limit of time; what fails is kept in `found`."""
    from diffhpo.errors import DiffHPOError

    folder = Path(tempfile.mkdtemp(prefix="fuzz-", dir="/dev/shm" if os.path.isdir("/dev/shm") else None))

    def one_input(data: bytes) -> None:
        started = time.process_time()
        try:
            with contextlib.suppress(DiffHPOError):
                module.one_input(data, folder)
            spent = time.process_time() - started
            if spent > MOST_SECONDS:
                raise TimeoutError(f"{spent:.1f} s of processor time on {len(data)} bytes")
        except BaseException:
            if found is not None:
                name = module.__name__.removeprefix("fuzz_")
                (found / f"{name}-{hashlib.sha1(data).hexdigest()}").write_bytes(data)
            raise

    return one_input


def target(name: str) -> ModuleType:
    """The module of a target."""
    if str(HERE) not in sys.path:
        sys.path.insert(0, str(HERE))
    return importlib.import_module(f"fuzz_{name}")


def run(name: str, seconds: int, found: Path) -> None:
    """Fuzz one target in this process, which ends with it."""
    import atheris

    from diffhpo.errors import DiffHPOError

    warnings.simplefilter("ignore")
    module = target(name)
    work = Path(tempfile.mkdtemp(prefix=f"fuzz-{name}-"))
    corpus = work / "corpus"
    corpus.mkdir()
    for number, seed in enumerate(module.seeds()):
        (corpus / str(number)).write_bytes(seed)
        # What is imported on the first use takes seconds, and more memory than any input.
        with contextlib.suppress(DiffHPOError):
            module.one_input(seed, Path(tempfile.mkdtemp(prefix="fuzz-first-")))
    lines = ("".join(f"\\x{byte:02x}" for byte in token.encode("latin-1")) for token in TOKENS)
    (work / "tokens").write_text("".join(f'"{line}"\n' for line in lines))
    flags = [
        f"-max_total_time={seconds}",
        f"-timeout={TIMEOUT}",
        f"-rss_limit_mb={MOST_MEGABYTES}",
        f"-max_len={MAX_LEN}",
        f"-dict={work / 'tokens'}",
        f"-artifact_prefix={found / name}-",
        "-print_final_stats=1",
        "-seed=1",
        "-verbosity=1",
    ]
    atheris.Setup([name, *flags, str(corpus)], guarded(module, found))
    atheris.Fuzz()


def main(arguments: list[str]) -> int:
    """Fuzz targets, each in a process of its own; the exit status is 1 if one failed."""
    try:
        import atheris
    except ImportError:
        print('fuzzing needs atheris: pip install "diffhpo[fuzz]"', file=sys.stderr)
        return 2
    names = arguments[1:] or NAMES
    seconds = int(arguments[0]) if arguments else max(1, SECONDS_OF_ALL // len(names))
    found = Path(os.environ.get("FUZZ_FOUND", HERE.parents[1] / "build" / "fuzz")).resolve()
    found.mkdir(parents=True, exist_ok=True)
    # The packages are imported once, instrumented, and every target starts with them.
    with atheris.instrument_imports(include=["diffhpo"]):
        for name in names:
            target(name)
    failed = []
    for name in names:
        print(f"== {name}: {seconds} s", file=sys.stderr, flush=True)
        process = os.fork()
        if process == 0:
            run(name, seconds, found)
            os._exit(0)
        _, status = os.waitpid(process, 0)
        if status:
            failed.append(name)
    if failed:
        print(f"found by {', '.join(failed)}: see {found}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
