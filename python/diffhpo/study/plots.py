# SPDX-License-Identifier: Apache-2.0
"""The figures of a study. Each function returns a matplotlib Figure; pyplot's global state is not used."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from diffhpo.errors import DependencyError, InputError
from diffhpo.pictures.look import figure_look
from diffhpo.study.aligned_runs import AlignedRuns
from diffhpo.study.comparison import Comparison
from diffhpo.study.figure import Array, draw_line, legend_below, log_regret_axis
from diffhpo.study.stats import Curves, task_means
from diffhpo.study.style import Style, styles_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Level of the tests in the critical-difference diagram.
ALPHA = 0.05

#: Inches; at 150 dots an inch the two panels are 1500 pixels wide, twice what a README shows.
WIDTH = 10.0

_TRIALS = "trials after the initial evaluations"


@figure_look
def rank_and_regret(rank: Curves, regret: Curves, *, bands: bool = True) -> Figure:
    """HPO-B's two panels: average rank (linear) and mean normalised regret (logarithmic) at every trial.

    Args:
        rank, regret: of `average_rank` and `mean_normalised_regret` on the same runs.
        bands: whether the 95 % intervals over tasks are shaded.
    """
    from matplotlib.figure import Figure

    styles = styles_of(regret.methods)
    figure = Figure(figsize=(WIDTH, 4.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    _curves(left, rank, styles, bands)
    left.set(ylabel="average rank (1 is best)", ylim=(0.8, len(rank.methods) + 0.2))
    _curves(right, regret, styles, bands)
    log_regret_axis(right, regret.mean, regret.low if bands else None)
    right.set_ylabel("mean normalised regret")
    legend_below(figure, left)
    return figure


@figure_look
def regret_per_space(regret: Curves) -> Figure:
    """Mean normalised regret within each search space, one panel a space, logarithmic."""
    counts = Counter(space for space, _ in regret.tasks)
    titles = {
        space: f"{space} ({counts[space]} task{'s' * (counts[space] > 1)})" for space in regret.per_space
    }
    return _regret_grid(regret.methods, {titles[space]: values for space, values in regret.per_space.items()})


@figure_look
def regret_per_task(runs: AlignedRuns) -> Figure:
    """Normalised regret on each task, the mean over its seeds, one panel a task, logarithmic."""
    tasks, task_of_run = runs.tasks()
    means = task_means(runs.regret, task_of_run)
    several = len({space for space, _ in tasks}) > 1
    titles = ["/".join(task) if several else task[1] for task in tasks]
    return _regret_grid(runs.methods, {title: means[:, index] for index, title in enumerate(titles)})


def _regret_grid(methods: Sequence[str], panels: Mapping[str, Array]) -> Figure:
    """Panels of curves: title -> (M, T) regret of each method at each trial."""
    from matplotlib.figure import Figure

    styles = styles_of(methods)
    columns = min(4, len(panels))
    rows = math.ceil(len(panels) / columns)
    figure = Figure(figsize=(max(WIDTH * columns / 4, 5.0), 2.5 * rows + 1.0), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, sharex=True)
    for axis in axes.flat[len(panels) :]:
        axis.set_axis_off()
    for index, (axis, (title, values)) in enumerate(zip(axes.flat, panels.items(), strict=False)):
        for method, curve in zip(methods, values, strict=True):
            draw_line(axis, curve, styles[method])
        log_regret_axis(axis, values)
        axis.set_title(title)
        axis.set_xlim(0, values.shape[1] - 1)
        if index + columns >= len(panels):  # nothing below it
            axis.tick_params(labelbottom=True)
            axis.set_xlabel("trials")
    figure.supylabel("mean normalised regret", fontsize=11)
    legend_below(figure, axes.flat[0])
    return figure


@figure_look
def critical_difference_diagram(comparisons: Sequence[Comparison]) -> Figure:
    """Mean ranks over tasks, one diagram a trial; a bar joins methods that do not differ significantly.

    Args:
        comparisons: outcomes of `compare`, one for each trial.

    Raises:
        InputError: if there is none.
        DependencyError: if scikit-posthocs is not installed.
    """
    try:
        import pandas
        import scikit_posthocs
    except ImportError as error:
        raise DependencyError('this diagram needs scikit-posthocs: pip install "diffhpo[bench]"') from error
    from matplotlib.figure import Figure

    if not comparisons:
        raise InputError("comparisons is empty; give one outcome of compare() at least")
    count = len(comparisons[0].methods)
    figure = Figure(figsize=(WIDTH * 0.8, (1.1 + 0.2 * count) * len(comparisons)), layout="constrained")
    panels = figure.subplots(len(comparisons), 1, squeeze=False)
    for panel, comparison in zip(panels.flat, comparisons, strict=True):
        styles = styles_of(comparison.methods)
        labels = [styles[method].label for method in comparison.methods]
        panel.grid(visible=False)
        panel.spines["top"].set_visible(True)
        scikit_posthocs.critical_difference_diagram(
            dict(zip(labels, comparison.ranks, strict=True)),
            pandas.DataFrame(comparison.p_values, index=labels, columns=labels),
            alpha=ALPHA,
            ax=panel,
            label_fmt_left="{label} ({rank:.2f})",
            label_fmt_right="({rank:.2f}) {label}",
            color_palette={style.label: style.colour for style in styles.values()},
            elbow_props={"linewidth": 1.4},
            crossbar_props={"linewidth": 3.0, "color": "#444444"},
            text_h_margin=0.02 * count,
        )
        panel.set_xlim(0.9, count + 0.1)
        panel.set_title(
            f"trial {comparison.index}: mean rank over {len(comparison.tasks)} tasks", fontsize=11
        )
    figure.supxlabel(
        f"Methods joined by a bar do not differ (paired Wilcoxon tests, Holm's correction, {ALPHA:.0%})",
        fontsize=10,
    )
    return figure


@figure_look
def suggestion_time(seconds: Mapping[str, Array]) -> Figure:
    """Wall-clock time of each suggestion: median over runs and the quartiles, logarithmic.

    Args:
        seconds: method -> (runs, trials) seconds of each suggestion.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter

    styles = styles_of(list(seconds))
    figure = Figure(figsize=(WIDTH * 0.7, 4.2), layout="constrained")
    panel = figure.subplots()
    for method, values in seconds.items():
        low, median, high = np.percentile(1000 * np.asarray(values), [25, 50, 75], axis=0)
        trials = np.arange(1, len(median) + 1)
        panel.fill_between(trials, low, high, color=styles[method].colour, alpha=0.15, linewidth=0)
        draw_line(panel, median, styles[method], trials)
    panel.set_yscale("log")
    panel.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    panel.set(xlabel="trial", ylabel="time of one suggestion (ms)\nmedian and quartiles over runs")
    panel.set_xlim(1, max(np.shape(values)[1] for values in seconds.values()))
    legend_below(figure, panel)
    return figure


def _curves(panel: Axes, curves: Curves, styles: Mapping[str, Style], bands: bool) -> None:
    trials = np.arange(curves.mean.shape[1])
    for row, method in enumerate(curves.methods):
        if bands:
            low, high, colour = curves.low[row], curves.high[row], styles[method].colour
            panel.fill_between(trials, low, high, color=colour, alpha=0.10, linewidth=0)
        draw_line(panel, curves.mean[row], styles[method], trials)
    panel.set_xlabel(_TRIALS)
    panel.set_xlim(0, trials[-1])
