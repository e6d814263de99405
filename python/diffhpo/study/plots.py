# SPDX-License-Identifier: Apache-2.0
"""The figures of a study. Each function returns a matplotlib Figure; pyplot's global state is not used."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec

import numpy as np
from numpy.typing import NDArray

from diffhpo.errors import DependencyError, InputError
from diffhpo.study.comparison import Comparison
from diffhpo.study.stats import Curves
from diffhpo.study.style import Style, styles_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Array = NDArray[np.float64]
Arguments = ParamSpec("Arguments")

#: Level of the tests in the critical-difference diagram.
ALPHA = 0.05

#: Inches; at 150 dots an inch the two panels are 1500 pixels wide, twice what a README shows.
WIDTH = 10.0

_LOOK: dict[Any, Any] = {
    "font.size": 11,
    "axes.titlesize": 12,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#E4E4E4",
    "grid.linewidth": 0.8,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "svg.hashsalt": "diffhpo",  # the same figure is the same file
}

_TRIALS = "trials after the initial evaluations"


def _figure(draw: Callable[Arguments, Figure]) -> Callable[Arguments, Figure]:
    """Gives a drawing function the look that all figures share, and a clear error without matplotlib."""

    @wraps(draw)
    def drawn(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Figure:
        try:
            import matplotlib
        except ImportError as error:
            raise DependencyError('figures need matplotlib: pip install "diffhpo[bench]"') from error
        with matplotlib.rc_context(_LOOK):
            return draw(*args, **kwargs)

    return drawn


@_figure
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
    _log_regret(right, regret.mean, regret.low if bands else None)
    right.set_ylabel("mean normalised regret")
    _legend(figure, left)
    return figure


@_figure
def regret_per_space(regret: Curves) -> Figure:
    """Mean normalised regret within each search space, one panel a space, logarithmic."""
    from matplotlib.figure import Figure

    styles = styles_of(regret.methods)
    spaces = list(regret.per_space)
    columns = min(4, len(spaces))
    rows = math.ceil(len(spaces) / columns)
    figure = Figure(figsize=(max(WIDTH * columns / 4, 5.0), 2.5 * rows + 1.0), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False, sharex=True)
    for index, panel in enumerate(panels.flat):
        if index >= len(spaces):
            panel.set_axis_off()
            continue
        space = spaces[index]
        for method, values in zip(regret.methods, regret.per_space[space], strict=True):
            _line(panel, values, styles[method])
        _log_regret(panel, regret.per_space[space])
        count = sum(name == space for name, _ in regret.tasks)
        panel.set_title(f"{space} ({count} task{'s' if count > 1 else ''})")
        panel.set_xlim(0, regret.mean.shape[1] - 1)
        if index + columns >= len(spaces):  # nothing below it
            panel.tick_params(labelbottom=True)
            panel.set_xlabel("trials")
    figure.supylabel("mean normalised regret", fontsize=11)
    _legend(figure, panels.flat[0])
    return figure


@_figure
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


@_figure
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
        _line(panel, median, styles[method], trials)
    panel.set_yscale("log")
    panel.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    panel.set(xlabel="trial", ylabel="time of one suggestion (ms)\nmedian and quartiles over runs")
    panel.set_xlim(1, max(np.shape(values)[1] for values in seconds.values()))
    _legend(figure, panel)
    return figure


def _curves(panel: Axes, curves: Curves, styles: Mapping[str, Style], bands: bool) -> None:
    trials = np.arange(curves.mean.shape[1])
    for row, method in enumerate(curves.methods):
        if bands:
            low, high, colour = curves.low[row], curves.high[row], styles[method].colour
            panel.fill_between(trials, low, high, color=colour, alpha=0.10, linewidth=0)
        _line(panel, curves.mean[row], styles[method], trials)
    panel.set_xlabel(_TRIALS)
    panel.set_xlim(0, trials[-1])


def _line(panel: Axes, values: Array, style: Style, trials: Array | NDArray[np.intp] | None = None) -> None:
    panel.plot(
        np.arange(len(values)) if trials is None else trials,
        values,
        color=style.colour,
        linestyle=style.dashes,
        linewidth=style.width,
        label=style.label,
        zorder=2 + style.width,  # the lines that matter most lie on top
    )


def _log_regret(panel: Axes, mean: Array, low: Array | None = None) -> None:
    """A logarithmic axis with plain numbers; zero, which it cannot show, lies on its lower end."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    positive = mean[mean > 0]
    bottom = 0.8 * float(positive.min()) if positive.size else 1e-3
    if low is not None and (low > 0).any():
        bottom = max(bottom / 3, min(bottom, float(low[low > 0].min())))
    panel.set_ylim(bottom, 1.3 * float(mean.max()) if positive.size else 1.0)  # first: no autoscale to zeros
    panel.set_yscale("log", nonpositive="clip")
    panel.yaxis.set_major_locator(LogLocator(subs=_ticks(panel.get_ylim())))
    panel.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    panel.yaxis.set_minor_locator(NullLocator())


def _ticks(limits: Sequence[float]) -> tuple[float, ...]:
    """Multiples of a power of ten that give a logarithmic axis three labels or more, and not too many."""
    decades = math.log10(limits[1] / limits[0])
    return (1.0,) if decades > 4 else (1.0, 3.0) if decades > 2 else (1.0, 2.0, 5.0)


def _legend(figure: Figure, panel: Axes) -> None:
    """The legend of all panels, below them, as many entries in a row as fit."""
    handles, labels = panel.get_legend_handles_labels()
    columns = max(1, min(len(labels), int(figure.get_figwidth() / 2)))
    figure.legend(handles, labels, loc="outside lower center", ncols=columns, handlelength=2.6)


def save(figure: Figure, path: Path, *, dots_per_inch: int = 150) -> None:
    """Writes a figure as the file's ending says; equal figures give equal files.

    Raises:
        OSError: if the file cannot be written.
    """
    import matplotlib

    with matplotlib.rc_context(_LOOK):
        figure.savefig(path, dpi=dots_per_inch, metadata={"Date": None} if path.suffix == ".svg" else None)
