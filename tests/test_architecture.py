# SPDX-License-Identifier: Apache-2.0
"""Imports run one way; a leaf is used only by its owner."""

import ast
from pathlib import Path

import diffhpo

ROOT = Path(diffhpo.__file__).parent

#: A module may import what stands on a lower or equal level.
LEVELS = [
    ["errors", "files", "arguments", "process", "_C"],
    ["space", "trial", "trial_table", "kernels", "history", "parameter_roles", "local_moves", "log_axes"],
    ["model", "prior"],
    ["pretrained"],
    ["gaussian_process_fit"],
    ["gaussian_process"],
    ["acquisition"],
    ["policy", "recipe"],
    ["ranker", "new_configurations", "evidence"],
    ["panel"],
    ["history_policy", "pretrained_policy"],
    ["optimizer", "optimizer_file", "evaluation"],
    ["pictures"],
    ["baselines", "hpob", "integrations"],
    ["study_page"],
    ["suites"],
    ["study", "pretraining"],
    ["doctor"],
    ["cli", "__main__"],
]
LEVEL = {name: level for level, names in enumerate(LEVELS) for name in names}


def imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "diffhpo":
            if node.module == "diffhpo":
                yield from (alias.name for alias in node.names)
            else:
                yield node.module.removeprefix("diffhpo.")
        elif isinstance(node, ast.Import):
            yield from (a.name.removeprefix("diffhpo.") for a in node.names if a.name.startswith("diffhpo."))


def modules():
    for path in sorted(ROOT.rglob("*.py")):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        if name != "__init__":
            yield name, path


def test_every_module_has_a_level():
    assert {name.split(".")[0] for name, _ in modules()} <= set(LEVEL)


def test_no_import_runs_against_the_flow():
    wrong = [
        f"{name} imports {imported}"
        for name, path in modules()
        for imported in imports(path)
        if imported != "__version__" and LEVEL[imported.split(".")[0]] > LEVEL[name.split(".")[0]]
    ]
    assert wrong == []


def test_leaves_have_one_user():
    for name, path in modules():
        for imported in imports(path):
            top = imported.split(".")[0]
            if top == "kernels":
                assert name.split(".")[0] in ("model", "kernels", "doctor"), f"{name} imports {imported}"
            if top == "_C":
                assert name == "kernels.ops", f"{name} imports {imported}"


def test_the_test_can_fail():
    assert LEVEL["study"] > LEVEL["model"]
    assert "history" in set(imports(ROOT / "model" / "sampler.py"))
