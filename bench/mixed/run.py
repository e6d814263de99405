# SPDX-License-Identifier: Apache-2.0
"""Runs methods on the tasks of a split; a stopped command goes on where it was.

    PYTHONPATH=python:. python -m bench.mixed.run --tables DIR --out runs/mixed --split report --seeds 5

DIR holds the OpenML tables as CSV with MANIFEST.json. Evaluations are kept in OUT/evaluations.jsonl and
shared by all methods, finished runs in OUT/runs.jsonl. A run whose method has another version than the one
recorded (a package's, or diffhpo's weights and code) is done again: after new weights the same command
recomputes diffhpo's runs alone. One process, one thread.
"""

from __future__ import annotations

import argparse
import os

# Before NumPy is imported: one thread, so that times compare and digits do not depend on the machine.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
# SMAC's forest asks joblib for a thread a core and waits for them longer than it computes.
os.environ.setdefault("LOKY_MAX_CPU_COUNT", "1")

import hashlib
import time
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from bench.mixed.evaluations import Evaluations, plain
from bench.mixed.objective import Objective
from bench.mixed.rivals import METHODS, N_INITIAL
from bench.mixed.spaces import SPACES, UNCONDITIONAL
from bench.mixed.tasks import TASKS
from bench.suite.tables import load_table

from diffhpo.study.grid import method_seed
from diffhpo.study.journal import encode_line, read_journal
from diffhpo.study.lock import DirectoryLock

TRIALS = 50
#: Modules and packages of diffhpo that a suggestion depends on.
_DECISIVE = (
    "acquisition",
    "evidence",
    "gaussian_process",
    "gaussian_process_fit",
    "history",
    "history_policy",
    "integrations/configspace",
    "kernels",
    "local_moves",
    "log_axes",
    "model",
    "new_configurations",
    "optimizer",
    "panel",
    "parameter_roles",
    "policy",
    "pretrained",
    "pretrained_policy",
    "ranker",
    "recipe",
    "space",
)
RUNS, EVALUATIONS = "runs.jsonl", "evaluations.jsonl"


def method_version(method: str) -> str:
    """What a method's runs depend on besides the task: a package's version, or diffhpo's weights and code."""
    if method in ("tpe", "optuna-gp"):
        return f"optuna {version('optuna')}"
    if method == "smac":
        return f"smac {version('smac')}"
    if method == "random":
        return f"ConfigSpace {version('ConfigSpace')}"
    import diffhpo

    root, digest = Path(diffhpo.__file__).parent, hashlib.sha256()
    for name in _DECISIVE:
        files = (root / name).rglob("*") if (root / name).is_dir() else root.glob(f"{name}.py")
        for file in sorted(files):
            if file.suffix in (".py", ".safetensors"):
                digest.update(file.read_bytes())
    return f"diffhpo {digest.hexdigest()[:12]}"


def run(
    space: str, table: str, seed: str, method: str, objective: Objective, evaluations: Evaluations
) -> dict[str, Any]:
    """One run: N_INITIAL configurations that all methods share, then TRIALS that the method suggests."""
    number = method_seed(space, table, seed)
    configuration_space = SPACES[space]()
    configuration_space.seed(number)
    initial = [plain(c) for c in configuration_space.sample_configuration(N_INITIAL)]
    task = f"{space}/{table}"
    start = time.process_time()
    searcher = METHODS[method](configuration_space, number)
    suggesting = time.process_time() - start
    configurations, values = [], []
    for index in range(N_INITIAL + TRIALS):
        start = time.process_time()
        configuration = initial[index] if index < N_INITIAL else searcher.suggest()
        suggesting += time.process_time() - start
        value = evaluations.value(task, configuration, objective)
        start = time.process_time()
        searcher.tell(configuration, value)
        suggesting += time.process_time() - start
        configurations.append(configuration)
        values.append(value)
    return {
        "space": space,
        "task": table,
        "seed": seed,
        "method": method,
        "values": values,
        "configurations": configurations,
        "suggest_cpu_seconds": round(suggesting, 3),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what is missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--tables", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--split", choices=list(TASKS), required=True)
    parser.add_argument("--methods", nargs="+", choices=list(METHODS), default=list(METHODS))
    parser.add_argument("--seeds", type=int, default=5)
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    lock = DirectoryLock(options.out)
    try:
        run_missing(options.split, options.methods, options.seeds, options.tables, options.out)
    finally:
        lock.release()


def is_mixed_run(record: Mapping[str, Any]) -> bool:
    """Whether a record of a journal is of a run of this benchmark."""
    return {"space", "task", "seed", "method", "values"} <= set(record)


def run_missing(split: str, methods: Sequence[str], seeds: int, tables: Path, out: Path) -> None:
    """Every run of the grid that `out` does not hold in the present version of its method."""
    journal = out / RUNS
    records, size = read_journal(journal, sound=is_mixed_run)
    with journal.open("ab") as file:
        file.truncate(size)
    evaluations = Evaluations(out / EVALUATIONS)
    versions = {method: method_version(method) for method in methods}
    done = {(r["space"], r["task"], r["seed"], r["method"]): r["version"] for r in records}
    objectives: dict[tuple[str, str], Objective] = {}
    begin = time.perf_counter()
    # A seed of all tasks before the next seed of any: a command that is stopped leaves whole seeds.
    for seed in range(seeds):
        for space, table in TASKS[split]:
            for method in methods:
                if method == "optuna-gp" and space not in UNCONDITIONAL:
                    continue
                key = (space, table, f"test{seed}", method)
                if done.get(key) == versions[method]:
                    continue
                if (space, table) not in objectives:
                    objectives[space, table] = Objective(space, load_table(table, tables))
                record = run(*key, objectives[space, table], evaluations) | {"version": versions[method]}
                with journal.open("ab") as file:
                    file.write(encode_line(record))
                print(
                    f"{time.perf_counter() - begin:6.0f} s  {'/'.join(key)}: best {max(record['values'])}, "
                    f"suggestions {record['suggest_cpu_seconds']} s",
                    flush=True,
                )


if __name__ == "__main__":
    main()
