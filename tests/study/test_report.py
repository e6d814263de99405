# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from diffhpo.errors import DataError, InputError, RunError
from diffhpo.hpob.results import read_results, write_results
from diffhpo.study.collection import collect
from diffhpo.study.grid import Cell, Grid
from diffhpo.study.journal import Journal, Record
from diffhpo.study.markdown import markdown_table
from diffhpo.study.report import build_report, write_report
from diffhpo.study.stats import average_rank, mean_normalised_regret

GRID = Grid(
    "embedded",
    tasks=(("s1", "t1"), ("s1", "t2"), ("s2", "t3")),
    seeds=("0", "1"),
    methods=("random", "gp", "elite"),
    trials=12,
)


def record_of(cell: Cell, **changes: Any) -> Record:
    """A run as a worker would have journalled it; its curve depends on the cell alone."""
    generator = np.random.default_rng([ord(c) for c in str(cell)])
    return {
        **cell._asdict(),
        "protocol": "continuous",
        "corrected": False,
        "trials": 12,
        "method_seed": 1,
        "error": None,
        "incumbents": np.maximum.accumulate(generator.random(13)).tolist(),
        "suggest_seconds": generator.random(12).tolist(),
        "seconds": 1.5,
        "data": "0123456789abcdef",
        "warnings": {},
        "versions": {"python": "3.11", "numpy": "2.0"},
        "machine": {"processor": "P", "cores": "2", "system": "S"},
        **changes,
    }


def write_run(directory: Path, grid: Grid = GRID, cells: list[Cell] | None = None, **changes: Any) -> Path:
    with Journal(directory, grid) as journal:
        for cell in grid.cells_of_shard() if cells is None else cells:
            journal.append(record_of(cell, **changes))
    return directory


def files_of(directory: Path) -> dict[str, bytes]:
    return {str(p.relative_to(directory)): p.read_bytes() for p in directory.rglob("*") if p.is_file()}


def test_the_report_holds_the_statistics(tmp_path: Path) -> None:
    report = build_report([write_run(tmp_path / "run")])
    write_report(report, tmp_path / "report", figures=False)
    summary = json.loads((tmp_path / "report" / "report.json").read_text())
    assert summary["trials"] == [10, 12]
    assert (summary["tasks"], summary["runs_per_method"]) == (3, 6)
    assert Grid.from_json(summary["grid"]) == GRID

    results: dict[str, Any] = {}
    for cell in GRID.cells():
        tasks = results.setdefault(cell.method, {}).setdefault(cell.space, {})
        tasks.setdefault(cell.task, {})[cell.seed] = record_of(cell)["incumbents"]
    regret, rank = mean_normalised_regret(results), average_rank(results)
    for row, method in enumerate(GRID.methods):
        entry = summary["methods"][method]
        for name, curves in (("mean_normalised_regret", regret), ("average_rank", rank)):
            for end in ("mean", "low", "high"):
                assert entry[name][end] == getattr(curves, end)[row].tolist()
        written = read_results(tmp_path / "report" / "results" / f"{method}.json")
        assert written == results[method]


def test_the_table_shows_the_statistics_best_first(tmp_path: Path) -> None:
    report = build_report([write_run(tmp_path / "run")], trials=[5, 12])
    lines = report.table().splitlines()
    assert [cell.strip() for cell in lines[0].split("|")[1:-1]] == [
        "method", "regret @5", "regret @12", "rank @5", "rank @12", "ms/suggestion",
    ]  # fmt: skip
    assert len({len(line) for line in lines}) == 1
    order = np.argsort(report.regret.mean[:, 12])
    labels = {"random": "Random", "gp": "GP", "elite": "Diffusion (elite)"}
    for line, row in zip(lines[2:], order, strict=True):
        method = GRID.methods[row]
        cells = [cell.strip() for cell in line.split("|")[1:-1]]
        seconds = [record_of(cell)["suggest_seconds"] for cell in GRID.cells() if cell.method == method]
        regret = report.regret
        assert cells == [
            labels[method],
            *(
                f"{regret.mean[row, t]:.4f} [{regret.low[row, t]:.4f}, {regret.high[row, t]:.4f}]"
                for t in (5, 12)
            ),
            *(f"{report.rank.mean[row, t]:.2f}" for t in (5, 12)),
            f"{1000 * np.median(seconds):.0f}",
        ]


def test_order_and_times_of_the_journal_change_the_timing_alone(tmp_path: Path) -> None:
    first = build_report([write_run(tmp_path / "first")])
    cells = GRID.cells()[::-1]
    second = build_report([write_run(tmp_path / "second", cells=cells, suggest_seconds=[9.0] * 12)])
    write_report(first, tmp_path / "a")
    write_report(second, tmp_path / "b")
    a, b = files_of(tmp_path / "a"), files_of(tmp_path / "b")
    assert set(a) == set(b)
    differing = {name for name in a if a[name] != b[name]}
    assert differing == {"timing.json", "suggestion-time.png", "report.md"}
    assert a["report.md"].partition(b"## Timing")[0] == b["report.md"].partition(b"## Timing")[0]
    assert json.loads(b["timing.json"])["methods"]["gp"]["suggestion_ms"]["median"] == 9000


def test_shards_and_split_grids_are_put_together(tmp_path: Path) -> None:
    whole = build_report([write_run(tmp_path / "whole")])
    parts = [write_run(tmp_path / str(i), replace(GRID, shard=f"{i}/3")) for i in (1, 2, 3)]
    assert build_report(parts).to_json() == whole.to_json()
    two = write_run(tmp_path / "two", replace(GRID, methods=("random", "gp")))
    one = write_run(tmp_path / "one", replace(GRID, methods=("elite",)))
    assert build_report([two, one]).to_json() == whole.to_json()
    with pytest.raises(RunError, match=r"runs are not there.*not made yet"):
        build_report(parts[:2])
    other = write_run(tmp_path / "other", replace(GRID, trials=13), cells=[])
    with pytest.raises(RunError, match=r"other cannot be reported together.*trials is 12"):
        build_report([two, other])


@pytest.mark.fault(40)
def test_missing_and_failed_runs_are_refused_or_listed(tmp_path: Path) -> None:
    """One failed, one missing: the aggregate is refused, or both are left out for all methods."""
    cells = GRID.cells()
    lost, failed = cells[1], cells[6]
    run = write_run(tmp_path / "run", cells=[cell for cell in cells if cell not in (lost, failed)])
    error = {"type": "ZeroDivisionError", "message": "by zero\nsecond line", "traceback": "..."}
    with Journal(run, GRID) as journal:
        journal.append(record_of(failed, error=error))
    with pytest.raises(RunError) as raised:
        build_report([run])
    assert all(
        text in str(raised.value) for text in ("2 runs", f"{failed} (failed)", f"{lost} (not made yet)")
    )
    report = build_report([run], allow_missing=True)
    assert {key for key, _ in report.aligned.dropped.items()} == {lost[:3], failed[:3]}
    assert report.regret.n_runs == 4
    write_report(report, tmp_path / "report", figures=False)
    text = (tmp_path / "report" / "report.md").read_text()
    assert f"- {failed}: ZeroDivisionError: by zero\n" in text
    assert f"## Runs not made\n\n- {lost}\n" in text
    summary = json.loads((tmp_path / "report" / "report.json").read_text())
    assert summary["missing"] == [str(lost)]
    assert list(summary["failed"]) == [str(failed)]


def test_a_method_that_always_fails_does_not_take_the_others_with_it(tmp_path: Path) -> None:
    cells = GRID.cells()
    run = write_run(tmp_path / "run", cells=[cell for cell in cells if cell.method != "gp"])
    with Journal(run, GRID) as journal:
        for cell in cells:
            if cell.method == "gp":
                journal.append(record_of(cell, error={"type": "E", "message": "m", "traceback": ""}))
    report = build_report([run], allow_missing=True)
    assert report.regret.methods == ["random", "elite"]
    assert report.regret.n_runs == 6
    assert "gp" not in report.timing()["methods"]
    assert len(report.to_json()["failed"]) == 6


def test_published_results_join_the_comparison(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    published = collect([run]).results()["gp"]
    longer = {
        s: {t: {k: [*c, 1.0] for k, c in x.items()} for t, x in tasks.items()}
        for s, tasks in published.items()
    }
    longer["elsewhere"] = {"t": {"0": [0.5] * 14}}  # a space that the study does not have
    longer["s1"]["t1"]["9"] = [0.5] * 14  # and a seed
    write_results(tmp_path / "Theirs.json", longer)
    report = build_report([run], published={"Theirs": tmp_path / "Theirs.json"})
    assert report.regret.methods == [*GRID.methods, "Theirs"]
    np.testing.assert_array_equal(report.regret.of("Theirs"), report.regret.of("gp"))
    files = write_report(report, tmp_path / "report", figures=False)
    assert "Theirs.json" not in {path.name for path in files}
    assert "Theirs" in (tmp_path / "report" / "report.md").read_text()
    with pytest.raises(RunError, match="named like methods of the run: gp"):
        build_report([run], published={"gp": tmp_path / "Theirs.json"})
    del longer["s2"]
    write_results(tmp_path / "Theirs.json", longer)
    with pytest.raises(RunError, match=r"s2/t3/0/Theirs \(not in its file\)"):
        build_report([run], published={"Theirs": tmp_path / "Theirs.json"})
    report = build_report([run], published={"Theirs": tmp_path / "Theirs.json"}, allow_missing=True)
    assert report.regret.n_runs == 4


def test_runs_on_different_data_are_not_compared(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", cells=GRID.cells()[:-1])
    with Journal(run, GRID) as journal:
        journal.append(record_of(GRID.cells()[-1], data="another"))
    with pytest.raises(DataError, match="were made on different data of the same name"):
        build_report([run])


def test_one_method_on_one_task_is_reported_without_tests(tmp_path: Path) -> None:
    grid = replace(GRID, tasks=(("s1", "t1"),), methods=("gp",))
    report = build_report([write_run(tmp_path / "run", grid)])
    files = {path.name for path in write_report(report, tmp_path / "report")}
    assert "critical-difference.png" not in files
    assert {"rank-and-regret.png", "regret-per-task.png", "suggestion-time.png"} <= files
    summary = json.loads((tmp_path / "report" / "report.json").read_text())
    assert summary["methods"]["gp"]["mean_normalised_regret"]["low"] == [None] * 13


def test_warnings_and_versions_are_told(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", cells=GRID.cells()[1:], warnings={"InputWarning: a: b": 3, "X: y": 1})
    with Journal(run, GRID) as journal:
        journal.append(record_of(GRID.cells()[0], versions={"python": "3.12", "numpy": "2.0"}))
    write_report(build_report([run]), tmp_path / "report", figures=False)
    text = (tmp_path / "report" / "report.md").read_text()
    assert "- Random: InputWarning in 5 runs" in text
    assert "- GP: X in 6 runs" in text
    assert "- numpy 2.0, python 3.11\n- numpy 2.0, python 3.12\n" in text


@pytest.mark.parametrize("trials", [[13], [-1], [5, 99]])
def test_a_trial_beyond_the_study_is_named(tmp_path: Path, trials: list[int]) -> None:
    with pytest.raises(InputError, match=rf"trials names {trials[-1]}; the study has trials 0 to 12"):
        build_report([write_run(tmp_path / "run")], trials=trials)


def test_an_unwritable_place_is_named(tmp_path: Path) -> None:
    report = build_report([write_run(tmp_path / "run")])
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="choose a writable --to"):
        write_report(report, tmp_path / "file")
    (tmp_path / "report" / "rank-and-regret.png").mkdir(parents=True)
    with pytest.raises(RunError, match=r"cannot write .*rank-and-regret\.png"):
        write_report(report, tmp_path / "report")


def test_a_markdown_table_lines_up() -> None:
    table = markdown_table(["a", "value"], [["x", "1"], ["longer", "12345678"]])
    assert table.splitlines() == [
        "| a      |    value |",
        "|:-------|---------:|",
        "| x      |        1 |",
        "| longer | 12345678 |",
    ]
