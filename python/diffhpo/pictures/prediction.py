# SPDX-License-Identifier: Apache-2.0
"""What the Predictor says of the objective along one parameter."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from diffhpo.errors import InputError
from diffhpo.one_thread import one_thread
from diffhpo.optimizer import Optimizer
from diffhpo.pictures.look import BLACK, BLUE, VERMILLION, figure_look, panel
from diffhpo.pictures.parameter_axis import ParameterAxis
from diffhpo.pictures.pictured_run import Array, PicturedRun

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@figure_look
def plot_prediction(
    run: Optimizer | PicturedRun,
    parameter: str,
    *,
    at: Mapping[str, Any] | None = None,
    points: int = 101,
    mass: float = 0.8,
    ax: Axes | None = None,
) -> Axes:
    """The Predictor's median and central band along one parameter, the others held fast.

    The band is of values as they will be observed, noise included. The median is drawn and not the mean: the
    model's distribution is of warped values, whose mean in the objective's units may be infinite. Trials are
    drawn at their own value of the parameter, the fainter, the farther they lie from the line in the others.

    Args:
        run: an Optimizer, or trials as a PicturedRun. Parameters that are not in every trial are left out.
        parameter: name of the one on the x axis.
        at: where the other parameters are held; the best trial by default.
        points: of the line, 2 or more; a parameter of few values has one for each.
        mass: probability of the band, between 0 and 1.
        ax: where to draw; by default a new figure.

    Raises:
        InputError: if a parameter is unknown, no trial has a value, the space has more dimensions than
            the model takes, 32, or a number is out of range.
        SpaceError: if `at` is not a configuration of the space.
        DependencyError: if matplotlib is not installed.

    Example:
        >>> from diffhpo import Float, Optimizer, Space
        >>> optimizer = Optimizer(Space({"x": Float(-1.0, 1.0)}), seed=0)
        >>> for suggestion in optimizer.ask(4):
        ...     optimizer.tell(suggestion, -suggestion.parameters["x"] ** 2)
        >>> plot_prediction(optimizer, "x", points=21).get_lines()[0].get_label()
        'median'
    """
    if not 0 < mass < 1:
        raise InputError(f"mass is {mass}; a probability between 0 and 1 is needed")
    if points < 2:
        raise InputError(f"points is {points}; 2 or more are needed")
    drawn = PicturedRun.of(run).modelled()
    axis = ParameterAxis.of(drawn.space, parameter)
    best = drawn.best
    if best is None:
        raise InputError("no trial has a value; the model has nothing to read: tell one first")
    fixed = dict(drawn.configurations[best] if at is None else at)
    values = axis.grid(points)
    lines = _line(drawn, [{**fixed, parameter: value} for value in values], (1 - mass) / 2)
    low, median, high = drawn.sign * lines if drawn.sign > 0 else drawn.sign * lines[::-1]
    positions = np.array([axis.position(value) for value in values])
    ax = panel(ax, 5.6, 3.8)
    if axis.choices is None:
        ax.plot(positions, median, color=BLUE, linewidth=2.0, label="median", zorder=3)
        ax.fill_between(
            positions, low, high, color=BLUE, alpha=0.18, linewidth=0, label=f"{mass:.0%} of observations"
        )
    else:
        bars = np.stack([median - low, high - median])
        ax.errorbar(
            positions,
            median,
            yerr=bars,
            fmt="s",
            color=BLUE,
            capsize=5,
            zorder=3,
            label=f"median, {mass:.0%} of observations",
        )
    _trials(ax, drawn, axis, fixed)
    ax.plot(
        [axis.position(drawn.configurations[best][parameter])],
        [np.asarray(drawn.values)[best]],
        "*",
        markersize=13,
        color=VERMILLION,
        label="best",
        zorder=5,
    )
    axis.label_x(ax)
    ax.set_ylabel(f"objective ({drawn.direction})")
    ax.legend(loc="best", fontsize=9)
    return ax


@one_thread()
def _line(drawn: PicturedRun, configurations: list[dict[str, Any]], tail: float) -> Array:
    """(3, n) lower quantile, median and upper quantile of the values of configurations, larger is better."""
    units = torch.from_numpy(np.stack([drawn.space.encode(c) for c in configurations]))
    predicted = drawn.read().predict(units)
    return torch.stack([predicted.quantile(level) for level in (tail, 0.5, 1 - tail)]).double().numpy()


def _trials(ax: Axes, drawn: PicturedRun, axis: ParameterAxis, fixed: Mapping[str, Any]) -> None:
    told = drawn.told
    points, origin = drawn.units(told), drawn.space.encode(fixed)
    others = np.array([name != axis.name for name in drawn.space.column_names])
    distance = np.sqrt(((points - origin)[:, others] ** 2).mean(1)) if others.any() else np.zeros(len(points))
    colours = np.zeros((len(points), 4))
    colours[:, 3] = np.clip(1.0 - distance / 0.5, 0.12, 0.9)
    positions = axis.positions(drawn.configurations)[told]
    values = np.asarray(drawn.values)[told]
    ax.scatter(positions, values, s=20, c=colours, linewidths=0, zorder=4)
    ax.scatter([], [], s=20, c=BLACK, linewidths=0, label="trials")  # in the legend, whatever their faintness
