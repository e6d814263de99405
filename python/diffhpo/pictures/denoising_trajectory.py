# SPDX-License-Identifier: Apache-2.0
"""How a batch of configurations comes out of noise, in two dimensions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from diffhpo.errors import InputError
from diffhpo.optimizer import Optimizer
from diffhpo.pictures.look import BLACK, BLUE, COLOUR_MAP, GREY, VERMILLION, figure_look, panel, plain_text
from diffhpo.pictures.parameter_axis import ParameterAxis
from diffhpo.pictures.pictured_run import Array, PicturedRun
from diffhpo.policy import check_seed
from diffhpo.process.one_thread import one_thread

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@figure_look
def plot_denoising_trajectory(
    run: Optimizer | PicturedRun,
    first: str,
    second: str,
    *,
    count: int = 24,
    steps: int = 20,
    seed: int = 0,
    ax: Axes | None = None,
) -> Axes:
    """The paths of a batch through the reverse loop, from noise to configurations, over the observed trials.

    The square is the unit cube, with the parameters' own values along it; noise begins in and around it.
    Paths darken with every step. Their ends are what `InContextModel.generate` returns, bit for bit.

    Args:
        run: an Optimizer, or trials as a PicturedRun. Parameters that are not in every trial are left out.
        first: name of the parameter on the x axis; one with a single column, so not of three choices or more.
        second: name of the parameter on the y axis, likewise.
        count: configurations of the batch, 1 or more.
        steps: of the reverse loop, 1 or more.
        seed: of the draw.
        ax: where to draw; by default a new figure.

    Raises:
        InputError: if a parameter is unknown or has several columns, no trial has a value, a number is out of
            range, or the model does not take the space (more than 32 dimensions).
        DependencyError: if matplotlib is not installed.

    Example:
        >>> from diffhpo import Float, Optimizer, Space
        >>> optimizer = Optimizer(Space({"x": Float(-1.0, 1.0), "y": Float(0.0, 1.0)}), seed=0)
        >>> for suggestion in optimizer.ask(4):
        ...     optimizer.tell(suggestion, -suggestion.parameters["x"] ** 2)
        >>> plot_denoising_trajectory(optimizer, "x", "y", count=4).get_ylabel()
        'y'
    """
    from matplotlib.collections import LineCollection
    from matplotlib.patches import Rectangle

    if count < 1 or steps < 1:
        raise InputError(f"count is {count} and steps {steps}; 1 or more of both are needed")
    drawn = PicturedRun.of(run).modelled()
    columns = [_column(drawn, name) for name in (first, second)]
    states = trajectory(drawn, count, steps=steps, seed=check_seed(seed))[:, :, columns].double().numpy()
    ax = panel(ax, 5.2, 4.8)
    shades = 0.05 + 0.5 * np.linspace(0, 1, steps) ** 2
    for step in range(steps):
        ax.add_collection(
            LineCollection(
                [*np.stack([states[step], states[step + 1]], axis=1)],
                colors=BLUE,
                alpha=shades[step],
                linewidths=0.9,
                zorder=2,
            )
        )
    ax.plot(*states[0].T, ".", color=GREY, markersize=3, label="noise", zorder=2)
    ax.plot(
        *states[-1].T, "o", color=BLUE, markersize=5, label="generated", zorder=4, markeredgecolor="white"
    )
    told = drawn.told
    points, values = drawn.units(told)[:, columns], drawn.sign * np.asarray(drawn.values)[told]
    order = np.argsort(np.argsort(values, kind="stable"))
    ax.scatter(
        points[:, 0],
        points[:, 1],
        c=order,
        cmap=COLOUR_MAP,
        marker="s",
        s=26,
        linewidths=0.6,
        edgecolors=BLACK,
        label="trials",
        zorder=3,
    )
    ax.plot(*points[values.argmax()], "*", markersize=15, color=VERMILLION, label="best", zorder=5)
    ax.add_patch(Rectangle((0, 0), 1, 1, fill=False, edgecolor="#444444", linewidth=1.0, zorder=1.5))
    reach = float(np.clip(np.quantile(np.abs(states - 0.5), 0.97), 0.6, 1.6))
    ax.set(xlim=(0.5 - reach, 0.5 + reach), ylim=(0.5 - reach, 0.5 + reach), aspect="equal")
    ax.grid(visible=False)
    _label(ax, drawn, first, second)
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=4, fontsize=9, columnspacing=1.2)
    return ax


@one_thread()
@one_thread()
def trajectory(run: PicturedRun, count: int, *, steps: int = 20, seed: int = 0) -> Tensor:
    """The states of a batch in the pretrained model's reverse loop, from its noise to its configurations.

    Returns:
        (steps + 1, count, d) float32 in the unit cube's scale; all but the last may lie outside of it.
    """
    model = run.read()
    return torch.stack(
        [model.generate(count, seed=seed, steps=steps, stop_after=step) for step in range(steps + 1)]
    )


def _column(drawn: PicturedRun, name: str) -> int:
    """The column of the unit cube that is a parameter's alone."""
    ParameterAxis.of(drawn.space, name)
    columns = [k for k, owner in enumerate(drawn.space.column_names) if owner == name]
    if len(columns) != 1:
        raise InputError(
            f"the parameter {name!r} has {len(columns)} columns of the unit cube; give one with a single "
            "column: a number, an order or two choices"
        )
    return columns[0]


def _label(ax: Axes, drawn: PicturedRun, first: str, second: str) -> None:
    for name, axis in ((first, ax.xaxis), (second, ax.yaxis)):
        places, texts = unit_ticks(ParameterAxis.of(drawn.space, name))
        axis.set_ticks(places, labels=texts, fontsize=9)
    ax.set(xlabel=plain_text(first), ylabel=plain_text(second))


def unit_ticks(axis: ParameterAxis) -> tuple[Array, list[str]]:
    """Where in [0, 1] the values that are worth a label stand, and the labels, of a one-column parameter."""
    labelled = axis.labelled_values()
    labelled = labelled[::2] if len(labelled) == 5 else labelled
    places = np.array([float(axis.parameter.encode(value)[0]) for value, _ in labelled])
    return places, [text for _, text in labelled]
