# SPDX-License-Identifier: Apache-2.0
"""Mutation tests: small faults are put into a module, one at a time, and its tests must fail.

    python .ci/mutation.py [MODULE ...] [--limit N | --again]

Modules, their tests and the operators are in `mutation.toml`, the survivors that were reviewed and cannot be
told from the original in `mutation_equivalent.toml`. The faults are those of Cosmic Ray's operators
(`pip install cosmic-ray`). Nothing is written to the source tree: each mutant lives in a fork of one process
that has the libraries in memory, which takes tenths of a second where a fresh interpreter takes seconds.

Exit status 1 if a mutant survives that is not listed as equivalent, or one is listed that there is not.
"""

from __future__ import annotations

import argparse
import ast
import difflib
import importlib
import importlib.abc
import importlib.util
import json
import os
import random
import re
import resource
import signal
import sys
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import tomllib

ROOT = Path(__file__).resolve().parent.parent
PYTHON = ROOT / "python"

#: A mutant that needs more is stuck, and so noticed. It is processor time that tells: on a machine that
#: others use, tests of 10 s of it took 150 s. The other limit is for mutants that sleep.
CPU_SECONDS = 20
WALL_SECONDS = 600


@dataclass(frozen=True)
class Mutant:
    """One fault in one file."""

    file: Path
    operator: str
    source: str
    before: str
    """The lines that changed, without indentation, joined by a blank."""
    after: str

    def __str__(self) -> str:
        return f"{self.file.relative_to(PYTHON)}: {self.before}  ->  {self.after}"

    @property
    def key(self) -> tuple[str, str, str]:
        return str(self.file.relative_to(PYTHON)), self.before, self.after


def meaning(source: str) -> str:
    """The program without annotations, which are never evaluated under `from __future__ import annotations`.

    Nor with the `*` of a signature, which the operators take for a product.
    """
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.arg):
            node.annotation = None
        elif isinstance(node, ast.arguments):
            node.args, node.posonlyargs, node.kwonlyargs = (
                node.posonlyargs + node.args + node.kwonlyargs,
                [],
                [],
            )
            node.defaults, node.kw_defaults = (
                node.defaults + [d for d in node.kw_defaults if d is not None],
                [],
            )
        elif isinstance(node, ast.FunctionDef):
            node.returns = None
        elif isinstance(node, ast.AnnAssign):
            node.annotation = ast.Name("annotation")
    return ast.dump(tree)


def mutants_of(file: Path, used: re.Pattern[str]) -> Iterator[Mutant]:
    """Every mutant of a file, in a fixed order; those that change annotations alone are left out."""
    from cosmic_ray import plugins
    from cosmic_ray.ast import ast_nodes, get_ast
    from cosmic_ray.mutating import mutate_code

    source = file.read_text(encoding="utf-8")
    original, tree = meaning(source), get_ast(source)
    for name in sorted(plugins.operator_names()):
        short = name.removeprefix("core/")
        if not used.fullmatch(short):
            continue
        operator = plugins.get_operator(name)()
        count = sum(len(list(operator.mutation_positions(node))) for node in ast_nodes(tree))
        for occurrence in range(count):
            mutated = mutate_code(source, operator, occurrence)
            try:
                if mutated is None or meaning(mutated) == original:
                    continue
            except SyntaxError:  # as above, where no argument follows
                continue
            removed, added = [], []
            for line in difflib.ndiff(source.splitlines(), mutated.splitlines()):
                if line[:2] in ("- ", "+ "):
                    (removed if line[0] == "-" else added).append(" ".join(line[2:].split()))
            yield Mutant(file, short, mutated, " ".join(removed), " ".join(added))


class Replacing(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Imports one module from other source."""

    def __init__(self, mutant: Mutant) -> None:
        self.mutant = mutant
        parts = mutant.file.relative_to(PYTHON).with_suffix("").parts
        self.is_package = parts[-1] == "__init__"
        self.name = ".".join(parts[:-1] if self.is_package else parts)

    def find_spec(self, fullname: str, path: object, target: object = None) -> object:
        if fullname != self.name:
            return None
        return importlib.util.spec_from_file_location(
            fullname,
            self.mutant.file,
            loader=self,
            submodule_search_locations=[str(self.mutant.file.parent)] if self.is_package else None,
        )

    def exec_module(self, module: object) -> None:
        exec(compile(self.mutant.source, str(self.mutant.file), "exec"), module.__dict__)


def run_tests(tests: list[str]) -> int:
    import pytest

    options = ["-x", "-q", "-p", "no:cacheprovider", "-p", "_hypothesis_pytestplugin"]
    options += ["--hypothesis-profile=mutation"]
    # Plugins are in memory before pytest asks for them.
    return int(pytest.main([*tests, *options, "-W", "ignore::pytest.PytestAssertRewriteWarning"]))


def in_fork(tests: list[str], mutant: Mutant | None = None, report: int | None = None) -> str:
    """Runs the tests in a child: "killed", "survived" or "stuck"; its modules go to `report` if asked for."""
    child = os.fork()
    if child == 0:
        status = 70
        try:
            os.setsid()
            resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS + 1))
            if mutant is not None:
                sys.meta_path.insert(0, Replacing(mutant))
                quiet = os.open(os.devnull, os.O_WRONLY)
                os.dup2(quiet, 1)
                os.dup2(quiet, 2)
            status = run_tests(tests)
            sys.stdout.flush()
            if report is not None:
                os.write(report, "\n".join(sorted(sys.modules)).encode())
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    deadline = time.monotonic() + WALL_SECONDS
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            break
        if time.monotonic() > deadline:
            os.killpg(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return "stuck"
        time.sleep(0.01)
    if os.WIFSIGNALED(status):
        return "stuck" if os.WTERMSIG(status) in (signal.SIGXCPU, signal.SIGKILL) else "killed"
    return "survived" if os.WEXITSTATUS(status) == 0 else "killed"


def warm(tests: list[str]) -> None:
    """Runs the tests once as they are, and imports what they need here, all but the package and its tests."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:  # a reader, so that a long list of modules cannot fill the pipe
        os.close(reading)
        outcome = in_fork(tests, report=writing)
        os._exit(0 if outcome == "survived" else 1)
    os.close(writing)
    with os.fdopen(reading) as stream:
        names = stream.read().split("\n")
    if os.waitpid(pid, 0)[1]:
        sys.exit("the tests fail or are too slow without any mutant")
    # pytest's plugins are loaded by pytest itself; a test module is known by its folder.
    for name in names:
        if name.split(".")[0] in ("diffhpo", "tests", "bench", "conftest", "__main__") or "pytest" in name:
            continue
        try:
            importlib.import_module(name)
        except BaseException:  # a module that only its own package can import
            continue


def main() -> int:
    with open(ROOT / ".ci" / "mutation.toml", "rb") as file:
        settings = tomllib.load(file)
    with open(ROOT / ".ci" / "mutation_equivalent.toml", "rb") as file:
        listed = {(e["file"], e["before"], e["after"]) for e in tomllib.load(file).get("equivalent", [])}
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("modules", nargs="*", metavar="MODULE", help=", ".join(settings["modules"]))
    parser.add_argument("--limit", type=int, default=500, help="mutants of a module, a seeded sample (500)")
    parser.add_argument("--again", action="store_true", help="only those that survived the last time")
    arguments = parser.parse_args()
    unknown = set(arguments.modules) - set(settings["modules"])
    if unknown:
        parser.error(f"no module {sorted(unknown)}; there are {', '.join(settings['modules'])}")

    os.chdir(ROOT)
    sys.path.insert(0, str(PYTHON))
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(PYTHON), os.environ.get("PYTHONPATH")]))
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # a tenth of a second a mutant
    import hypothesis

    phases = (hypothesis.Phase.explicit, hypothesis.Phase.generate)
    hypothesis.settings.register_profile(
        "mutation", deadline=None, derandomize=True, max_examples=25, phases=phases
    )
    used = re.compile("|".join(settings["operators"]["use"]))
    rows, unreviewed = [], 0
    for module in arguments.modules or settings["modules"]:
        chosen = settings["modules"][module]
        files = sorted(path for pattern in chosen["files"] for path in ROOT.glob(pattern))
        everything = [mutant for path in files for mutant in mutants_of(path, used)]
        keys = {mutant.key for mutant in everything}
        for file, before, after in sorted(listed - keys):
            if PYTHON / file in files:
                print(f"listed as equivalent, and no mutant: {file}: {before}  ->  {after}", flush=True)
                unreviewed += 1
        sample, record = everything, ROOT / "build" / "mutation" / f"{module}.json"
        if arguments.again:
            last = {tuple(key) for key in json.loads(record.read_text(encoding="utf-8"))}
            sample = [mutant for mutant in everything if mutant.key in last]
        elif len(everything) > arguments.limit:
            places = random.Random(0).sample(range(len(everything)), arguments.limit)
            sample = [everything[place] for place in sorted(places)]
        warm(chosen["tests"])
        counts: Counter[str] = Counter()
        alive = []
        start = time.monotonic()
        for mutant in sample:
            outcome = in_fork(chosen["tests"], mutant)
            if outcome == "survived":
                alive.append(mutant.key)
                outcome = "equivalent" if mutant.key in listed else outcome
            counts[outcome] += 1
            if outcome == "survived":
                print(f"survived: {mutant}", flush=True)
        record.parent.mkdir(parents=True, exist_ok=True)
        record.write_text(json.dumps(alive, indent=1), encoding="utf-8")
        unreviewed += counts["survived"]
        seconds = time.monotonic() - start
        print(f"{module}: {dict(counts)} of {len(everything)} in {seconds:.0f} s", flush=True)
        rows.append(
            f"| {module} | {len(everything)} | {len(sample)} | {counts['killed']} | {counts['stuck']} | "
            f"{counts['equivalent']} | {counts['survived']} |"
        )
    print("\n| module | mutants | run | killed | stuck | equivalent | survived |")
    print("|---|---|---|---|---|---|---|", *rows, sep="\n")
    return int(unreviewed > 0)


if __name__ == "__main__":
    sys.exit(main())
