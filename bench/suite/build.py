# SPDX-License-Identifier: Apache-2.0
"""Computes the embedded suite and writes it as package data.

    PYTHONPATH=python python -m bench.suite.build --tables DIR --out python/diffhpo/hpob/suite

DIR holds the OpenML tables as CSV with MANIFEST.json.  Finished evaluations go to --journal, so a stopped run
goes on where it was; --reuse takes them from the suite that is already in --out and refits the surrogates.
"""

from __future__ import annotations

import argparse
import json
import platform
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from bench.suite import design, evaluate, surrogate
from bench.suite.collect import collect
from bench.suite.journal import Journal
from bench.suite.layout import initial_designs, shuffle, write_gzip_json
from bench.suite.sources import sources_page
from bench.suite.space import COLUMNS, DIM, SPACE
from bench.suite.splits import SPLITS
from bench.suite.tables import Table, load_table
from tqdm import tqdm

from diffhpo.hpob.data import Benchmark
from diffhpo.suites import extremes

SCHEMA = 1
N_CHECKS = 4


def _predictor(model: dict[str, Any]) -> extremes.Predict:
    import xgboost

    booster = xgboost.Booster({"nthread": 1})
    booster.load_model(bytearray(json.dumps(model).encode()))

    def predict(x: np.ndarray[Any, np.dtype[np.float64]]) -> np.ndarray[Any, np.dtype[np.float64]]:
        return np.asarray(booster.inplace_predict(x), dtype=np.float64)

    return predict


def _build_task(table: Table, journal: Journal, split: str) -> dict[str, Any]:
    """Everything about one task: its rows, initial designs, surrogate, range and description."""
    x, y = collect(table, journal)
    order = shuffle(table.name, len(y))
    initial = initial_designs(table.name, y, order)
    broad = y[: design.N_BROAD]
    tied = float(np.mean(broad == broad.max()))
    x, y = x[order], y[order]
    fitted = surrogate.fit(x, y)
    predict = _predictor(fitted.model)
    grid = extremes.cells(fitted.model, DIM)
    seed = design.task_seed(table.name)
    y_max, best = extremes.highest(predict, grid, x, seed)
    y_min = -extremes.highest(lambda points: -predict(points), grid, x, seed)[0]
    description = {
        "split": split,
        "source": table.source,
        "licence": table.licence,
        "rows_in_source": table.rows_in_source,
        "rows": len(table.y),
        "features": table.x.shape[1],
        "classes": table.n_classes,
        "majority": round(float(np.mean(table.y == 0)), 6),
        "repeats": evaluate.Evaluator(table).repeats,
        "evaluations": len(y),
        "accuracy": {
            "min": float(y.min()),
            "median_broad": round(float(np.median(broad)), 6),
            "max_broad": float(broad.max()),
            "max": float(y.max()),
            "tied_for_best_broad": round(tied, 4),
        },
        "surrogate": {
            "eta": fitted.eta,
            "rounds": fitted.rounds,
            "cv_r2": round(fitted.r2, 4),
            "cv_spearman": round(fitted.spearman, 4),
            "cv_spearman_top_half": round(fitted.spearman_top, 4),
            "cv_rmse": round(fitted.rmse, 6),
            "best_point": best.tolist(),
            "predictions": predict(x[:N_CHECKS]).tolist(),
        },
    }
    return {
        "data": {"X": x.tolist(), "y": y[:, None].tolist()},
        "initial": initial,
        "model": fitted.model,
        "stats": {"y_min": y_min, "y_max": y_max},
        "description": description,
    }


def _recipe() -> dict[str, Any]:
    import scipy
    import sklearn
    import xgboost

    return {
        "evaluation": {
            "folds": evaluate.FOLDS,
            "seed": evaluate.SEED,
            "tree_method": "hist",
            "max_bin": evaluate.MAX_BIN,
            "base_score": 0.5,
            "gblinear_updater": "coord_descent",
        },
        "design": {
            "broad": design.N_BROAD,
            "local": design.N_LOCAL,
            "share_gblinear": design.SHARE_GBLINEAR,
            "local_step": design.LOCAL_STEP,
        },
        "surrogate": {
            "objective": "reg:squarederror",
            "max_depth": surrogate.DEPTH,
            "tree_method": "exact",
            "eta_grid": surrogate.ETAS,
            "rounds_grid": surrogate.ROUNDS,
            "cv_folds": surrogate.CV_FOLDS,
        },
        "versions": {
            "python": platform.python_version(),
            "numpy": np.__version__,
            "scikit-learn": sklearn.__version__,
            "scipy": scipy.__version__,
            "xgboost": xgboost.__version__,
        },
    }


def _write_split(root: Path, built: dict[str, dict[str, Any]]) -> None:
    data, models = root / "hpob-data", root / "saved-surrogates"
    write_gzip_json(data / "meta-test-dataset.json.gz", {SPACE: {t: b["data"] for t, b in built.items()}})
    write_gzip_json(data / "bo-initializations.json.gz", {SPACE: {t: b["initial"] for t, b in built.items()}})
    stats = {f"surrogate-{SPACE}-{t}": b["stats"] for t, b in built.items()}
    write_gzip_json(models / "summary-stats.json.gz", stats)
    for task, b in built.items():
        write_gzip_json(models / f"surrogate-{SPACE}-{task}.json.gz", b["model"])


def _recall(journal: Journal, out: Path) -> None:
    for split, tasks in SPLITS.items():
        benchmark = Benchmark(out / split)
        for name in tasks:
            task = benchmark.task(SPACE, name)
            for point, value in zip(task.x.tolist(), task.y.tolist(), strict=True):
                journal.recall(name, point, value)


def main(arguments: Sequence[str] | None = None) -> None:
    """Compute, or complete, the suite and write it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument(
        "--tables", type=Path, required=True, help="folder with the CSV tables and MANIFEST.json"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder that gets test/, validation/, train/")
    parser.add_argument("--journal", type=Path, default=Path("runs/suite-journal.jsonl"))
    parser.add_argument("--reuse", action="store_true", help="take the evaluations from the suite in --out")
    options = parser.parse_args(arguments)
    options.journal.parent.mkdir(parents=True, exist_ok=True)
    journal = Journal(options.journal)
    if options.reuse:
        _recall(journal, options.out)
    tables = {split: [load_table(name, options.tables) for name in tasks] for split, tasks in SPLITS.items()}
    descriptions: dict[str, Any] = {}
    for split, members in tables.items():
        built = {table.name: _build_task(table, journal, split) for table in tqdm(members, desc=split)}
        _write_split(options.out / split, built)
        descriptions |= {name: b["description"] for name, b in built.items()}
    descriptor = {
        "schema": SCHEMA,
        "space": SPACE,
        "columns": [asdict(column) for column in COLUMNS],
        "recipe": _recipe(),
        "tasks": descriptions,
    }
    text = json.dumps(descriptor, indent=1, allow_nan=False) + "\n"
    (options.out / "descriptor.json").write_text(text, encoding="utf-8")
    (options.out / "SOURCES.md").write_text(sources_page(descriptions), encoding="utf-8")


if __name__ == "__main__":
    main()
