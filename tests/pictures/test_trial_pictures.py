# SPDX-License-Identifier: Apache-2.0
"""The pictures that show trials alone: what is drawn equals what the trials say."""

import numpy as np
import pytest
from matplotlib import colormaps
from matplotlib.figure import Figure

from diffhpo import Float, Space
from diffhpo.errors import InputError
from diffhpo.pictures import (
    PicturedRun,
    plot_optimization_history,
    plot_parallel_coordinates,
    plot_slice,
)


def test_the_history_shows_every_value_and_the_best_so_far(run, line):
    ax = plot_optimization_history(run)
    told = [k for k, state in enumerate(run.states) if state == "told"]
    dots, pruned = ax.collections
    assert np.array_equal(dots.get_offsets(), np.column_stack([told, run.values[told]]))
    assert np.array_equal(pruned.get_offsets(), [[8, -5.0]])
    best = line(ax, "best so far")
    assert best.get_xdata().tolist() == list(range(24))
    assert np.array_equal(
        best.get_ydata(), [min(v for v in run.values[told][: sum(t <= k for t in told)]) for k in range(24)]
    )
    assert best.get_drawstyle() == "steps-post"
    assert line(ax, "no value").get_xdata().tolist() == [4]
    assert line(ax, "pending").get_xdata().tolist() == [23]


@pytest.mark.parametrize("direction", ["maximize", "minimize"])
def test_a_terrible_value_is_marked_and_does_not_flatten_the_others(direction, line):
    sign = 1.0 if direction == "maximize" else -1.0
    values = sign * np.array([0.1, 0.2, -1e6, 0.4, 0.3, 0.5, -np.inf])
    configurations = [{"a": k / 10} for k in range(7)]
    ax = plot_optimization_history(
        PicturedRun(Space({"a": Float(0, 1)}), configurations, values, ["told"] * 7, direction)
    )
    low, high = ax.get_ylim()
    assert high - low < 1
    marks = line(ax, "below the picture" if sign > 0 else "above the picture")
    assert marks.get_xdata().tolist() == [2, 6]
    assert ax.collections[0].get_offsets()[:, 0].tolist() == [0, 1, 3, 4, 5]


def test_the_slice_shows_the_parameter_against_the_value(run, line):
    ax = plot_slice(run, "rate", suggestions=[{**run.configurations[0], "rate": 0.01}])
    told = [k for k, state in enumerate(run.states) if state == "told"]
    rates = [run.configurations[k]["rate"] for k in told]
    (dots,) = ax.collections
    assert np.array_equal(dots.get_offsets(), np.column_stack([rates, run.values[told]]))
    assert np.array_equal(dots.get_array(), told)
    assert ax.get_xscale() == "log"
    star = line(ax, "best")
    assert star.get_xdata() == [run.configurations[run.best]["rate"]]
    assert star.get_ydata() == [run.values[run.best]]
    assert line(ax, "suggestions").get_xdata().tolist() == [0.01]


def test_choices_are_spread_around_their_place(run):
    ax = plot_slice(run, "optimizer")
    told = [k for k, state in enumerate(run.states) if state == "told"]
    place = [["adam", "sgd", "rmsprop"].index(run.configurations[k]["optimizer"]) for k in told]
    drawn = ax.collections[0].get_offsets()[:, 0]
    assert np.array_equal(drawn.round(), place)
    assert len(set(drawn.tolist())) == len(told)
    assert [label.get_text() for label in ax.get_xticklabels()] == ["adam", "sgd", "rmsprop"]


def test_a_trial_that_lacks_the_parameter_is_not_in_its_slice():
    space = Space({"a": Float(0, 1), "b": Float(0, 1)})
    run = PicturedRun(space, [{"a": 0.1}, {"a": 0.3, "b": 0.7}], [1.0, 2.0], ["told", "told"])
    assert plot_slice(run, "b").collections[0].get_offsets().tolist() == [[0.7, 2.0]]
    with pytest.raises(InputError, match="no parameter 'c'; it has 'a', 'b'"):
        plot_slice(run, "c")
    without = PicturedRun(space, [{"a": 0.1}], [1.0], ["told"])
    with pytest.raises(InputError, match="no trial has both the parameter 'b' and a value"):
        plot_slice(without, "b")


def test_parallel_coordinates_lead_through_every_value(run, line):
    ax = plot_parallel_coordinates(run, suggestions=[run.configurations[0]])
    told = np.array([k for k, state in enumerate(run.states) if state == "told"])

    def expected(p):
        return [
            (np.log10(p["rate"]) + 5) / 4,
            (p["depth"] - 2) / 10,
            ["adam", "sgd", "rmsprop"].index(p["optimizer"]) / 2,
            [True, False].index(p["bias"]),
        ]

    lines = ax.collections[0]
    order = told[np.argsort(-run.values[told])]  # the worst first, for minimisation
    colours = colormaps["cividis"](np.linspace(0, 1, len(told)))
    for trial, drawn in zip(order, lines.get_paths(), strict=True):
        assert drawn.vertices[:, 0].tolist() == [0, 1, 2, 3]
        assert np.allclose(drawn.vertices[:, 1], expected(run.configurations[trial]))
    assert np.allclose(lines.get_colors()[:, :3], colours[:, :3])
    assert np.allclose(line(ax, "best").get_ydata(), expected(run.configurations[order[-1]]))
    assert np.allclose(line(ax, "suggestions").get_ydata(), expected(run.configurations[0]))


def test_parallel_coordinates_break_where_a_parameter_is_absent():
    space = Space({"a": Float(0, 1), "b": Float(0, 1)})
    run = PicturedRun(space, [{"a": 0.1}, {"a": 0.3, "b": 0.7}], [1.0, 2.0], ["told", "told"])
    first = plot_parallel_coordinates(run).collections[0].get_paths()[0].vertices[:, 1]
    assert first[0] == pytest.approx(0.1)
    assert np.isnan(first[1])


def test_a_value_that_no_line_leads_to_is_a_dot():
    space = Space({"a": Float(0, 1), "b": Float(0, 1), "c": Float(0, 1)})
    configurations = [{"a": 0.1, "b": 0.2, "c": 0.3}, {"a": 0.4, "c": 0.6}, {"b": 0.5, "c": 0.6}]
    run = PicturedRun(space, configurations, [1.0, 2.0, 3.0], ["told"] * 3)
    assert plot_parallel_coordinates(run).collections[1].get_offsets().tolist() == [[0, 0.4], [2, 0.6]]


def test_pictures_are_drawn_where_they_are_asked_to(run):
    first, second, third = Figure().subplots(3)
    assert plot_optimization_history(run, ax=first) is first
    assert plot_slice(run, "rate", ax=second) is second
    assert plot_parallel_coordinates(run, ax=third) is third


def test_pyplot_and_its_settings_are_left_alone(run):
    import sys

    import matplotlib as mpl

    before = dict(mpl.rcParams)
    plot_slice(run, "depth")
    assert dict(mpl.rcParams) == before
    if "matplotlib.pyplot" in sys.modules:
        assert sys.modules["matplotlib.pyplot"].get_fignums() == []


def test_hostile_names_are_drawn_as_they_are(tmp_path):
    name = "$\\frac{x$ <script>_^\n"
    space = Space({name: Float(0, 1), "$$": Float(0, 1)})
    run = PicturedRun(space, [{name: 0.1, "$$": 0.2}, {name: 0.5, "$$": 0.9}], [1.0, 2.0], ["told", "told"])
    for ax in (plot_slice(run, name), plot_parallel_coordinates(run)):
        ax.figure.savefig(tmp_path / "picture.svg")
        assert "script" in (tmp_path / "picture.svg").read_text()


def test_without_trials_the_error_says_what_to_do(space):
    empty = PicturedRun(space, [], [], [])
    with pytest.raises(InputError, match="no trial; tell one first"):
        plot_optimization_history(empty)
    with pytest.raises(InputError, match="nothing to draw"):
        plot_parallel_coordinates(empty)


def test_without_matplotlib_the_error_has_the_command(run, monkeypatch):
    import sys

    from diffhpo.errors import DependencyError

    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(DependencyError, match="pip install"):
        plot_optimization_history(run)
