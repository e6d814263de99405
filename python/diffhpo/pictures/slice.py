# SPDX-License-Identifier: Apache-2.0
"""The values of a run against one parameter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from diffhpo.errors import InputError
from diffhpo.optimizer import Optimizer
from diffhpo.pictures.look import COLOUR_MAP, VERMILLION, figure_look, panel, whole_numbers
from diffhpo.pictures.parameter_axis import ParameterAxis
from diffhpo.pictures.pictured_run import Array, PicturedRun
from diffhpo.trial import Suggestion

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@figure_look
def plot_slice(
    run: Optimizer | PicturedRun,
    parameter: str,
    *,
    suggestions: Sequence[Suggestion | Mapping[str, Any]] = (),
    colour_bar: bool = True,
    ax: Axes | None = None,
) -> Axes:
    """The value of every trial over one parameter, coloured by the trial's number; suggestions as a rug.

    Trials of equal choices are spread a little, evenly in their order, so that each can be seen.

    Args:
        run: an Optimizer, or trials as a PicturedRun.
        parameter: name of the one on the x axis.
        suggestions: configurations without a value, marked on the lower edge.
        colour_bar: whether the colours of the trial numbers are explained beside the picture.
        ax: where to draw; by default a new figure.

    Raises:
        InputError: if there is no such parameter or no trial has it and a value.
        DependencyError: if matplotlib is not installed.

    Example:
        >>> from diffhpo import Float, Optimizer, Space
        >>> optimizer = Optimizer(Space({"x": Float(-1.0, 1.0)}), seed=0)
        >>> for suggestion in optimizer.ask(4):
        ...     optimizer.tell(suggestion, -suggestion.parameters["x"] ** 2)
        >>> plot_slice(optimizer, "x", suggestions=optimizer.ask(3)).get_xlabel()
        'x'
    """
    drawn = PicturedRun.of(run)
    axis = ParameterAxis.of(drawn.space, parameter)
    positions, values = axis.positions(drawn.configurations), np.asarray(drawn.values)
    chosen = np.flatnonzero(drawn.told & ~np.isnan(positions) & np.isfinite(values))
    if len(chosen) == 0:
        raise InputError(
            f"no trial has both the parameter {parameter!r} and a value; there is nothing to draw"
        )
    ax = panel(ax, 4.8, 3.6)
    dots = ax.scatter(
        _spread(axis, positions[chosen]),
        values[chosen],
        c=chosen,
        cmap=COLOUR_MAP,
        s=24,
        alpha=0.85,
        linewidths=0.4,
        edgecolors="white",
        label="trials",
    )
    best = drawn.best
    if best is not None and best in chosen:
        place = _spread(axis, positions[chosen])[int(np.flatnonzero(chosen == best)[0])]
        ax.plot([place], [values[best]], "*", markersize=13, color=VERMILLION, label="best", zorder=4)
    if suggestions:
        wanted = [s.parameters if isinstance(s, Suggestion) else s for s in suggestions]
        rug = axis.positions(wanted)
        rug = _spread(axis, rug[~np.isnan(rug)])
        ax.plot(
            rug,
            np.full(len(rug), 0.03),
            "|",
            markersize=14,
            markeredgewidth=1.6,
            color=VERMILLION,
            transform=ax.get_xaxis_transform(),
            label="suggestions",
            clip_on=False,
        )
    axis.label_x(ax)
    ax.set_ylabel(f"objective ({drawn.direction})")
    if colour_bar and len(chosen) > 1:
        bar = ax.figure.colorbar(dots, ax=ax, label="trial", pad=0.02)
        bar.outline.set_visible(False)
        whole_numbers(bar.ax.yaxis)
    if suggestions:
        ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, fontsize=9, columnspacing=1.2)
    return ax


def _spread(axis: ParameterAxis, positions: Array) -> Array:
    """Choices moved by up to a fifth of the distance between two, in their order; numbers as they are."""
    if axis.choices is None:
        return positions
    moved = positions.copy()
    for place in np.unique(positions):
        same = np.flatnonzero(positions == place)
        moved[same] += np.linspace(-0.2, 0.2, len(same)) if len(same) > 1 else 0.0
    return moved
