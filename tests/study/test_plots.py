# SPDX-License-Identifier: Apache-2.0
"""Figures hold the numbers of the statistics, with one look for a method everywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from diffhpo.errors import InputError
from diffhpo.study import plots
from diffhpo.study.aligned_runs import AlignedRuns, align
from diffhpo.study.comparison import Comparison, compare
from diffhpo.study.figure import save
from diffhpo.study.methods import METHODS
from diffhpo.study.stats import average_rank, mean_normalised_regret
from diffhpo.study.style import styles_of

METHOD_NAMES = ["random", "gp", "elite", "Vizier"]


def colour_of(line: Any) -> str:
    from matplotlib.colors import to_hex

    return str(to_hex(line.get_color())).upper()


def labelled(panel: Any) -> dict[str, Any]:
    return {line.get_label(): line for line in panel.get_lines()}


@pytest.fixture
def runs() -> AlignedRuns:
    generator = np.random.default_rng(4)

    def curve(rate: int) -> list[float]:
        steps = generator.uniform(0.3, 1, 20) * np.exp(-0.1 * rate * np.arange(20))
        return list(1 - np.minimum.accumulate(steps))

    return align(
        {
            method: {
                space: {task: {"test0": curve(rate), "test1": curve(rate)} for task in ("a", "b", "c")}
                for space in ("s1", "s2")
            }
            for rate, method in enumerate(METHOD_NAMES)
        }
    )


def test_rank_and_regret_draws_the_statistics(runs: AlignedRuns) -> None:
    rank, regret = average_rank(runs), mean_normalised_regret(runs)
    left, right = plots.rank_and_regret(rank, regret).axes
    assert (left.get_yscale(), right.get_yscale()) == ("linear", "log")
    styles = styles_of(METHOD_NAMES)
    for panel, curves in ((left, rank), (right, regret)):
        lines = labelled(panel)
        assert len(panel.collections) == len(METHOD_NAMES)
        for row, method in enumerate(METHOD_NAMES):
            line = lines[styles[method].label]
            np.testing.assert_array_equal(line.get_xdata(), np.arange(20))
            np.testing.assert_array_equal(line.get_ydata(), curves.mean[row])
            assert colour_of(line) == styles[method].colour
            band = panel.collections[row].get_paths()[0].vertices
            for end in (curves.low[row], curves.high[row]):
                assert {(t, v) for t, v in enumerate(end)} <= {(t, v) for t, v in band}
        assert panel.get_xlabel()
        assert panel.get_ylabel()
    assert not plots.rank_and_regret(rank, regret, bands=False).axes[0].collections


def test_regret_per_space_draws_every_space(runs: AlignedRuns) -> None:
    regret = mean_normalised_regret(runs)
    panels = plots.regret_per_space(regret).axes
    assert [panel.get_title() for panel in panels] == ["s1 (3 tasks)", "s2 (3 tasks)"]
    for panel, space in zip(panels, ("s1", "s2"), strict=True):
        for row, line in enumerate(panel.get_lines()):
            np.testing.assert_array_equal(line.get_ydata(), regret.per_space[space][row])


def test_regret_per_task_draws_every_task(runs: AlignedRuns) -> None:
    panels = plots.regret_per_task(runs).axes
    assert [panel.get_title() for panel in panels if panel.axison] == [
        f"{space}/{task}" for space in ("s1", "s2") for task in "abc"
    ]
    for panel in panels[:6]:
        space, task = panel.get_title().split("/")
        members = [index for index, run in enumerate(runs.runs) if run[:2] == (space, task)]
        assert len(members) == 2
        for row, line in enumerate(panel.get_lines()):
            np.testing.assert_allclose(line.get_ydata(), runs.regret[row, members].mean(axis=0), rtol=1e-12)


def test_suggestion_time_draws_median_and_quartiles() -> None:
    seconds = np.array([[0.1, 1.0], [0.2, 2.0], [0.4, 8.0]])
    (panel,) = plots.suggestion_time({"gp": seconds}).axes
    assert panel.get_yscale() == "log"
    assert "ms" in panel.get_ylabel()
    np.testing.assert_allclose(panel.get_lines()[0].get_ydata(), [200, 2000])
    np.testing.assert_array_equal(panel.get_lines()[0].get_xdata(), [1, 2])
    band = panel.collections[0].get_paths()[0].vertices
    np.testing.assert_allclose(sorted(set(band[:, 1])), [150, 300, 1500, 5000])


def test_a_critical_difference_diagram_of_a_hand_case() -> None:
    """Four methods whose p-values join a-b, b-c and nothing else: two bars, one marker a method."""
    p = np.ones((4, 4))
    for i, j in [(0, 2), (0, 3), (1, 3), (2, 3)]:
        p[i, j] = p[j, i] = 0.01
    ranks = np.array([1.2, 2.1, 2.7, 4.0])
    tasks = [("s", str(i)) for i in range(9)]
    case = Comparison(
        ["a", "b", "c", "d"], 25, tasks, np.zeros((4, 9)), ranks, 0.001, p, np.zeros((4, 4), int)
    )
    figure = plots.critical_difference_diagram([case])
    (panel,) = figure.axes
    assert panel.get_title() == "trial 25: mean rank over 9 tasks"
    markers = sorted(float(marker.get_offsets()[0][0]) for marker in panel.collections)
    assert markers == sorted(ranks)
    bars = [line for line in panel.get_lines() if line.get_linewidth() == 3.0]
    assert sorted(sorted(bar.get_xdata()) for bar in bars) == [[1.2, 2.1], [2.1, 2.7]]
    texts = {text.get_text() for text in panel.texts}
    assert texts == {"a (1.20)", "b (2.10)", "(2.70) c", "(4.00) d"}
    with pytest.raises(InputError, match="comparisons is empty"):
        plots.critical_difference_diagram([])


def test_the_comparison_agrees_with_scikit_posthocs(runs: AlignedRuns) -> None:
    """Holm-corrected Wilcoxon p-values and mean ranks, from the package that draws the diagram."""
    import scikit_posthocs
    from scipy import stats

    comparison = compare(runs, 19)
    expected = scikit_posthocs.posthoc_wilcoxon(comparison.regret.tolist(), p_adjust="holm")
    np.testing.assert_allclose(comparison.p_values, expected, rtol=1e-12)
    np.testing.assert_allclose(comparison.ranks, stats.rankdata(comparison.regret, axis=0).mean(axis=1))


def test_curves_that_reach_zero_or_have_no_interval_can_be_drawn(tmp_path: Path) -> None:
    zero = {"s": {"t": {"test0": [0.5, 1.0, 1.0]}}}
    solved = {"s": {"t": {"test0": [1.0, 1.0, 1.0]}}}
    for results in ({"random": zero, "gp": solved}, {"gp": solved}):
        runs = align(results)
        rank, regret = average_rank(runs), mean_normalised_regret(runs)
        for name, figure in {
            "a.png": plots.rank_and_regret(rank, regret),
            "b.svg": plots.regret_per_space(regret),
        }.items():
            save(figure, tmp_path / name)
            assert (tmp_path / name).stat().st_size > 1000


def test_equal_figures_are_equal_files(runs: AlignedRuns, tmp_path: Path) -> None:
    regret = mean_normalised_regret(runs)
    for kind in ("png", "svg"):
        for name in ("first", "second"):
            save(plots.regret_per_space(regret), tmp_path / f"{name}.{kind}", dots_per_inch=50)
        assert (tmp_path / f"first.{kind}").read_bytes() == (tmp_path / f"second.{kind}").read_bytes()


def test_pyplot_keeps_no_figure(runs: AlignedRuns) -> None:
    from matplotlib import pyplot

    regret = mean_normalised_regret(runs)
    plots.rank_and_regret(average_rank(runs), regret)
    plots.critical_difference_diagram([compare(runs, 5)])
    assert pyplot.get_fignums() == []


def test_a_method_looks_the_same_beside_any_others() -> None:
    everything = styles_of([*METHODS, "Vizier", "OptFormer"])
    assert styles_of(["elite", "gp"]) == {name: everything[name] for name in ("elite", "gp")}
    looks = [(style.colour, style.dashes) for style in everything.values()]
    assert len(set(looks)) == len(looks)
    assert everything["Vizier"].label == "Vizier"
