# SPDX-License-Identifier: Apache-2.0
"""What the Predictor says of the objective along one parameter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from diffhpo.errors import InputError
from diffhpo.optimizer import Optimizer
from diffhpo.pictures.look import BLACK, BLUE, VERMILLION, figure_look, panel
from diffhpo.pictures.parameter_axis import ParameterAxis
from diffhpo.pictures.pictured_run import Array, PicturedRun
from diffhpo.process.one_thread import one_thread

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@figure_look
@one_thread()
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
    Where the configuration is forbidden the line is interrupted.

    Args:
        run: an Optimizer, or trials as a PicturedRun. Parameters that are not in every trial are left out.
        parameter: name of the one on the x axis.
        at: a configuration, where the other parameters are held; by default the best trial that has the
            parameter.
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
    drawn = PicturedRun.of(run).modelled()
    axis = ParameterAxis.of(drawn.space, parameter)
    line = predicted_line(drawn, parameter, at=at, points=points, mass=mass)
    positions = np.array([axis.position(value) for value in line.values])
    low, median, high = line.low, line.median, line.high
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
    _trials(ax, drawn, axis, line.held)
    best = drawn.best
    if best is not None and parameter in drawn.configurations[best]:
        position = axis.position(drawn.configurations[best][parameter])
        value = np.asarray(drawn.values)[best]
        ax.plot([position], [value], "*", markersize=13, color=VERMILLION, label="best", zorder=5)
    axis.label_x(ax)
    ax.set_ylabel(f"objective ({drawn.direction})")
    ax.legend(loc="best", fontsize=9)
    return ax


@dataclass(frozen=True)
class PredictedLine:
    """What the Predictor says along one parameter, in the objective's units; nan where it is forbidden."""

    held: dict[str, Any]
    """The configuration that the line is drawn through."""
    values: list[Any]
    """m values of the parameter."""
    low: Array
    """(m,) lower end of the central band."""
    median: Array
    """(m,)"""
    high: Array
    """(m,) upper end of the central band."""


def predicted_line(
    run: PicturedRun,
    parameter: str,
    *,
    at: Mapping[str, Any] | None = None,
    points: int = 101,
    mass: float = 0.8,
) -> PredictedLine:
    """The numbers of `plot_prediction`, whose arguments and errors these are; the run is a `modelled` one."""
    if not 0 < mass < 1:
        raise InputError(f"mass is {mass}; a probability between 0 and 1 is needed")
    if points < 2:
        raise InputError(f"points is {points}; 2 or more are needed")
    axis = ParameterAxis.of(run.space, parameter)
    held = _held(run, parameter, at)
    values = axis.grid(points)
    lines = run.sign * _lines(run, _along(run, axis, held, values), (1 - mass) / 2)
    low, median, high = lines if run.sign > 0 else lines[::-1]
    return PredictedLine(held, values, low, median, high)


def _held(drawn: PicturedRun, parameter: str, at: Mapping[str, Any] | None) -> dict[str, Any]:
    """The configuration that is drawn through: `at`, or the best trial that has the parameter."""
    if at is not None:
        if parameter not in at:
            raise InputError(f"at has no {parameter!r}; give a configuration in which it is active")
        return dict(at)
    having = drawn.told & np.array([parameter in c for c in drawn.configurations], dtype=bool)
    if not having.any():
        raise InputError(f"no trial has both the parameter {parameter!r} and a value: tell one first")
    gains = np.where(having, drawn.sign * np.asarray(drawn.values), -np.inf)
    return dict(drawn.configurations[int(gains.argmax())])


def _along(
    drawn: PicturedRun, axis: ParameterAxis, fixed: Mapping[str, Any], values: Sequence[Any]
) -> list[Array | None]:
    """`fixed` with each of the values, in the unit cube; None where that is forbidden.

    Parameters whose conditions a value ends become inactive; those that it makes active stand in the middle.
    """
    columns = np.array([name == axis.name for name in drawn.space.column_names])
    rows: list[Array | None] = []
    for value in values:
        unit = drawn.space.encode(fixed)
        unit[columns] = axis.parameter.encode(value)
        snapped = drawn.space.snap(unit[None])
        rows.append(snapped[0] if len(snapped) else None)
    return rows


@one_thread()
def _lines(drawn: PicturedRun, rows: Sequence[Array | None], tail: float) -> Array:
    """(3, n) lower quantile, median, upper quantile of each row, larger is better; nan without a row."""
    allowed = [k for k, row in enumerate(rows) if row is not None]
    lines = np.full((3, len(rows)), np.nan)
    predicted = drawn.read().predict(torch.from_numpy(np.stack([row for row in rows if row is not None])))
    for line, level in zip(lines, (tail, 0.5, 1 - tail), strict=True):
        line[allowed] = predicted.quantile(level).double().numpy()
    return lines


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
