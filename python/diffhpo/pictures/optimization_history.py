# SPDX-License-Identifier: Apache-2.0
"""The values of a run in the order of its trials, and the best so far."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from diffhpo.errors import InputError
from diffhpo.optimizer import Optimizer
from diffhpo.pictures.look import BLUE, GREY, VERMILLION, figure_look, panel, whole_numbers
from diffhpo.pictures.pictured_run import PicturedRun

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: A value worse than the median by more than this many times the distance from the median to the best lies on
#: the edge of the picture, which would show nothing but it otherwise.
REACH = 8.0


@figure_look
def plot_optimization_history(run: Optimizer | PicturedRun, *, ax: Axes | None = None) -> Axes:
    """The value of every trial, and the best so far as a line.

    Failed and pending trials are marks on the lower edge; values so bad that the others would lie on one line
    are triangles on the edge beyond which they are.

    Args:
        run: an Optimizer, or trials as a PicturedRun.
        ax: where to draw; by default a new figure.

    Returns:
        The Axes; `.figure.savefig("history.png")` writes them.

    Raises:
        InputError: if there is no trial.
        DependencyError: if matplotlib is not installed.

    Example:
        >>> from diffhpo import Float, Optimizer, Space
        >>> optimizer = Optimizer(Space({"x": Float(-1.0, 1.0)}), seed=0)
        >>> for suggestion in optimizer.ask(4):
        ...     optimizer.tell(suggestion, -suggestion.parameters["x"] ** 2)
        >>> plot_optimization_history(optimizer).get_xlabel()
        'trial'
    """
    drawn = PicturedRun.of(run)
    if len(drawn.configurations) == 0:
        raise InputError("the run has no trial; tell one first")
    ax = panel(ax)
    number, values = np.arange(len(drawn.configurations)), np.asarray(drawn.values)
    told, pruned = drawn.told, drawn.in_state("pruned") & ~np.isnan(values)
    low, high = _limits(drawn)
    with np.errstate(invalid="ignore"):
        inside = (values >= low) & (values <= high)
    ax.scatter(
        number[told & inside], values[told & inside], s=22, c=BLUE, alpha=0.75, label="value", zorder=3
    )
    if pruned.any():
        ax.scatter(
            number[pruned & inside],
            values[pruned & inside],
            s=22,
            facecolors="none",
            edgecolors=BLUE,
            linewidths=1.0,
            label="pruned: its last report",
            zorder=2,
        )
    if told.any():
        first = int(np.argmax(told))
        ax.plot(
            number[first:],
            drawn.incumbent[first:],
            color=VERMILLION,
            linewidth=2.0,
            drawstyle="steps-post",
            label="best so far",
            zorder=4,
        )
    without = drawn.in_state("failed") | (drawn.in_state("pruned") & np.isnan(values))
    _mark(ax, number[without], 0.02, "x", GREY, "no value")
    _mark(ax, number[drawn.in_state("pending")], 0.02, "|", GREY, "pending")
    if np.isfinite([low, high]).all():
        edge = 0.06 * (high - low)
        ax.set_ylim(low - edge, high + edge)
    beyond = (told | pruned) & ~inside
    _mark(ax, number[beyond & (values < low)], 0.02, "v", BLUE, "below the picture")
    _mark(ax, number[beyond & (values > high)], 0.98, "^", BLUE, "above the picture")
    ax.set(xlabel="trial", ylabel=f"objective ({drawn.direction})")
    whole_numbers(ax.xaxis)
    ax.margins(x=0.02)
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=5, fontsize=9, columnspacing=1.2)
    return ax


def _limits(drawn: PicturedRun) -> tuple[float, float]:
    """The interval that is shown where some values lie far outside of it; infinite where all are shown."""
    everything = (-np.inf, np.inf)
    gains = drawn.sign * np.asarray(drawn.values)[drawn.told]
    finite = gains[np.isfinite(gains)]
    if len(finite) < 4:
        return everything
    best, median = finite.max(), float(np.median(finite))
    spread = max(best - median, median - float(np.quantile(finite, 0.25)))
    worst = median - REACH * spread
    if spread <= 0 or gains.min() >= worst:
        return everything
    low, high = sorted((drawn.sign * float(finite[finite >= worst].min()), drawn.sign * best))
    return low, high


def _mark(ax: Axes, number: NDArray[np.intp], height: float, marker: str, colour: str, label: str) -> None:
    """Trials without a place of their own, on the lower or the upper edge."""
    if len(number):
        edge = ax.get_xaxis_transform()
        heights = np.full(len(number), height)
        ax.plot(number, heights, marker, color=colour, transform=edge, label=label, clip_on=False)
