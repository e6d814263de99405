# SPDX-License-Identifier: Apache-2.0
"""Writes docs/reliability.md: the promises, and for every fault what the user gets and the tests of it.

python tests/faults/reliability_page.py
"""

from __future__ import annotations

import ast
import sys
from collections import defaultdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from fault_rows import PROMISES, ROWS

TESTS = Path(__file__).resolve().parents[1]
PAGE = TESTS.parent / "docs" / "reliability.md"

OTHER_THREADS = (
    "",
    "## Other threads while a suggestion runs",
    "",
    "They keep their default dtype and device, their gradients, autocast and generators. Two settings",
    "are the process's and have no thread of their own: until the last suggestion has ended BLAS has one",
    "thread, and products of float32 matrices are exact where the caller had allowed less. The caller's",
    "default dtype must not be changed by another thread meanwhile. Settings of GPyTorch that a caller",
    "has entered count where a Gaussian process is used (`prior_mode`, `skip_posterior_variances`,",
    "`min_variance` change what `HistoryPolicy` suggests).",
)

HOSTILE_FILES = (
    "",
    "## Files that others made",
    "",
    "Every reader of files takes regular files alone, reads them once and whole, and answers anything",
    "else with an error of `diffhpo.errors`. No file runs code, and none makes a reader use memory out",
    "of proportion to its size: sizes that a checkpoint states are compared with its tensors before a",
    "model is built, archives and gzip files have limits on what they unpack to, JSON on its depth. A",
    "key that comes twice in an object, a number beyond double precision and a header of numbers are",
    "refused where they would change what is read. Checkpoints and saved optimizers carry a SHA-256 of",
    "all that is in them (files written before it was there are read without), records of a journal a",
    "CRC-32, archives of `data fetch` a SHA-256 that the package knows. Histories, spaces and",
    "benchmarks in text have none: a changed digit in them is another number.",
    "",
    "`.ci/fuzz` gives the readers damaged files, guided by the branches that they reach: a minute in",
    "CI, as long as wanted by hand ([contributing](contributing.md)). Calls of the native module are",
    "fuzzed under AddressSanitizer and UndefinedBehaviorSanitizer (`.ci/sanitizers`). What is not",
    "promised: XGBoost and SQLite read the surrogates and studies that they are given; of a surrogate",
    "the trees are checked before, of a study nothing.",
)


OTHER_VERSIONS = """\
## Files of other versions

A small file of every schema of every format is kept in `tests/upgrades/files`, with what it gave when it was
written; `tests/upgrades/test_upgrades.py` reads them all.

| format | where the schema is | written by |
|---|---|---|
| checkpoints, training checkpoints | metadata of the safetensors file | `save_checkpoint`, `Trainer.save` |
| universal models, pretraining runs | metadata of the safetensors file | `save_universal`, `diffhpo train` |
| optimizers | metadata of the safetensors file | `Optimizer.save`, `run(path=)` |
| run directories: grid and journal | `run.json` | `diffhpo bench run` |
| `report.json`, `timing.json` | `schema`; written, and not read | `diffhpo bench report` |
| task banks, rollouts, tuning runs | an entry of the `.npz` file | `diffhpo train`, `bench/tasks` |
| manifests of fetched data | `schema` | `diffhpo data fetch` |
| checkpoints of Ray Tune | `version` | `DiffusionSearch.save` |
| spaces (JSON), trials (CSV) | none: people write them too | `Space.to_json`, `diffhpo suggest` |
| suggestions in Optuna's storage | none: Optuna's format | `DiffusionSampler` |

- An older schema is read, for ever. Weights give the same numbers, to rounding; a saved optimizer has the
  same trials, and suggests what one that was told the same suggests.
- A later schema is an error with the file's schema, the version of diffhpo that wrote it, the schema that
  this version reads up to, and the command that installs what can read it. Nothing is loaded.
- Every writer leaves its version under the key `diffhpo`. Files of before it did are read, too.
- Within a schema, facts that a reader does not know (metadata, fields of a record) are left out: nothing is
  computed from them. What is computed from has to be known: tensors, sizes of a model, fields of a grid or
  of a parameter that are not known are errors, and a writer that adds one raises the schema.
"""


def marked_tests() -> dict[int, list[str]]:
    """Row -> "path::test" of every test with `@pytest.mark.fault(row, ...)`."""
    found = defaultdict(list)
    for path in sorted(TESTS.rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.FunctionDef):
                continue
            for decorator in node.decorator_list:
                if isinstance(decorator, ast.Call) and ast.unparse(decorator.func) == "pytest.mark.fault":
                    for row in decorator.args:
                        found[ast.literal_eval(row)].append(
                            f"{path.relative_to(TESTS).as_posix()}::{node.name}"
                        )
    return found


def page() -> str:
    """The page's text."""
    tests = marked_tests()
    lines = [
        "# Reliability",
        "",
        "What diffhpo promises, what it does when something goes wrong, and the tests that show it.",
        "`tests/faults/reliability_page.py` writes this page.",
        "",
        "## Promises",
        "",
        *(f"{number}. {promise}" for number, promise in enumerate(PROMISES, 1)),
        "",
        "## Faults",
        "",
        "| | what goes wrong | what you get | tests, under `tests/` |",
        "|---|---|---|---|",
    ]
    for row, (fault, outcome) in ROWS.items():
        shown = "<br>".join(f"`{name}`" for name in tests.get(row, []))
        lines.append(f"| {row} | {fault} | {outcome} | {shown} |")
    return "\n".join([*lines, *OTHER_THREADS, *HOSTILE_FILES]) + "\n\n" + OTHER_VERSIONS


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
