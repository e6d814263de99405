# SPDX-License-Identifier: Apache-2.0
"""What one or several run directories hold, put together for a report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from diffhpo.errors import DataError, RunError
from diffhpo.hpob.results import Results, read_results
from diffhpo.study.grid import Cell, Grid
from diffhpo.study.journal import Record, read_runs
from diffhpo.study.record import check_record
from diffhpo.study.stats import AlignedRuns, align


@dataclass(frozen=True)
class Collection:
    """The runs of a study, whichever shards and directories they were made in.

    Attributes:
        grid: the grid of all directories together.
        runs: the finished runs, failed ones included, in the order of the grid.
        published: method -> results of other sources, cut to the grid's tasks and seeds.
    """

    grid: Grid
    runs: dict[Cell, Record]
    published: dict[str, Results]

    @property
    def failed(self) -> list[Cell]:
        """Runs whose method raised or whose process died."""
        return [cell for cell, record in self.runs.items() if record["error"]]

    @property
    def missing(self) -> list[Cell]:
        """Runs of the grid that were not made yet."""
        return [cell for cell in self.grid.cells() if cell not in self.runs]

    def succeeded(self, method: str) -> list[Record]:
        """A method's runs that did not fail."""
        return [r for cell, r in self.runs.items() if cell.method == method and not r["error"]]

    def results(self) -> dict[str, Results]:
        """Method -> HPO-B results of its runs that did not fail, then the published ones."""
        results: dict[str, Results] = {}
        for method in self.grid.methods:
            results[method] = {}
            for record in self.succeeded(method):
                tasks = results[method].setdefault(record["space"], {})
                tasks.setdefault(record["task"], {})[record["seed"]] = record["incumbents"]
        return {**results, **self.published}

    def aligned(self, *, allow_missing: bool = False) -> AlignedRuns:
        """The curves of all methods on the runs that all of them have.

        Args:
            allow_missing: leave out, for all methods, a run that one lacks, and methods without any run.

        Raises:
            RunError: listing runs that are missing or failed, unless `allow_missing`.
            DataError: if no run is shared by all methods.
        """
        lost = [f"{cell} (failed)" for cell in self.failed] + [f"{c} (not made yet)" for c in self.missing]
        expected = {cell[:3] for cell in self.grid.cells()}
        results = self.results()
        for name, published in self.published.items():
            there = {
                (space, task, seed)
                for space, tasks in published.items()
                for task, seeds in tasks.items()
                for seed, curve in seeds.items()
                if len(curve) > self.grid.trials
            }
            lost += [f"{'/'.join(key)}/{name} (not in its file)" for key in sorted(expected - there)]
        if lost and not allow_missing:
            raise RunError(
                f"{len(lost)} runs are not there, and averages over different runs cannot be compared: "
                f"{_listed(lost)}. Finish them with `diffhpo bench run` (--retry-failed for failed ones), or "
                "give --allow-missing to compare on the runs that all methods have"
            )
        present = {method: runs for method, runs in results.items() if runs}
        return align(present, n_points=self.grid.trials + 1, expected=expected, allow_missing=allow_missing)


def collect(
    directories: Sequence[Path | str], published: Mapping[str, Path | str] | None = None
) -> Collection:
    """Puts run directories together: shards of one grid, or grids that differ in tasks, seeds or methods.

    Args:
        directories: one or more run directories.
        published: method name -> results file in HPO-B's format, for example of another paper.

    Raises:
        RunError: if a directory is none of a run, or two hold grids that cannot be compared.
        DataError: if a file is damaged, or runs of one task were made on different data.
    """
    if not directories:
        raise RunError("no run directory was given")
    found = [(Path(directory), *read_runs(Path(directory))) for directory in directories]
    grid = replace(found[0][1], shard="1/1")
    runs: dict[Cell, Record] = {}
    for directory, other, records in found:
        grid = _joined(grid, replace(other, shard="1/1"), directory)
        for cell, record in records.items():
            check_record(record, directory)
            if cell in runs and not runs[cell]["error"] and not record["error"]:
                if runs[cell]["incumbents"] != record["incumbents"]:
                    raise DataError(f"{directory}: the run {cell} differs from the one of another directory")
            elif cell not in runs or runs[cell]["error"]:
                runs[cell] = record
    ordered = {cell: runs[cell] for cell in grid.cells() if cell in runs}
    _check_same_data(ordered)
    extra = {name: _cut(read_results(path), grid) for name, path in (published or {}).items()}
    clash = sorted(set(extra) & set(grid.methods))
    if clash:
        raise RunError(
            f"published results are named like methods of the run: {', '.join(clash)}; rename them"
        )
    return Collection(grid, ordered, extra)


def _joined(grid: Grid, other: Grid, directory: Path) -> Grid:
    try:
        wide = replace(
            other,
            tasks=tuple(dict.fromkeys((*grid.tasks, *other.tasks))),
            seeds=tuple(dict.fromkeys((*grid.seeds, *other.seeds))),
            methods=tuple(dict.fromkeys((*grid.methods, *other.methods))),
        )
        return grid.resumed_by(wide)
    except RunError as error:
        raise RunError(
            f"{directory} cannot be reported together with the other directories: {error}"
        ) from None


def _check_same_data(runs: Mapping[Cell, Record]) -> None:
    """Refuses runs of one task that saw different data: the suite changed between them."""
    seen: dict[tuple[str, str], tuple[Cell, str]] = {}
    for cell, record in runs.items():
        if record["error"]:
            continue
        first, digest = seen.setdefault((cell.space, cell.task), (cell, record["data"]))
        if record["data"] != digest:
            raise DataError(
                f"the runs {first} and {cell} were made on different data of the same name; the suite "
                "changed between them: run all methods anew in another --out"
            )


def _cut(results: Results, grid: Grid) -> Results:
    """The part of published results that the grid has."""
    kept: Results = {}
    for space, task in grid.tasks:
        seeds = {s: c for s, c in results.get(space, {}).get(task, {}).items() if s in grid.seeds}
        if seeds:
            kept.setdefault(space, {})[task] = seeds
    return kept


def _listed(names: Sequence[str], most: int = 20) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
