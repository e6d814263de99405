# SPDX-License-Identifier: Apache-2.0
"""All parameters of all trials beside each other, a line a trial."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from diffhpo.errors import InputError
from diffhpo.optimizer import Optimizer
from diffhpo.pictures.look import BLACK, COLOUR_MAP, VERMILLION, figure_look, panel, plain_text
from diffhpo.pictures.parameter_axis import ParameterAxis
from diffhpo.pictures.pictured_run import Array, PicturedRun
from diffhpo.trial import Suggestion

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Suggestions that are drawn; of more, the first.
MOST_SUGGESTIONS = 64


@figure_look
def plot_parallel_coordinates(
    run: Optimizer | PicturedRun,
    *,
    parameters: Sequence[str] | None = None,
    suggestions: Sequence[Suggestion | Mapping[str, Any]] = (),
    ax: Axes | None = None,
) -> Axes:
    """A line for every trial through the values of its parameters; the better, the brighter and the higher.

    The colour is the rank of the value among all, so that one terrible trial does not leave the others
    a single colour. A line is interrupted where the trial lacks a
    parameter; a value between two such places is a dot. The best trial has a line of
    its own.

    Args:
        run: an Optimizer, or trials as a PicturedRun.
        parameters: which, in the order of the axes; all but constants by default.
        suggestions: configurations without a value, dashed; the first 64 of them.
        ax: where to draw; by default a new figure.

    Raises:
        InputError: if a parameter is unknown or no trial has a value.
        DependencyError: if matplotlib is not installed.

    Example:
        >>> from diffhpo import Float, Int, Optimizer, Space
        >>> optimizer = Optimizer(Space({"x": Float(-1.0, 1.0), "k": Int(1, 8)}), seed=0)
        >>> for suggestion in optimizer.ask(4):
        ...     optimizer.tell(suggestion, -suggestion.parameters["x"] ** 2)
        >>> [label.get_text() for label in plot_parallel_coordinates(optimizer).get_xticklabels()]
        ['x', 'k']
    """
    from matplotlib import colormaps
    from matplotlib.cm import ScalarMappable
    from matplotlib.collections import LineCollection
    from matplotlib.colors import Normalize

    drawn = PicturedRun.of(run)
    searched = [name for name, parameter in drawn.space.parameters.items() if parameter.width]
    names = searched if parameters is None else list(parameters)
    axes = [ParameterAxis.of(drawn.space, name) for name in names]
    told = np.flatnonzero(drawn.told)
    if len(told) == 0 or len(axes) == 0:
        raise InputError("no trial has a value, or no parameter was given; there is nothing to draw")
    ax = panel(ax, max(5.0, 1.25 * len(axes) + 1.5), 4.2)
    rank = rankdata(drawn.sign * np.asarray(drawn.values)[told])
    share = (rank - 1) / (len(told) - 1) if len(told) > 1 else np.ones(1)
    colours = colormaps[COLOUR_MAP](share)
    heights = _heights(axes, [drawn.configurations[int(k)] for k in told])
    places = np.arange(len(axes))
    order = np.argsort(share, kind="stable")  # the better, the higher
    paths = [np.column_stack([places, heights[row]]) for row in order]
    ax.add_collection(LineCollection(paths, colors=colours[order], linewidths=1.1, alpha=0.7, zorder=2))
    alone = _alone(heights)
    ax.scatter(alone[:, 1], heights[alone[:, 0], alone[:, 1]], c=colours[alone[:, 0]], s=10, zorder=3)
    best = int(np.flatnonzero(told == drawn.best)[0])
    ax.plot(places, heights[best], color=VERMILLION, linewidth=2.4, label="best", zorder=4)
    if suggestions:
        wanted = [
            s.parameters if isinstance(s, Suggestion) else s for s in list(suggestions)[:MOST_SUGGESTIONS]
        ]
        for row, line in enumerate(_heights(axes, wanted)):
            label = None if row else "suggestions"
            ax.plot(places, line, "--", color=BLACK, linewidth=1.0, label=label, zorder=5)
    _label(ax, axes)
    bar = ax.figure.colorbar(ScalarMappable(Normalize(0, 1), COLOUR_MAP), ax=ax, pad=0.02, shrink=0.7)
    bar.set_ticks([0, 1], labels=["worst", "best"])
    bar.set_label("rank of the value", labelpad=-18)
    bar.outline.set_visible(False)
    ax.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=2, fontsize=9)
    return ax


def _heights(axes: Sequence[ParameterAxis], configurations: Sequence[Mapping[str, Any]]) -> Array:
    """(n, axes) shares along each axis; nan where a configuration lacks the parameter."""
    return np.array(
        [[axis.share(c[axis.name]) if axis.name in c else np.nan for axis in axes] for c in configurations]
    ).reshape(len(configurations), len(axes))


def _alone(heights: Array) -> NDArray[np.intp]:
    """(k, 2) trial and axis of values without a neighbour, to which no line leads."""
    known = ~np.isnan(heights)
    beside = np.zeros_like(known)
    beside[:, 1:] |= known[:, :-1]
    beside[:, :-1] |= known[:, 1:]
    return np.argwhere(known & ~beside)


def _label(ax: Axes, axes: Sequence[ParameterAxis]) -> None:
    ax.grid(visible=False)
    ax.set_xlim(-0.15, len(axes) - 0.55)
    ax.set_ylim(-0.04, 1.04)
    ax.set_yticks([])
    ax.spines["left"].set_visible(False)
    ax.spines["bottom"].set_visible(False)
    ax.tick_params(axis="x", length=0, pad=8)
    longest = max(len(axis.name) for axis in axes)
    names = [plain_text(axis.name, 24) for axis in axes]
    slanted = longest > 12
    ax.set_xticks(
        np.arange(len(axes)), names, rotation=25 if slanted else 0, ha="right" if slanted else "center"
    )
    box = {"facecolor": "white", "alpha": 0.75, "edgecolor": "none", "pad": 0.8}
    for place, axis in enumerate(axes):
        ax.axvline(place, color="#444444", linewidth=1.0, zorder=3.5)
        for value, text in axis.labelled_values():
            height = axis.share(value)
            ax.text(place + 0.04, height, text, fontsize=8, va="center", zorder=6, bbox=box)
