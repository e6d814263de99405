# SPDX-License-Identifier: Apache-2.0
"""Many runs: a grid of tasks, seeds and methods, made in parallel, resumable, then tables and figures.

    grid = build_grid("embedded", methods=["random", "gp", "elite"], seeds=3)
    run_study("runs/first", grid)
    write_report(build_report(["runs/first"]), "runs/first/report")

A script needs the guard `if __name__ == "__main__":` around `run_study`, which starts processes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from diffhpo.process.lazy_import import lazy_exports

if TYPE_CHECKING:
    from diffhpo.study.grid import Grid
    from diffhpo.study.report import Report, build_report, write_report
    from diffhpo.study.runner import StudyOutcome, run_study
    from diffhpo.study.selection import build_grid

__all__ = ["Grid", "Report", "StudyOutcome", "build_grid", "build_report", "run_study", "write_report"]

# The command line's --help needs neither numpy nor matplotlib.
__getattr__, __dir__ = lazy_exports(
    __name__,
    {
        "Grid": "grid",
        "Report": "report",
        "StudyOutcome": "runner",
        "build_grid": "selection",
        "build_report": "report",
        "run_study": "runner",
        "write_report": "report",
    },
)
