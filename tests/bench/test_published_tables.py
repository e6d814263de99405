# SPDX-License-Identifier: Apache-2.0
"""The report's tables are those of the curves in docs/results."""

import sys
from pathlib import Path

import numpy as np
import pytest

from bench import published_tables
from diffhpo.hpob.results import write_results

CURVES = {
    "pretrained": {"t": [[0.5, 0.9], [0.5, 0.7]], "u": [[0.5, 0.95], [0.5, 0.85]]},
    "gp": {"t": [[0.5, 0.6], [0.5, 0.6]], "u": [[0.5, 0.9], [0.5, 0.9]]},
    "random": {"t": [[0.5, 0.5]], "u": [[0.5, 0.5]]},  # one seed alone
}


@pytest.fixture
def results(tmp_path):
    for method, tasks in CURVES.items():
        runs = {t: {f"test{i}": curve for i, curve in enumerate(curves)} for t, curves in tasks.items()}
        write_results(tmp_path / f"{method}.json", {"s": runs})
    return tmp_path


def printed(monkeypatch, capsys, *arguments):
    monkeypatch.setattr(sys, "argv", ["published_tables", *map(str, arguments)])
    published_tables.main()
    return capsys.readouterr().out


def test_tables_have_the_means_of_the_curves(results, monkeypatch, capsys):
    text = printed(monkeypatch, capsys, results, "--trials", "1", "--methods", "pretrained,gp")
    assert "2 tasks, 4 runs of each method" in text
    rows = {line.split("|")[1].strip(): line for line in text.splitlines() if line.startswith("|")}
    means = {m: 1 - np.mean([c[1] for t in CURVES[m].values() for c in t]) for m in ("pretrained", "gp")}
    assert f"{means['pretrained']:.4f}" in rows["Diffusion (pretrained)"]
    # 0.15 of 0.25; one of the tasks is won and one is a tie.
    assert f"{means['pretrained'] / means['gp']:.2f}" in text
    assert "1 : 0" in text
    assert "@1: 0.60" in text


def test_methods_are_compared_on_the_seeds_that_all_have(results, monkeypatch, capsys):
    text = printed(monkeypatch, capsys, results, "--trials", "1")
    assert "2 tasks, 2 runs of each method" in text
    assert "0.0750" in text  # of the first seeds alone
    chosen = printed(
        monkeypatch, capsys, results, "--trials", "1", "--methods", "pretrained,gp", "--seeds", "test1"
    )
    assert "2 tasks, 2 runs of each method" in chosen
    assert "0.2250" in chosen


def test_the_figure_is_drawn(results, monkeypatch, capsys):
    pytest.importorskip("matplotlib")
    out = results / "figure.png"
    printed(monkeypatch, capsys, results, "--trials", "1", "--figure", out)
    assert out.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("study", ["hpob-reduced-report", "x48-test", "embedded-test"])
def test_the_reports_tables_are_those_of_the_published_curves(study, monkeypatch, capsys):
    root = Path(published_tables.__file__).parents[1]
    report = (root / "docs" / "report.md").read_text(encoding="utf-8")
    methods = "pretrained-named,pretrained,gp,optuna-gp,elites,tpe,random,cma-es,sobol"
    text = printed(
        monkeypatch, capsys, root / "docs" / "results" / study, "--methods", methods, "--trials", "10,25,50"
    )
    rows = [line for line in text.splitlines() if line.startswith(("| Diffusion", "| Optuna", "| GP"))][:4]
    for row in rows:
        for cell in row.split("|")[2:-1]:
            assert cell.strip().replace("0.", ".") in report.replace("**", ""), (row, cell)
