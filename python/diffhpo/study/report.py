# SPDX-License-Identifier: Apache-2.0
"""The report of a study: tables, figures and results files.

Everything but times depends on the finished runs alone: a study that was interrupted and resumed gives the
same bytes as one that was not. Times are kept apart: in `timing.json`, in `suggestion-time.png` and in the
last section of `report.md`, "Timing".
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from diffhpo.errors import InputError, RunError
from diffhpo.files.atomic_write import reason_and_remedy
from diffhpo.hpob.results import write_results
from diffhpo.study.collection import Collection, collect
from diffhpo.study.comparison import Comparison, compare
from diffhpo.study.journal import write_text
from diffhpo.study.relative import RelativeRegret, relative_regret
from diffhpo.study.report_text import TIMING_HEADING, report_text, summary_table
from diffhpo.study.stats import AlignedRuns, Curves, average_rank, mean_normalised_regret
from diffhpo.study.style import label_of

#: Trials of the table where none are asked for; those that a study does not reach are left out.
DEFAULT_TRIALS = (10, 25, 50)

#: Of this layout of report.json and timing.json.
SCHEMA = 1

DOTS_PER_INCH = 150

#: The bands of more methods than this hide the curves; the table has the intervals.
MOST_BANDS = 4

__all__ = ["TIMING_HEADING", "Report", "build_report", "write_report"]


@dataclass(frozen=True)
class Report:
    """The numbers of a report.

    Attributes:
        collection: what the run directories hold.
        aligned: the runs that entered the averages.
        regret, rank: curves over the trials, with 95 % intervals over tasks; every space counts alike.
        trials: the trials that tables show.
        comparisons: one for each of `trials`; empty for a single method or task.
        relative: regret at `trials` relative to the best of the other methods; None for a single method.
    """

    collection: Collection
    aligned: AlignedRuns
    regret: Curves
    rank: Curves
    trials: tuple[int, ...]
    comparisons: tuple[Comparison, ...]
    relative: RelativeRegret | None

    def to_json(self) -> dict[str, Any]:
        """Everything but times, as plain JSON values; what cannot be estimated is null."""
        failed = {str(cell): self.collection.runs[cell]["error"] for cell in self.collection.failed}
        return {
            "schema": SCHEMA,
            "grid": self.collection.grid.to_json(),
            "trials": list(self.trials),
            "tasks": len(self.regret.tasks),
            "runs_per_method": self.regret.n_runs,
            "methods": {
                method: {
                    "label": label_of(method),
                    "mean_normalised_regret": _curve_json(self.regret, row),
                    "average_rank": _curve_json(self.rank, row),
                    "warnings": warning_counts(self.collection, method),
                }
                for row, method in enumerate(self.regret.methods)
            },
            "comparisons": [_comparison_json(comparison) for comparison in self.comparisons],
            "relative": None if self.relative is None else _relative_json(self.relative),
            "failed": {cell: f"{error['type']}: {error['message']}" for cell, error in failed.items()},
            "missing": [str(cell) for cell in self.collection.missing],
            "left_out": {"/".join(key): absent for key, absent in self.aligned.dropped.items()},
            "versions": distinct(self.collection, "versions"),
        }

    def timing(self) -> dict[str, Any]:
        """Times of suggestions in milliseconds, hours of work, and the machines."""
        methods = {}
        for method in self.collection.grid.methods:
            records = self.collection.succeeded(method)
            if not records:
                continue
            milliseconds = 1000 * np.array([record["suggest_seconds"] for record in records])
            low, median, high = np.percentile(milliseconds, [25, 50, 75])
            methods[method] = {
                "label": label_of(method),
                "suggestion_ms": {"quartile_25": low, "median": median, "quartile_75": high},
                "suggestion_ms_per_trial": np.median(milliseconds, axis=0).tolist(),
                "run_seconds_median": float(np.median([record["seconds"] for record in records])),
                "seconds_of_all_runs": float(sum(record["seconds"] for record in records)),
            }
        return {"schema": SCHEMA, "methods": methods, "machines": distinct(self.collection, "machine")}

    def table(self) -> str:
        """The summary table, times included, as aligned Markdown."""
        return summary_table(self.to_json(), self.timing())


def build_report(
    directories: Sequence[Path | str],
    *,
    trials: Sequence[int] = (),
    published: Mapping[str, Path | str] | None = None,
    allow_missing: bool = False,
) -> Report:
    """Puts run directories together and computes the statistics of their report.

    Args:
        directories: run directories of one study.
        trials: trials of the tables; none means 10, 25 and 50, as far as the study goes, and its last.
        published: method -> results file in HPO-B's format to compare with.
        allow_missing: compare on the runs that all methods have instead of refusing.

    Raises:
        InputError: if a trial is beyond the study's.
        RunError: listing runs that are missing or failed, or if a directory does not fit the others.
        DataError: if a file is damaged.
    """
    collection = collect(directories, published)
    last = collection.grid.trials
    chosen = tuple(sorted(set(trials))) or tuple(
        dict.fromkeys([*(trial for trial in DEFAULT_TRIALS if trial < last), last])
    )
    for trial in chosen:
        if not 0 <= trial <= last:
            raise InputError(f"trials names {trial}; the study has trials 0 to {last}")
    aligned = collection.aligned(allow_missing=allow_missing)
    several = len(aligned.methods) > 1 and len(aligned.tasks()[0]) > 1
    return Report(
        collection,
        aligned,
        mean_normalised_regret(aligned),
        average_rank(aligned),
        chosen,
        tuple(compare(aligned, trial) for trial in chosen) if several else (),
        relative_regret(aligned, chosen) if len(aligned.methods) > 1 else None,
    )


def write_report(
    report: Report, directory: Path | str, *, svg: bool = False, figures: bool = True
) -> list[Path]:
    """Writes report.md, report.json, timing.json, the figures and results/METHOD.json.

    Args:
        report: from `build_report`.
        directory: where to; made if absent, files of an earlier report are replaced.
        svg: whether figures are written as SVG too.
        figures: whether figures are drawn.

    Returns:
        The files that were written.

    Raises:
        RunError: if the directory cannot be written.
        DependencyError: if a figure needs a package that is not installed.
    """
    directory = Path(directory)
    try:
        (directory / "results").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(
            f"cannot make {directory / 'results'}: {error.strerror}; choose a writable --to"
        ) from error
    images = _write_figures(report, directory, svg) if figures else []
    summary, timing = report.to_json(), report.timing()
    texts = {
        directory / "report.md": report_text(summary, timing, [path.name for path in images]),
        directory / "report.json": json.dumps(summary, indent=1, allow_nan=False) + "\n",
        directory / "timing.json": json.dumps(timing, indent=1, allow_nan=False) + "\n",
    }
    for path, text in texts.items():
        write_text(path, text)
    written = [*texts, *images]
    for method, results in report.collection.results().items():
        if results and method not in report.collection.published:
            # A colon, as in module:Class, cannot be in a file name everywhere.
            written.append(directory / "results" / f"{method.replace(':', '-')}.json")
            write_results(written[-1], results)
    return written


def _write_figures(report: Report, directory: Path, svg: bool) -> list[Path]:
    from diffhpo.study import plots
    from diffhpo.study.figure import save

    bands = len(report.regret.methods) <= MOST_BANDS
    figures = {"rank-and-regret": plots.rank_and_regret(report.rank, report.regret, bands=bands)}
    # Where there is one space alone, its tasks tell more.
    if len(report.regret.per_space) > 1:
        figures["regret-per-space"] = plots.regret_per_space(report.regret)
    else:
        figures["regret-per-task"] = plots.regret_per_task(report.aligned)
    if report.comparisons:
        figures["critical-difference"] = plots.critical_difference_diagram(report.comparisons)
    seconds = {
        method: np.array([record["suggest_seconds"] for record in records])
        for method in report.collection.grid.methods
        if (records := report.collection.succeeded(method))
    }
    if seconds:
        figures["suggestion-time"] = plots.suggestion_time(seconds)
    written = []
    for name, figure in figures.items():
        for kind in ("png", "svg") if svg else ("png",):
            path = directory / f"{name}.{kind}"
            try:
                # Without a date, and with fixed ids in SVG, equal figures are equal files.
                save(figure, path, dots_per_inch=DOTS_PER_INCH)
            except OSError as error:
                raise RunError(f"cannot write {path}: {reason_and_remedy(error)}") from error
            written.append(path)
    return written


def warning_counts(collection: Collection, method: str) -> dict[str, int]:
    """Category of a warning -> runs of the method that issued one; the messages are in the journal."""
    counts: dict[str, int] = {}
    for record in collection.succeeded(method):
        for category in {warning.partition(":")[0] for warning in record["warnings"]}:
            counts[category] = counts.get(category, 0) + 1
    return dict(sorted(counts.items()))


def distinct(collection: Collection, fact: str) -> list[dict[str, str]]:
    """The different values of a fact (versions, machine) among the runs, in a fixed order."""
    found = {json.dumps(record[fact], sort_keys=True) for record in collection.runs.values()}
    return [json.loads(text) for text in sorted(found)]


def _curve_json(curves: Curves, row: int) -> dict[str, list[float | None]]:
    return {
        "mean": _plain(curves.mean[row]),
        "low": _plain(curves.low[row]),
        "high": _plain(curves.high[row]),
    }


def _comparison_json(comparison: Comparison) -> dict[str, Any]:
    return {
        "trial": comparison.index,
        "tasks": len(comparison.tasks),
        "friedman_p": _plain([comparison.friedman_p])[0],
        "methods": comparison.methods,
        "ranks": _plain(comparison.ranks),
        "p_values": [_plain(row) for row in comparison.p_values],
    }


def _relative_json(relative: RelativeRegret) -> dict[str, Any]:
    return {
        method: {
            "rival": relative.rivals[row],
            "ratio": _plain(relative.ratio[row]),
            "low": _plain(relative.low[row]),
            "high": _plain(relative.high[row]),
        }
        for row, method in enumerate(relative.methods)
    }


def _plain(values: Any) -> list[float | None]:
    return [float(value) if math.isfinite(value) else None for value in values]
