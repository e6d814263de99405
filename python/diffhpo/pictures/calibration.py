# SPDX-License-Identifier: Apache-2.0
"""Whether a run's values fell where the Predictor had expected them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy import stats

from diffhpo.errors import InputError
from diffhpo.history import History
from diffhpo.optimizer import Optimizer
from diffhpo.pictures.look import BLACK, BLUE, GREY, figure_look, panel
from diffhpo.pictures.pictured_run import Array, PicturedRun
from diffhpo.process.one_thread import one_thread

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Trials of a long run that are predicted; they are spread evenly.
MOST_PREDICTED = 200


@figure_look
def plot_calibration(run: Optimizer | PicturedRun, *, first: int = 5, ax: Axes | None = None) -> Axes:
    """The share of values below each predicted quantile, each value predicted from the trials before it.

    On the diagonal the Predictor's probabilities are right. A line that is flatter in the middle than the
    diagonal says that bands are too narrow, a steeper one that they are too wide. Level by level, 95% of the
    lines of a Predictor that is right lie in the grey band (binomial, for so many values).

    Args:
        run: an Optimizer, or trials as a PicturedRun. Parameters that are not in every trial are left out.
        first: how many values are read before the first is predicted, 1 or more.
        ax: where to draw; by default a new figure.

    Raises:
        InputError: if there are not more than `first` different trials with a value, or the space has more
            dimensions than the model takes, 32.
        DependencyError: if matplotlib is not installed.

    Example:
        >>> from diffhpo import Float, Optimizer, Space
        >>> optimizer = Optimizer(Space({"x": Float(-1.0, 1.0)}), seed=0)
        >>> for suggestion in optimizer.ask(8):
        ...     optimizer.tell(suggestion, -suggestion.parameters["x"] ** 2)
        >>> plot_calibration(optimizer).get_title()
        '3 values, each predicted from those before it'
    """
    if first < 1:
        raise InputError(f"first is {first}; at least 1 value must be read before another is predicted")
    drawn = PicturedRun.of(run).modelled()
    integrals = np.sort(probability_integrals(drawn, first))
    count = len(integrals)
    if count == 0:
        raise InputError(
            f"there are {len(drawn.history)} different trials with a value; more than {first} are needed"
        )
    ax = panel(ax, 4.4, 4.2)
    levels = np.linspace(0, 1, 201)
    low, high = stats.binom.interval(0.95, count, levels[1:-1])
    ax.fill_between(
        levels[1:-1],
        low / count,
        high / count,
        color=GREY,
        alpha=0.2,
        linewidth=0,
        label="if it were right: 95%",
    )
    ax.plot([0, 1], [0, 1], color=BLACK, linewidth=1.0, linestyle=(0, (3.0, 2.0)))
    ax.plot(
        np.concatenate([[0.0], integrals, [1.0]]),
        np.concatenate([[0.0], np.arange(1, count + 1) / count, [1.0]]),
        color=BLUE,
        linewidth=2.0,
        drawstyle="steps-post",
        label="Predictor",
    )
    ax.set(
        xlim=(0, 1),
        ylim=(0, 1),
        xlabel="predicted probability of at most the value",
        ylabel="share of values",
        aspect="equal",
    )
    ax.set_title(f"{count} values, each predicted from those before it", fontsize=10)
    ax.legend(loc="upper left", fontsize=9)
    return ax


@one_thread()
@one_thread()
def probability_integrals(run: PicturedRun, first: int) -> Array:
    """P(Y <= y) of each value by the Predictor that has read those before it, larger values being better.

    Args:
        run: whose configurations have all parameters of its space.
        first: values that are read before the first is predicted.

    Returns:
        (m,) in [0, 1], in the order of the trials; of more than 200 an even choice.
    """
    history, policy = run.history, run.reader
    places = np.arange(first, len(history))
    if len(places) > MOST_PREDICTED:
        places = places[np.linspace(0, len(places) - 1, MOST_PREDICTED).round().astype(int)]
    integrals = []
    for place in places:
        model = policy.read(History(history.x[:place], history.y[:place]))
        predicted = model.predict(torch.from_numpy(history.x[place : place + 1].copy()))
        integrals.append(float(predicted.cdf(torch.from_numpy(history.y[place : place + 1].copy()))[0]))
    return np.array(integrals)
